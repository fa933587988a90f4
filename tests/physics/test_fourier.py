"""The transforms against properties that fix them completely."""

import numpy as np
import pytest

from chistream.arrays import ComplexArray, Size
from chistream.physics.fourier import RealTransform, good_size, to_image, to_kspace

SHAPES = [(7,), (8,), (7, 8), (8, 7), (5, 6, 7)]  # every parity, no two axes alike
VOLUMES: list[Size] = [(5, 6, 7), (6, 7, 8), (7, 5, 6)]


def noise(shape: tuple[int, ...], seed: int) -> ComplexArray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_there_and_back(shape: tuple[int, ...]) -> None:
    image, axes = noise(shape, 1), range(len(shape))
    np.testing.assert_allclose(to_image(to_kspace(image, axes), axes), image, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_each_is_the_adjoint_of_the_other(shape: tuple[int, ...]) -> None:
    image, kspace, axes = noise(shape, 1), noise(shape, 2), range(len(shape))
    left = np.vdot(kspace, to_kspace(image, axes))
    right = np.vdot(to_image(kspace, axes), image)
    np.testing.assert_allclose(left, right, rtol=1e-12)


@pytest.mark.parametrize("n", [7, 8])
def test_a_shifted_point_is_a_phase_ramp_through_the_centre(n: int) -> None:
    image = np.zeros(n, dtype=complex)
    image[n // 2 + 1] = 1.0
    k = np.arange(n) - n // 2
    np.testing.assert_allclose(to_kspace(image, [0]), np.exp(-2j * np.pi * k / n) / np.sqrt(n))


def test_only_the_named_axes_are_transformed() -> None:
    image = noise((3, 4, 5), 3)
    each = np.stack([to_kspace(plane, (-2, -1)) for plane in image])
    np.testing.assert_allclose(to_kspace(image, (-2, -1)), each, atol=1e-12)


def test_the_input_and_its_precision_are_kept() -> None:
    image = noise((6, 7), 4).astype(np.complex64)
    before = image.copy()
    assert to_kspace(image, (0, 1)).dtype == np.complex64
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("shape", VOLUMES)
def test_the_real_transform_is_the_half_of_the_full_one(shape: Size) -> None:
    volume = noise(shape, 5).real
    transform = RealTransform(shape)
    np.testing.assert_allclose(transform.forward(volume), np.fft.rfftn(volume), atol=1e-12)
    np.testing.assert_allclose(transform.inverse(np.fft.rfftn(volume)), volume, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
@pytest.mark.parametrize("shape", VOLUMES)
def test_a_convolution_is_the_sum_over_shifts(shape: Size, dtype: str, tolerance: float) -> None:
    volume = noise(shape, 6).real
    kernel = np.zeros(shape)
    kernel[1, 0, 0], kernel[0, -1, 2] = 2.0, -0.5
    shifted = 2.0 * np.roll(volume, 1, 0) - 0.5 * np.roll(volume, (-1, 2), (1, 2))
    found = RealTransform(shape, dtype).convolve(volume, np.fft.rfftn(kernel))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, shifted, atol=tolerance)


def test_results_do_not_share_memory_with_the_plan() -> None:
    transform = RealTransform((4, 5, 6))
    first = transform.inverse(transform.forward(np.ones((4, 5, 6))))
    transform.convolve(np.zeros((4, 5, 6)), np.zeros(transform.half_shape))
    np.testing.assert_allclose(first, 1.0)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="got 'float16'"):
        RealTransform((4, 4, 4), "float16")


def test_good_sizes_are_even_products_of_small_primes_and_not_far() -> None:
    for n in range(2, 400):
        size = good_size(n)
        assert n <= size <= 1.2 * n + 2
        assert size % 2 == 0
        left = size
        for prime in (2, 3, 5, 7, 11, 13):
            while left % prime == 0:
                left //= prime
        assert left == 1, (n, size)


def test_a_single_plane_stays_single() -> None:
    assert good_size(1) == 1
