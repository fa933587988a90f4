"""MRD bytes to messages and back; no socket, thread or clock."""
