"""Faults on request: what a bad network, scanner or client does to a stream of messages."""
