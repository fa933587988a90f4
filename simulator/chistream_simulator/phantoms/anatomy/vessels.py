"""The great vessels, and how they hang between the heart and what rests."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from chistream_simulator.phantoms.anatomy.heart import PLANE_DESCENT, Heart
from chistream_simulator.phantoms.anatomy.moving import moving
from chistream_simulator.phantoms.combinations import Grown
from chistream_simulator.phantoms.curves import Tube
from chistream_simulator.phantoms.pose import Pose
from chistream_simulator.phantoms.scene import Part
from chistream_simulator.phantoms.shapes import Point, displaced

Root: TypeAlias = tuple[Point, float]
"""Place in the heart's coordinates, near its base, and radius [mm]."""

Node: TypeAlias = tuple[Point, float, float]
"""Patient position at rest, part of the heart's displacement that it takes, radius [mm]."""

HeartAt: TypeAlias = Callable[[Pose], Heart]
"""Gives the heart in a pose of the patient."""

WALL = 1.5
"""Thickness of the vessels' walls [mm]."""


@dataclass(frozen=True)
class Vessel:
    """A tube from the heart's base to where it is held.

    Parameters
    ----------
    label, tissue
        In the truth, and in the table of tissues.
    nodes
        Which follow the heart's breathing more or less.
    roots
        Before them, if any: those follow the heart, and its base as it comes down.
    """

    label: str
    tissue: str
    nodes: tuple[Node, ...]
    roots: tuple[Root, ...] = ()

    def at(self, heart: Heart) -> Tube:
        """Return the tube at one moment of the heart."""
        left, posterior, superior = heart.shift
        along = PLANE_DESCENT * heart.contraction
        roots = [heart.place(u, v, w + along) for (u, v, w), _ in self.roots]
        nodes = [
            displaced(place, (part * left, part * posterior, part * superior))
            for place, part, _ in self.nodes
        ]
        radii = (*(radius for _, radius in self.roots), *(radius for _, _, radius in self.nodes))
        return Tube((*roots, *nodes), radii)


OUTFLOW = Vessel(
    "RV",
    "blood_RV",
    (),
    (((26.0, -20.0, -12.0), 14.0), ((18.0, -26.0, -24.0), 13.0), ((12.0, -30.0, -33.0), 12.5)),
)
"""The right ventricle's way out, which belongs to it, up to the pulmonary valve."""

_FORK: Node = ((13.0, 2.0, 69.0), 0.4, 10.0)

VESSELS = (
    Vessel(
        "PA",
        "blood_PA",
        (((12.0, -15.0, 57.0), 0.8, 12.5), ((13.0, 2.0, 69.0), 0.4, 12.0)),
        OUTFLOW.roots[-1:],
    ),
    Vessel(
        "PA", "blood_PA", (_FORK, ((-18.0, 16.0, 68.0), 0.3, 9.5), ((-50.0, 22.0, 61.0), 0.2, 8.0))
    ),
    Vessel(
        "PA", "blood_PA", (_FORK, ((34.0, 24.0, 74.0), 0.3, 9.5), ((58.0, 36.0, 66.0), 0.2, 7.5))
    ),
    *(
        Vessel("pulmonary_veins", "blood_LA", ((start, 1.0, 7.0), (end, 0.6, 5.5)))
        for start, end in (
            ((17.0, 20.0, 34.0), (50.0, 26.0, 50.0)),
            ((17.0, 20.0, 14.0), (52.0, 30.0, 6.0)),
            ((-16.0, 18.0, 34.0), (-52.0, 16.0, 48.0)),
            ((-16.0, 22.0, 12.0), (-50.0, 34.0, 2.0)),
        )
    ),
    Vessel(
        "SVC",
        "blood_SVC",
        (
            ((-32.0, -10.0, 28.0), 1.0, 10.0),
            ((-38.0, -6.0, 50.0), 0.7, 9.5),
            ((-43.0, -1.0, 80.0), 0.2, 9.0),
            ((-43.0, 0.0, 165.0), 0.0, 9.0),
        ),
    ),
    Vessel(
        "IVC",
        "blood_IVC",
        (
            ((-30.0, -8.0, -8.0), 1.0, 11.0),
            ((-28.0, 6.0, -32.0), 1.0, 11.0),
            ((-25.0, 24.0, -62.0), 1.0, 11.0),
            ((-23.0, 31.0, -110.0), 0.5, 11.0),
            ((-22.0, 33.0, -240.0), 0.0, 11.0),
        ),
    ),
    Vessel(
        "aorta",
        "blood_aorta",
        (
            ((-12.0, -14.0, 46.0), 0.8, 14.0),
            ((-19.0, -15.0, 70.0), 0.4, 14.0),
            ((-13.0, -5.0, 91.0), 0.15, 13.0),
            ((3.0, 13.0, 101.0), 0.0, 12.0),
            ((20.0, 31.0, 97.0), 0.0, 12.0),
            ((27.0, 42.0, 82.0), 0.0, 12.0),
        ),
        (((8.0, -4.0, -24.0), 10.0), ((11.0, -8.0, -42.0), 14.5)),
    ),
    Vessel(
        "aorta",
        "blood_aorta",
        (
            ((27.0, 42.0, 82.0), 0.0, 12.0),
            ((27.0, 42.0, 20.0), 0.0, 11.5),
            ((25.0, 43.0, -240.0), 0.0, 10.5),
        ),
    ),
)
"""All but the way out of the right ventricle."""


def vessel_walls(heart_at: HeartAt, *labels: str) -> list[Part]:
    """Return the walls of the vessels of some labels, as solid tubes."""
    return [
        _part(vessel, heart_at, "vessel_wall", "vessel_wall", WALL)
        for vessel in VESSELS
        if vessel.label in labels
    ]


def vessel_blood(heart_at: HeartAt, *labels: str) -> list[Part]:
    """Return the blood in the vessels of some labels."""
    return [
        _part(vessel, heart_at, vessel.tissue, vessel.label, 0.0)
        for vessel in VESSELS
        if vessel.label in labels
    ]


def _part(vessel: Vessel, heart_at: HeartAt, tissue: str, label: str, wall: float) -> Part:
    return moving(lambda pose: Grown(vessel.at(heart_at(pose)), wall), tissue, label)
