"""Edges know nothing of the coils, and quality is known where noise is."""

from typing import TYPE_CHECKING

import numpy as np
import pytest

from chistream.arrays import RealArray
from chistream.field.quality import edge_weights, phase_quality

if TYPE_CHECKING:
    from collections.abc import Callable

    from chistream.arrays import ComplexArray

TE = np.array([2.0, 4.5, 7.0]) * 1e-3
SHAPE = (5, 6, 7)
MASK = np.ones(SHAPE, dtype=bool)


def ramp(steps: tuple[float, float, float]) -> RealArray:
    z, y, x = np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij")
    phase: RealArray = steps[0] * z + steps[1] * y + steps[2] * x
    return phase


def test_a_phase_offset_of_the_coils_does_not_touch_the_weights(
    make_echoes: "Callable[..., ComplexArray]",
) -> None:
    frequency = 20 * ramp((1.0, -0.5, 0.25))
    plain = make_echoes(frequency, TE)
    offset = make_echoes(frequency, TE, phase_offset=ramp((0.9, 0.4, -1.1)))
    ones = np.ones(SHAPE)
    np.testing.assert_allclose(
        edge_weights(offset, TE, ones, MASK), edge_weights(plain, TE, ones, MASK), atol=1e-5
    )


@pytest.mark.parametrize("n_echoes", [2, 3])
def test_quality_tells_tissue_from_noise(
    make_echoes: "Callable[..., ComplexArray]", n_echoes: int
) -> None:
    shape = (12, 20, 21)
    magnitude = np.ones(shape)
    magnitude[:, :, 11:] = 0
    echoes = make_echoes(
        np.full(shape, 30.0), TE, magnitude=magnitude, noise_sd=0.02, phase_offset=1.0
    )[:n_echoes]
    quality = phase_quality(echoes, TE[:n_echoes])
    assert quality.dtype == np.float32
    assert np.median(quality[:, :, :10]) > 0.8
    assert np.median(quality[:, :, 12:]) < 0.25
    assert quality.min() >= 0
    assert quality.max() <= 1
