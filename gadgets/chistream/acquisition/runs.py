"""Runs of imaging readouts: what their heads say, heartbeat by heartbeat."""

import math
from typing import NamedTuple

import numpy as np

from chistream.arrays import RealArray

_LARGEST_GAP = 0.1
"""Readouts farther apart [s] belong to two runs."""

_LONGEST = 0.35
"""A run that lasts longer [s] is divided: the patient breathes meanwhile."""

_SAME_TRIGGER = 0.05
"""Triggers closer than this [s] are one, as far as its stamps can tell."""


class Run(NamedTuple):
    """Readouts of one heartbeat.

    Parameters
    ----------
    start, end
        Times of its first and last readout [s].
    trigger
        Time of the trigger before it [s]; NaN if unknown.
    position
        The number that tells the position; NaN if none does.
    kept
        The scanner's verdict; NaN if it gave none.
    """

    start: float
    end: float
    trigger: float
    position: float
    kept: float

    def goes_on(self, later: "Run") -> bool:
        """Tell whether another run, that starts later, is the same heartbeat."""
        return (
            later.start - self.end <= _LARGEST_GAP
            and later.start - self.start <= _LONGEST
            and _same(self.trigger, later.trigger, _SAME_TRIGGER)
            and _same(self.position, later.position)
            and _same(self.kept, later.kept)
        )


class RunLog:
    """Runs as readouts come; in any order, but cheap only in the order of time."""

    def __init__(self) -> None:
        self._runs: list[Run] = []
        self._in_order = True

    def note(self, readout: Run) -> None:
        """Take note of one readout, as a run of its own."""
        self._in_order = self._in_order and (
            not self._runs or readout.start >= self._runs[-1].start
        )
        _append(self._runs, readout, may_merge=self._in_order)

    def runs(self) -> list[Run]:
        """Return all runs, in the order of time."""
        if self._in_order:
            return self._runs
        merged: list[Run] = []
        for run in sorted(self._runs):
            _append(merged, run, may_merge=True)
        return merged

    def triggers(self, until: float = np.inf) -> RealArray:
        """Return the triggers of all runs that start up to a time ``(n,)``, ascending [s]."""
        runs = [run for run in self.runs() if run.start <= until]
        times = np.sort([run.trigger for run in runs if np.isfinite(run.trigger)])
        is_new = np.diff(times, prepend=-np.inf) > _SAME_TRIGGER
        return times[is_new]


def _append(runs: list[Run], later: Run, *, may_merge: bool) -> None:
    if may_merge and runs and runs[-1].goes_on(later):
        runs[-1] = runs[-1]._replace(end=max(runs[-1].end, later.end))
    else:
        runs.append(later)


def _same(one: float, other: float, tolerance: float = 0.0) -> bool:
    return abs(one - other) <= tolerance or (math.isnan(one) and math.isnan(other))
