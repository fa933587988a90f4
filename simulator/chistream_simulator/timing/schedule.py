"""What happens when in a scan, where the patient is then, and what the scanner keeps."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from chistream.arrays import IntArray, RealArray
from chistream.errors import SettingsError
from chistream_simulator.case import Case
from chistream_simulator.timing.breathing import Breathing, breathe
from chistream_simulator.timing.gating import ACCEPTED, Gate, NoGate, WindowGate
from chistream_simulator.timing.lines import LinePlan, Purpose, plan_lines
from chistream_simulator.timing.orders import group_lines
from chistream_simulator.timing.paws import PawsGate
from chistream_simulator.timing.rhythm import Rhythm, make_rhythm
from chistream_simulator.timing.states import MotionStates, choose_states

START_OF_SCAN = 36_000.0
"""Time of day of the first R peak [s since midnight]: ten o'clock."""

MAX_BEATS_FACTOR = 20
"""A scan that needs this many times its fewest heartbeats is given up."""


@dataclass(frozen=True)
class Heartbeat:
    """What the scanner does in one heartbeat that it was triggered by.

    Parameters
    ----------
    r_peak
        Time of the R peak that triggers it [s from the first one].
    rr
        From there to the next R peak, seen or not [s].
    lines
        Places ``(views, 2)`` of the lines (kz, ky) on the grid of k-space, in the order of their
        acquisition; `LinePlan.counters` turns them into what heads carry.
    purposes
        Purpose of each line ``(views,)``.
    line_times
        Start of each line ``(views,)`` [s].
    line_descents
        Diaphragm below end-expiration at each line ``(views,)`` [mm].
    line_contractions
        Contraction of the ventricles at each line ``(views,)``.
    navigator_times
        Start of each navigator ``(0..2,)`` [s].
    descents
        Diaphragm below end-expiration at each navigator ``(0..2,)`` [mm].
    tracked_descent
        How far the scanner moved the slab after the navigator before the lines, downwards [mm].
    reason
        Why the scanner rejects it: ``window``, ``change`` (between the navigators), ``rr``
        (irregular heartbeat), ``repeated``; empty if it does not.
    is_ectopic
        Whether an ectopic beat triggers it, or comes before its data end.
    end
        End of its data [s].
    """

    r_peak: float
    rr: float
    lines: IntArray
    purposes: IntArray
    line_times: RealArray
    line_descents: RealArray
    line_contractions: RealArray
    navigator_times: RealArray
    descents: RealArray
    tracked_descent: float
    reason: str
    is_ectopic: bool
    end: float

    @property
    def accepted(self) -> bool:
        """Whether the scanner keeps it; if not, its lines come in another heartbeat."""
        return self.reason == ACCEPTED


@dataclass(frozen=True)
class Schedule:
    """A whole scan.

    Parameters
    ----------
    beats
        The heartbeats with data, in the order of time. R peaks between them were not seen, or came
        while the scanner was busy.
    breathing, rhythm
        What the patient does all the time.
    plan
        The lines to take.
    states
        The positions that k-space is made for.
    duration
        From the first R peak to the end of the last data [s].
    """

    beats: tuple[Heartbeat, ...]
    breathing: Breathing
    rhythm: Rhythm
    plan: LinePlan
    states: MotionStates
    duration: float

    def summary(self) -> dict[str, Any]:
        """Count what happened.

        Returns
        -------
        dict
            ``heartbeats`` with data and how many of them were ``accepted``; ``efficiency``, their
            ratio; ``rejected``, how many for each reason; ``duration`` [s]; ``rr_mean`` and
            ``rr_sd`` [s], ``ectopic`` and ``missed_triggers`` among all R peaks in that time;
            ``motion_states``, and ``state_distance``, how far lines lie from the states that they
            are mixed from [mm]: root mean square over accepted lines, and the largest of all.
        """
        reasons = Counter(b.reason for b in self.beats)
        during = self.rhythm.peaks < self.duration
        intervals = np.diff(self.rhythm.peaks)[during[:-1]]
        kept = np.repeat([b.accepted for b in self.beats], [len(b.lines) for b in self.beats])
        distances = self.states.distances(*_positions(self.beats))
        accepted = distances[kept] if kept.any() else distances
        return {
            "heartbeats": len(self.beats),
            "accepted": reasons[ACCEPTED],
            "efficiency": reasons.pop(ACCEPTED, 0) / len(self.beats),
            "rejected": dict(reasons),
            "duration": self.duration,
            "rr_mean": float(intervals.mean()),
            "rr_sd": float(intervals.std()),
            "ectopic": int(self.rhythm.ectopic[during].sum()),
            "missed_triggers": int((~self.rhythm.seen)[during].sum()),
            "motion_states": len(self.states.poses),
            "state_distance": (float(np.sqrt(np.mean(accepted**2))), float(distances.max())),
        }


def plan_scan(case: Case) -> Schedule:
    """Plan every heartbeat of a scan.

    Parameters
    ----------
    case
        The scan.

    Returns
    -------
    Schedule
        Every line (but those left out) lies in an accepted heartbeat; rejected heartbeats stay in
        it with their lines, as on a scanner that keeps all data.

    Raises
    ------
    SettingsError
        If the patient is where the gating wants him too rarely for the scan to end, or if there
        are no lines to take.
    """
    rng = np.random.default_rng([case.seed, 1])
    plan = plan_lines(case)
    groups = group_lines(plan, case, rng)
    if not groups:
        raise SettingsError("a scan takes lines, and missing_lines leaves out all of them")
    limit = MAX_BEATS_FACTOR * len(groups) * case.passes
    breathing = _breathing(case, 1.1 * limit * case.rr_interval, rng)
    rhythm = make_rhythm(
        limit,
        rr_interval=case.rr_interval,
        rr_jitter=case.rr_jitter,
        sinus_arrhythmia=case.sinus_arrhythmia,
        ectopic_rate=case.ectopic_rate,
        missed_trigger_rate=case.missed_trigger_rate,
        breathing=breathing,
        rng=rng,
    )
    gate = _gate(case, plan, groups)
    trials = _run(case, breathing, rhythm, gate, groups)
    if not gate.done:
        raise SettingsError(_never_ends(case, len(trials), gate.n_done, len(groups)))
    reasons = gate.verdicts([t.group for t in trials], [t.reason for t in trials])
    beats = tuple(
        _heartbeat(case, plan, groups[trial.group], trial, reason, breathing, rhythm)
        for trial, reason in zip(trials, reasons, strict=True)
    )
    return Schedule(beats, breathing, rhythm, plan, _states(case, beats), trials[-1].end)


@dataclass(frozen=True)
class _Trial:
    """A heartbeat's place in time, before its lines are worked out."""

    peak: int
    group: int
    line_times: RealArray
    navigator_times: RealArray
    readings: RealArray
    end: float
    reason: str


def _run(
    case: Case, breathing: Breathing, rhythm: Rhythm, gate: Gate, groups: list[IntArray]
) -> list[_Trial]:
    trials: list[_Trial] = []
    free_at = 0.0
    peaks = np.flatnonzero(rhythm.seen)
    for peak, following in zip(peaks[:-1].tolist(), peaks[1:].tolist(), strict=True):
        if gate.done:
            break
        r_peak = float(rhythm.peaks[peak])
        if r_peak < free_at:
            continue  # the scanner is still busy with an earlier heartbeat
        until_next = float(rhythm.peaks[following]) - r_peak
        trials.append(_trial(case, breathing, gate, groups, peak, r_peak, until_next))
        free_at = trials[-1].end
    return trials


def _trial(
    case: Case,
    breathing: Breathing,
    gate: Gate,
    groups: list[IntArray],
    peak: int,
    r_peak: float,
    until_next: float,
) -> _Trial:
    start = r_peak + case.trigger_delay
    before = np.array([start] if case.navigated else [])
    reading = breathing.descent(before)
    group = gate.choose(float(reading[0]) if case.navigated else 0.0)
    first_line = start + case.navigator_duration * len(before)
    line_times = first_line + case.TR * np.arange(len(groups[group]))
    end = first_line + case.TR * len(line_times)
    after = np.array([end] if case.navigators == "both" else [])
    readings = np.concatenate([reading, breathing.descent(after)])
    reason = gate.judge(group, readings, until_next)
    end += case.navigator_duration * len(after)
    times = np.concatenate([before, after])
    return _Trial(peak, group, line_times, times, readings, end, reason)


def _heartbeat(
    case: Case,
    plan: LinePlan,
    group: IntArray,
    trial: _Trial,
    reason: str,
    breathing: Breathing,
    rhythm: Rhythm,
) -> Heartbeat:
    peaks = rhythm.peaks
    tracked = case.prospective_tracking * float(trial.readings[0]) if case.navigated else 0.0
    return Heartbeat(
        r_peak=float(peaks[trial.peak]),
        rr=float(peaks[trial.peak + 1] - peaks[trial.peak]),
        lines=plan.lines[group],
        purposes=plan.purposes[group],
        line_times=trial.line_times,
        line_descents=breathing.descent(trial.line_times),
        line_contractions=rhythm.contraction(trial.line_times),
        navigator_times=trial.navigator_times,
        descents=trial.readings,
        tracked_descent=tracked,
        reason=reason,
        is_ectopic=bool(rhythm.ectopic[trial.peak : np.searchsorted(peaks, trial.end)].any()),
        end=trial.end,
    )


def _breathing(case: Case, duration: float, rng: np.random.Generator) -> Breathing:
    return breathe(
        duration,
        amplitude=case.breathing_amplitude,
        period=case.breathing_period,
        dwell=case.breathing_dwell,
        irregularity=case.breathing_irregularity,
        drift=case.breathing_drift,
        cough_rate=case.cough_rate,
        cough_amplitude=case.cough_amplitude,
        end_jitter=case.breathing_end_jitter,
        rng=rng,
    )


def _gate(case: Case, plan: LinePlan, groups: list[IntArray]) -> Gate:
    if case.gating == "none":
        return NoGate(case, len(groups))
    if case.gating == "window":
        return WindowGate(case, len(groups))
    separate = case.calibration == "separate"
    first = sum(plan.purposes[g[0]] == Purpose.CALIBRATION for g in groups) if separate else 0
    return PawsGate(case, len(groups), int(first))


def _never_ends(case: Case, n_beats: int, n_done: int, n_groups: int) -> str:
    bins = "one run of neighbouring bins of " if case.gating == "paws" else ""
    drift = f", drift less than breathing_drift {case.breathing_drift} mm/min"
    rr = f", or allow more than rr_tolerance {case.rr_tolerance}"
    return (
        f"after {n_beats} heartbeats only {n_done} of {n_groups} lay in {bins}the gating_window of "
        f"{case.gating_window} mm: widen it, or breathe less than breathing_amplitude "
        f"{case.breathing_amplitude} mm{drift if case.breathing_drift else ''}"
        f"{rr if case.rr_tolerance else ''}"
    )


def _states(case: Case, beats: tuple[Heartbeat, ...]) -> MotionStates:
    if case.phantom != "chest":
        return MotionStates()
    descents, contractions = _positions(beats)
    accepted = np.repeat([b.accepted for b in beats], [len(b.lines) for b in beats])
    return choose_states(
        descents,
        contractions,
        accepted,
        n_breathing=case.motion_states,
        n_beating=case.heart_states,
    )


def _positions(beats: tuple[Heartbeat, ...]) -> tuple[RealArray, RealArray]:
    return (
        np.concatenate([b.line_descents for b in beats]),
        np.concatenate([b.line_contractions for b in beats]),
    )
