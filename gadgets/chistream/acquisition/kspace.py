"""K-space as it fills: sums of accepted lines, stand-ins where there are none."""

import numpy as np

from chistream.acquisition.lines import Line
from chistream.arrays import ComplexArray, IntArray, Mask, RealArray, Size


class KSpace:
    """One volume of every echo and coil; holds one value for each sample.

    A line is either the sum of all that was accepted for it, with their number, or, as long as
    nothing was accepted, the best of what was rejected. The order of arrival does not matter.

    Parameters
    ----------
    n_echoes, n_coils
        Numbers of echoes and coils.
    size
        Size ``(z, y, x)``; z and y in the scan's own counters.
    """

    def __init__(self, n_echoes: int, n_coils: int, size: Size) -> None:
        nz, ny, nx = size
        self._values: ComplexArray = np.zeros((n_echoes, n_coils, nz, ny, nx), np.complex64)
        self._counts: IntArray = np.zeros((n_echoes, nz, ny), np.int32)
        self._distance: RealArray = np.full((n_echoes, nz, ny), np.inf)
        self._time: RealArray = np.full((n_echoes, nz, ny), np.inf)

    def accept(self, line: Line, values: ComplexArray) -> None:
        """Average a readout ``(coils, x)`` into its line."""
        echo, z, y = line
        if self._counts[line]:
            self._values[echo, :, z, y] += values
        else:
            self._values[echo, :, z, y] = values
        self._counts[line] += 1

    def stand_in(self, line: Line, values: ComplexArray, distance: float, time: float) -> None:
        """Use a rejected readout if its line has nothing better.

        Parameters
        ----------
        line
            Its address.
        values
            Its samples ``(coils, x)``.
        distance
            How far from acceptance it was measured [mm]; less is better, inf if unknown.
        time
            When it was measured [s]; the earlier of two equals is used.
        """
        echo, z, y = line
        best = (self._distance[line], self._time[line])
        if not self._counts[line] and (distance, time) < best:
            self._values[echo, :, z, y] = values
            self._distance[line], self._time[line] = distance, time

    @property
    def is_filled_from_rejected(self) -> Mask:
        """Lines that hold a stand-in ``(echoes, z, y)``."""
        is_stand_in: Mask = (self._counts == 0) & np.isfinite(self._time)
        return is_stand_in

    @property
    def is_sampled(self) -> Mask:
        """Lines that hold anything ``(echoes, z, y)``."""
        is_sampled: Mask = (self._counts > 0) | np.isfinite(self._time)
        return is_sampled

    def mean(self) -> ComplexArray:
        """Turn sums into means, in place.

        Returns
        -------
        ComplexArray
            K-space ``(echoes, coils, z, y, x)`` complex64; the counts are 1 from here on.
        """
        for echo, z, y in np.argwhere(self._counts > 1):
            self._values[echo, :, z, y] /= self._counts[echo, z, y]
        np.minimum(self._counts, 1, out=self._counts)
        return self._values
