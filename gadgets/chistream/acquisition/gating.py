"""Which heartbeats count: readouts between navigators, judged by where the diaphragm was."""

from dataclasses import dataclass

import numpy as np

from chistream.acquisition.navigator import (
    Template,
    displacements,
    learn_template,
    most_frequent,
)
from chistream.acquisition.readouts import Readout
from chistream.arrays import ComplexArray, IntArray, Mask, RealArray

_POST_NAVIGATOR_GAP = 0.25
"""A navigator this soon after the last line [s] still belongs to that heartbeat."""

_BANDWIDTH = 1 / 8
"""Positions this part of the window apart count as one: wider would lean towards inspiration."""

_DRIFT_HEARTBEATS = 12
"""Fewer heartbeats say nothing about a drift of end-expiration."""


@dataclass(frozen=True, eq=False)
class GatingReport:
    """What gating did.

    Parameters
    ----------
    method
        ``navigator`` or ``ungated``.
    reason
        Why the scan was not gated; empty if it was.
    n_heartbeats, n_accepted
        Heartbeats with imaging readouts and a navigator before them, and those within the window.
    efficiency
        Accepted part of the heartbeats, in [0, 1]; None without gating.
    window_mm
        Full width of the acceptance window around end-expiration [mm].
    displacements
        Displacement of each heartbeat ``(n_heartbeats,)`` from end-expiration, in time order [mm];
        NaN where its navigator could not be used.
    reference
        End-expiration relative to the first navigator [mm]; None without gating.
    drift_mm
        How far end-expiration moved from the first to the last third of the scan [mm]; None with
        fewer than 12 heartbeats.
    filled_from_rejected
        Lines that no accepted heartbeat measured and that the nearest rejected one provides.
    """

    method: str
    reason: str
    n_heartbeats: int
    n_accepted: int
    efficiency: float | None
    window_mm: float
    displacements: RealArray
    reference: float | None
    drift_mm: float | None
    filled_from_rejected: int


@dataclass(frozen=True, eq=False)
class Heartbeats:
    """Navigator readouts and the imaging readouts that follow each, by time.

    Parameters
    ----------
    displacement
        Mean of the navigators before and after ``(n,)`` [mm]; NaN if unusable.
    distance
        The larger distance of the two from end-expiration ``(n,)`` [mm]; inf if unusable.
    is_accepted
        Whether it lies in the window, with no more change during the heartbeat than allowed
        ``(n,)``.
    has_lines
        Whether imaging readouts follow ``(n,)``; other navigators are no heartbeats.
    """

    displacement: RealArray
    distance: RealArray
    is_accepted: Mask
    has_lines: Mask


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
    n = len(navigator_times)
    index = heartbeat_of(line_times, navigator_times)
    last_line = np.full(n, -np.inf)
    np.maximum.at(last_line, index[index >= 0], line_times[index >= 0])
    has_lines = np.isfinite(last_line)
    after = np.full(n, np.nan)
    gap = navigator_times[1:] - np.where(has_lines, last_line, np.inf)[:-1]
    is_post = has_lines[:-1] & ~has_lines[1:] & (gap <= _POST_NAVIGATOR_GAP)
    after[:-1][is_post] = measured[1:][is_post]
    is_single = np.ones(n, bool)
    is_single[:-1] = ~is_post
    after = np.where(is_single, measured, after)
    distance = np.maximum(np.abs(measured), np.abs(after))
    usable = np.isfinite(distance)
    distance = np.where(usable, distance, np.inf)
    change = np.where(usable, np.abs(measured - after), np.inf)
    is_accepted = (distance <= window / 2) & (change <= max_change)
    return Heartbeats((measured + after) / 2, distance, is_accepted, has_lines)


class NavigatorTrack:
    """Navigator readouts as they come, until end-expiration is learnt; displacements from then on.

    Parameters
    ----------
    column
        Length of the navigator's column [mm].
    window
        Full width of the acceptance window [mm].
    """

    def __init__(self, column: float, window: float) -> None:
        self._column, self._window = column, window
        self._times: list[float] = []
        self._samples: dict[int, ComplexArray] = {}
        self._measured: list[float] = []
        self._template: Template | None = None
        self.n_unusable = 0

    def __len__(self) -> int:
        return len(self._times)

    @property
    def is_learnt(self) -> bool:
        """Whether end-expiration is known."""
        return self._template is not None

    @property
    def reference(self) -> float | None:
        """End-expiration relative to the first navigator [mm], once it is learnt."""
        return None if self._template is None else self._template.first

    def add(self, readout: Readout, time: float) -> None:
        """Take in a navigator readout; one that is not finite keeps only its time."""
        self._times.append(time)
        self._measured.append(np.nan)
        if np.isfinite(readout.samples).all() and readout.samples.any():
            self._samples[len(self._times) - 1] = np.array(readout.samples)
            if self._template is not None:
                self._measure(self._template)
        else:
            self.n_unusable += 1

    def learn(self, until: float, noise_variances: RealArray | None) -> bool:
        """Learn end-expiration from the navigators up to a time, and measure all of them.

        Parameters
        ----------
        until
            Time of the last navigator to learn from [s].
        noise_variances
            Noise of each coil ``(coils,)``, or None.

        Returns
        -------
        bool
            False if there is no usable navigator until then.
        """
        order = sorted((self._times[i], i) for i in self._samples if self._times[i] <= until)
        if not order:
            return False
        shape = self._samples[order[0][1]].shape
        chosen = np.stack([self._samples[i] for _, i in order if self._samples[i].shape == shape])
        if noise_variances is not None and len(noise_variances) != shape[0]:
            noise_variances = None
        self._template = learn_template(
            chosen, self._column, _BANDWIDTH * self._window, noise_variances
        )
        self._shape = shape
        self._measure(self._template)
        return True

    def by_time(self) -> tuple[RealArray, RealArray]:
        """Return times [s], ascending, and displacements [mm] of all navigators."""
        times = np.array(self._times)
        order = np.argsort(times, kind="stable")
        return times[order], np.array(self._measured)[order]

    def _measure(self, template: Template) -> None:
        for index, samples in self._samples.items():
            if samples.shape == self._shape:
                (self._measured[index],) = displacements(samples[None], template)
            else:
                self.n_unusable += 1
        self._samples.clear()


def report_gating(
    beats: Heartbeats, window: float, reference: float | None, filled_from_rejected: int
) -> GatingReport:
    """Sum up a gated scan.

    Parameters
    ----------
    beats
        All heartbeats, in time order.
    window
        Full width of the acceptance window [mm].
    reference
        End-expiration relative to the first navigator [mm].
    filled_from_rejected
        Lines taken from rejected heartbeats.

    Returns
    -------
    GatingReport
        The figures for people and for the report page.
    """
    found = beats.displacement[beats.has_lines]
    n_accepted = int(beats.is_accepted[beats.has_lines].sum())
    return GatingReport(
        method="navigator",
        reason="",
        n_heartbeats=len(found),
        n_accepted=n_accepted,
        efficiency=n_accepted / len(found) if len(found) else None,
        window_mm=window,
        displacements=found.astype(np.float32),
        reference=reference,
        drift_mm=_drift(found[np.isfinite(found)], _BANDWIDTH * window),
        filled_from_rejected=filled_from_rejected,
    )


def report_ungated(reason: str, window: float) -> GatingReport:
    """Sum up a scan that was not gated, and say why.

    Parameters
    ----------
    reason
        Why not, in words a radiographer understands.
    window
        Full width of the window that would have been used [mm].

    Returns
    -------
    GatingReport
        Without figures.
    """
    nothing = np.zeros(0, np.float32)
    return GatingReport("ungated", reason, 0, 0, None, window, nothing, None, None, 0)


def _drift(found: RealArray, bandwidth: float) -> float | None:
    if len(found) < _DRIFT_HEARTBEATS:
        return None
    third = len(found) // 3
    return most_frequent(found[-third:], bandwidth) - most_frequent(found[:third], bandwidth)
