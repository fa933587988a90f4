"""Heartbeats: which navigators and readouts belong together, and which of them count."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from chistream.arrays import IntArray, Mask, RealArray

_POST_NAVIGATOR_GAP = 0.25
"""A navigator this soon after the last line [s] still belongs to that heartbeat."""

_FEWEST_TRIGGERS = 5
"""Fewer triggers say nothing about a usual RR interval."""


class Verdict(IntEnum):
    """Whether a heartbeat counts, and why not; in this order, the first that applies."""

    ACCEPTED = 0
    UNKNOWN = 1
    RHYTHM = 2
    CHANGE = 3
    WINDOW = 4
    SCANNER = 5

    @property
    def words(self) -> str:
        """The reason for people."""
        return _WORDS[self]


_WORDS = {
    Verdict.ACCEPTED: "accepted",
    Verdict.UNKNOWN: "no usable navigator",
    Verdict.RHYTHM: "irregular heartbeat",
    Verdict.CHANGE: "moved during the heartbeat",
    Verdict.WINDOW: "outside the window",
    Verdict.SCANNER: "rejected by the scanner",
}


@dataclass(frozen=True, eq=False)
class Heartbeats:
    """Navigators and the imaging readouts that follow each, by time.

    Parameters
    ----------
    displacement
        Mean of the navigators before and after ``(n,)`` [mm]; NaN if unusable.
    distance
        The larger distance of the two from where the heartbeat is wanted ``(n,)`` [mm]; inf if it
        is unusable.
    verdict
        A `Verdict` for each ``(n,)``.
    has_lines
        Whether imaging readouts follow ``(n,)``; other navigators are no heartbeats.
    """

    displacement: RealArray
    distance: RealArray
    verdict: IntArray
    has_lines: Mask

    @property
    def is_accepted(self) -> Mask:
        """Heartbeats that count ``(n,)``."""
        accepted: Mask = self.verdict == Verdict.ACCEPTED
        return accepted

    @property
    def is_steady(self) -> Mask:
        """Heartbeats that count, or would in a window elsewhere ``(n,)``."""
        steady: Mask = (self.verdict == Verdict.ACCEPTED) | (self.verdict == Verdict.WINDOW)
        return steady


def heartbeat_of(times: RealArray, navigator_times: RealArray) -> IntArray:
    """Find the navigator before each readout.

    Parameters
    ----------
    times
        Times of readouts ``(n,)`` [s].
    navigator_times
        Times of navigators, ascending [s].

    Returns
    -------
    IntArray
        Index of the last navigator that is not later ``(n,)``; -1 if there is none. At equal times
        the navigator came first.
    """
    index: IntArray = np.searchsorted(navigator_times, times, side="right") - 1
    return index


def judge_heartbeats(
    navigator_times: RealArray,
    measured: RealArray,
    line_times: RealArray,
    *,
    window: float,
    max_change: float,
    wanted: RealArray | float = 0.0,
    is_regular: Mask | None = None,
    is_kept: Mask | None = None,
) -> Heartbeats:
    """Judge every heartbeat by the navigator before it and, if there is one, after it.

    Parameters
    ----------
    navigator_times
        Times of the navigators ``(n,)``, ascending [s].
    measured
        Their displacements ``(n,)`` from end-expiration [mm]; NaN if unusable.
    line_times
        Times of all imaging readouts, in any order [s].
    window
        Full width of the acceptance window [mm].
    max_change
        Largest difference between the two navigators [mm].
    wanted
        Middle of the window at each navigator ``(n,)`` [mm].
    is_regular
        Whether the rhythm is regular at each navigator ``(n,)``; None if it always is.
    is_kept
        What the scanner itself accepted ``(n,)``; it stands in place of the window and of what
        navigators say. None if it did not judge.

    Returns
    -------
    Heartbeats
        One entry for each navigator.

    Notes
    -----
    A navigator comes *after* a heartbeat if it follows its last readout within 0.25 s and no
    imaging readout follows before the next navigator; otherwise it is the one before the next
    heartbeat, and says nothing about this one.
    """
    after, has_lines = _after(navigator_times, measured, line_times)
    distance = np.maximum(np.abs(measured - wanted), np.abs(after - wanted))
    usable = np.isfinite(distance)
    verdict = np.full(len(measured), int(Verdict.ACCEPTED))
    verdict[~(distance <= window / 2)] = Verdict.WINDOW
    verdict[~(np.abs(measured - after) <= max_change)] = Verdict.CHANGE
    if is_regular is not None:
        verdict[~is_regular] = Verdict.RHYTHM
    verdict[~usable] = Verdict.UNKNOWN
    if is_kept is not None:
        verdict = np.where(is_kept, int(Verdict.ACCEPTED), int(Verdict.SCANNER))
    distance = np.where(usable, distance, np.inf)
    return Heartbeats((measured + after) / 2, distance, verdict, has_lines)


def regular_triggers(triggers: RealArray, usual: float | None, tolerance: float) -> Mask:
    """Tell which heartbeats lie in a regular rhythm.

    Parameters
    ----------
    triggers
        Times of the triggers ``(n,)``, ascending [s].
    usual
        The usual RR interval [s]; None calls all regular.
    tolerance
        Largest deviation, as a part of it; 0 calls all regular.

    Returns
    -------
    Mask
        ``(n,)``: False for a heartbeat whose own RR interval or the one before it is off. So an
        early beat costs the one that it cuts short, itself, and the one after its pause. Whole
        multiples are triggers that the scanner did not use, and regular.

    Examples
    --------
    >>> times = np.array([0.0, 0.9, 1.8, 2.3, 3.6, 4.5, 6.3])
    >>> regular_triggers(times, 0.9, 0.25).tolist()
    [True, True, False, False, False, True, True]
    """
    if usual is None or not tolerance:
        return np.ones(len(triggers), bool)
    ratio = np.diff(triggers) / usual
    off = np.abs(ratio - np.maximum(np.rint(ratio), 1)) > tolerance
    regular = np.ones(len(triggers), bool)
    regular[:-1] &= ~off
    regular[1:] &= ~off
    return regular


def usual_interval(triggers: RealArray) -> float | None:
    """Return the median RR interval [s], None with fewer than five triggers."""
    return float(np.median(np.diff(triggers))) if len(triggers) >= _FEWEST_TRIGGERS else None


def _after(
    navigator_times: RealArray, measured: RealArray, line_times: RealArray
) -> tuple[RealArray, Mask]:
    """Displacement after each heartbeat, its own where none was measured, and which have lines."""
    n = len(navigator_times)
    index = heartbeat_of(line_times, navigator_times)
    last_line = np.full(n, -np.inf)
    np.maximum.at(last_line, index[index >= 0], line_times[index >= 0])
    has_lines = np.isfinite(last_line)
    after = measured.copy()
    gap = navigator_times[1:] - np.where(has_lines, last_line, np.inf)[:-1]
    is_post = has_lines[:-1] & ~has_lines[1:] & (gap <= _POST_NAVIGATOR_GAP)
    after[:-1][is_post] = measured[1:][is_post]
    return after, has_lines
