"""Breathing, heartbeats, and what the trigger sees of them."""

import numpy as np
import pytest

from chistream_simulator.timing.breathing import Breathing, breathe
from chistream_simulator.timing.rhythm import ATRIAL_KICK, Rhythm, end_systole, make_rhythm

SEED = 20250101


def rhythm_of(peaks: list[float], ectopic: tuple[int, ...] = (), missed: int = -1) -> Rhythm:
    n = np.arange(len(peaks))
    return Rhythm(np.array(peaks), np.isin(n, ectopic), n != missed)


def test_breaths_end_where_they_like() -> None:
    rng = np.random.default_rng(5)
    breathing = breathe(
        600.0, amplitude=10.0, period=4.0, dwell=3.0, irregularity=0.1, rng=rng, end_jitter=0.8
    )
    inside = breathing.starts[(breathing.starts > 0) & (breathing.starts < 600)]
    ends = breathing.descent(inside)
    assert np.std(ends) == pytest.approx(0.8, rel=0.25)
    assert np.abs(ends).max() <= 1.6 + 1e-9
    # The breath itself goes on without a step.
    times = np.linspace(0, 600, 60001)
    assert np.abs(np.diff(breathing.descent(times))).max() < 0.5


def test_a_breath_starts_and_ends_at_rest_and_reaches_its_amplitude() -> None:
    breathing = Breathing(np.array([0.0, 4.0, 10.0]), np.array([12.0, 8.0]), 2.0)
    times = np.array([0.0, 2.0, 3.999999, 7.0, 10.0])
    np.testing.assert_allclose(breathing.descent(times), [0, 12, 0, 8, 0], atol=1e-6)


def test_more_dwell_is_longer_rest() -> None:
    times = np.linspace(0, 100, 5000)

    def rest(dwell: float) -> float:
        breathing = breathe(
            100.0,
            amplitude=10.0,
            period=4.0,
            dwell=dwell,
            irregularity=0.1,
            rng=np.random.default_rng(1),
        )
        descent = breathing.descent(times)
        assert descent.min() >= 0
        assert 8 < descent.max() < 12.1
        return float(np.mean(descent < 2))

    assert rest(1.0) < 0.35 < 0.45 < rest(3.0)


def test_the_end_expiratory_position_drifts_downwards_by_the_minute() -> None:
    breathing = breathe(
        300.0,
        amplitude=8.0,
        period=4.0,
        dwell=3.0,
        irregularity=0.0,
        drift=1.5,
        rng=np.random.default_rng(SEED),
    )
    ends = breathing.starts[(breathing.starts > 0) & (breathing.starts < 300)]
    np.testing.assert_allclose(breathing.descent(ends), 1.5 * ends / 60, atol=1e-9)


def test_a_cough_is_a_gasp_down_and_a_short_burst_up() -> None:
    still = Breathing(
        np.array([0.0, 1e3]), np.zeros(1), 3.0, coughs=np.array([5.0, 9.0]), cough_amplitude=20.0
    )
    times = np.linspace(0, 14, 14_001)
    curve = still.descent(times)
    for cough in (5.0, 9.0):
        near = np.abs(times - cough) < 1
        assert curve[near].min() == pytest.approx(-20, abs=0.5)
        assert 10 < curve[near].max() < 13
        assert times[near][curve[near].argmax()] < cough < times[near][curve[near].argmax()] + 0.6
    quiet = (np.abs(times - 5) > 1.5) & (np.abs(times - 9) > 1.5)
    np.testing.assert_allclose(curve[quiet], 0, atol=1e-3)


def test_coughs_come_at_their_rate_and_never_overlap() -> None:
    breathing = breathe(
        3600.0,
        amplitude=0.0,
        period=4.0,
        dwell=3.0,
        irregularity=0.0,
        cough_rate=6.0,
        cough_amplitude=10.0,
        rng=np.random.default_rng(SEED),
    )
    assert len(breathing.coughs) == pytest.approx(360, rel=0.15)
    assert np.diff(breathing.coughs).min() >= 2.0
    assert breathing.coughs.max() < 3600


def test_heartbeats_jitter_about_their_interval() -> None:
    rhythm = make_rhythm(2000, rr_interval=0.9, rr_jitter=0.05, rng=np.random.default_rng(2))
    intervals = np.diff(rhythm.peaks)
    assert intervals.mean() == pytest.approx(0.9, rel=0.01)
    assert intervals.std() == pytest.approx(0.045, rel=0.1)
    assert intervals.min() > 0.9 * 0.84
    assert rhythm.peaks[0] == 0
    assert rhythm.seen.all()
    assert not rhythm.ectopic.any()


def test_an_ectopic_beat_comes_early_and_the_pause_after_it_makes_up() -> None:
    rhythm = make_rhythm(
        2000, rr_interval=0.9, rr_jitter=0.0, ectopic_rate=0.1, rng=np.random.default_rng(SEED)
    )
    early = np.flatnonzero(rhythm.ectopic[:-1])
    # Never two in a row: of the claims at 10 %, one in eleven or so is dropped.
    assert len(early) == pytest.approx(2000 * 0.1 / 1.1, rel=0.15)
    assert np.diff(early).min() > 1
    intervals = np.diff(rhythm.peaks)
    assert (intervals[early - 1] < 0.75 * 0.9).all()
    np.testing.assert_allclose(intervals[early - 1] + intervals[early], 1.8)
    assert (np.diff(rhythm.peaks) > 0).all()


def test_intervals_shorten_as_the_patient_breathes_in() -> None:
    rng = np.random.default_rng(SEED)
    breathing = breathe(2000.0, amplitude=10.0, period=4.0, dwell=1.0, irregularity=0.0, rng=rng)
    rhythm = make_rhythm(
        2000,
        rr_interval=0.9,
        rr_jitter=0.0,
        sinus_arrhythmia=0.1,
        breathing=breathing,
        rng=rng,
    )
    intervals = np.diff(rhythm.peaks)
    # Half the amplitude on either side of the mean, for a sine squared.
    assert np.ptp(intervals) == pytest.approx(0.9 * 0.1, rel=0.05)
    assert intervals.mean() == pytest.approx(0.9, rel=0.01)
    deep = breathing.descent(0.9 * np.arange(1, 2001))
    assert np.corrcoef(deep, intervals)[0, 1] < -0.99


def test_a_missed_trigger_lets_the_stamps_run_on() -> None:
    rhythm = rhythm_of([0.0, 0.9, 1.8, 2.7], missed=1)
    np.testing.assert_allclose(rhythm.triggers, [0.0, 1.8, 2.7])
    since = rhythm.since_trigger(np.array([0.5, 1.0, 1.8, 2.0]))
    np.testing.assert_allclose(since, [0.5, 1.0, 0.0, 0.2])


def test_triggers_are_missed_at_their_rate_but_not_the_first() -> None:
    rhythm = make_rhythm(
        4000,
        rr_interval=0.9,
        rr_jitter=0.05,
        missed_trigger_rate=0.2,
        rng=np.random.default_rng(SEED),
    )
    assert rhythm.seen[0]
    assert np.mean(~rhythm.seen) == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("rr", [0.7, 0.9, 1.2])
def test_the_ventricles_contract_rest_and_are_filled_up(rr: float) -> None:
    rhythm = rhythm_of([0.0, rr, 2 * rr])
    times = np.linspace(0, 2 * rr, 4001)[:-1]
    level = rhythm.contraction(times)
    second = times >= rr
    # Weissler's electromechanical systole, from Q, at this heart rate.
    systole = 0.546 - 0.0021 * 60 / rr - 0.04
    assert times[second][level[second].argmax()] - rr == pytest.approx(systole, abs=0.06)
    assert float(end_systole(np.array(rr))) == pytest.approx(systole)
    assert level.max() == pytest.approx(1)
    assert level.min() == pytest.approx(-ATRIAL_KICK, abs=1e-3)
    diastasis = (times > systole + 0.24) & (times < rr - 0.1)
    assert (level[diastasis] == 0).all()
    assert np.abs(np.diff(level)).max() < 0.02  # no jump from beat to beat


def test_an_early_beat_finds_the_ventricles_half_filled_and_the_data_in_systole() -> None:
    rhythm = rhythm_of([0.0, 0.9, 1.4, 2.7, 3.6], ectopic=(2,))
    regular = rhythm.contraction(np.array([0.65]))
    assert regular == pytest.approx(0)
    # Data at the delay after the last regular trigger fall into the ectopic beat.
    assert rhythm.contraction(np.array([0.9 + 0.7]))[0] > 0.3
    # The atria do not prepare an ectopic beat.
    around = rhythm.contraction(np.array([1.4 - 1e-6, 1.4 + 1e-6]))
    filled = (0.5 - float(end_systole(np.array(0.9))) - 0.06) / 0.17
    np.testing.assert_allclose(around, np.cos(0.5 * np.pi * filled) ** 2, atol=1e-3)
