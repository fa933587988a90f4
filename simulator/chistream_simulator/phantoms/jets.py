"""Jets of blood behind narrow or leaking valves."""

from dataclasses import dataclass

import numpy as np

from chistream.arrays import RealArray
from chistream_simulator.phantoms.shapes import Point, Points


@dataclass(frozen=True)
class Jet:
    """Blood that streams through a round opening, fastest in its middle.

    Parameters
    ----------
    start
        Middle of the opening (L, P, S) [mm].
    direction
        Unit vector (L, P, S) that it streams along.
    length
        How far it reaches [mm].
    radius
        Of the opening [mm].
    peak
        Speed on the axis [m/s].
    """

    start: Point
    direction: Point
    length: float
    radius: float
    peak: float

    def speed(self, points: Points) -> RealArray:
        """Find the speed at points.

        Parameters
        ----------
        points
            Patient positions [mm].

        Returns
        -------
        RealArray
            Along `direction` [m/s] float32: a parabola across the jet, 0 outside. It is the same
            all along, but for its last half, in which it fades.
        """
        offsets = [p - np.float32(c) for p, c in zip(points, self.start, strict=True)]
        along = sum(o * np.float32(d) for o, d in zip(offsets, self.direction, strict=True))
        squared = sum(o**2 for o in offsets) - along**2
        profile = np.clip(1 - squared / np.float32(self.radius**2), 0, None)
        fade = np.clip(2 - 2 * along / np.float32(self.length), 0, 1)
        return np.asarray(self.peak * profile * np.where(along >= 0, fade, 0), np.float32)
