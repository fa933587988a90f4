"""The server that scanners talk to."""
