"""Which lines a heartbeat takes, and whether the scanner keeps them."""

from abc import ABC, abstractmethod

import numpy as np
from typing_extensions import override

from chistream.arrays import IntArray, RealArray
from chistream_simulator.case import Case

ACCEPTED = ""
"""Reason for rejection of a heartbeat that is not rejected."""

FOLLOWED_BEATS = 30
FOLLOWED_PART = 0.1
"""A reference that follows is this quantile of as many last readings before a heartbeat's data."""


class Gate(ABC):
    """What the scanner does with the navigators' readings, heartbeat by heartbeat.

    Parameters
    ----------
    case
        Settings of the gating.
    n_groups
        Groups of lines to take.
    """

    def __init__(self, case: Case, n_groups: int) -> None:
        self._case = case
        self._n_groups = n_groups

    @property
    @abstractmethod
    def done(self) -> bool:
        """Whether the scan has all its lines."""

    @property
    @abstractmethod
    def n_done(self) -> int:
        """Groups that the scan has."""

    @abstractmethod
    def choose(self, reading: float) -> int:
        """Choose the group of lines to take after a navigator's reading [mm]."""

    @abstractmethod
    def keep(self, group: int, readings: RealArray) -> str:
        """Take note of a steady heartbeat; return why it is rejected, or ACCEPTED."""

    def judge(self, group: int, readings: RealArray, rr: float) -> str:
        """Judge a heartbeat.

        Parameters
        ----------
        group
            What it took.
        readings
            Of its navigators ``(0..2,)`` [mm].
        rr
            Until the next trigger that was seen [s].

        Returns
        -------
        str
            Why it is rejected: ``rr`` (irregular heartbeat), ``change`` (between the navigators),
            ``window``; or ACCEPTED.
        """
        case = self._case
        if case.rr_tolerance and abs(rr / case.rr_interval - 1) > case.rr_tolerance:
            return "rr"
        if len(readings) > 1 and np.ptp(readings) > case.max_navigator_change:
            return "change"
        return self.keep(group, readings)

    def verdicts(self, groups: list[int], reasons: list[str]) -> list[str]:  # noqa: ARG002
        """Return the final reasons of all heartbeats, in the light of the whole scan."""
        return reasons


class WindowGate(Gate):
    """Accept or reject: a group is repeated until it was taken inside the window.

    The window lies around the end-expiratory position at the start of the scan, or, if it follows,
    around the lowest readings of the last half minute.
    """

    def __init__(self, case: Case, n_groups: int) -> None:
        super().__init__(case, n_groups)
        self._next = 0
        self._last: list[float] = []

    @property
    @override
    def done(self) -> bool:
        return self._next >= self._n_groups

    @property
    @override
    def n_done(self) -> int:
        return self._next

    @override
    def choose(self, reading: float) -> int:
        self._last = [*self._last[1 - FOLLOWED_BEATS :], reading]
        return self._next

    @override
    def keep(self, group: int, readings: RealArray) -> str:
        away = np.abs(readings - self._reference())
        if away.size and away.max() > self._case.gating_window / 2:
            return "window"
        self._next = group + 1
        return ACCEPTED

    def _reference(self) -> float:
        # Few readings say nothing of the end of a breath.
        if not self._case.gating_follows or len(self._last) < FOLLOWED_BEATS // 3:
            return 0.0
        return float(np.quantile(self._last, FOLLOWED_PART))


class NoGate(Gate):
    """Acquire everything: each line as often as there are passes, whatever the patient does.

    Later passes start with another group, so that, if breathing were regular, a line's passes
    would fall into different parts of a breath, spread evenly.
    """

    def __init__(self, case: Case, n_groups: int) -> None:
        super().__init__(case, n_groups)
        turns = [np.roll(np.arange(n_groups), -self._start(p)) for p in range(case.passes)]
        self._queue: IntArray = np.concatenate(turns)
        self._n_taken = 0

    @property
    @override
    def done(self) -> bool:
        return self._n_taken >= len(self._queue)

    @property
    @override
    def n_done(self) -> int:
        return self._n_taken // self._case.passes

    @override
    def choose(self, reading: float) -> int:
        return int(self._queue[self._n_taken])

    @override
    def judge(self, group: int, readings: RealArray, rr: float) -> str:
        return self.keep(group, readings)

    @override
    def keep(self, group: int, readings: RealArray) -> str:
        self._n_taken += 1
        return ACCEPTED

    def _start(self, one_pass: int) -> int:
        """Find the group that brings a pass nearest to its own share of a breath."""
        case = self._case
        starts = np.arange(min(self._n_groups, int(case.breathing_period / case.rr_interval) + 2))
        later = (one_pass * self._n_groups - starts) * case.rr_interval / case.breathing_period
        off = (later - one_pass / case.passes + 0.5) % 1 - 0.5
        return int(np.abs(off).argmin())
