"""What happens when in a scan, and what the scanner keeps."""

from typing import Any

import numpy as np
import pytest

from chistream.errors import SettingsError
from chistream_simulator.case import Case
from chistream_simulator.overrides import checked
from chistream_simulator.phantoms.pose import AT_REST
from chistream_simulator.timing.gating import NoGate
from chistream_simulator.timing.lines import Purpose
from chistream_simulator.timing.schedule import Schedule, plan_scan

SMALL: dict[str, Any] = {"matrix": (4, 36, 48), "seed": 3}
GRID = {(z, y) for z in range(4) for y in range(36)}


def plan(**changes: Any) -> Schedule:  # noqa: ANN401
    return plan_scan(Case(**{**SMALL, **changes}))


def taken(schedule: Schedule) -> list[tuple[int, int]]:
    lines = np.concatenate([beat.lines for beat in schedule.beats if beat.accepted])
    return [(int(z), int(y)) for z, y in lines]


def test_every_line_lies_in_an_accepted_heartbeat_and_rejected_ones_come_again() -> None:
    schedule = plan(missing_lines=((0, 3), (2, 35)))
    assert sorted(taken(schedule)) == sorted(GRID - {(0, 3), (2, 35)})
    assert not all(beat.accepted for beat in schedule.beats)
    for beat, following in zip(schedule.beats, schedule.beats[1:], strict=False):
        moved = np.ptp(beat.descents) > 2.0
        outside = np.abs(beat.descents).max() > 2.5
        assert beat.reason == ("change" if moved else "window" if outside else "")
        assert (following.lines.tolist() == beat.lines.tolist()) != beat.accepted
    times = np.concatenate([b.line_times for b in schedule.beats])
    assert (np.diff(times) > 0).all()


def test_a_heartbeat_is_trigger_delay_navigator_lines_navigator() -> None:
    schedule = plan(trigger_delay=0.4, navigator_duration=0.03, TR=0.02)
    for beat in schedule.beats:
        np.testing.assert_allclose(
            beat.line_times, beat.r_peak + 0.43 + 0.02 * np.arange(len(beat.lines))
        )
        after = beat.r_peak + 0.43 + 0.02 * len(beat.lines)
        np.testing.assert_allclose(beat.navigator_times, [beat.r_peak + 0.4, after])
        assert beat.end == pytest.approx(after + 0.03)
        breathing, rhythm = schedule.breathing, schedule.rhythm
        np.testing.assert_allclose(beat.descents, breathing.descent(beat.navigator_times))
        np.testing.assert_allclose(beat.line_descents, breathing.descent(beat.line_times))
        np.testing.assert_allclose(beat.line_contractions, rhythm.contraction(beat.line_times))
        assert beat.r_peak + beat.rr == rhythm.peaks[np.searchsorted(rhythm.peaks, beat.r_peak) + 1]
    assert schedule.duration == schedule.beats[-1].end


def test_the_change_allowed_between_the_navigators_is_a_setting() -> None:
    schedule = plan(gating_window=90.0, breathing_amplitude=25.0, max_navigator_change=3.0)
    moved = np.array([np.ptp(beat.descents) for beat in schedule.beats])
    assert [beat.accepted for beat in schedule.beats] == (moved <= 3.0).tolist()
    assert (moved > 3.0).any()


def test_without_navigators_nobody_rejects() -> None:
    schedule = plan(navigators="none")
    assert len(schedule.beats) == 15
    assert all(beat.accepted for beat in schedule.beats)
    assert all(beat.descents.size == 0 for beat in schedule.beats)


def test_a_navigator_before_alone_cannot_see_a_change() -> None:
    schedule = plan(navigators="before")
    assert {beat.reason for beat in schedule.beats} == {"", "window"}
    assert all(beat.descents.size == 1 for beat in schedule.beats)


def test_the_slab_follows_the_navigator_before_the_lines() -> None:
    schedule = plan(prospective_tracking=0.6)
    for beat in schedule.beats:
        assert beat.tracked_descent == pytest.approx(0.6 * beat.descents[0])
    assert {beat.tracked_descent for beat in plan(navigators="none").beats} == {0.0}
    with pytest.raises(ValueError, match=r"prospective_tracking 0\.6 follows the navigators"):
        plan(prospective_tracking=0.6, navigators="none")


def test_a_drift_leaves_a_fixed_window_but_not_one_that_follows() -> None:
    drifting = {"breathing_drift": 6.0, "matrix": (4, 90, 48)}
    with pytest.raises(SettingsError, match=r"drift less than breathing_drift 6\.0 mm/min"):
        plan(**drifting)
    schedule = plan(**drifting, gating_follows=True)
    assert len(taken(schedule)) == 4 * 90
    last = schedule.beats[-1].descents.max()
    assert last > 0.8 * 6.0 * schedule.duration / 60 > 2.5


def test_ectopic_beats_put_their_lines_into_systole_and_can_be_rejected() -> None:
    bad: dict[str, Any] = {"ectopic_rate": 0.1, "breathing_amplitude": 0.0}
    kept = plan(**bad)
    early = [beat for beat in kept.beats if beat.is_ectopic]
    assert early
    assert {b.r_peak for b in early} == {b.r_peak for b in kept.beats if b.rr < 0.65}
    assert max(b.line_contractions.max() for b in early) > 0.5
    # Triggered at once, the early beat itself has its data.
    at_once = plan(**bad, trigger_delay=0.0, views_per_beat=5, matrix=(4, 90, 48))
    triggered = np.isin(
        [b.r_peak for b in at_once.beats], at_once.rhythm.peaks[at_once.rhythm.ectopic]
    )
    assert triggered.any()
    assert triggered.tolist() == [b.is_ectopic for b in at_once.beats]
    assert all(beat.accepted for beat in kept.beats)

    careful = plan(**bad, rr_tolerance=0.25)
    for beat in careful.beats:
        assert beat.accepted == (abs(beat.rr / 0.9 - 1) <= 0.25)
        assert beat.reason in ("", "rr")
    assert len(taken(careful)) == 4 * 36


def test_a_missed_trigger_costs_a_heartbeat_and_looks_like_a_long_one() -> None:
    schedule = plan(missed_trigger_rate=0.2, breathing_amplitude=0.0, matrix=(4, 90, 48))
    starts = {beat.r_peak for beat in schedule.beats}
    rhythm = schedule.rhythm
    during = rhythm.peaks <= schedule.beats[-1].r_peak
    assert starts == set(rhythm.peaks[during & rhythm.seen].tolist())
    missed = int(np.sum(~rhythm.seen[during]))
    assert schedule.summary()["missed_triggers"] == missed > 0
    watched = plan(
        missed_trigger_rate=0.2, breathing_amplitude=0.0, matrix=(4, 90, 48), rr_tolerance=0.5
    )
    assert watched.summary()["rejected"]["rr"] > 0


def test_a_trigger_during_the_data_of_an_early_beat_is_not_used() -> None:
    schedule = plan(ectopic_rate=0.3, navigators="none", trigger_delay=0.55)
    ends = np.array([beat.end for beat in schedule.beats])
    starts = np.array([beat.r_peak for beat in schedule.beats])
    assert (starts[1:] >= ends[:-1]).all()
    used = np.isin(schedule.rhythm.peaks, starts)
    during = schedule.rhythm.peaks < schedule.duration
    assert (~used & during).any()


@pytest.mark.parametrize("passes", [1, 3])
def test_acquiring_everything_takes_each_line_as_often_as_there_are_passes(passes: int) -> None:
    schedule = plan(gating="none", passes=passes, rr_tolerance=0.01)
    assert len(schedule.beats) == 15 * passes
    assert sorted(taken(schedule)) == sorted(list(GRID) * passes)


def test_a_gate_that_keeps_everything_counts_whole_passes() -> None:
    gate = NoGate(Case(gating="none", passes=2), n_groups=3)
    for n_done in (0, 1, 1, 2, 2, 3):
        gate.judge(gate.choose(5.0), np.array([5.0, 30.0]), 9.0)
        assert gate.n_done == n_done
    assert gate.done


def test_later_passes_meet_regular_breathing_at_another_time() -> None:
    regular: dict[str, Any] = {"rr_jitter": 0.0, "breathing_irregularity": 0.0}
    # 35 heartbeats are seven whole breaths: without care each pass would meet the same.
    regular |= {"gating": "none", "passes": 3, "breathing_period": 4.0, "rr_interval": 0.8}
    schedule = plan(matrix=(4, 35, 48), views_per_beat=4, **regular)
    when: dict[tuple[int, int], list[float]] = {}
    for beat in schedule.beats:
        for line, time in zip(beat.lines.tolist(), beat.line_times, strict=True):
            when.setdefault((line[0], line[1]), []).append(float(time))
    phases = np.array([[t / 4.0 % 1 for t in times] for times in when.values()])
    # With five heartbeats in a breath, three passes are a fifth of it apart or two.
    gaps = np.sort((phases - phases[:, :1]) % 1, axis=1)[:, 1:]
    assert (gaps > 0.15).mean() > 0.9
    assert (np.ptp(phases, axis=1) > 0.3).mean() > 0.9


def test_a_separate_calibration_is_gated_as_everything_else() -> None:
    schedule = plan(
        acceleration=(1, 2), calibration="separate", calibration_lines=(4, 8), views_per_beat=8
    )
    purposes = [set(beat.purposes.tolist()) for beat in schedule.beats if beat.accepted]
    assert purposes[:4] == [{Purpose.CALIBRATION}] * 4
    assert purposes[4:] == [{Purpose.IMAGING}] * 9


def test_lines_come_in_random_order_if_asked() -> None:
    lines = taken(plan(line_order="random", breathing_amplitude=0.0))
    assert lines != sorted(lines)
    assert sorted(lines) == sorted(GRID)


def test_the_summary_counts() -> None:
    schedule = plan(ectopic_rate=0.05)
    summary = schedule.summary()
    beats = schedule.beats
    assert summary["heartbeats"] == len(beats)
    assert summary["accepted"] == 15
    assert summary["efficiency"] == 15 / len(beats)
    assert sum(summary["rejected"].values()) == len(beats) - 15
    assert set(summary["rejected"]) <= {"window", "change"}
    assert summary["duration"] == schedule.duration
    assert summary["rr_mean"] == pytest.approx(0.9, rel=0.05)
    assert 0.03 < summary["rr_sd"] < 0.3
    assert summary["motion_states"] == len(schedule.states.poses) <= 8
    rms, largest = summary["state_distance"]
    assert 0 < rms < 1.5 < largest


def test_only_a_chest_moves() -> None:
    still = plan_scan(Case(phantom="sphere", navigators="none", matrix=(4, 36, 48)))
    assert still.states.poses == (AT_REST,)
    assert len(plan().states.poses) > 3


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({}, "lay in the gating_window of 0.001 mm: widen it"),
        ({"rr_tolerance": 0.001}, "or allow more than rr_tolerance 0.001"),
        ({"gating": "paws"}, "lay in one run of neighbouring bins of the gating_window of 0.001"),
    ],
)
def test_a_scan_that_cannot_end_says_what_to_do(changes: dict[str, Any], advice: str) -> None:
    with pytest.raises(SettingsError, match=advice):
        plan(gating_window=0.001, breathing_dwell=0.5, **changes)


def test_paws_without_navigators_is_refused() -> None:
    with pytest.raises(SettingsError, match="sorts by navigators, and navigators is 'none'"):
        checked(Case, {"gating": "paws", "navigators": "none"})


def test_a_scan_without_lines_is_refused() -> None:
    with pytest.raises(SettingsError, match="missing_lines leaves out all of them"):
        plan(matrix=(1, 2, 48), missing_lines=((0, 0), (0, 1)))
