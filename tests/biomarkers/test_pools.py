"""Region statistics against their definitions, and their error against repetition."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from chistream.arrays import Mask, RealArray, Size, Vector
from chistream.biomarkers.pools import (
    Pool,
    measure_pool,
    pool_difference,
    reference_to,
    sphere_mask,
)
from chistream.errors import ReconstructionError
from chistream.physics.geometry import Geometry

SHAPE: Size = (9, 12, 15)
VOXEL: Vector = (3.0, 2.0, 1.5)
TILT = np.deg2rad(30)
OBLIQUE = Geometry(
    SHAPE,
    VOXEL,
    position=(12.0, -30.0, 44.0),
    read_dir=(float(np.cos(TILT)), 0.0, float(np.sin(TILT))),
    phase_dir=(0.0, 1.0, 0.0),
    slice_dir=(float(-np.sin(TILT)), 0.0, float(np.cos(TILT))),
)


def whole(shape: Size = SHAPE) -> Mask:
    return np.ones(shape, dtype=bool)


@pytest.mark.parametrize("centre_index", [(4, 6, 7), (2, 8, 10)])
def test_a_ball_holds_the_voxels_within_its_radius_in_the_patient(
    centre_index: tuple[int, int, int],
) -> None:
    z, y, x = centre_index
    centre = OBLIQUE.affine_lps @ [x, y, z, 1]
    mask = sphere_mask(OBLIQUE, (centre[0], centre[1], centre[2]), 5.0)
    iz, iy, ix = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    squared = ((iz - z) * 3.0) ** 2 + ((iy - y) * 2.0) ** 2 + ((ix - x) * 1.5) ** 2
    np.testing.assert_array_equal(mask, squared <= 25.0)
    assert mask[centre_index]


def test_the_volume_of_a_ball_is_that_of_a_sphere() -> None:
    grid = Geometry((40, 41, 42), (1.0, 1.1, 0.9), position=(5.0, 0.0, -3.0))
    mask = sphere_mask(grid, (5.3, 0.2, -2.6), 12.0)
    assert mask.sum() * 0.99 == pytest.approx(4 / 3 * np.pi * 12.0**3, rel=0.02)


def test_a_ball_is_restricted_to_the_signal() -> None:
    signal = whole()
    signal[:, :, 8:] = False
    ball = sphere_mask(OBLIQUE, OBLIQUE.position, 6.0)
    kept = sphere_mask(OBLIQUE, OBLIQUE.position, 6.0, signal=signal)
    np.testing.assert_array_equal(kept, ball & signal)
    assert 0 < kept.sum() < ball.sum()


def test_a_radius_is_positive() -> None:
    with pytest.raises(ValueError, match=r"radius must be positive, got 0\.0 mm"):
        sphere_mask(OBLIQUE, OBLIQUE.position, 0.0)


def test_a_signal_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        sphere_mask(OBLIQUE, OBLIQUE.position, 5.0, signal=whole((9, 12, 14)))


def test_statistics_are_in_ppb_and_of_the_mask_alone() -> None:
    rng = np.random.default_rng(1)
    chi = rng.standard_normal(SHAPE).astype(np.float32)
    mask = rng.random(SHAPE) < 0.1
    pool = measure_pool("RV", chi, mask, VOXEL)
    values = 1000 * chi[mask].astype(np.float64)
    assert pool.mean_ppb == pytest.approx(values.mean())
    assert pool.sd_ppb == pytest.approx(values.std(ddof=1))
    assert pool.n_voxels == mask.sum()
    assert pool.volume_ml == pytest.approx(mask.sum() * 9.0 / 1000)
    assert pool.se_ppb == pytest.approx(pool.sd_ppb / np.sqrt(pool.n_effective))


def test_voxels_without_a_number_are_left_out() -> None:
    chi = np.random.default_rng(2).standard_normal(SHAPE)
    holed = chi.copy()
    holed[0] = np.nan
    rest = whole()
    rest[0] = False
    assert measure_pool("LV", holed, whole(), VOXEL) == measure_pool("LV", chi, rest, VOXEL)


@pytest.mark.parametrize("sigma", [0.0, 0.7, 1.2])
def test_the_standard_error_is_the_scatter_of_the_mean_over_repetitions(sigma: float) -> None:
    grid = Geometry((20, 21, 22), (1.0, 1.0, 1.0))
    mask = sphere_mask(grid, (0.0, 0.0, 0.0), 7.0)
    rng = np.random.default_rng(3)
    pools = []
    for _ in range(150):
        noise = rng.standard_normal(grid.shape)
        chi = gaussian_filter(noise, sigma) if sigma else noise
        pools.append(measure_pool("RV", chi, mask, grid.voxel_size))
    scatter = np.std([pool.mean_ppb for pool in pools])
    claimed = np.sqrt(np.mean([pool.se_ppb**2 for pool in pools]))
    # 25 %: 6 % from 150 repetitions, the rest from measuring the correlation in one small ball.
    assert claimed == pytest.approx(scatter, rel=0.25)
    naive = np.mean([pool.sd_ppb / np.sqrt(pool.n_voxels) for pool in pools])
    if sigma > 1:
        assert naive < 0.3 * scatter


def test_correlation_along_one_axis_counts_that_axis_only() -> None:
    lines = np.random.default_rng(4).standard_normal((16, 17, 1)) * np.ones((1, 1, 8))
    pool = measure_pool("block", lines, whole((16, 17, 8)), VOXEL)
    assert pool.n_effective == pytest.approx(16 * 17, rel=0.15)


def test_a_constant_pool_has_no_error() -> None:
    pool = measure_pool("vial", np.full(SHAPE, 0.25), whole(), VOXEL)
    assert (pool.mean_ppb, pool.sd_ppb, pool.se_ppb) == (250.0, 0.0, 0.0)
    assert pool.n_effective == pool.n_voxels


def test_independent_voxels_stay_between_one_and_all() -> None:
    ramp = np.broadcast_to(np.arange(15.0), SHAPE)
    trend = measure_pool("ramp", ramp, whole(), VOXEL)
    checkers = (-1.0) ** np.indices(SHAPE).sum(axis=0)
    alternating = measure_pool("checkers", checkers, whole(), VOXEL)
    assert 1 <= trend.n_effective < 15
    assert alternating.n_effective == alternating.n_voxels


def test_too_few_voxels_are_no_measurement_and_the_roi_is_named() -> None:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[4, 6, 5:14] = True
    with pytest.raises(ReconstructionError, match=r"ROI 'RV' holds 9 voxels .* needs 10") as error:
        measure_pool("RV", np.zeros(SHAPE), mask, VOXEL)
    assert error.value.stage == "biomarkers"
    assert measure_pool("RV", np.zeros(SHAPE), mask, VOXEL, minimum_voxels=9).n_voxels == 9


def test_an_empty_roi_is_named_too() -> None:
    far = sphere_mask(OBLIQUE, (500.0, 0.0, 0.0), 8.0)
    with pytest.raises(ReconstructionError, match="ROI 'LV' holds 0 voxels"):
        measure_pool("LV", np.zeros(SHAPE), far, VOXEL)


def test_one_voxel_can_never_be_a_pool() -> None:
    with pytest.raises(ValueError, match="minimum_voxels must be >= 2, got 1"):
        measure_pool("LV", np.zeros(SHAPE), whole(), VOXEL, minimum_voxels=1)


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        measure_pool("LV", np.zeros(SHAPE), whole((9, 12, 14)), VOXEL)


def test_the_difference_is_venous_less_arterial() -> None:
    right = Pool("RV", 200.0, 10.0, 5.0, 20, 4.0, 1.0)
    left = Pool("LV", -50.0, 10.0, 12.0, 20, 4.0, 1.0)
    difference = pool_difference(right, left)
    assert difference.delta_chi_ppb == 250.0
    assert difference.delta_chi_se_ppb == pytest.approx(13.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_reference_pool_becomes_zero_and_the_outside_stays_zero(
    dtype: type[np.floating[np.typing.NBitBase]],
) -> None:
    chi: RealArray = np.random.default_rng(5).standard_normal(SHAPE).astype(dtype)
    mask = whole()
    mask[-1] = False
    left = np.zeros(SHAPE, dtype=bool)
    left[2:5, 3:6, 4:8] = True
    referenced = reference_to(chi, measure_pool("LV", chi, left, VOXEL), mask)
    assert referenced.dtype == chi.dtype
    assert referenced[left].mean() == pytest.approx(0.0, abs=1e-6)
    assert not referenced[-1].any()
    shift = (chi - referenced)[mask]
    np.testing.assert_allclose(shift, shift[0], atol=1e-6)
