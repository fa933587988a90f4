"""The combination keeps the object, its phase between echoes, and the best of the signal."""

import numpy as np
import pytest

from chistream.arrays import ComplexArray
from chistream.echoes.combination import combine_coils

SHAPES = [(4, 5, 6), (3, 7, 5), (1, 1, 1)]


def noise(shape: tuple[int, ...], seed: int) -> ComplexArray:
    rng = np.random.default_rng(seed)
    parts = rng.standard_normal((2, *shape)) / np.sqrt(2)
    values: ComplexArray = (parts[0] + 1j * parts[1]).astype(np.complex64)
    return values


@pytest.mark.parametrize("n_coils", [1, 2, 5])
@pytest.mark.parametrize("shape", SHAPES)
def test_true_sensitivities_give_the_object(n_coils: int, shape: tuple[int, int, int]) -> None:
    echoes, csm = noise((3, *shape), 1), noise((n_coils, *shape), 2)
    combined = combine_coils(echoes[:, None] * csm, csm)
    np.testing.assert_allclose(combined, echoes, atol=2e-6 * np.abs(echoes).max() * 10)
    assert combined.dtype == np.complex64


def test_any_map_keeps_the_phase_between_echoes() -> None:
    shape = (3, 4, 5)
    true, wrong = noise((6, *shape), 1), noise((6, *shape), 2)
    echoes = noise((1, *shape), 3) * np.exp(1j * np.arange(4) * 0.7)[:, None, None, None]
    combined = combine_coils((echoes[:, None] * true).astype(np.complex64), wrong)
    steps = np.angle(combined[1:] * combined[:-1].conj())
    np.testing.assert_allclose(steps, 0.7, atol=1e-4)


def test_unit_maps_give_the_root_of_the_sum_of_squares() -> None:
    csm = noise((4, 3, 4, 5), 2)
    echoes = noise((2, 3, 4, 5), 1)
    coil_images = echoes[:, None] * csm
    unit = csm / np.sqrt((np.abs(csm) ** 2).sum(axis=0))
    sos = np.sqrt((np.abs(coil_images) ** 2).sum(axis=1))
    np.testing.assert_allclose(np.abs(combine_coils(coil_images, unit)), sos, rtol=1e-5)


def test_no_other_combination_has_less_noise() -> None:
    # A linear unbiased combination of white noise has at least variance 1 / sum |s|^2.
    csm = noise((6, 1, 1, 1), 3)
    images = noise((20000, 6, 1, 1, 1), 4)
    variance = np.mean(np.abs(combine_coils(images, csm)) ** 2)
    bound = 1 / float((np.abs(csm) ** 2).sum())
    assert variance == pytest.approx(bound, rel=5 / np.sqrt(20000))


def test_no_sensitivity_gives_zero() -> None:
    csm = noise((2, 1, 2, 2), 1)
    csm[:, 0, 1, 1] = 0
    combined = combine_coils(noise((1, 2, 1, 2, 2), 2), csm)
    assert combined[0, 0, 1, 1] == 0
    assert np.isfinite(combined).all()


@pytest.mark.parametrize(
    ("images", "maps"), [((2, 3, 4, 5, 6), (2, 4, 5, 6)), ((3, 4, 5, 6), (4, 5, 6))]
)
def test_shapes_that_do_not_fit_are_refused(images: tuple[int, ...], maps: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="of one size"):
        combine_coils(noise(images, 1), noise(maps, 2))
