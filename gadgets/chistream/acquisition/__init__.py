"""Readouts to gated, whitened k-space."""
