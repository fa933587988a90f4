"""Parts that follow the patient's pose."""

from collections.abc import Callable

from chistream_simulator.phantoms.pose import AT_REST, Pose
from chistream_simulator.phantoms.scene import Part
from chistream_simulator.phantoms.shapes import Point, Shape


def moving(make: Callable[[Pose], Shape], tissue: str, label: str) -> Part:
    """Make a part from a function that gives its solid in any pose."""
    return Part(make(AT_REST), tissue, label, lambda _, pose: make(pose))


def following(shape: Shape, tissue: str, label: str, per_mm: Point = (0.0, 0.0, -1.0)) -> Part:
    """Make a part that is displaced by so much (L, P, S) for each mm that the diaphragm descends.

    Parameters
    ----------
    shape
        At end-expiration.
    tissue, label
        As for every part.
    per_mm
        Displacement; by default that of the diaphragm itself.

    Returns
    -------
    Part
        Which moves.
    """

    def deform(rest: Shape, pose: Pose) -> Shape:
        left, posterior, superior = (pose.descent * m for m in per_mm)
        return rest.moved((left, posterior, superior))

    return Part(shape, tissue, label, deform)
