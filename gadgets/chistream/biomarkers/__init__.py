"""Susceptibility to numbers a physician reads."""
