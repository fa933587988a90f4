"""Heartbeats outside the window, kept by the position they were measured at."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from chistream.acquisition.kspace import KSpace
from chistream.acquisition.lines import Line
from chistream.arrays import ComplexArray, RealArray, Size


@dataclass(frozen=True, eq=False)
class MotionBin:
    """Lines that were measured while the diaphragm was in one range of positions.

    Parameters
    ----------
    hybrid
        ``(echoes, virtual coils, z, y, x)`` as in `AcquiredScan`; zero where the bin has no line.
        The lines are shifted back by what the heart was displaced, if that is known.
    counts
        Measurements of each line ``(echoes, z, y)``.
    position
        Mean displacement of the diaphragm [mm].
    """

    hybrid: ComplexArray
    counts: RealArray
    position: float


class MotionBins:
    """Sorts lines of rejected heartbeats into bins of position, each a k-space of its own.

    Parameters
    ----------
    n
        Number of bins besides that of the window, >= 0.
    window
        Full width of the window [mm].
    """

    def __init__(self, n: int, window: float) -> None:
        self._n, self._window = n, window
        self._edges: RealArray = np.zeros(0)
        self._kspaces: dict[int, KSpace] = {}

    def learn(self, displacements: RealArray) -> None:
        """Divide displacements ``(n,)`` [mm] outside the window into bins of equal number."""
        outside = displacements[np.abs(displacements) > self._window / 2]
        if self._n and len(outside):
            self._edges = np.quantile(outside, np.arange(1, self._n) / self._n)

    def see(
        self, line: Line, values: ComplexArray, position: float, time: float, shape: Size
    ) -> None:
        """Take in a line ``(coils, x)`` of a heartbeat outside the window.

        Parameters
        ----------
        line
            Where it belongs.
        values
            Its samples.
        position
            Displacement of the diaphragm [mm].
        time
            When it was measured [s].
        shape
            Echoes of one repetition and size of k-space ``(echoes, z, y)``.
        """
        if not self._n:
            return
        which = int(np.searchsorted(self._edges, position))
        if which not in self._kspaces:
            n_echoes, nz, ny = shape
            n_coils, nx = values.shape
            self._kspaces[which] = KSpace(n_echoes, n_coils, (nz, ny, nx), keeps_reserve=False)
        # Repetitions have phases of their own, which few lines do not tell: the first is enough.
        if line.echo < shape[0]:
            self._kspaces[which].weigh(line, values, position, time=time)

    def recombine(self, combine: Callable[[ComplexArray], ComplexArray]) -> None:
        """Combine the coils of all lines to others."""
        for kspace in self._kspaces.values():
            kspace.recombine(combine)

    def kspaces(self) -> list[KSpace]:
        """Return the bins that have lines, by position."""
        return [self._kspaces[which] for which in sorted(self._kspaces)]
