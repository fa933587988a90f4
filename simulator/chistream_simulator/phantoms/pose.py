"""Where breathing and heartbeat have brought the patient's organs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pose:
    """State of the patient's motion.

    Parameters
    ----------
    descent
        Of the diaphragm below end-expiration [mm]; negative in coughs.
    contraction
        Of the ventricles: 0 in diastasis, 1 at end-systole, below 0 (to -0.2) while the atria
        contract and fill them further.
    """

    descent: float = 0.0
    contraction: float = 0.0


AT_REST = Pose()
"""End-expiration, diastasis."""
