"""Smooth solids in the patient (L, P, S) [mm]."""

from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

import numpy as np

from chistream.arrays import RealArray

Point: TypeAlias = tuple[float, float, float]
"""A place or a direction in the patient (L, P, S) [mm]."""

Points: TypeAlias = tuple[RealArray, RealArray, RealArray]
"""Patient coordinates L, P and S [mm] of some points; the three broadcast to one shape."""

Axes: TypeAlias = tuple[Point, Point, Point]

PATIENT_AXES: Axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


class Shape(Protocol):
    """A solid that knows how far a point lies outside it, and how far it reaches."""

    @property
    def centre(self) -> Point:
        """Patient position [mm]."""
        ...

    def signed_distance(self, points: Points) -> RealArray:
        """Distance to the surface [mm], negative inside; exact near the surface only.

        Painting needs no more of it than a surface where it is zero and an even slope there.
        """
        ...

    def reach(self, direction: Point) -> float:
        """How far the solid extends from its centre along a unit vector [mm], maybe inf."""
        ...

    def moved(self, by: Point) -> "Shape":
        """Return the same solid, displaced by a patient vector [mm]."""
        ...


@dataclass(frozen=True)
class Ellipsoid:
    """A solid ellipsoid.

    Parameters
    ----------
    centre
        Patient position [mm].
    semi_axes
        Half lengths [mm]; ``inf`` makes an elliptic cylinder along that axis.
    axes
        Orthonormal directions of the semi-axes (L, P, S).

    Examples
    --------
    >>> ball = Ellipsoid((0.0, 0.0, 0.0), (10.0, 10.0, 10.0))
    >>> x = np.array([0.0, 7.0, 14.0])
    >>> ball.signed_distance((x, 0 * x, 0 * x)).round(4).tolist()
    [-10.0, -3.0, 4.0]
    """

    centre: Point
    semi_axes: Point
    axes: Axes = PATIENT_AXES

    def signed_distance(self, points: Points) -> RealArray:
        """Distance to the surface [mm], negative inside; exact near the surface only."""
        offsets = [p - np.float32(c) for p, c in zip(points, self.centre, strict=True)]
        level: RealArray = np.zeros((), np.float32)
        slope: RealArray = np.zeros((), np.float32)
        for semi_axis, axis in zip(self.semi_axes, self.axes, strict=True):
            if np.isinf(semi_axis):
                continue
            along = sum(o * np.float32(a) for o, a in zip(offsets, axis, strict=True) if a)
            squared = np.square(along * np.float32(1 / semi_axis))
            level = level + squared
            slope = slope + squared * np.float32(1 / semi_axis**2)
        level = np.sqrt(level)
        distance: RealArray = level * (level - 1) / np.sqrt(np.maximum(slope, np.float32(1e-12)))
        # The estimate breaks down at the very centre, which lies one short semi-axis deep.
        return np.where(level < 1e-3, np.float32(-min(self.semi_axes)), distance)

    def reach(self, direction: Point) -> float:
        """How far the solid extends from its centre along a unit vector [mm], maybe inf."""
        cosines = np.asarray(self.axes) @ np.asarray(direction)
        used = np.abs(cosines) > 1e-9  # an infinite axis at right angles does not count
        return float(np.sqrt(np.sum((np.asarray(self.semi_axes)[used] * cosines[used]) ** 2)))

    def moved(self, by: Point) -> "Ellipsoid":
        """Return the same solid, displaced by a patient vector [mm]."""
        return replace(self, centre=displaced(self.centre, by))


def cylinder(
    centre: Point, semi_axes: tuple[float, float], along: Point = (0.0, 0.0, 1.0)
) -> Ellipsoid:
    """Make an infinite elliptic cylinder.

    Parameters
    ----------
    centre
        Any point of its axis, patient position [mm].
    semi_axes
        Half widths [mm]; with the axis along S, towards L and P.
    along
        Direction of the axis, need not be normalised.

    Returns
    -------
    Ellipsoid
        One whose third semi-axis is infinite.
    """
    return Ellipsoid(centre, (*semi_axes, np.inf), axes_with(along))


def axes_with(third: Point) -> Axes:
    """Complete a direction to a right-handed orthonormal set, of which it is the third.

    Parameters
    ----------
    third
        Patient vector, not zero.

    Returns
    -------
    Axes
        The first lies as close to L as it can (to P, if the third is along L).

    Raises
    ------
    ValueError
        If the vector is zero.

    Examples
    --------
    >>> axes_with((0.0, 0.0, 2.0))
    ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    """
    w = np.asarray(third, dtype=float)
    if not w.any():
        raise ValueError(f"a direction must not be zero, got {third}")
    w = w / np.linalg.norm(w)
    start = np.eye(3)[0] if abs(w[0]) < 0.999 else np.eye(3)[1]
    u = start - (start @ w) * w
    u = u / np.linalg.norm(u)
    return point(u), point(np.cross(w, u)), point(w)


def point(vector: RealArray) -> Point:
    """Turn an array of three numbers into a point of plain floats."""
    return float(vector[0]), float(vector[1]), float(vector[2])


def displaced(place: Point, by: Point) -> Point:
    """Add two patient vectors (L, P, S) [mm]."""
    return place[0] + by[0], place[1] + by[1], place[2] + by[2]
