"""The noise level, whatever else is in the image."""

import numpy as np
import pytest

from chistream.arrays import Size
from chistream.field.noise import estimate_noise


@pytest.mark.parametrize("shape", [(24, 40, 41), (1, 64, 65), (3, 40, 41)])
def test_the_noise_is_found_behind_a_smooth_object(shape: Size) -> None:
    rng = np.random.default_rng(5)
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    object_ = 100 * np.exp(1j * (4 * x + 0.3 * y * z)) * (x**2 + y**2 < 0.7)
    parts = rng.standard_normal((2, 3, *shape))
    found = estimate_noise(object_ + 2.5 * (parts[0] + 1j * parts[1]))
    # 10 %: the rim of the object, and a sample of a few thousand.
    assert found == pytest.approx(2.5, rel=0.1)


def test_air_that_the_scanner_has_blanked_does_not_count() -> None:
    rng = np.random.default_rng(6)
    parts = rng.standard_normal((2, 2, 20, 30, 31))
    image = 10 + parts[0] + 1j * parts[1]
    image[..., np.arange(31) % 5 < 2] = 0
    assert estimate_noise(image) == pytest.approx(1.0, rel=0.1)


def test_nothing_has_no_noise() -> None:
    assert estimate_noise(np.zeros((2, 4, 5, 6), dtype=np.complex64)) == 0
