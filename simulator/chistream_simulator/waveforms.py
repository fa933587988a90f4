"""ECG and respiratory waveforms, in pieces as long as a heartbeat."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from chistream.arrays import RealArray
from chistream.stream.messages import WAVEFORM_HEAD, Waveform, new_head
from chistream_simulator.case import Case
from chistream_simulator.physiology import Breathing
from chistream_simulator.readouts import ticks
from chistream_simulator.schedule import START_OF_SCAN, Heartbeat

ECG_ID, RESP_ID = 0, 2
ECG_STEP, RESP_STEP = 2.5e-3, 20e-3

_MIDDLE, _SWING = 2048, 1000


def waveforms_of(
    beat: Heartbeat, breathing: Breathing, case: Case, scan_counter: int
) -> Iterator[Waveform]:
    """Record one heartbeat.

    Parameters
    ----------
    beat
        The heartbeat; it is recorded for the mean RR interval from its R peak on.
    breathing
        What the respiratory belt feels.
    case
        RR interval and breathing amplitude.
    scan_counter
        Of the last readout before.

    Yields
    ------
    Waveform
        ECG (id 0) and RESP (id 2); the last channel of each is the trigger.
    """
    for waveform_id, step in ((ECG_ID, ECG_STEP), (RESP_ID, RESP_STEP)):
        times = beat.r_peak + step * np.arange(int(case.rr_interval / step))
        curve = (
            _ecg(times - beat.r_peak)
            if waveform_id == ECG_ID
            else breathing.descent(times) / max(case.breathing_amplitude, 1e-6)
        )
        yield Waveform(
            new_head(
                WAVEFORM_HEAD,
                measurement_uid=1,
                scan_counter=scan_counter,
                time_stamp=int(ticks(START_OF_SCAN + beat.r_peak)),
                number_of_samples=len(times),
                channels=2,
                sample_time_us=1e6 * step,
                waveform_id=waveform_id,
            ),
            _channels(curve),
        )


def _ecg(since_peak: RealArray) -> RealArray:
    """P is left out: an R wave of 20 ms and a T wave are what a trigger knows."""
    r_wave = np.exp(-0.5 * (since_peak / 0.02) ** 2)
    t_wave = 0.25 * np.exp(-0.5 * ((since_peak - 0.3) / 0.05) ** 2)
    curve: RealArray = r_wave + t_wave
    return curve


def _channels(curve: RealArray) -> npt.NDArray[np.uint32]:
    signal = np.clip(_MIDDLE + _SWING * curve, 0, 4095)
    trigger = np.zeros(len(curve))
    trigger[0] = 1
    return np.stack([signal, trigger]).astype(np.uint32)
