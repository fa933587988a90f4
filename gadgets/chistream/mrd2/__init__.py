"""MRD version 2, through the package ``mrd-python``, which is an extra."""
