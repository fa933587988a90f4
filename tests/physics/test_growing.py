"""Unwrapping of one image: whole turns, every region, and parts that argue."""

import numpy as np
import pytest
from scipy import ndimage

from chistream.arrays import Mask, RealArray, Size
from chistream.physics import growing
from chistream.physics.edges import weigh_edges
from chistream.physics.growing import unwrap_in_space

SHAPES: list[Size] = [(5, 12, 13), (6, 13, 12), (1, 14, 15), (2, 3, 40)]


def unwrap(phase: RealArray, mask: Mask, magnitude: RealArray | None = None) -> RealArray:
    weights = weigh_edges(phase, np.ones(phase.shape) if magnitude is None else magnitude, mask)
    labels, n_regions = ndimage.label(mask)
    return unwrap_in_space(phase, weights, labels, n_regions)


def wrapped(phase: RealArray) -> RealArray:
    result: RealArray = np.angle(np.exp(1j * phase))
    return result


def steep(shape: Size) -> RealArray:
    z, y, x = np.meshgrid(*[np.arange(n, dtype=float) for n in shape], indexing="ij")
    phase: RealArray = 1.9 * z - 2.3 * y + 2.8 * x + 0.004 * x**2
    return phase


@pytest.mark.parametrize("shape", SHAPES)
def test_a_smooth_phase_comes_back_up_to_one_multiple(shape: Size) -> None:
    truth = steep(shape)
    found = unwrap(wrapped(truth), np.ones(shape, dtype=bool))
    turns = (found - truth) / (2 * np.pi)
    np.testing.assert_allclose(turns, np.rint(turns[0, 0, 0]), atol=1e-9)


def test_every_region_is_unwrapped_and_nothing_outside() -> None:
    truth = steep((6, 13, 12))
    mask = np.zeros(truth.shape, dtype=bool)
    mask[:, :, :4] = mask[:, :6, 6:9] = mask[3:, 8:, 6:] = mask[0, 12, 11] = True
    start = wrapped(truth)
    found = unwrap(start, mask)
    labels, n_regions = ndimage.label(mask)
    assert n_regions == 4
    for region in range(1, n_regions + 1):
        turns = (found - truth)[labels == region] / (2 * np.pi)
        np.testing.assert_allclose(turns, np.rint(turns[0]), atol=1e-9)
    np.testing.assert_array_equal(found[~mask], start[~mask])


def test_growth_goes_around_a_fault() -> None:
    truth = 0.8 * steep((1, 14, 15))
    damaged = truth.copy()
    damaged[0, 3:11, 7] += np.random.default_rng(2).uniform(-np.pi, np.pi, 8)
    found = unwrap(wrapped(damaged), np.ones(truth.shape, dtype=bool))
    turns = (found - truth) / (2 * np.pi)
    whole = np.ones(truth.shape, dtype=bool)
    whole[0, 3:11, 7] = False
    np.testing.assert_allclose(turns[whole], np.rint(turns[0, 0, 0]), atol=1e-9)


@pytest.mark.parametrize("right_comes_first", [False, True])
def test_parts_settle_by_the_majority_of_the_edges_between_them(right_comes_first: bool) -> None:
    # Two calm halves, a rim of doubtful edges between them, and in the rim one edge that looks
    # better than all others and leads a turn astray.
    phase = np.zeros((3, 10, 20))
    phase[:, :, 10:] = 2.2
    phase[1, 5, 10] = -2.9
    weights = np.full((*phase.shape, 3), 0.9, dtype=np.float32)
    weights[-1, :, :, 0] = weights[:, -1, :, 1] = weights[:, :, -1, 2] = -1
    weights[:, :, 9, 2] = 0.05
    weights[1, 5, 9, 2] = 0.29
    labels = np.ones(phase.shape, dtype=np.int32)
    if right_comes_first:
        # Cores are numbered as they come: leave out where the left one would begin.
        labels[0, 0, :10] = 0
        weights[0, 0, :10] = -1
    found = unwrap_in_space(phase, weights, labels, 1)
    step = found[:, :, 10] - found[:, :, 9]
    normal = np.ones(step.shape, dtype=bool)
    normal[1, 5] = normal[0, 0] = False
    np.testing.assert_allclose(step[normal], 2.2, atol=1e-9)


def test_owners_settle_in_the_order_given_and_along_chains() -> None:
    pairs = np.array([[0, 1], [2, 3], [1, 2], [0, 3]])
    shifts = growing._settle(pairs, np.array([1, -1, 2, 7]), 5)
    # The fourth vote comes too late: 0 and 3 are already joined.
    np.testing.assert_array_equal(shifts, [0, 1, 3, 2, 0])


def test_the_winner_of_a_vote_is_the_heaviest_and_the_clearest_pair_comes_first() -> None:
    kinds = np.array([[0, 0, 0, 1], [1, 1, 1, 2], [-1, 0, 1, 2]])
    pairs, turns = growing._winners(kinds, np.array([0.5, 3.0, 2.8, 1.0]))
    np.testing.assert_array_equal(pairs, [[1, 2], [0, 1]])
    np.testing.assert_array_equal(turns, [2, 0])


def test_small_sets_of_voxels_are_no_cores() -> None:
    bins = np.full((3 * 4 * 40, 3), 1, dtype=np.uint8).reshape(3, 4, 40, 3)
    bins[-1, :, :, 0] = bins[:, -1, :, 1] = bins[:, :, -1, 2] = 0
    bins[:, :, 9, 2] = bins[:, :, 12, 2] = 255
    cores = growing._cores(bins.reshape(-1, 3), (160, 40, 1)).reshape(3, 4, 40)
    assert (cores[:, :, :10] == 1).all()
    assert (cores[:, :, 10:13] == 0).all()
    assert (cores[:, :, 13:] == 2).all()


@pytest.mark.usefixtures("plain_kernels")
def test_the_kernels_say_in_python_what_they_say_compiled() -> None:
    truth = steep((2, 5, 21))
    mask = np.ones(truth.shape, dtype=bool)
    mask[0, 2, :] = mask[:, :, 10] = False
    found = unwrap(wrapped(truth), mask)
    labels, n_regions = ndimage.label(mask)
    for region in range(1, n_regions + 1):
        turns = (found - truth)[labels == region] / (2 * np.pi)
        np.testing.assert_allclose(turns, np.rint(turns[0]), atol=1e-9)
