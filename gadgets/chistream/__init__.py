"""Streaming reconstruction and quantitative susceptibility mapping, beside the scanner."""

__version__ = "0.1.0"
