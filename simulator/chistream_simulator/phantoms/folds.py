"""Solids with furrows, as brains are."""

from dataclasses import dataclass, replace

import numpy as np

from chistream.arrays import RealArray
from chistream_simulator.phantoms.shapes import Point, Points, Shape


@dataclass(frozen=True)
class Folded:
    r"""A solid with furrows, as a brain has sulci.

    The furrows follow the gyroid, a surface without end that never crosses itself:

    .. math:: \sin kx \cos ky + \sin ky \cos kz + \sin kz \cos kx = 0

    Parameters
    ----------
    hull
        The solid that it fills but for its furrows.
    wavelength
        Period of the gyroid [mm]; there is a furrow about every half of it.
    depth
        Of the furrows, from the hull [mm].
    width
        Of the furrows [mm].

    Examples
    --------
    >>> from chistream_simulator.phantoms.shapes import Ellipsoid
    >>> ball = Folded(Ellipsoid((0.0, 0.0, 0.0), (50.0, 50.0, 50.0)), 30.0, 10.0, 2.0)
    >>> y = np.array([30.0, 45.0, 55.0])
    >>> ball.signed_distance((0 * y, y, 0 * y)).round(2).tolist()  # below, in, beyond a furrow
    [-10.0, 1.0, 5.0]
    """

    hull: Shape
    wavelength: float
    depth: float
    width: float

    @property
    def centre(self) -> Point:
        """Patient position [mm]."""
        return self.hull.centre

    def signed_distance(self, points: Points) -> RealArray:
        """Distance to the surface [mm], negative inside; exact near the surface only."""
        outside = self.hull.signed_distance(points)
        offsets = (p - np.float32(c) for p, c in zip(points, self.centre, strict=True))
        phases = [o * np.float32(2 * np.pi / self.wavelength) for o in offsets]
        sines, cosines = [np.sin(p) for p in phases], [np.cos(p) for p in phases]
        gyroid = sum(sines[i] * cosines[(i + 1) % 3] for i in range(3))
        # Near the gyroid its function rises by 1.4 k per mm, within some 15 %.
        aside = np.abs(gyroid) * np.float32(self.wavelength / (2 * np.pi * 1.4))
        furrow = np.maximum(aside - np.float32(self.width / 2), -outside - np.float32(self.depth))
        distance: RealArray = np.maximum(outside, -furrow)
        return distance

    def reach(self, direction: Point) -> float:
        """How far the solid extends from its centre along a unit vector [mm]."""
        return self.hull.reach(direction)

    def moved(self, by: Point) -> "Folded":
        """Return the same solid, displaced by a patient vector [mm]."""
        return replace(self, hull=self.hull.moved(by))
