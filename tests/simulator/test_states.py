"""A few poses for many lines."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chistream.arrays import RealArray
from chistream_simulator.phantoms.pose import AT_REST, Pose
from chistream_simulator.timing.states import MotionStates, choose_states

POSES = (AT_REST, Pose(-2.0), Pose(3.0), Pose(8.0), Pose(1.0, 0.5), Pose(9.0, 0.5), Pose(0.0, -0.2))


def mean_pose(states: MotionStates, descents: RealArray, contractions: RealArray) -> RealArray:
    indices, weights = states.mix(descents, contractions)
    poses = np.array([(p.descent, p.contraction) for p in states.poses])
    mean: RealArray = np.sum(weights[..., None] * poses[indices], axis=1)
    return mean


@given(
    descents=st.lists(st.floats(-30, 60), min_size=1, max_size=20),
    contractions=st.lists(st.floats(-0.2, 1), min_size=20, max_size=20),
)
@settings(deadline=None)
def test_a_line_is_a_mixture(descents: list[float], contractions: list[float]) -> None:
    d, c = np.array(descents), np.array(contractions[: len(descents)])
    for poses in (POSES, POSES[:1], POSES[:3], POSES[:1] + POSES[4:]):
        indices, weights = MotionStates(poses).mix(d, c)
        assert indices.shape == weights.shape == (len(d), 3)
        assert weights.dtype == np.float32
        assert (weights >= 0).all()
        np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)
        assert indices.min() >= 0
        assert indices.max() < len(poses)


def test_in_diastasis_the_mean_pose_is_the_lines_own() -> None:
    descents = np.array([-5.0, -2.0, -1.0, 0.0, 0.3, 3.0, 7.5, 20.0])
    mean = mean_pose(MotionStates(POSES), descents, np.zeros(8))
    np.testing.assert_allclose(mean[:, 0], np.clip(descents, -2, 8), atol=1e-6)
    np.testing.assert_allclose(mean[:, 1], 0)


def test_a_line_on_a_state_is_that_state_alone() -> None:
    states = MotionStates(POSES)
    indices, weights = states.mix(np.array([3.0, 0.0]), np.zeros(2))
    assert [int(indices[i, weights[i].argmax()]) for i in range(2)] == [2, 0]
    np.testing.assert_allclose(weights.max(axis=1), 1)
    np.testing.assert_allclose(states.distances(np.array([3.0, 0.0]), np.zeros(2)), 0)


def test_contraction_is_mixed_in_from_the_nearest_pose_of_its_sign() -> None:
    states = MotionStates(POSES)
    descents, contractions = np.array([0.0, 9.0, 0.0, 0.0]), np.array([0.25, 0.25, -0.1, 0.9])
    indices, weights = states.mix(descents, contractions)
    assert indices[:, 2].tolist() == [4, 5, 6, 4]
    np.testing.assert_allclose(weights[:, 2], [0.5, 0.5, 0.5, 1.0])
    # Without a pose to show it, a contraction is none.
    _, alone = MotionStates(POSES[:4]).mix(descents, contractions)
    np.testing.assert_allclose(alone[:, 2], 0)


def test_the_distance_is_that_from_the_mixed_poses() -> None:
    states = MotionStates((AT_REST, Pose(4.0)))
    # Half and half, each 2 mm away; a quarter 3 mm away and the rest 1 mm; beyond the last.
    away = states.distances(np.array([2.0, 1.0, 6.0]), np.zeros(3))
    np.testing.assert_allclose(away, [2.0, np.sqrt(0.25 * 9 + 0.75), 2.0])


def breathing_lines(n: int = 4000) -> RealArray:
    phase = np.linspace(0, 40 * np.pi, n)
    lines: RealArray = 12 * np.sin(phase) ** 6
    return lines


def test_states_are_dense_where_the_patient_rests_and_where_lines_are_accepted() -> None:
    descents = breathing_lines()
    accepted = descents < 2.5
    states = choose_states(descents, np.zeros(len(descents)), accepted, n_breathing=6, n_beating=2)
    found = [pose.descent for pose in states.poses]
    assert states.poses[0] == AT_REST
    assert len(found) == 6
    assert found == sorted(found)
    assert (np.diff(np.diff(found)) > 0)[:2].all()
    assert all(pose.contraction == 0 for pose in states.poses)
    away = states.distances(descents, np.zeros(len(descents)))
    kept, rejected = (float(np.sqrt(np.mean(away[where] ** 2))) for where in (accepted, ~accepted))
    assert kept < 0.6
    assert kept < 0.5 * rejected
    # All count the same: the accepted ones are served less well.
    fair = choose_states(
        descents, np.zeros(len(descents)), np.ones_like(accepted), n_breathing=6, n_beating=2
    )
    fairly = fair.distances(descents, np.zeros(len(descents)))
    assert float(np.sqrt(np.mean(fairly[accepted] ** 2))) > kept


def test_more_states_lie_nearer() -> None:
    descents = breathing_lines()
    still = np.zeros(len(descents))
    away = [
        choose_states(descents, still, still == 0, n_breathing=n, n_beating=0)
        .distances(descents, still)
        .mean()
        for n in (1, 2, 4, 8, 16)
    ]
    assert away == sorted(away, reverse=True)
    assert away[-1] < 0.2 * away[0]


def test_a_patient_who_lies_still_needs_one_state() -> None:
    still = np.zeros(100)
    assert choose_states(still, still, still == 0, n_breathing=6, n_beating=2).poses == (AT_REST,)
    assert choose_states(
        breathing_lines(100), still, still == 0, n_breathing=1, n_beating=0
    ).poses == (AT_REST,)


@pytest.mark.parametrize(
    ("contractions", "expected"),
    [((0.6, -0.2), [-0.2, 0.6]), ((0.6,), [0.6]), ((-0.2,), [-0.2]), ((0.1, -0.1), [])],
)
def test_lines_outside_diastasis_get_states_of_their_own(
    contractions: tuple[float, ...], expected: list[float]
) -> None:
    descents = np.tile(breathing_lines(1000), 1)
    pattern = np.zeros(1000)
    for i, contraction in enumerate(contractions):
        pattern[i::20] = contraction
    states = choose_states(descents, pattern, pattern == 0, n_breathing=4, n_beating=2)
    beating = [pose for pose in states.poses if pose.contraction]
    assert len(beating) <= 2
    assert sorted({round(p.contraction, 6) for p in beating}) == expected
    mean = mean_pose(states, descents, pattern)
    wanted = np.where(np.abs(pattern) > 0.15, pattern, 0)
    np.testing.assert_allclose(mean[:, 1], wanted, atol=1e-6)


def test_too_few_lines_outside_diastasis_are_worth_no_state() -> None:
    contractions = np.zeros(1000)
    contractions[:5] = 1.0
    states = choose_states(
        np.zeros(1000), contractions, contractions == 0, n_breathing=6, n_beating=2
    )
    assert states.poses == (AT_REST,)
