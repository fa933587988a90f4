"""PAWS: phase ordering with automatic window selection."""

import math

import numpy as np
from typing_extensions import override

from chistream.arrays import IntArray, RealArray
from chistream_simulator.case import Case
from chistream_simulator.timing.gating import ACCEPTED, Gate


class PawsGate(Gate):
    """No window is set beforehand: the first set of neighbouring bins with all lines ends the scan.

    Each bin of the diaphragm's position fills k-space in an order of its own, which depends on its
    number modulo the bins of a window: of two, even bins start at the beginning of the list of
    groups and odd ones at its end, so that any two neighbours meet; of three, the third starts in
    the middle and works outwards. What the fullest window around a bin has already, it leaves out.

    Parameters
    ----------
    case
        ``paws_bins``, whose sum is as wide as ``gating_window``.
    n_groups
        Groups of lines to take.
    n_first
        Groups at the start of the list that are taken once, whatever the position: calibration.

    References
    ----------
    .. [1] Jhooti P, Gatehouse PD, Keegan J, Bunce NH, Taylor AM, Firmin DN. Phase ordering with
       automatic window selection (PAWS): a novel motion-resistant technique for 3D coronary
       imaging. Magn Reson Med. 2000;43(3):470-480.
       doi:10.1002/(SICI)1522-2594(200003)43:3<470::AID-MRM20>3.0.CO;2-U
    """

    def __init__(self, case: Case, n_groups: int, n_first: int = 0) -> None:
        super().__init__(case, n_groups)
        self._n_first, self._n_first_done = n_first, 0
        self._n_bins = case.paws_bins
        self._width = case.gating_window / case.paws_bins
        self._reference: float | None = None
        self._bin = 0
        places = np.arange(n_first, n_groups)
        self._orders = [_order(places, r, self._n_bins) for r in range(self._n_bins)]
        self._taken: dict[int, set[int]] = {}
        self._kept_in: list[tuple[int, int] | None] = []

    @property
    @override
    def done(self) -> bool:
        return self.n_done >= self._n_groups

    @property
    @override
    def n_done(self) -> int:
        fullest = max((len(self._window(b)) for b in self._windows()), default=0)
        return self._n_first_done + fullest

    @override
    def choose(self, reading: float) -> int:
        if self._reference is None:
            self._reference = reading
        self._bin = math.floor((reading - self._reference) / self._width + 0.5)
        if self._n_first_done < self._n_first:
            return self._n_first_done
        fullest = max((self._window(b) for b in self._windows_of(self._bin)), key=len)
        order = self._orders[self._bin % self._n_bins]
        # It never has all groups: that would have ended the scan.
        return next(int(g) for g in order if int(g) not in fullest)

    @override
    def judge(self, group: int, readings: RealArray, rr: float) -> str:
        reason = super().judge(group, readings, rr)
        if reason:
            self._kept_in.append(None)
        return reason

    @override
    def keep(self, group: int, readings: RealArray) -> str:
        if group < self._n_first:
            self._n_first_done += 1
            self._kept_in.append(None)
        else:
            self._taken.setdefault(self._bin, set()).add(group)
            self._kept_in.append((self._bin, group))
        return ACCEPTED

    @override
    def verdicts(self, groups: list[int], reasons: list[str]) -> list[str]:
        best = max(self._windows(), key=lambda b: len(self._window(b)))
        seen: set[int] = set()
        final = []
        for group, reason, kept in zip(groups, reasons, self._kept_in, strict=True):
            if kept is None:
                final.append(reason)
            elif not best <= kept[0] < best + self._n_bins:
                final.append("window")
            else:
                final.append("repeated" if group in seen else ACCEPTED)
                seen.add(group)
        return final

    def _windows(self) -> set[int]:
        """First bins of all windows that hold something."""
        return {b for taken in self._taken for b in self._windows_of(taken)}

    def _windows_of(self, one_bin: int) -> range:
        return range(one_bin - self._n_bins + 1, one_bin + 1)

    def _window(self, first: int) -> set[int]:
        bins = (self._taken.get(first + i, set()) for i in range(self._n_bins))
        return set().union(*bins)


def _order(groups: IntArray, which: int, n_bins: int) -> IntArray:
    """Order groups by distance from where a bin of a window starts."""
    start = 0.0 if n_bins == 1 else which / (n_bins - 1) * (len(groups) - 1)
    return groups[np.argsort(np.abs(np.arange(len(groups)) - start), kind="stable")]
