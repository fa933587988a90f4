"""The error figures against cases that can be worked out by hand."""

import numpy as np
import pytest
from scipy import ndimage

from chistream_simulator.metrics import (
    compare_maps,
    high_frequency_error,
    structural_similarity,
)

SHAPE = (3, 4, 5)
RNG = np.random.default_rng(7)
TRUTH = RNG.standard_normal(SHAPE)
MASK = RNG.random(SHAPE) > 0.3


def test_a_constant_offset_is_no_error() -> None:
    errors = compare_maps(TRUTH + 3.0, TRUTH, MASK)
    assert errors.nrmse == pytest.approx(0.0, abs=1e-9)
    assert errors.correlation == pytest.approx(1.0)
    assert errors.n_voxels == MASK.sum()


def test_a_gain_is_an_error_that_detrending_takes_out() -> None:
    errors = compare_maps(0.8 * TRUTH, TRUTH, MASK)
    assert errors.nrmse == pytest.approx(20.0)
    assert errors.detrended_nrmse == pytest.approx(0.0, abs=1e-9)
    assert errors.slope == pytest.approx(0.8)


def test_a_flat_result_has_lost_everything() -> None:
    errors = compare_maps(np.zeros(SHAPE), TRUTH, MASK)
    assert [errors.nrmse, errors.detrended_nrmse] == pytest.approx([100.0, 100.0])
    assert (errors.slope, errors.correlation) == (0.0, 0.0)


def test_voxels_outside_the_mask_do_not_count() -> None:
    spoiled = np.where(MASK, TRUTH, 1e6)
    assert compare_maps(spoiled, TRUTH, MASK).rmse == pytest.approx(0.0, abs=1e-12)


def test_maps_of_different_shape_and_a_flat_truth_are_refused() -> None:
    with pytest.raises(ValueError, match=r"result \(3, 4\)"):
        compare_maps(np.zeros((3, 4)), TRUTH, MASK)
    with pytest.raises(ValueError, match="constant in the"):
        compare_maps(TRUTH, np.ones(SHAPE), MASK)


def test_equal_structures_are_alike_whatever_the_constant() -> None:
    assert structural_similarity(TRUTH + 2.0, TRUTH, MASK) == pytest.approx(1.0)
    assert high_frequency_error(TRUTH + 2.0, TRUTH, MASK) == pytest.approx(0.0, abs=1e-9)


def test_noise_costs_similarity() -> None:
    noisy = TRUTH + RNG.standard_normal(SHAPE)
    assert 0.2 < structural_similarity(noisy, TRUTH, MASK) < 0.95


def test_similarity_is_the_index_of_its_boxes() -> None:
    x, t = RNG.standard_normal((2, 9, 9, 9))
    mask = np.ones((9, 9, 9), dtype=bool)
    a, b = x - x.mean(), t - t.mean()
    index = np.empty((9, 9, 9))
    a_wide, b_wide = (np.pad(v, 2, mode="symmetric") for v in (a, b))
    for place in np.ndindex(index.shape):
        box = tuple(slice(p, p + 5) for p in place)
        p, q = a_wide[box].ravel(), b_wide[box].ravel()
        covariance = np.cov(p, q, bias=True)
        index[place] = (2 * p.mean() * q.mean() + 1e-4) * (2 * covariance[0, 1] + 1e-6)
        index[place] /= p.mean() ** 2 + q.mean() ** 2 + 1e-4
        index[place] /= covariance[0, 0] + covariance[1, 1] + 1e-6
    assert structural_similarity(x, t, mask) == pytest.approx(index.mean())


def test_smoothing_loses_details_before_it_loses_the_map() -> None:
    smooth = ndimage.gaussian_filter(TRUTH, 0.8)
    whole = np.ones(SHAPE, dtype=bool)
    assert high_frequency_error(smooth, TRUTH, whole) > 20.0
    assert high_frequency_error(0.0 * TRUTH, TRUTH, whole) == pytest.approx(100.0)
