"""The rescale inverts to half a step, whatever the values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from chistream.arrays import RealArray
from chistream.physics.geometry import Geometry
from chistream.series.scaling import quantise
from chistream.series.volumes import SERIES, Kind, Volume

SHAPE = (2, 3, 4)
GRID = Geometry(SHAPE, (3.0, 2.0, 1.5))
SIGNED = [series.token for series in SERIES.values() if series.kind is Kind.SIGNED]

anything = arrays(
    np.float32,
    SHAPE,
    elements=st.floats(-1e5, 1e5, width=32)
    | st.floats(-5, 5, width=32)
    | st.sampled_from([0.0, -0.0, float("nan"), float("inf"), 2047.0, 2047.5, -4094.5]),
)
masks = arrays(np.bool_, SHAPE)


def recovered(volume: Volume, bits: int = 12) -> RealArray:
    stored = quantise(volume, bits)
    return (stored.slope * stored.pixels.astype(np.float64) + stored.intercept) * stored.scale


@given(
    values=anything, mask=masks, token=st.sampled_from(SIGNED), bits=st.sampled_from([12, 13, 16])
)
def test_signed_values_come_back_within_half_a_step(
    values: RealArray, mask: np.typing.NDArray[np.bool_], token: str, bits: int
) -> None:
    volume = Volume(token, values, GRID, mask=mask)
    stored = quantise(volume, bits)
    valid = volume.valid
    assert stored.pixels.max(initial=0) <= 2**bits - 1
    np.testing.assert_array_equal(stored.pixels != 0, valid)  # stored 0 is padding and only that
    error = np.abs(recovered(volume, bits) - values.astype(np.float64))[valid]
    assert np.all(error <= 0.5 * stored.slope * (1 + 1e-9))


@given(values=anything, bits=st.sampled_from([12, 16]))
def test_arbitrary_units_come_back_within_half_a_step(values: RealArray, bits: int) -> None:
    volume = Volume("MAGNITUDE", np.abs(values), GRID)
    stored = quantise(volume, bits)
    assert (stored.slope, stored.intercept, stored.padded) == (1.0, 0.0, False)
    error = np.abs(recovered(volume, bits) - volume.filled.astype(np.float64))
    assert np.all(error <= 0.5 * stored.scale * (1 + 1e-9))


@pytest.mark.parametrize(
    ("largest", "slope"),
    [(0.0, 1), (2047.0, 1), (-2047.4, 1), (2048.0, 2), (-4094.0, 2), (4100.0, 4), (9e3, 8)],
)
def test_the_slope_of_a_susceptibility_map_is_the_smallest_that_clips_nothing(
    largest: float, slope: float
) -> None:
    values = np.zeros(SHAPE)
    values[1, 2, 3] = largest
    stored = quantise(Volume("QSM", values, GRID))
    assert (stored.slope, stored.intercept) == (slope, -2048 * slope)
    assert stored.pixels[0, 0, 0] == 2048
    assert 1 <= stored.pixels.min() <= stored.pixels.max() <= 4095


def test_what_lies_outside_the_mask_does_not_coarsen_the_slope() -> None:
    values = np.full(SHAPE, 50.0)
    values[0] = 1e6
    mask = np.ones(SHAPE, dtype=bool)
    mask[0] = False
    assert quantise(Volume("QSM", values, GRID, mask=mask)).slope == 1


def test_a_full_turn_of_phase_fits_without_a_coarser_step() -> None:
    values = np.resize(np.array([np.pi, -np.pi], dtype=np.float32), SHAPE)
    stored = quantise(Volume("PHASE", values, GRID))
    assert set(stored.pixels.ravel()) == {1, 4095}


def test_echoes_share_a_scale_and_none_clips() -> None:
    values = np.full(SHAPE, 100.0)
    assert quantise(Volume("MAGNITUDE", values, GRID, full_scale=200.0)).pixels.max() == 2048
    assert quantise(Volume("MAGNITUDE", values, GRID, full_scale=50.0)).pixels.max() == 4095


def test_a_volume_of_nothing_is_stored_as_zeros() -> None:
    stored = quantise(Volume("MAGNITUDE", np.full(SHAPE, np.nan), GRID))
    assert not stored.pixels.any()
    assert stored.scale == 1


@pytest.mark.parametrize("bits", [11, 17])
def test_other_numbers_of_bits_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match=f"12 to 16, got {bits}"):
        quantise(Volume("QSM", np.zeros(SHAPE), GRID), bits)
