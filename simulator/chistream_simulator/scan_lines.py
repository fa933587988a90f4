"""The lines of a whole scan, as they reach the receivers: motion, tracking, drift, disturbances."""

import numpy as np

from chistream.arrays import ComplexArray, IntArray, Mask, RealArray
from chistream_simulator.case import Case
from chistream_simulator.imaging import Imaging
from chistream_simulator.interference import (
    Zipper,
    add_spikes,
    apply_frequency_offset,
    frequency_offset,
    signal_level,
)
from chistream_simulator.rendering import Progress, Rendering
from chistream_simulator.timing.schedule import START_OF_SCAN, Schedule

_LINES_AT_ONCE = 16


def scan_lines(
    case: Case,
    imaging: Imaging,
    schedule: Schedule,
    noise_covariance: ComplexArray,
    progress: Progress,
) -> tuple[ComplexArray, Mask]:
    """Compute all lines of a scan but for their noise.

    Parameters
    ----------
    case, imaging, schedule
        The scan.
    noise_covariance
        Of complex samples ``(coils, coils)``, to which a zipper's strength refers.
    progress
        Told how far it is.

    Returns
    -------
    lines
        Samples ``(lines, echoes, coils, samples)`` complex64, heartbeat by heartbeat, samples in
        the order of time.
    spiked
        Which readouts an RF spike has hit ``(lines, echoes)``.
    """
    places, times, descents, contractions = (
        np.concatenate([getattr(beat, name) for beat in schedule.beats])
        for name in ("lines", "line_times", "line_descents", "line_contractions")
    )
    indices, weights = schedule.states.mix(descents, contractions)
    lines = Rendering(imaging).lines(places, schedule.states.poses, indices, weights, progress)
    offsets = frequency_offset(times, descents, case)
    tracked = np.repeat(
        [beat.tracked_descent for beat in schedule.beats], [len(b.lines) for b in schedule.beats]
    )
    level = signal_level(lines) * case.spike_amplitude if case.spike_rate else 0.0
    zipper = _zipper(case, noise_covariance)
    sparks = np.random.default_rng([case.seed, 7])
    spiked = np.zeros(lines.shape[:2], dtype=bool)
    for start in range(0, len(lines), _LINES_AT_ONCE):  # in parts that cost no memory
        part = slice(start, start + _LINES_AT_ONCE)
        _track(lines[part], places[part] - np.asarray(schedule.plan.centre), tracked[part], imaging)
        apply_frequency_offset(lines[part], offsets[part], imaging.phases.train)
        readouts = lines[part].reshape(-1, *lines.shape[2:])
        if zipper is not None:
            starts = _starts(times[part], imaging)
            zipper.add(readouts, starts, case.dwell_time, case.noise_bandwidth_ratio)
        hit = add_spikes(readouts, rate=case.spike_rate, level=level, rng=sparks)
        spiked[part] = hit.reshape(-1, len(case.TE))
    return lines, spiked


def _zipper(case: Case, noise_covariance: ComplexArray) -> Zipper | None:
    if case.zipper_frequency is None:
        return None
    noise = float(np.sqrt(np.mean(np.diag(noise_covariance).real)))
    rng = np.random.default_rng([case.seed, 6])
    return Zipper(case.zipper_frequency, case.zipper_snr * noise, case.n_coils, rng)


def _starts(times: RealArray, imaging: Imaging) -> RealArray:
    """Time of day of the first sample ``(lines * echoes,)`` of lines that start at times [s]."""
    train = imaging.phases.train
    first = [TE + train.sample_times(echo)[0] for echo, TE in enumerate(train.TE)]
    starts: RealArray = START_OF_SCAN + np.add.outer(times, first).ravel()
    return starts


def _track(lines: ComplexArray, steps: IntArray, descents: RealArray, imaging: Imaging) -> None:
    """Let the slab follow the diaphragm down: the patient moves up in what is encoded."""
    if not descents.any():
        return
    geometry, encoding = imaging.geometry, imaging.encoding
    axes = geometry.axes
    # Cycles for each step of k (z, y, x) and each mm down.
    per_mm = -np.array([axis[2] for axis in axes]) / encoding.field_of_view
    along_lines = (steps @ per_mm[:2])[:, None] + per_mm[2] * encoding.sample_offsets
    ramp = np.exp(2j * np.pi * descents[:, None] * along_lines).astype(np.complex64)
    for echo, is_reversed in enumerate(imaging.phases.train.reversed):
        lines[:, echo] *= (ramp[:, ::-1] if is_reversed else ramp)[:, None]
