"""The wall of the chest and what rests within: skin, fat, muscle, ribs, spine, airways, lungs."""

import numpy as np

from chistream_simulator.case import Case
from chistream_simulator.phantoms.anatomy.moving import following
from chistream_simulator.phantoms.combinations import (
    Complement,
    Grown,
    Intersection,
    Union,
    without,
)
from chistream_simulator.phantoms.curves import Ring, Tube
from chistream_simulator.phantoms.prisms import Dome, HalfSpace, Layers, Superellipse
from chistream_simulator.phantoms.scene import Part
from chistream_simulator.phantoms.shapes import Ellipsoid, Shape, axes_with, cylinder

FLESH = (168.0, 112.0)
"""Half widths of the trunk within its fat, towards L and P [mm]."""

BOXINESS = 2.35
"""Exponent of its cross-section: 2 would be an ellipse."""

SKIN = 1.5
"""Thickness of the skin, where there is fat beneath [mm]."""

CAVITY = Dome((0.0, 3.0, -60.0), (139.0, 90.0, 190.0), 190.0, 2.7)
"""The inside of the rib cage."""

OVERLAP = 1.5
"""How far a solid goes beneath its neighbour, lest what lies under both shine through [mm]."""

RIB_DISTANCE = 6.0
"""From the inside of the cage to the middle of the ribs [mm]."""

RIB_SECTION = (3.5, 6.5)
"""Half thickness and half height of a rib [mm]."""

CORTEX = 1.3
"""Thickness of its outer layer [mm]."""

RIB_LEVELS = tuple(range(-132, 120, 26))
"""Heights S of the middles of ten pairs of ribs [mm]."""

RIB_TILT = 24.0
"""Ribs run down towards the front [degrees]."""

SPINE = (0.0, 65.0)
"""Middle of the vertebral bodies (L, P) [mm]."""

CANAL = (0.0, 88.0)
"""Middle of the spinal canal (L, P) [mm]."""

INSIDE = without(
    CAVITY, cylinder((*SPINE, 0.0), (21.0, 18.0)), cylinder((0.0, 104.0, 0.0), (54.0, 30.0))
)
"""What of it vertebrae and the muscles of the back leave to lungs and belly."""

_COLUMN = Union(
    (
        Ellipsoid((-7.0, 12.0, 78.0), (37.0, 38.0, 52.0)),
        cylinder((0.0, 20.0, 0.0), (15.0, 92.0)),
        cylinder((6.0, 44.0, 0.0), (32.0, 20.0)),
    ),
    fillet=30.0,
)
"""Between the lungs: around the vessels above the heart, from sternum to spine, and along it."""


def outline(case: Case) -> Superellipse:
    """Return the surface of the trunk."""
    layers = case.subcutaneous_fat + SKIN if case.subcutaneous_fat else 0.0
    return _trunk(layers)


def wall(case: Case) -> tuple[Part, ...]:
    """Return skin, fat, muscle and bones of the wall: all that rests."""
    parts = [Part(outline(case), "muscle", "body")]
    if case.subcutaneous_fat:
        parts += [
            Part(_trunk(case.subcutaneous_fat), "fat", "fat"),
            Part(_trunk(0.0), "muscle", "body"),
        ]
    if case.ribs:
        for part in map(_rib, RIB_LEVELS):
            parts.append(Part(part, "cortical_bone", "ribs"))
            parts.append(Part(Grown(part, -CORTEX), "bone", "ribs"))
    sternum = Ellipsoid((0.0, -97.0, 32.0), (19.0, 6.5, 85.0))
    return (*parts, Part(sternum, "bone", "sternum"), *_spine())


def mediastinum(case: Case) -> tuple[Part, ...]:
    """Return the fat between the lungs, around heart and vessels; none if that is not wanted."""
    column = Intersection(INSIDE, (Grown(_COLUMN, OVERLAP),))
    return (Part(column, "fat", "mediastinal_fat"),) if case.epicardial_fat else ()


def airways() -> tuple[Part, ...]:
    """Return trachea and main bronchi."""
    carina = (-4.0, 36.0, 82.0)
    trachea = ((-2.0, 26.0, 185.0), (-4.0, 30.0, 130.0), carina)
    left, right = (carina, (14.0, 30.0, 67.0), (38.0, 25.0, 57.0)), (carina, (-36.0, 33.0, 66.0))
    tubes = (
        Tube(trachea, (8.0, 8.0, 8.0)),
        Tube(left, (7.0, 6.0, 5.0)),
        Tube(right, (7.0, 6.0)),
    )
    walls = [Part(Grown(tube, 1.5), "vessel_wall", "airway_wall") for tube in tubes]
    return (*walls, *(Part(tube, "air", "airway") for tube in tubes))


def lungs() -> tuple[Part, ...]:
    """Return both lungs, which reach down behind all that later is painted over them.

    Their solid rests, but their tissue changes as they fill: they must be painted anew.
    """
    both = without(INSIDE, _COLUMN)
    return (following(both, "lung", "lung", (0.0, 0.0, 0.0)),)


def _trunk(layers: float) -> Superellipse:
    return Superellipse((0.0, 0.0, 0.0), (FLESH[0] + layers, FLESH[1] + layers), BOXINESS)


def _spine() -> tuple[Part, ...]:
    body = cylinder((*SPINE, 0.0), (19.0, 16.0))
    vertebrae = Intersection(body, (Layers((0.0, 0.0, 3.0), 27.0, 22.0),))
    return (
        Part(cylinder((*SPINE, 0.0), (18.5, 15.5)), "vessel_wall", "spine"),
        Part(vertebrae, "bone", "spine"),
        Part(cylinder((0.0, 89.0, 0.0), (14.0, 12.0)), "bone", "spine"),
        Part(cylinder((0.0, 99.0, 0.0), (3.5, 9.0)), "bone", "spine"),
        Part(cylinder((*CANAL, 0.0), (8.5, 7.5)), "csf", "spinal_canal"),
        Part(cylinder((*CANAL, 0.0), (4.5, 4.0)), "white_matter", "spinal_canal"),
    )


def _rib(level: float) -> Shape:
    """Make a pair of ribs: a tilted ring on the cage, open at spine and sternum."""
    tilt = np.deg2rad(RIB_TILT)
    left, posterior, _ = CAVITY.centre
    a, b, _ = (s + RIB_DISTANCE for s in CAVITY.semi_axes)
    front, back = _cage_depth(level, -np.tan(tilt), b), _cage_depth(level, np.tan(tilt), b)
    offset = (back - front) / 2
    middle = level + offset * float(np.tan(tilt))
    axes = axes_with((0.0, -float(np.sin(tilt)), float(np.cos(tilt))))
    ring = Ring(
        (left, posterior + offset, middle),
        (a * _cage_scale(middle), (front + back) / 2 / float(np.cos(tilt))),
        RIB_SECTION,
        axes,
    )
    cartilage = HalfSpace((0.0, -62.0, 0.0), (0.0, -1.0, 0.0))
    return Intersection(ring, (cartilage, Complement(cylinder((0.0, 104.0, 0.0), (24.0, 40.0)))))


def _cage_depth(level: float, slope: float, half_depth: float) -> float:
    """How far from its axis a plane through a level leaves the cage, to the front or back [mm]."""
    depth = half_depth
    for _ in range(20):  # each step is a small part of the one before
        depth = half_depth * _cage_scale(level + slope * depth)
    return depth


def _cage_scale(level: float) -> float:
    """Width of the cage at a height S, relative to its greatest."""
    height = max(level - CAVITY.centre[2], 0.0) / (CAVITY.semi_axes[2] + RIB_DISTANCE)
    return float((1 - min(height, 1.0) ** CAVITY.exponent) ** (1 / CAVITY.exponent))
