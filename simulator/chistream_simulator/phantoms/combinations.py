"""Solids made of other solids: together, in common, without, grown."""

from dataclasses import dataclass, replace

import numpy as np

from chistream.arrays import RealArray
from chistream_simulator.phantoms.shapes import Point, Points, Shape, point


@dataclass(frozen=True)
class Union:
    """All that lies in any of some solids, with the grooves between them filled on request.

    Parameters
    ----------
    members
        One or more solids.
    fillet
        Width over which a groove is rounded out [mm]: where two surfaces meet, the solid grows by
        a quarter of it. 0: not at all.
    """

    members: tuple[Shape, ...]
    fillet: float = 0.0

    @property
    def centre(self) -> Point:
        """Mean of the members' centres, patient position [mm]."""
        return point(np.mean([member.centre for member in self.members], axis=0))

    def signed_distance(self, points: Points) -> RealArray:
        """Distance to the surface [mm], negative inside; exact near the surface only."""
        distance, *others = (member.signed_distance(points) for member in self.members)
        for other in others:
            distance = self._joined(distance, other)
        return distance

    def reach(self, direction: Point) -> float:
        """How far the solid extends from its centre along a unit vector [mm], maybe inf."""
        centre = np.asarray(self.centre)
        ends = (
            abs(float((np.asarray(member.centre) - centre) @ np.asarray(direction)))
            + member.reach(direction)
            for member in self.members
        )
        return max(ends) + self.fillet / 4 * (len(self.members) - 1)

    def moved(self, by: Point) -> "Union":
        """Return the same solid, displaced by a patient vector [mm]."""
        return replace(self, members=tuple(member.moved(by) for member in self.members))

    def _joined(self, one: RealArray, other: RealArray) -> RealArray:
        nearest: RealArray = np.minimum(one, other)
        if self.fillet == 0:
            return nearest
        overlap = np.maximum(self.fillet - np.abs(one - other), 0)
        return nearest - np.square(overlap) * np.float32(1 / (4 * self.fillet))


@dataclass(frozen=True)
class Intersection:
    """What some solids have in common.

    Parameters
    ----------
    first
        Also tells how far the result may reach: the smallest.
    others
        One or more others.
    """

    first: Shape
    others: tuple[Shape, ...]

    @property
    def centre(self) -> Point:
        """Centre of the first, patient position [mm]."""
        return self.first.centre

    def signed_distance(self, points: Points) -> RealArray:
        """Distance to the surface [mm], negative inside; exact near the surface only."""
        distance = self.first.signed_distance(points)
        for other in self.others:
            distance = np.maximum(distance, other.signed_distance(points))
        return distance

    def reach(self, direction: Point) -> float:
        """How far the solid extends from its centre along a unit vector [mm], at most."""
        return self.first.reach(direction)

    def moved(self, by: Point) -> "Intersection":
        """Return the same solid, displaced by a patient vector [mm]."""
        others = tuple(other.moved(by) for other in self.others)
        return Intersection(self.first.moved(by), others)


@dataclass(frozen=True)
class Complement:
    """All that a solid is not: to take it away from another, intersect that with this.

    Parameters
    ----------
    shape
        The solid.
    """

    shape: Shape

    @property
    def centre(self) -> Point:
        """Centre of the solid, patient position [mm]."""
        return self.shape.centre

    def signed_distance(self, points: Points) -> RealArray:
        """Distance to the surface [mm], negative outside the solid."""
        return -self.shape.signed_distance(points)

    def reach(self, direction: Point) -> float:  # noqa: ARG002
        """Have no end: inf, whatever the direction."""
        return np.inf

    def moved(self, by: Point) -> "Complement":
        """Return the same, displaced by a patient vector [mm]."""
        return Complement(self.shape.moved(by))


@dataclass(frozen=True)
class Grown:
    """A solid with a layer of even thickness put on, or taken off.

    Parameters
    ----------
    shape
        The solid.
    by
        Thickness [mm]; negative to take off.
    """

    shape: Shape
    by: float

    @property
    def centre(self) -> Point:
        """Centre of the solid, patient position [mm]."""
        return self.shape.centre

    def signed_distance(self, points: Points) -> RealArray:
        """Distance to the surface [mm], negative inside; exact near the solid's surface only."""
        distance: RealArray = self.shape.signed_distance(points) - np.float32(self.by)
        return distance

    def reach(self, direction: Point) -> float:
        """How far the solid extends from its centre along a unit vector [mm], maybe inf."""
        return self.shape.reach(direction) + self.by

    def moved(self, by: Point) -> "Grown":
        """Return the same solid, displaced by a patient vector [mm]."""
        return Grown(self.shape.moved(by), self.by)


def without(shape: Shape, *others: Shape) -> Intersection:
    """Take solids away from another.

    Parameters
    ----------
    shape
        What to take from.
    others
        What to take away.

    Returns
    -------
    Intersection
        The rest of it.

    Examples
    --------
    >>> from chistream_simulator.phantoms.shapes import cylinder
    >>> middle = (0.0, 0.0, 0.0)
    >>> wall = without(cylinder(middle, (9.0, 9.0)), cylinder(middle, (5.0, 5.0)))
    >>> x = np.array([1.0, 6.0, 10.0])
    >>> wall.signed_distance((x, 0 * x, 0 * x)).round(4).tolist()
    [4.0, -1.0, 1.0]
    """
    return Intersection(shape, tuple(Complement(other) for other in others))
