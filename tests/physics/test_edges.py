"""Edge weights against their definition."""

import numpy as np
import pytest

from chistream.arrays import RealArray
from chistream.physics.edges import mean_of_edges, weigh_edges, wrap

SHAPE = (5, 6, 7)
MASK = np.ones(SHAPE, dtype=bool)


def ramp(steps: tuple[float, float, float]) -> RealArray:
    z, y, x = np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij")
    phase: RealArray = steps[0] * z + steps[1] * y + steps[2] * x
    return phase


@pytest.mark.parametrize("turns", [-2, 0, 3])
def test_an_angle_is_wrapped_into_one_turn(turns: int) -> None:
    assert wrap(0.5 + 2 * np.pi * turns) == pytest.approx(0.5)


def test_a_ramp_is_weighed_by_its_steps_alone() -> None:
    steps = (0.3, -1.2, 2.0)
    phase = np.angle(np.exp(1j * ramp(steps)))
    weights = weigh_edges(phase, np.ones(SHAPE), MASK)
    inner = weights[1:-2, 1:-2, 1:-2]
    for axis, step in enumerate(steps):
        np.testing.assert_allclose(inner[..., axis], 1 - abs(step) / np.pi, atol=1e-5)


def test_an_edge_at_the_rim_knows_half_of_its_linearity() -> None:
    weights = weigh_edges(np.zeros(SHAPE), np.ones(SHAPE), MASK)
    np.testing.assert_allclose(weights[1:-1, 1:-1, 0, 2], 0.5)
    np.testing.assert_allclose(weights[1:-1, 1:-1, -2, 2], 0.5)
    np.testing.assert_allclose(weights[1:-1, 1:-1, 1:-2, 2], 1.0)


def test_there_are_no_edges_beyond_the_grid_or_the_mask() -> None:
    mask = MASK.copy()
    mask[2, 3, 3] = False
    weights = weigh_edges(np.zeros(SHAPE), np.ones(SHAPE), mask)
    assert (weights[-1, :, :, 0] < 0).all()
    assert (weights[:, -1, :, 1] < 0).all()
    assert (weights[:, :, -1, 2] < 0).all()
    assert (weights[2, 3, 3] < 0).all()
    assert weights[1, 3, 3, 0] < 0
    assert weights[2, 2, 3, 1] < 0
    assert weights[2, 3, 2, 2] < 0
    assert (weights >= 0).sum() == 4 * 6 * 7 + 5 * 5 * 7 + 5 * 6 * 6 - 6


def test_the_phase_outside_the_mask_does_not_count() -> None:
    rng = np.random.default_rng(8)
    mask = rng.random(SHAPE) > 0.3
    phase = rng.uniform(-1, 1, SHAPE)
    other = np.where(mask, phase, rng.uniform(-3, 3, SHAPE))
    ones = np.ones(SHAPE)
    np.testing.assert_array_equal(weigh_edges(other, ones, mask), weigh_edges(phase, ones, mask))


def test_a_phase_that_bends_weighs_less() -> None:
    phase = np.zeros(SHAPE)
    phase[2, 3, 3] = 0.5
    bent = weigh_edges(phase, np.ones(SHAPE), MASK)[2, 3, 2, 2]
    # Second differences 0.5 before and 1 around the voxel itself.
    assert bent == pytest.approx((1 - 0.5 / np.pi) * (1 - 0.5 / 2) * (1 - 1 / 2), rel=1e-5)


def test_unlike_and_dark_magnitudes_weigh_less() -> None:
    magnitude = np.ones(SHAPE)
    magnitude[2, 3, 3] = 0.4
    magnitude[0, 0, 0] = 0.0
    weights = weigh_edges(np.zeros(SHAPE), magnitude, MASK)
    # Likeness squared, and 0.4 is 80 % of half the median.
    assert weights[2, 3, 2, 2] == pytest.approx(0.4**2 * (0.5 + 0.5 * 0.8), rel=1e-5)
    np.testing.assert_array_equal(weights[0, 0, 0], 0.0)


def test_gradients_that_two_pairs_of_echoes_disagree_on_weigh_less() -> None:
    first, second = ramp((0.0, 0.0, 0.4)), ramp((0.0, 0.0, 1.0))
    weights = weigh_edges(
        first, np.ones(SHAPE), MASK, gradients=(first, second), gradient_ratio=0.5
    )
    expected = (1 - 0.4 / np.pi) * (1 - abs(0.4 - 0.5))
    np.testing.assert_allclose(weights[:, :, 1:-2, 2], expected, rtol=1e-5)


def test_the_mean_of_the_edges_is_over_those_that_exist() -> None:
    weights = np.full((*SHAPE, 3), -1.0, dtype=np.float32)
    weights[2, 3, 3] = [0.2, 0.4, 0.6]
    weights[1, 3, 3, 0] = 1.0
    mean = mean_of_edges(weights)
    assert mean[2, 3, 3] == pytest.approx((0.2 + 0.4 + 0.6 + 1.0) / 4)
    assert mean[3, 3, 3] == pytest.approx(0.2)
    assert mean[1, 3, 3] == 1.0
    assert mean[0, 0, 0] == 0.0


@pytest.mark.usefixtures("plain_kernels")
def test_the_kernels_say_in_python_what_they_say_compiled() -> None:
    rng = np.random.default_rng(3)
    phase = rng.uniform(-np.pi, np.pi, (3, 4, 5))
    magnitude = np.abs(rng.standard_normal(phase.shape))
    magnitude[1, 1, 1] = 0
    mask = rng.random(phase.shape) > 0.2
    weights = weigh_edges(phase, magnitude, mask, gradients=(phase, phase / 2), gradient_ratio=0.5)
    exists = weights >= 0
    assert exists.any()
    assert (weights[exists] <= 1).all()
    step = np.abs(np.angle(np.exp(1j * (phase[:, :, 1:] - phase[:, :, :-1]))))
    assert (weights[:, :, :-1, 2] <= 1 - step / np.pi + 1e-6).all()
