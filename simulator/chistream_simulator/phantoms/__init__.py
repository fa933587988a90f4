"""Phantoms: what lies in the scanner, with its truth."""
