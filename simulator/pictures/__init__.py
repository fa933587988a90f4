"""The pictures and tables of the simulator's page; no part of what is installed."""
