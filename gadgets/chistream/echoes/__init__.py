"""K-space to complex echoes."""
