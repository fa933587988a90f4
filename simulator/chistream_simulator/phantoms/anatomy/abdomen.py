"""Below the diaphragm: domes, liver, spleen, stomach; all of it goes down with a breath."""

from chistream_simulator.case import Case
from chistream_simulator.phantoms.anatomy.moving import moving
from chistream_simulator.phantoms.anatomy.thorax import INSIDE, OVERLAP
from chistream_simulator.phantoms.combinations import Grown, Intersection, Union
from chistream_simulator.phantoms.pose import Pose
from chistream_simulator.phantoms.prisms import Dome, HalfSpace
from chistream_simulator.phantoms.scene import Part
from chistream_simulator.phantoms.shapes import Axes, Ellipsoid, Point, Shape

TOP: Point = (-72.0, -4.0, -36.0)
"""Top of the right dome at end-expiration."""

RECESS = -109.0
"""Height S of the deepest point of the lungs [mm]."""

DIAPHRAGM = 3.0
"""Its thickness [mm]."""

_DEEP = 120.0

RIGHT = Dome((TOP[0], TOP[1], RECESS), (71.0, 80.0, TOP[2] - RECESS), _DEEP)
LEFT = Dome((75.0, -4.0, RECESS), (68.0, 80.0, 60.0), _DEEP, 3.0)
MIDDLE = Dome((4.0, -14.0, RECESS), (70.0, 64.0, 57.0), _DEEP, 3.0)
"""The tendon, on which the heart lies."""

_TURNED: Axes = ((0.914, 0.0, 0.407), (0.0, 1.0, 0.0), (-0.407, 0.0, 0.914))

_LIVER = Ellipsoid((-58.0, -4.0, -98.0), (118.0, 90.0, 68.0), _TURNED)
"""Thick on the right, thin where its left lobe ends under the heart; the domes cut its top."""

_STOMACH = Ellipsoid((60.0, -24.0, -96.0), (44.0, 40.0, 38.0))

_SPLEEN = Ellipsoid((104.0, 40.0, -100.0), (28.0, 38.0, 42.0))

_GAS = HalfSpace((0.0, -36.0, 0.0), (0.0, 1.0, 0.0))
"""The patient lies on the back: gas is in front."""


def abdomen(case: Case) -> tuple[Part, ...]:
    """Return diaphragm, liver, spleen and stomach.

    Parameters
    ----------
    case
        Whether there is gas in the stomach.

    Returns
    -------
    tuple
        Parts that hide the lower ends of the lungs.
    """
    floor = HalfSpace((0.0, 0.0, RECESS), (0.0, 0.0, 1.0))
    liver = Union((Grown(RIGHT, -DIAPHRAGM), Grown(MIDDLE, -DIAPHRAGM)))
    left = Union((Grown(LEFT, -DIAPHRAGM), Grown(MIDDLE, -DIAPHRAGM)))
    content = Intersection(Grown(_STOMACH, -3.0), (left,))
    parts = [
        _below(Union((RIGHT, LEFT, MIDDLE, floor), fillet=12.0), "muscle", "body"),
        _below(Intersection(_LIVER, (liver,)), "liver", "liver"),
        _below(Intersection(_SPLEEN, (left,)), "spleen", "spleen"),
        _below(Intersection(_STOMACH, (left,)), "muscle", "stomach"),
        _below(content, "stomach", "stomach"),
    ]
    if case.stomach_air:
        parts.append(_below(Intersection(content, (_GAS,)), "air", "stomach_air"))
    return tuple(parts)


def _below(shape: Shape, tissue: str, label: str) -> Part:
    """Make a part that goes down with the diaphragm, within ribs and spine that do not."""
    inside = Grown(INSIDE, OVERLAP)

    def make(pose: Pose) -> Shape:
        return Intersection(shape.moved((0.0, 0.0, -pose.descent)), (inside,))

    return moving(make, tissue, label)
