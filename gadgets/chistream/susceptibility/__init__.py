"""Field to susceptibility."""
