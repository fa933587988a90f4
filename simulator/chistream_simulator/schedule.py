"""Which lines are taken in which heartbeat, where the patient is then, and what is accepted."""

from dataclasses import dataclass

import numpy as np

from chistream.arrays import IntArray, RealArray
from chistream.errors import SettingsError
from chistream_simulator.case import Case
from chistream_simulator.physiology import Breathing, breathe, heartbeats

START_OF_SCAN = 36_000.0
"""Time of day of the first R peak [s since midnight]: ten o'clock."""

MAX_BEATS_FACTOR = 20
"""A scan that needs this many times its fewest heartbeats is given up."""

MAX_CHANGE = 2.0
"""Largest change between the navigators before and after a heartbeat that is accepted [mm]."""


@dataclass(frozen=True)
class Heartbeat:
    """What happens in one heartbeat.

    Parameters
    ----------
    r_peak
        Time of the R peak that triggers it [s from the first one].
    lines
        Counters ``(views, 2)`` of the lines (kz, ky) in the order of their acquisition.
    line_times
        Start of each line ``(views,)`` [s].
    navigator_times
        Start of each navigator ``(0..2,)`` [s].
    descents
        Diaphragm below end-expiration at each navigator ``(0..2,)`` [mm].
    line_descents
        The same at each line ``(views,)`` [mm].
    accepted
        Whether the scanner keeps it; if not, the lines are taken again.
    """

    r_peak: float
    lines: IntArray
    line_times: RealArray
    navigator_times: RealArray
    descents: RealArray
    line_descents: RealArray
    accepted: bool


@dataclass(frozen=True)
class Schedule:
    """A whole scan: its heartbeats, the breathing, and the positions that k-space is made for.

    Parameters
    ----------
    beats
        In the order of time.
    breathing
        The patient's breathing.
    states
        Descents of the diaphragm [mm] that stand for all others, ascending from 0.
    """

    beats: tuple[Heartbeat, ...]
    breathing: Breathing
    states: RealArray

    def state_of(self, descents: RealArray) -> IntArray:
        """Index of the nearest state of each descent."""
        nearest: IntArray = np.abs(descents[:, None] - self.states).argmin(axis=1)
        return nearest


def plan_scan(case: Case) -> Schedule:
    """Plan every heartbeat of a scan.

    Parameters
    ----------
    case
        The scan.

    Returns
    -------
    Schedule
        Every line (but those left out) lies in an accepted heartbeat; rejected ones come before
        their repetition, as on a scanner that gates prospectively and keeps all data.

    Raises
    ------
    SettingsError
        If the patient is in the window too rarely for the scan to end.
    """
    rng = np.random.default_rng([case.seed, 1])
    groups = _groups(case, rng)
    limit = MAX_BEATS_FACTOR * len(groups)
    peaks = heartbeats(limit, rr_interval=case.rr_interval, rr_jitter=case.rr_jitter, rng=rng)
    breathing = breathe(
        float(peaks[-1]) + 1.0,
        amplitude=case.breathing_amplitude,
        period=case.breathing_period,
        dwell=case.breathing_dwell,
        irregularity=case.breathing_irregularity,
        rng=rng,
    )
    beats: list[Heartbeat] = []
    waiting = iter(groups)
    lines = next(waiting, None)
    for r_peak in peaks[:-1]:
        if lines is None:
            break
        beats.append(_beat(case, breathing, float(r_peak), lines))
        if beats[-1].accepted:
            lines = next(waiting, None)
    if lines is not None:
        raise SettingsError(
            f"after {limit} heartbeats only {sum(b.accepted for b in beats)} of {len(groups)} lay "
            f"in the gating_window of {case.gating_window} mm: widen it, or breathe less than "
            f"breathing_amplitude {case.breathing_amplitude} mm"
        )
    return Schedule(tuple(beats), breathing, _states(case))


def _groups(case: Case, rng: np.random.Generator) -> list[IntArray]:
    nz, ny, _ = case.matrix
    z, y = np.divmod(np.arange(nz * ny), ny)
    lines = np.stack([z, y], axis=1)
    left_out = {z * ny + y for z, y in case.missing_lines}
    lines = np.delete(lines, sorted(left_out), axis=0)
    if case.line_order == "random":
        lines = rng.permutation(lines)
    return [lines[i : i + case.views_per_beat] for i in range(0, len(lines), case.views_per_beat)]


def _beat(case: Case, breathing: Breathing, r_peak: float, lines: IntArray) -> Heartbeat:
    start = r_peak + case.trigger_delay
    first_line = start + (case.navigator_duration if case.navigated else 0.0)
    line_times = first_line + case.TR * np.arange(len(lines))
    after = first_line + case.TR * len(lines)
    navigator_times = np.array(
        {"none": [], "before": [start], "both": [start, after]}[case.navigators]
    )
    descents = breathing.descent(navigator_times)
    # Without navigators nobody can reject anything.
    accepted = not case.navigated or (
        descents.max() <= case.gating_window / 2 and np.ptp(descents) <= MAX_CHANGE
    )
    return Heartbeat(
        r_peak,
        lines,
        line_times,
        navigator_times,
        descents,
        breathing.descent(line_times),
        bool(accepted),
    )


def _states(case: Case) -> RealArray:
    if case.breathing_amplitude == 0 or case.phantom != "chest":
        return np.zeros(1)
    # Quadratic spacing: closest together near end-expiration, where the accepted data lie.
    return case.breathing_amplitude * np.linspace(0, 1, case.motion_states) ** 2
