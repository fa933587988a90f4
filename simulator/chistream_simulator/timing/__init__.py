"""Time in the simulator: breathing, heartbeat, the lines of k-space, and what gating keeps."""
