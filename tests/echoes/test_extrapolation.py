"""Lines that coils determine are found beyond the covered part, and nothing else changes."""

import numpy as np
import pytest
from tests.echoes.phantoms import body, complex_noise, grid, hybrid_of, smooth_coils

from chistream.arrays import ComplexArray, Mask
from chistream.echoes.calibration import calibration_block
from chistream.echoes.coil_images import reconstruct_coil_images
from chistream.echoes.combination import combine_coils
from chistream.echoes.extrapolation import extrapolate_kspace

SHAPE = (12, 28, 6)
COILS = smooth_coils(6, SHAPE)


def covered(first_z: int, first_y: int) -> Mask:
    region = np.zeros(SHAPE[:2], bool)
    region[first_z:, first_y:] = True
    return region


def echoes_of(hybrid: ComplexArray) -> ComplexArray:
    return combine_coils(reconstruct_coil_images(hybrid), COILS)[:, body(SHAPE)]


def disc() -> ComplexArray:
    """Three echoes of a body with a sharp edge, in a field that is linear in space."""
    z, y, x = grid(SHAPE)
    TE = np.array([1e-3, 4e-3, 7e-3])[:, None, None, None]
    magnitude = 300 * (z**2 + y**2 < 0.4).astype(np.float32)
    turns = TE * (60 * y + 30 * z + 10 * x)
    echoes: ComplexArray = (magnitude * np.exp(2j * np.pi * turns)).astype(np.complex64)
    return echoes


@pytest.mark.parametrize("region", [covered(0, 7), covered(3, 0), covered(3, 7)])
def test_echoes_come_closer_to_those_of_the_whole_and_noise_stays(region: Mask) -> None:
    whole = hybrid_of(disc(), COILS)
    part = whole * region[:, :, None]
    filled = part.copy()
    extrapolate_kspace(filled, region)
    np.testing.assert_array_equal(filled[:, :, region], part[:, :, region])
    true = echoes_of(whole)
    before, after = (np.linalg.norm(echoes_of(one) - true) for one in (part, filled))
    assert after < 0.8 * before

    noise = complex_noise(whole.shape, 5)
    noisy = part + noise * region[:, :, None]
    extrapolate_kspace(noisy, region)
    # Measured: 1.25 to 1.4.
    assert np.std(echoes_of(noisy - filled)) < 1.6 * np.std(echoes_of(noise))


def test_lines_that_other_coils_have_are_found_exactly() -> None:
    # Coils that are one wave each: line k of coil c is line k - c of the first.
    y = (np.arange(28) - 14) / 28
    waves = np.exp(2j * np.pi * np.outer(np.arange(4), y))[:, None, :, None]
    csm = np.broadcast_to(waves, (4, *SHAPE)).astype(np.complex64)
    whole = hybrid_of(complex_noise((3, *SHAPE), 2), csm)
    region = covered(0, 5)
    filled = whole * region[:, :, None]
    extrapolate_kspace(filled, region, strength=1e-5)
    for coil, line in ((0, 4), (0, 3), (0, 2), (1, 4), (1, 3), (2, 4)):
        true = whole[:, coil, :, line]
        assert np.linalg.norm(filled[:, coil, :, line] - true) < 0.01 * np.linalg.norm(true)


def test_what_is_whole_and_what_has_no_centre_stay() -> None:
    hybrid = complex_noise((1, 2, *SHAPE), 3)
    everything, off_centre = np.ones(SHAPE[:2], bool), covered(8, 0)
    assert calibration_block(hybrid, off_centre[None]) is None
    for region in (everything, off_centre):
        filled = hybrid.copy()
        extrapolate_kspace(filled, region)
        np.testing.assert_array_equal(filled, hybrid)
    dark = np.zeros_like(hybrid)
    extrapolate_kspace(dark, covered(3, 0))
    assert not dark.any()


def test_shapes_and_strength_are_checked() -> None:
    hybrid = complex_noise((1, 2, *SHAPE), 3)
    with pytest.raises(ValueError, match="region"):
        extrapolate_kspace(hybrid, np.ones((3, 3), bool))
    with pytest.raises(ValueError, match="positive"):
        extrapolate_kspace(hybrid, covered(3, 0), strength=0)
