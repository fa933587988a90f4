"""Removal of a smooth rest by a polynomial fit."""

import numpy as np
import pytest
from tests.background.bodies import Organ
from tests.kinds import OTHER_KINDS, as_kind, assert_kind

from chistream.background.polynomial import remove_background_polynomial

ORGAN = Organ((13, 16, 18), (4.0, 1.5, 2.0))


@pytest.mark.parametrize("order", [0, 1, 2, 3, 4, 5])
def test_all_solid_harmonics_up_to_the_order_vanish(order: int) -> None:
    """Dipoles far away in many places span the harmonics; what they leave falls with the order."""
    z, y, x = (p / 20 for p in ORGAN.positions)
    field = sum(
        np.real((a * z + b * y + c * x) ** order)
        # Null vectors: a^2 + b^2 + c^2 = 0 makes every power of the linear form harmonic.
        for a, b, c in [(1, 1j, 0), (1j, 0.6, 0.8), (0, 1, 1j), (0.8, 1j, 0.6), (1j, 1, 0)]
    )
    assert np.ptp(field[ORGAN.mask]) > 0.5 or order == 0
    found = remove_background_polynomial(field, ORGAN.mask, ORGAN.voxel_size, order=order)
    np.testing.assert_allclose(found.local_field, 0.0, atol=1e-5 * max(np.ptp(field), 1))
    np.testing.assert_array_equal(found.mask, ORGAN.mask)
    if order:
        less = remove_background_polynomial(field, ORGAN.mask, ORGAN.voxel_size, order=order - 1)
        assert np.abs(less.local_field).max() > 0.05 * np.ptp(field[ORGAN.mask])


def test_monomials_take_what_is_not_harmonic() -> None:
    z, y, x = ORGAN.positions
    field = (z**2 + y**2 + x**2) / 100
    harmonic, all_of_them = (
        remove_background_polynomial(field, ORGAN.mask, ORGAN.voxel_size, order=2, kind=kind)
        for kind in ("harmonic", "polynomial")
    )
    assert np.abs(harmonic.local_field).max() > 1.0
    np.testing.assert_allclose(all_of_them.local_field, 0.0, atol=1e-5)


def test_a_voxel_without_weight_does_not_disturb() -> None:
    z, y, x = ORGAN.positions
    field = x * y / 100 - z
    field[6, 8, 9] += 1e4
    weights = np.where(np.abs(field) > 1e3, 0.0, 30.0)
    found = remove_background_polynomial(
        field, ORGAN.mask, ORGAN.voxel_size, weights=weights, order=2
    )
    left = found.local_field[ORGAN.mask & (weights > 0)]
    np.testing.assert_allclose(left, 0.0, atol=1e-4)


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_any_array_library_gives_the_same(kind: str) -> None:
    field = np.random.default_rng(5).standard_normal(ORGAN.shape)
    expected = remove_background_polynomial(field, ORGAN.mask, ORGAN.voxel_size, order=3)
    found = remove_background_polynomial(
        as_kind(kind, field), as_kind(kind, ORGAN.mask), ORGAN.voxel_size, order=3
    )
    assert_kind(kind, found.local_field)
    np.testing.assert_allclose(np.asarray(found.local_field), expected.local_field, atol=1e-5)


def test_an_order_that_the_mask_cannot_carry_is_refused() -> None:
    field, mask = np.zeros((2, 2, 2)), np.ones((2, 2, 2), dtype=bool)
    with pytest.raises(ValueError, match="order must not be negative, got -1"):
        remove_background_polynomial(field, mask, (1.0, 1.0, 1.0), order=-1)
    with pytest.raises(ValueError, match="the mask has 8 voxels for 9 polynomials"):
        remove_background_polynomial(field, mask, (1.0, 1.0, 1.0), order=2)
