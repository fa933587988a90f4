"""Where the acceptance window lies: at end-expiration, after its drift, or wherever it is best."""

import numpy as np

from chistream.acquisition.gating_options import Scheme
from chistream.acquisition.navigator import most_frequent
from chistream.arrays import IntArray, RealArray

_FOLLOWED_TIME = 45.0
"""End-expiration is that of so much time before a heartbeat [s]: some ten breaths."""

_FEWEST_FOLLOWED = 12
"""Measurements that end-expiration is found from again."""

_WIDEST = 4.0
"""The smallest complete window may be so many times as wide as the usual one."""

_NARROWEST = 1 / 2
"""And at least so wide: navigators are no more exact, and what is averaged has less noise."""

COMPLETE = 0.98
"""Part of k-space that a window has to complete: the last few lines would double its width."""


class FollowedReference:
    """End-expiration as it drifts, from the past alone: what was decided stays.

    Parameters
    ----------
    bandwidth
        Width [mm] within which positions count as equally frequent.
    """

    def __init__(self, bandwidth: float) -> None:
        self._bandwidth = bandwidth
        self._times: RealArray = np.zeros(0)
        self._found: RealArray = np.zeros(0)

    def at(self, times: RealArray, measured: RealArray) -> RealArray:
        """Find end-expiration at each measurement.

        Parameters
        ----------
        times
            Times of measurements ``(n,)``, ascending [s].
        measured
            Displacements ``(n,)`` [mm]; NaN if unknown.

        Returns
        -------
        RealArray
            ``(n,)`` [mm]; 0 until there are enough.
        """
        n = len(self._times)
        if len(times) < n or not np.array_equal(times[:n], self._times):
            n = 0  # something came late: once more from the beginning
        found = np.concatenate([self._found[:n], np.zeros(len(times) - n)])
        for i in range(n, len(times)):
            first = int(np.searchsorted(times, times[i] - _FOLLOWED_TIME))
            recent = measured[first : i + 1]
            recent = recent[np.isfinite(recent)]
            if len(recent) >= _FEWEST_FOLLOWED:
                found[i] = most_frequent(recent, self._bandwidth)
        self._times, self._found = times, found
        return found


def choose_window(
    positions: RealArray, lines: IntArray, scheme: Scheme, usual: tuple[float, float]
) -> tuple[float, float]:
    """Choose the window among all that was measured.

    Parameters
    ----------
    positions, lines
        As in `smallest_window`; there may be none.
    scheme
        ``smallest`` or ``two_bin``.
    usual
        Ends of the usual window, which is taken where nothing was measured [mm].

    Returns
    -------
    tuple[float, float]
        Lowest and highest position [mm].
    """
    width = usual[1] - usual[0]
    if not len(positions):
        return usual
    if scheme == "two_bin":
        return best_bins(positions, lines, width)
    low, high = smallest_window(positions, lines, _WIDEST * width)
    wider = max(0.0, _NARROWEST * width - (high - low)) / 2
    return low - wider, high + wider


def smallest_window(positions: RealArray, lines: IntArray, largest: float) -> tuple[float, float]:
    """Find the smallest range of positions that completes k-space.

    Parameters
    ----------
    positions
        Position at which a line was measured ``(n,)`` [mm], n >= 1; lines may repeat.
    lines
        Number of the line ``(n,)``, >= 0.
    largest
        Largest width [mm]: if none completes k-space, the window of this width with most lines.

    Returns
    -------
    tuple[float, float]
        Lowest and highest position.

    Notes
    -----
    Two ends run through the sorted positions, and count the lines between them: continuously
    adaptive windowing (CLAWS), after the fact. Complete means 98 % of the lines that there are.

    References
    ----------
    .. [1] Jhooti P, Haas T, Kawel N, Bremerich J, Keegan J, Scheffler K. Use of respiratory
       biofeedback and CLAWS for increased navigator efficiency for imaging the thoracic aorta.
       Magn Reson Med. 2011;66(6):1666-1673.

    Examples
    --------
    >>> smallest_window(np.array([0.0, 4.0, 5.0, 9.0]), np.array([0, 1, 0, 1]), 20.0)
    (4.0, 5.0)
    """
    order = np.argsort(positions, kind="stable")
    where, line = positions[order].tolist(), lines[order].tolist()
    enough = int(np.ceil(COMPLETE * len(set(line))))
    counts = [0] * (max(line) + 1)
    best, n_held, first = _rank(0, enough, where[0], where[0]), 0, 0
    for last, one in enumerate(line):
        n_held += counts[one] == 0
        counts[one] += 1
        while where[last] - where[first] > largest or (
            counts[line[first]] > 1 or n_held - 1 >= enough
        ):
            counts[line[first]] -= 1
            n_held -= counts[line[first]] == 0
            first += 1
        best = max(best, _rank(n_held, enough, where[first], where[last]), key=lambda r: r[:2])
    return best[2], best[3]


def best_bins(positions: RealArray, lines: IntArray, window: float) -> tuple[float, float]:
    """Choose the two neighbouring bins of position that hold most lines of k-space.

    Parameters
    ----------
    positions
        Position at which a line was measured ``(n,)`` [mm], n >= 1; lines may repeat.
    lines
        Number of the line ``(n,)``.
    window
        Width of both bins together [mm]; one pair of them lies around 0.

    Returns
    -------
    tuple[float, float]
        Lowest and highest position; of equals those nearest to 0.

    References
    ----------
    .. [1] Jhooti P, et al. Phase ordering with automatic window selection (PAWS): a novel
       motion-resistant technique for 3D coronary imaging. Magn Reson Med. 2000;43(3):470-480.

    Examples
    --------
    >>> best_bins(np.array([-1.0, 3.0, 4.0, 9.0]), np.array([0, 1, 0, 1]), 4.0)
    (2.0, 6.0)
    """
    half = window / 2
    bins = np.floor(positions / half).astype(int)
    best, chosen = (-1, -np.inf), 0
    for low in range(int(bins.min()) - 1, int(bins.max()) + 1):
        held = lines[(bins == low) | (bins == low + 1)]
        rank = (len(np.unique(held)), -abs(low + 1.0))
        if rank > best:
            best, chosen = rank, low
    return chosen * half, (chosen + 2) * half


def _rank(n_held: int, enough: int, low: float, high: float) -> tuple[int, float, float, float]:
    """More lines are better, up to those that are enough; then less width."""
    return min(n_held, enough), low - high, low, high
