"""Solids along curves: rings that go round a body, and tubes through it."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from chistream.arrays import RealArray
from chistream.physics.compiled import compiled
from chistream_simulator.phantoms.shapes import (
    PATIENT_AXES,
    Axes,
    Point,
    Points,
    displaced,
    point,
)

_TINY = np.float32(1e-12)


@dataclass(frozen=True)
class Ring:
    """An elliptic ring of elliptic section, such as a pair of ribs: a torus, if all is round.

    Parameters
    ----------
    centre
        Patient position [mm].
    semi_axes
        Half widths of the ellipse that runs through the middle of the ring, along the first two
        axes [mm].
    section
        Half thicknesses of the ring itself: in the plane of that ellipse, and along the third
        axis [mm].
    axes
        Orthonormal directions (L, P, S).
    """

    centre: Point
    semi_axes: tuple[float, float]
    section: tuple[float, float]
    axes: Axes = PATIENT_AXES

    def signed_distance(self, points: Points) -> RealArray:
        """Distance to the surface [mm], negative inside; exact near the surface only."""
        offsets = [p - np.float32(c) for p, c in zip(points, self.centre, strict=True)]
        u, v, w = (
            np.asarray(sum(o * np.float32(a) for o, a in zip(offsets, axis, strict=True) if a))
            for axis in self.axes
        )
        out = _elliptic_distance(u, v, *self.semi_axes)
        return _elliptic_distance(out, w, *self.section)

    def reach(self, direction: Point) -> float:
        """How far the solid extends from its centre along a unit vector [mm]."""
        u, v, w = np.asarray(self.axes) @ np.asarray(direction)
        along = np.hypot(self.semi_axes[0] * u, self.semi_axes[1] * v)
        across = np.hypot(self.section[0] * np.hypot(u, v), self.section[1] * w)
        return float(along + across)

    def moved(self, by: Point) -> "Ring":
        """Return the same solid, displaced by a patient vector [mm]."""
        return replace(self, centre=displaced(self.centre, by))


@dataclass(frozen=True)
class Tube:
    """A tube through some points, with rounded ends: a vessel, an airway.

    Parameters
    ----------
    nodes
        Points of its middle line, patient positions [mm]; two or more.
    radii
        At each of them [mm]; linear in between, and not steeper than the line is long.

    Raises
    ------
    ValueError
        If there are fewer than two nodes, or not as many radii.

    Examples
    --------
    >>> tube = Tube(((0.0, 0.0, 0.0), (0.0, 0.0, 10.0)), (3.0, 3.0))
    >>> x = np.array([0.0, 5.0])
    >>> tube.signed_distance((x, 0 * x, 0 * x + 4.0)).tolist()
    [-3.0, 2.0]
    """

    nodes: tuple[Point, ...]
    radii: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.nodes) < 2 or len(self.nodes) != len(self.radii):
            raise ValueError(f"{len(self.nodes)} nodes with {len(self.radii)} radii make no tube")

    @cached_property
    def centre(self) -> Point:
        """Middle of the box around its nodes, patient position [mm]."""
        nodes = np.asarray(self.nodes)
        return point((nodes.min(axis=0) + nodes.max(axis=0)) / 2)

    def signed_distance(self, points: Points) -> RealArray:
        """Distance to the surface [mm], negative inside; exact where the radius is constant."""
        places = np.stack(np.broadcast_arrays(*points)).astype(np.float32)
        nodes = np.column_stack([self.nodes, self.radii]).astype(np.float32)
        return tube_distance(places.reshape(3, -1), nodes).reshape(places.shape[1:])

    def reach(self, direction: Point) -> float:
        """How far the solid extends from its centre along a unit vector [mm]."""
        along = (np.asarray(self.nodes) - self.centre) @ np.asarray(direction)
        return float(np.max(np.abs(along) + self.radii))

    def moved(self, by: Point) -> "Tube":
        """Return the same solid, displaced by a patient vector [mm]."""
        return replace(self, nodes=tuple(displaced(node, by) for node in self.nodes))


def _elliptic_distance(u: RealArray, v: RealArray, a: float, b: float) -> RealArray:
    """Distance to an ellipse in a plane, negative inside; to first order."""
    u_squared, v_squared = np.square(u * np.float32(1 / a)), np.square(v * np.float32(1 / b))
    level = np.sqrt(u_squared + v_squared)
    slope = u_squared * np.float32(1 / a**2) + v_squared * np.float32(1 / b**2)
    distance: RealArray = level * (level - 1) / np.sqrt(np.maximum(slope, _TINY))
    return np.where(level < 1e-3, np.float32(-min(a, b)), distance)


@compiled
def tube_distance(places: RealArray, nodes: RealArray) -> RealArray:
    """Distance ``(points,)`` of places ``(3, points)`` to a tube's ``(nodes, 4)``: radius last."""
    distance = np.empty(places.shape[1], np.float32)
    for i in range(distance.size):
        nearest = np.float32(np.inf)
        for k in range(len(nodes) - 1):
            start, end = nodes[k], nodes[k + 1]
            a, b, c = end[0] - start[0], end[1] - start[1], end[2] - start[2]
            x, y, z = places[0, i] - start[0], places[1, i] - start[1], places[2, i] - start[2]
            t = (x * a + y * b + z * c) / (a * a + b * b + c * c)
            t = min(max(t, np.float32(0)), np.float32(1))
            x, y, z = x - t * a, y - t * b, z - t * c
            radius = start[3] + t * (end[3] - start[3])
            nearest = min(nearest, np.sqrt(x * x + y * y + z * z) - radius)
        distance[i] = nearest
    return distance
