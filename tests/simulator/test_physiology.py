"""Breathing, heartbeats, and the schedule that they make."""

import numpy as np
import pytest

from chistream.errors import SettingsError
from chistream_simulator.case import Case
from chistream_simulator.physiology import Breathing, breathe, heartbeats
from chistream_simulator.schedule import plan_scan


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


def test_heartbeats_jitter_about_their_interval() -> None:
    intervals = np.diff(
        heartbeats(2000, rr_interval=0.9, rr_jitter=0.05, rng=np.random.default_rng(2))
    )
    assert intervals.mean() == pytest.approx(0.9, rel=0.01)
    assert intervals.std() == pytest.approx(0.045, rel=0.1)
    assert intervals.min() > 0.9 * 0.84


def test_every_line_lies_in_an_accepted_heartbeat_and_rejected_ones_come_again() -> None:
    case = Case(matrix=(4, 36, 48), missing_lines=((0, 3), (2, 35)), seed=3)
    schedule = plan_scan(case)
    accepted = np.concatenate([b.lines for b in schedule.beats if b.accepted])
    expected = {(z, y) for z in range(4) for y in range(36)} - {(0, 3), (2, 35)}
    assert {(z, y) for z, y in accepted.tolist()} == expected
    assert len(accepted) == len(expected)
    rejected = [b for b in schedule.beats if not b.accepted]
    assert rejected
    for beat in schedule.beats:
        inside = beat.descents.max() <= case.gating_window / 2
        assert beat.accepted == (inside and np.ptp(beat.descents) <= 2.0)
        assert len(beat.descents) == 2
    times = np.concatenate([b.line_times for b in schedule.beats])
    assert (np.diff(times) > 0).all()


def test_a_heartbeat_during_which_the_chest_moves_is_rejected() -> None:
    case = Case(matrix=(4, 36, 48), gating_window=90.0, breathing_amplitude=25.0)
    beats = plan_scan(case).beats
    moved = np.array([np.ptp(beat.descents) for beat in beats])
    assert [beat.accepted for beat in beats] == (moved <= 2.0).tolist()
    assert (moved > 2.0).any()


def test_lines_come_in_random_order_if_asked() -> None:
    case = Case(matrix=(4, 36, 48), line_order="random", breathing_amplitude=0.0)
    lines = np.concatenate([b.lines for b in plan_scan(case).beats])
    order = (lines[:, 0] * 36 + lines[:, 1]).tolist()
    assert order != sorted(order)
    assert sorted(order) == list(range(144))


def test_states_are_dense_where_the_patient_rests() -> None:
    schedule = plan_scan(Case(matrix=(4, 36, 48), motion_states=4))
    np.testing.assert_allclose(schedule.states, 10 * np.array([0, 1, 4, 9]) / 9)
    assert schedule.state_of(np.array([0.2, 9.0, 13.0])).tolist() == [0, 3, 3]


def test_without_navigators_nobody_rejects() -> None:
    schedule = plan_scan(Case(matrix=(4, 36, 48), navigators="none"))
    assert len(schedule.beats) == 15
    assert all(b.accepted for b in schedule.beats)


def test_a_patient_who_is_never_in_the_window_ends_the_scan() -> None:
    case = Case(matrix=(4, 36, 48), gating_window=0.001, breathing_dwell=0.5)
    with pytest.raises(SettingsError, match=r"lay in the gating_window of 0\.001 mm: widen it"):
        plan_scan(case)
