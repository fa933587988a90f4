"""Solids with an axis along S: trunk, domes, stacks; and half spaces to cut them with."""

from dataclasses import dataclass, replace

import numpy as np

from chistream.arrays import RealArray
from chistream_simulator.phantoms.shapes import Point, Points, displaced

_TINY = np.float32(1e-12)


@dataclass(frozen=True)
class Superellipse:
    r"""An endless cylinder along S, between an ellipse and a box in cross-section.

    .. math:: |l / a|^n + |p / b|^n \le 1

    Parameters
    ----------
    centre
        Any point of its axis, patient position [mm].
    semi_axes
        Half widths towards L and P [mm].
    exponent
        n > 1: 2 for an ellipse, more for a rounder box.
    """

    centre: Point
    semi_axes: tuple[float, float]
    exponent: float

    def signed_distance(self, points: Points) -> RealArray:
        """Distance to the surface [mm], negative inside; exact near the surface only."""
        n, (a, b) = np.float32(self.exponent), self.semi_axes
        u, v = (
            np.abs(p - np.float32(c)) * np.float32(1 / s)
            for p, c, s in zip(points, self.centre, (a, b), strict=False)
        )
        level = np.maximum(u**n + v**n, _TINY) ** (1 / n)
        # The level is homogeneous, so its slope is (u / level)^(n - 1) / a, likewise for b.
        slope = ((u / level) ** (n - 1) / a) ** 2 + ((v / level) ** (n - 1) / b) ** 2
        distance: RealArray = (level - 1) / np.sqrt(slope + _TINY)
        return distance

    def reach(self, direction: Point) -> float:
        """How far the solid extends from its centre along a unit vector [mm], maybe inf."""
        if abs(direction[2]) > 1e-9:
            return np.inf
        dual = self.exponent / (self.exponent - 1)
        widths = (abs(s * d) ** dual for s, d in zip(self.semi_axes, direction, strict=False))
        return float(sum(widths) ** (1 / dual))

    def moved(self, by: Point) -> "Superellipse":
        """Return the same solid, displaced by a patient vector [mm]."""
        return replace(self, centre=displaced(self.centre, by))


@dataclass(frozen=True)
class Dome:
    r"""A dome on an elliptic column: a diaphragm, or the inside of the chest.

    .. math:: (u^2 + v^2)^{n / 2} + w^n \le 1

    with u, v and w the distances from the centre towards L, P and S over the semi-axes; w is 0
    below the centre.

    Parameters
    ----------
    centre
        Middle of the ellipse on which the dome stands, patient position [mm].
    semi_axes
        Half widths towards L and P, and height of the dome towards S [mm].
    depth
        Length of the column below that ellipse [mm].
    exponent
        n > 1: 2 for half an ellipsoid, more for a blunter one.
    """

    centre: Point
    semi_axes: Point
    depth: float
    exponent: float = 2.0

    def signed_distance(self, points: Points) -> RealArray:
        """Distance to the surface [mm], negative inside; exact near the surface only."""
        left, posterior, superior = (
            p - np.float32(c) for p, c in zip(points, self.centre, strict=True)
        )
        a, b, c = self.semi_axes
        n = self.exponent
        u_squared, v_squared = np.square(left * np.float32(1 / a)), np.square(posterior / b)
        across = np.sqrt(u_squared + v_squared)
        along = np.maximum(superior, 0) * np.float32(1 / c)
        level = np.maximum(across**n + along**n, _TINY) ** (1 / n)
        # The slope of `across` has the length of (u / a, v / b) / across; the rest is the chain
        # rule. All of it is divided by the level's own power, which is 1 at the surface.
        sideways = across ** (n - 2) * np.sqrt(u_squared / a**2 + v_squared / b**2)
        slope = np.hypot(sideways, along ** (n - 1) / c) / level ** (n - 1)
        distance = (level - 1) / np.maximum(slope, np.float32(1e-6))
        # Near the axis below the dome there is no slope; half of the width is deep enough.
        distance = np.maximum(distance, -np.float32(min(self.semi_axes)))
        cut: RealArray = np.maximum(distance, -np.float32(self.depth) - superior)
        return cut

    def reach(self, direction: Point) -> float:
        """How far the solid extends from its centre along a unit vector [mm]."""
        across = np.hypot(self.semi_axes[0] * direction[0], self.semi_axes[1] * direction[1])
        dual = self.exponent / (self.exponent - 1)
        up = (across**dual + abs(self.semi_axes[2] * direction[2]) ** dual) ** (1 / dual)
        return float(max(up, across + self.depth * abs(direction[2])))

    def moved(self, by: Point) -> "Dome":
        """Return the same solid, displaced by a patient vector [mm]."""
        return replace(self, centre=displaced(self.centre, by))


@dataclass(frozen=True)
class HalfSpace:
    """Everything on one side of a plane, to cut other solids with.

    Parameters
    ----------
    centre
        Any point of the plane, patient position [mm].
    outwards
        Unit vector (L, P, S) that leaves the half space at right angles.
    """

    centre: Point
    outwards: Point

    def signed_distance(self, points: Points) -> RealArray:
        """Distance to the plane [mm], negative inside."""
        distance: RealArray = np.zeros((), np.float32)
        for p, c, o in zip(points, self.centre, self.outwards, strict=True):
            if o:
                distance = distance + (p - np.float32(c)) * np.float32(o)
        return distance

    def reach(self, direction: Point) -> float:  # noqa: ARG002
        """Have no end: inf, whatever the direction."""
        return np.inf

    def moved(self, by: Point) -> "HalfSpace":
        """Return the same half space, displaced by a patient vector [mm]."""
        return replace(self, centre=displaced(self.centre, by))


@dataclass(frozen=True)
class Layers:
    """Endless horizontal layers at equal distances, such as vertebrae between their discs.

    Parameters
    ----------
    centre
        In the middle of one of the layers, patient position [mm].
    period
        From the middle of one layer to that of the next [mm].
    thickness
        Of a layer, less than the period [mm].
    """

    centre: Point
    period: float
    thickness: float

    def signed_distance(self, points: Points) -> RealArray:
        """Distance to the nearest layer's surface [mm], negative inside."""
        half = np.float32(self.period / 2)
        offset = np.mod(points[2] - np.float32(self.centre[2]) + half, 2 * half) - half
        distance: RealArray = np.abs(offset) - np.float32(self.thickness / 2)
        return distance

    def reach(self, direction: Point) -> float:  # noqa: ARG002
        """Have no end: inf, whatever the direction."""
        return np.inf

    def moved(self, by: Point) -> "Layers":
        """Return the same layers, displaced by a patient vector [mm]."""
        return replace(self, centre=displaced(self.centre, by))
