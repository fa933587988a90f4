"""The error figures against cases that can be worked out by hand."""

import numpy as np
import pytest

from chistream_simulator.metrics import compare_maps

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
