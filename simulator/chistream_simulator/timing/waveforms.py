"""ECG and respiratory waveforms, in pieces as the scanner's monitoring unit hands them over."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from chistream.arrays import IntArray, RealArray
from chistream.stream.messages import WAVEFORM_HEAD, Waveform, new_head
from chistream_simulator.case import Case
from chistream_simulator.readouts import ticks
from chistream_simulator.timing.rhythm import end_systole
from chistream_simulator.timing.schedule import START_OF_SCAN, Schedule

ECG_ID, RESP_ID = 0, 2
"""As siemens_to_ismrmrd numbers them."""

ECG_STEP, RESP_STEP = 2.5e-3, 20e-3
"""Time between samples [s]."""

PIECE = 0.2
"""Length of a piece [s]; the last one may be shorter."""

_MIDDLE, _SWING, _FULL = 2048, 1000, 4095
_ECG_NOISE = 8.0

_LEADS = np.array(
    [
        # P, Q, R, S, T
        [0.10, -0.05, 0.70, -0.40, 0.20],
        [0.15, -0.10, 1.00, -0.15, 0.30],
        [0.05, -0.05, 0.45, -0.35, 0.15],
        [0.08, 0.00, 0.30, -0.90, 0.35],
    ]
)
"""Height of each wave in each lead; the R wave of the second is 1."""


class Recorder:
    """Records the waveforms of a scan.

    Parameters
    ----------
    case
        Breathing amplitude, echoes and noise scan, for the counters; seed.
    schedule
        The scan.
    """

    def __init__(self, case: Case, schedule: Schedule) -> None:
        self._case = case
        self._schedule = schedule
        self._readouts = self._readout_times()

    def pieces(self, start: float = -np.inf, end: float = np.inf) -> Iterator[Waveform]:
        """Yield the pieces that are complete after a time and not after another.

        Parameters
        ----------
        start, end
            [s from the first R peak]. Without them, everything from the first R peak to the end
            of the last data.

        Yields
        ------
        Waveform
            ECG (id 0) and RESP (id 2) in turns, by time; ``scan_counter`` is that of the last
            readout before the piece is complete. The last channel is the trigger: of an ECG the R
            peaks that were seen, of the belt the starts of breaths.
        """
        duration = self._schedule.duration
        n_pieces = int(np.ceil(duration / PIECE))
        first, beyond = np.clip([start / PIECE - 1, end / PIECE + 1], 0, n_pieces).astype(int)
        for i in range(first, beyond):
            begin, complete = i * PIECE, min((i + 1) * PIECE, duration)
            if start < complete <= end:
                yield self._ecg(begin, complete)
                yield self._resp(begin, complete)

    def _ecg(self, begin: float, complete: float) -> Waveform:
        times = _sample_times(begin, complete, ECG_STEP)
        leads = _LEADS @ self._waves(times)
        rng = np.random.default_rng([self._case.seed, 5, round(begin / PIECE)])
        noise = _ECG_NOISE * rng.standard_normal(leads.shape)
        trigger = _marks(times, ECG_STEP, self._schedule.rhythm.triggers)
        return self._waveform(ECG_ID, ECG_STEP, times, complete, leads + noise / _SWING, trigger)

    def _resp(self, begin: float, complete: float) -> Waveform:
        times = _sample_times(begin, complete, RESP_STEP)
        breathing = self._schedule.breathing
        depth = max(self._case.breathing_amplitude, 1.0)
        belt = breathing.descent(times)[None] / depth
        trigger = _marks(times, RESP_STEP, breathing.starts)
        return self._waveform(RESP_ID, RESP_STEP, times, complete, belt, trigger)

    def _waves(self, times: RealArray) -> RealArray:
        """P, Q, R, S and T of the beats around some times, ``(5, n)``."""
        rhythm = self._schedule.rhythm
        peaks = rhythm.peaks
        last = np.clip(np.searchsorted(peaks, times, side="right") - 1, 0, len(peaks) - 2)
        rr = peaks[last + 1] - peaks[last]
        this, following = (
            _beat_waves(times - peaks[i], rr, rhythm.ectopic[i]) for i in (last, last + 1)
        )
        return this + following

    def _waveform(
        self,
        waveform_id: int,
        step: float,
        times: RealArray,
        complete: float,
        curves: RealArray,
        trigger: IntArray,
    ) -> Waveform:
        signals = np.clip(_MIDDLE + _SWING * curves, 0, _FULL)
        samples: npt.NDArray[np.uint32] = np.concatenate([signals, trigger[None]]).astype(np.uint32)
        counter = int(np.searchsorted(self._readouts, complete, side="right"))
        head = new_head(
            WAVEFORM_HEAD,
            measurement_uid=1,
            scan_counter=counter,
            time_stamp=int(ticks(START_OF_SCAN + times[0])),
            number_of_samples=samples.shape[1],
            channels=samples.shape[0],
            sample_time_us=1e6 * step,
            waveform_id=waveform_id,
        )
        return Waveform(head, samples)

    def _readout_times(self) -> RealArray:
        """Return the times of all readouts [s], ascending; those of the noise scan lie before 0."""
        case = self._case
        n_noise = 0 if np.isinf(case.snr) else case.noise_readouts
        echoes = np.asarray(case.TE)
        times = [np.full(n_noise, -1.0)]
        for beat in self._schedule.beats:
            times += [beat.navigator_times, (beat.line_times[:, None] + echoes).ravel()]
        return np.sort(np.concatenate(times))


def _sample_times(begin: float, complete: float, step: float) -> RealArray:
    n = max(round((complete - begin) / step), 1)
    return begin + step * np.arange(n)


def _marks(times: RealArray, step: float, events: RealArray) -> IntArray:
    """Return 1 for the samples in whose time an event lies."""
    first = np.searchsorted(events, times - 1e-9)
    beyond = np.searchsorted(events, times + step - 1e-9)
    marks: IntArray = (beyond > first).astype(int)
    return marks


def _beat_waves(since: RealArray, rr: RealArray, ectopic: npt.NDArray[np.bool_]) -> RealArray:
    """P, Q, R, S and T waves ``(5, n)`` at times since an R peak [s].

    An ectopic beat has no P wave, a broad QRS complex, and a T wave turned over.
    """
    broad = np.where(ectopic, 2.5, 1.0)
    t_peak = end_systole(rr) - 0.06
    return np.stack(
        [
            np.where(ectopic, 0.0, _bump(since + 0.16, 0.022)),
            _bump(since + 0.025 * broad, 0.008 * broad),
            _bump(since, 0.011 * broad),
            _bump(since - 0.025 * broad, 0.010 * broad),
            np.where(ectopic, -1.5, 1.0) * _bump(since - t_peak, 0.045),
        ]
    )


def _bump(away: RealArray, width: float | RealArray) -> RealArray:
    bump: RealArray = np.exp(-0.5 * (away / width) ** 2)
    return bump
