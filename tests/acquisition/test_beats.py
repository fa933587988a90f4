"""Rhythm, runs of readouts and windows, against verdicts written down by hand."""

import numpy as np
import pytest

from chistream.acquisition.beats import (
    Verdict,
    judge_heartbeats,
    regular_triggers,
    usual_interval,
)
from chistream.acquisition.gating_options import GatingOptions
from chistream.acquisition.judging import Judge, moved_window
from chistream.acquisition.positions import ReportedTrack
from chistream.acquisition.runs import Run, RunLog
from chistream.acquisition.windows import FollowedReference, best_bins, smallest_window

NAN = np.nan


def test_an_early_beat_costs_three() -> None:
    triggers = np.array([0.0, 0.9, 1.8, 2.3, 3.6, 4.5, 5.4])
    regular = regular_triggers(triggers, 0.9, 0.25)
    np.testing.assert_array_equal(regular, [True, True, False, False, False, True, True])


def test_a_trigger_that_was_not_used_is_no_arrhythmia() -> None:
    assert regular_triggers(np.array([0.0, 0.9, 2.7, 3.6]), 0.9, 0.25).all()


@pytest.mark.parametrize(("usual", "tolerance"), [(None, 0.25), (0.9, 0.0)])
def test_without_a_usual_interval_or_a_tolerance_all_is_regular(
    usual: float | None, tolerance: float
) -> None:
    assert regular_triggers(np.array([0.0, 0.2, 5.0]), usual, tolerance).all()


def test_the_usual_interval_is_the_median_of_enough() -> None:
    assert usual_interval(np.array([0.0, 1.0, 2.0, 3.5, 4.5])) == 1.0
    assert usual_interval(np.arange(4.0)) is None


def test_reasons_are_told_apart() -> None:
    beats = judge_heartbeats(
        np.arange(5.0),
        np.array([0.0, 4.0, NAN, 0.0, 0.0]),
        np.arange(5.0) + 0.3,
        window=5.0,
        max_change=2.0,
        is_regular=np.array([True, True, True, False, True]),
        wanted=np.array([0.0, 0.0, 0.0, 0.0, 3.0]),
    )
    expected = [
        Verdict.ACCEPTED, Verdict.WINDOW, Verdict.UNKNOWN, Verdict.RHYTHM, Verdict.WINDOW,
    ]  # fmt: skip
    assert beats.verdict.tolist() == expected
    np.testing.assert_array_equal(beats.is_steady, [True, True, False, False, True])
    moved = moved_window(beats, 3.0, 5.0)
    np.testing.assert_array_equal(moved.is_accepted, [False, True, False, False, False])
    assert Verdict.RHYTHM.words == "irregular heartbeat"


def test_the_scanners_verdict_stands_in_place_of_a_window() -> None:
    beats = judge_heartbeats(
        np.arange(3.0),
        np.array([0.0, 9.0, NAN]),
        np.arange(3.0) + 0.3,
        window=5.0,
        max_change=2.0,
        is_kept=np.array([False, True, True]),
    )
    np.testing.assert_array_equal(beats.is_accepted, [False, True, True])
    assert beats.verdict[0] == Verdict.SCANNER


def heads(n_beats: int = 3) -> list[Run]:
    """Readouts at 20 ms, eight in a heartbeat, positions that step with the heartbeat."""
    return [
        Run(beat + 0.02 * view, beat + 0.02 * view, beat - 0.5, float(beat), float(beat % 2))
        for beat in range(n_beats)
        for view in range(8)
    ]


def log_of(runs: list[Run]) -> RunLog:
    log = RunLog()
    for run in runs:
        log.note(run)
    return log


def test_readouts_of_a_heartbeat_are_one_run_in_any_order() -> None:
    ordered = log_of(heads()).runs()
    assert [(run.start, round(run.end, 2)) for run in ordered] == [(0, 0.14), (1, 1.14), (2, 2.14)]
    shuffled = [heads()[i] for i in np.random.default_rng(1).permutation(24)]
    assert log_of(shuffled).runs() == ordered


def test_runs_end_with_gap_trigger_position_verdict_or_time() -> None:
    first = Run(0.0, 0.05, 0.0, 1.0, 0.0)
    same = Run(0.1, 0.1, 0.01, 1.0, 0.0)
    assert first.goes_on(same)
    assert first.goes_on(same._replace(trigger=NAN)) is False
    for changes in (
        {"start": 0.16},
        {"trigger": 0.06},
        {"position": 2.0},
        {"kept": 1.0},
    ):
        assert not first.goes_on(same._replace(**changes))
    assert not first._replace(end=0.3).goes_on(same._replace(start=0.36))


def test_triggers_are_told_once() -> None:
    log = log_of([*heads(), Run(3.0, 3.0, NAN, 0.0, 0.0)])
    np.testing.assert_array_equal(log.triggers(), [-0.5, 0.5, 1.5])
    np.testing.assert_array_equal(log.triggers(until=1.5), [-0.5, 0.5])


def test_the_judge_takes_rhythm_and_verdicts_from_the_heads() -> None:
    times = np.array([0.0, 0.9, 1.8, 2.7, 3.6, 4.1, 5.4, 6.3])
    log = log_of([Run(t + 0.5, t + 0.6, t, 0.0, 1.0) for t in times])
    judge = Judge(GatingOptions(source="user_int[0]"), log)
    judge.learn(5.0)
    track = ReportedTrack(log, 1.0, 0.6)
    assert track.learn(np.inf, None)
    beats, _, wanted = judge.judge(track, times + 0.5)
    assert not wanted.any()
    np.testing.assert_array_equal(np.flatnonzero(~beats.is_accepted), [4, 5, 6])
    kept = Judge(GatingOptions(accepts="user_int[1]"), log).judge(track, times + 0.5)[0]
    assert kept.is_accepted.all()


def test_a_followed_reference_drifts_with_end_expiration() -> None:
    rng = np.random.default_rng(3)
    times = np.arange(0.0, 300.0)
    drift = -times / 60
    measured = drift - 10 * rng.uniform(size=300) ** 2 * (rng.uniform(size=300) < 0.6)
    measured[50] = NAN
    followed = FollowedReference(0.6)
    whole = followed.at(times, measured)
    assert not whole[:11].any()
    np.testing.assert_allclose(whole[60:], drift[60:], atol=0.8)
    piecewise = FollowedReference(0.6)
    for n in (20, 21, 150, 300):
        found = piecewise.at(times[:n], measured[:n])
        np.testing.assert_array_equal(found, whole[:n])  # the past does not change
    late = np.delete(times, 5), np.delete(measured, 5)
    assert len(piecewise.at(*late)) == 299
    np.testing.assert_array_equal(piecewise.at(times, measured), whole)


def test_the_smallest_window_lies_where_lines_are_complete() -> None:
    # Line 0..49 at rest but one, all of them in a narrow range at 8 mm.
    rest, deep = np.linspace(0, 1, 40), np.linspace(8, 8.5, 50)
    positions = np.concatenate([rest, deep])
    lines = np.concatenate([np.arange(40), np.arange(50)])
    low, high = smallest_window(positions, lines, 20.0)
    assert 8 <= low < high <= 8.5
    # A window has to hold 49 of 50 lines: the last but one place on either side may go.
    assert high - low == pytest.approx(0.5 * 48 / 49)


def test_a_line_far_from_all_others_does_not_widen_the_window() -> None:
    positions = np.concatenate([[0.0], np.linspace(10, 10.5, 49)])
    low, high = smallest_window(positions, np.arange(50), 20.0)
    assert (low, high) == (10.0, 10.5)


def test_a_window_that_cannot_complete_k_space_holds_most() -> None:
    positions, lines = np.array([0.0, 10.0, 11.0, 30.0]), np.array([0, 1, 2, 3])
    assert smallest_window(positions, lines, 5.0) == (10.0, 11.0)


def test_the_smallest_window_is_that_of_all_pairs() -> None:
    rng = np.random.default_rng(2)
    positions, lines = rng.uniform(0, 20, 60), np.tile(np.arange(20), 3)
    low, high = smallest_window(positions, lines, 100.0)
    widths = [
        b - a
        for a in positions
        for b in positions
        if len(np.unique(lines[(positions >= a) & (positions <= b)])) == 20
    ]
    assert high - low == pytest.approx(min(widths))


def test_two_bins_are_the_pair_with_most_lines() -> None:
    positions = np.array([-0.5, 0.5, -4.0, -3.0, -2.0])
    lines = np.array([0, 1, 4, 3, 2])
    assert best_bins(positions, lines, 5.0) == (-5.0, 0.0)
    assert best_bins(positions[:2], lines[:2], 5.0) == (-2.5, 2.5)
