"""The stage as a whole: echoes in, a field to be trusted out."""

from collections.abc import Callable

import numpy as np
import pytest

from chistream.arrays import ComplexArray, Mask, RealArray, Size
from chistream.errors import ReconstructionError
from chistream.field.total_field import estimate_field

MakeEchoes = Callable[..., ComplexArray]
MakeSphere = Callable[..., tuple[RealArray, Mask]]

EVEN = np.array([1.7, 5.2, 8.7, 12.2, 15.7]) * 1e-3
UNEVEN = np.array([1.2, 2.5, 4.4, 7.0]) * 1e-3
TWO = np.array([2.0, 5.0]) * 1e-3


@pytest.mark.parametrize("TE", [EVEN, UNEVEN, TWO], ids=["even", "uneven", "two"])
@pytest.mark.parametrize("shape", [(12, 41, 46), (9, 40, 33)])
def test_the_field_of_a_sphere_comes_back_within_its_noise(
    make_echoes: MakeEchoes, make_sphere: MakeSphere, TE: RealArray, shape: Size
) -> None:
    field, tissue = make_sphere(shape, radius=7.0, peak=120.0, b0_direction=(1.0, 0.5, -0.3))
    _, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    echoes = make_echoes(
        field, TE, magnitude=1.0 * tissue, phase_offset=5 * x - 4 * y, noise_sd=0.04, seed=2
    )
    maps = estimate_field(echoes, TE)
    assert maps.mask[tissue].mean() > 0.99
    assert maps.mask[~tissue].mean() < 0.05
    inside = maps.mask & tissue
    deviation = (maps.frequency - field)[inside] / maps.frequency_sd[inside]
    assert np.sqrt(np.mean(deviation**2)) == pytest.approx(1.0, abs=0.1)
    assert np.abs(deviation).max() < 7
    np.testing.assert_allclose(np.median(maps.r2star[inside]), 25.0, atol=3.0)
    assert maps.noise_sd == pytest.approx(0.04, rel=0.1)
    for volume in (maps.frequency, maps.frequency_sd, maps.r2star, maps.residual, maps.quality):
        assert volume.dtype == np.float32
        assert volume.shape == shape
    np.testing.assert_array_equal(maps.frequency[~maps.mask], 0.0)


def test_a_given_mask_is_used_but_for_voxels_without_signal(make_echoes: MakeEchoes) -> None:
    field = np.full((4, 5, 6), 12.0)
    echoes = make_echoes(field, EVEN, noise_sd=0.01)
    echoes[:, 1, 1, 1] = 0
    mask = np.ones(field.shape, dtype=bool)
    mask[0] = False
    expected = mask.copy()
    expected[1, 1, 1] = False
    maps = estimate_field(echoes, EVEN, mask, noise_sd=0.01)
    np.testing.assert_array_equal(maps.mask, expected)
    assert mask[1, 1, 1]
    assert maps.noise_sd == 0.01


def test_a_misfit_widens_the_noise_and_leaves_no_hole(make_echoes: MakeEchoes) -> None:
    shape = (4, 10, 30)
    noise_sd = 0.01
    water = make_echoes(np.zeros(shape), EVEN, noise_sd=noise_sd)
    fat = make_echoes(np.full(shape, -200.0), EVEN, phase_offset=0.3)
    mixed = water.copy()
    mixed[..., 10:20] += 0.1 * fat[..., 10:20]
    mixed[..., 20:] += 0.95 * fat[..., 20:]
    mask = np.ones(shape, dtype=bool)
    maps = estimate_field(mixed, EVEN, mask, noise_sd=noise_sd)
    strict = estimate_field(mixed, EVEN, mask, noise_sd=noise_sd, residual_limit=np.inf)
    assert maps.mask.all()
    np.testing.assert_array_equal(maps.frequency_sd[..., :10], strict.frequency_sd[..., :10])
    some = np.s_[..., 10:20]
    assert maps.residual[some].min() > 3
    ratio = maps.frequency_sd[some] / strict.frequency_sd[some]
    np.testing.assert_allclose(ratio, maps.residual[some], rtol=1e-5)
    # Of these voxels the model explains so little that only the period of the field is left.
    assert maps.frequency_sd[..., 20:].min() >= 0.999 / (np.sqrt(12) * 3.5e-3)


def test_one_echo_is_refused_with_the_reason() -> None:
    with pytest.raises(ReconstructionError, match="field map needs at least 2 echoes, got 1"):
        estimate_field(np.ones((1, 4, 5, 6), complex), [2e-3])


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mask \(4, 5, 7\) and echoes \(2, 4, 5, 6\)"):
        estimate_field(np.ones((2, 4, 5, 6), complex), TWO, np.ones((4, 5, 7), bool))
