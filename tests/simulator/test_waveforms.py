"""ECG and RESP as they come with a scan."""

from typing import Any

import numpy as np
import pytest

from chistream.arrays import RealArray
from chistream.stream.messages import Waveform
from chistream_simulator.case import Case
from chistream_simulator.timing.schedule import START_OF_SCAN, Schedule, plan_scan
from chistream_simulator.timing.waveforms import ECG_ID, RESP_ID, Recorder

SMALL: dict[str, Any] = {"matrix": (4, 36, 48), "noise_readouts": 7, "seed": 5}


def recorded(**changes: Any) -> tuple[Schedule, Case, list[Waveform]]:  # noqa: ANN401
    case = Case(**{**SMALL, **changes})
    schedule = plan_scan(case)
    return schedule, case, list(Recorder(case, schedule).pieces())


def joined(waveforms: list[Waveform], waveform_id: int) -> tuple[RealArray, RealArray]:
    """Times [s from the first R peak] and samples ``(channels, n)`` of one kind."""
    chosen = [w for w in waveforms if w.head["waveform_id"] == waveform_id]
    step = 1e-6 * float(chosen[0].head["sample_time_us"])
    times = [
        2.5e-3 * int(w.head["time_stamp"]) - START_OF_SCAN + step * np.arange(w.samples.shape[1])
        for w in chosen
    ]
    samples = np.concatenate([w.samples for w in chosen], axis=1).astype(float)
    return np.concatenate(times), samples


def test_pieces_alternate_and_follow_each_other_without_a_gap() -> None:
    schedule, _, waveforms = recorded()
    assert [int(w.head["waveform_id"]) for w in waveforms[:4]] == [0, 2, 0, 2]
    for kind, channels, n, step in ((ECG_ID, 5, 80, 2500), (RESP_ID, 2, 10, 20000)):
        chosen = [w for w in waveforms if w.head["waveform_id"] == kind]
        assert {w.samples.shape for w in chosen[:-1]} == {(channels, n)}
        assert {float(w.head["sample_time_us"]) for w in chosen} == {step}
        assert all(w.samples.dtype == np.uint32 and w.samples.max() <= 4095 for w in chosen)
        assert all(w.head["number_of_samples"] == w.samples.shape[1] for w in chosen)
        assert all(w.head["channels"] == channels for w in chosen)
        times, _ = joined(waveforms, kind)
        np.testing.assert_allclose(np.diff(times), 1e-6 * step, atol=2.6e-3)
        assert times[0] == 0
        assert times[-1] == pytest.approx(schedule.duration, abs=1.5e-6 * step)


def test_the_last_channel_marks_the_r_peaks_that_were_seen() -> None:
    schedule, _, waveforms = recorded(missed_trigger_rate=0.2, ectopic_rate=0.05)
    times, samples = joined(waveforms, ECG_ID)
    marked = times[samples[-1] > 0]
    triggers = schedule.rhythm.triggers
    triggers = triggers[triggers < times[-1]]
    assert len(marked) == len(triggers)
    np.testing.assert_allclose(marked, triggers, atol=5.1e-3)
    assert not schedule.rhythm.seen.all()
    # The R wave of the second lead stands where the peak is, seen or not.
    for peak, ectopic in zip(
        schedule.rhythm.peaks[1:20], schedule.rhythm.ectopic[1:20], strict=True
    ):
        near = np.abs(times - peak) < 0.1
        if not ectopic:
            assert times[near][samples[1, near].argmax()] == pytest.approx(peak, abs=6e-3)


def test_a_regular_beat_has_p_qrs_and_t() -> None:
    schedule, _, waveforms = recorded(rr_jitter=0.0, breathing_amplitude=0.0)
    times, samples = joined(waveforms, ECG_ID)
    peak = float(schedule.rhythm.peaks[5])
    lead = samples[1] - 2048

    def height(start: float, end: float) -> float:
        return float(lead[(times > peak + start) & (times < peak + end)].mean())

    assert height(-0.18, -0.14) == pytest.approx(110, abs=40)  # P
    assert height(-0.1, -0.05) == pytest.approx(0, abs=12)  # PQ
    assert height(-0.004, 0.004) > 800  # R
    assert height(0.018, 0.03) < 0  # S
    assert height(0.28, 0.33) > 200  # T
    assert height(0.46, 0.6) == pytest.approx(0, abs=8)
    # Leads differ, as electrodes do.
    assert np.abs(np.corrcoef(samples[:4]) - np.eye(4)).max() < 0.99


def test_an_ectopic_beat_is_broad_without_p_and_with_t_turned_over() -> None:
    schedule, _, waveforms = recorded(rr_jitter=0.0, ectopic_rate=0.2, breathing_amplitude=0.0)
    times, samples = joined(waveforms, ECG_ID)
    rhythm = schedule.rhythm
    inside = (rhythm.peaks > 1) & (rhythm.peaks < schedule.duration - 1)
    early = rhythm.peaks[rhythm.ectopic & inside]
    normal = rhythm.peaks[~rhythm.ectopic & ~np.roll(rhythm.ectopic, -1) & inside]

    def width(peak: float) -> float:
        near = np.abs(times - peak) < 0.06
        return float(np.mean(samples[1, near] > 2048 + 400))

    assert min(map(width, early)) > 1.5 * max(map(width, normal))
    for peak in early:
        t_wave = (times > peak + 0.2) & (times < peak + 0.4)
        assert samples[1, t_wave].min() < 2048 - 200


def test_the_belt_follows_the_breathing_and_marks_its_starts() -> None:
    schedule, case, waveforms = recorded()
    times, samples = joined(waveforms, RESP_ID)
    expected = 2048 + 1000 * schedule.breathing.descent(times) / case.breathing_amplitude
    np.testing.assert_allclose(samples[0], expected, atol=60)  # stamps are whole ticks
    starts = schedule.breathing.starts
    inside = starts[(starts > 0) & (starts < times[-1])]
    np.testing.assert_allclose(times[samples[1] > 0], inside, atol=2.5e-2)


def test_pieces_can_be_had_as_the_scan_goes_on_and_count_its_readouts() -> None:
    schedule, case, everything = recorded()
    recorder = Recorder(case, schedule)
    last, n_readouts = 0.0, 7
    counters = []
    found = []
    for beat in schedule.beats:
        pieces = list(recorder.pieces(last, beat.end))
        counters += [int(w.head["scan_counter"]) for w in pieces]
        n_readouts += 2 + 5 * len(beat.lines)
        assert all(c <= n_readouts for c in counters)
        found += pieces
        last = beat.end
    assert found == everything
    assert counters == sorted(counters)
    assert counters[0] == 7
    assert counters[-1] == n_readouts


def test_a_piece_that_is_complete_at_the_very_end_comes_once() -> None:
    schedule, case, everything = recorded()
    recorder = Recorder(case, schedule)
    assert list(recorder.pieces(0.2, 0.4)) == everything[2:4]


def test_a_noiseless_scan_counts_no_noise_readouts() -> None:
    _, _, waveforms = recorded(snr=float("inf"))
    assert waveforms[0].head["scan_counter"] == 0
