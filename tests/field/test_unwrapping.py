"""The phase of echoes, with and without an offset of the coils, evenly spaced or not."""

from collections.abc import Callable

import numpy as np
import pytest

from chistream.arrays import ComplexArray, Mask, RealArray, Size
from chistream.errors import ReconstructionError
from chistream.field import unwrapping
from chistream.field.unwrapping import unwrap_echoes, unwrap_field

MakeEchoes = Callable[..., ComplexArray]
MakeSphere = Callable[..., tuple[RealArray, Mask]]

EVEN = np.array([1.7, 4.0, 6.3, 8.6, 10.9]) * 1e-3
UNEVEN = np.array([1.2, 2.5, 4.4, 7.0]) * 1e-3
TWO = np.array([2.0, 5.0]) * 1e-3
TRAINS = [EVEN, UNEVEN, TWO]
TRAIN_NAMES = ["even", "uneven", "two"]


def coil_offset(shape: Size) -> RealArray:
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    offset: RealArray = 1.0 + 6.0 * x - 5.0 * y + 4.0 * z * x
    return offset


def turns_off(unwrapped: RealArray, truth: RealArray, mask: Mask) -> RealArray:
    """Count the turns by which each voxel of an echo is off the middle voxel of its echo."""
    turns = (unwrapped - truth)[:, mask] / (2 * np.pi)
    result: RealArray = turns - np.rint(np.median(turns, axis=1, keepdims=True))
    return result


@pytest.mark.parametrize("TE", TRAINS, ids=TRAIN_NAMES)
@pytest.mark.parametrize("shape", [(8, 31, 40), (9, 40, 33), (3, 34, 37)])
@pytest.mark.parametrize("with_offset", [False, True])
def test_a_steep_field_comes_back_in_every_echo(
    make_echoes: MakeEchoes, make_sphere: MakeSphere, TE: RealArray, shape: Size, with_offset: bool
) -> None:
    field, mask = make_sphere(shape, radius=6.0, peak=200.0, b0_direction=(1.0, 0.5, -0.3))
    offset = coil_offset(shape) if with_offset else np.zeros(shape)
    echoes = make_echoes(field, TE, phase_offset=offset)
    phase = np.angle(echoes)
    unwrapped = unwrap_echoes(phase, np.abs(echoes), TE, mask)
    truth = offset + 2 * np.pi * field * TE.reshape(-1, 1, 1, 1)
    assert np.ptp(truth[-1][mask]) > 2 * np.pi
    # complex64 holds a phase of unit magnitude to about 1e-7.
    np.testing.assert_allclose(turns_off(unwrapped, truth, mask), 0, atol=1e-6)
    whole = (unwrapped - phase)[:, mask] / (2 * np.pi)
    np.testing.assert_allclose(whole, np.rint(whole), atol=1e-9)
    assert np.isnan(unwrapped[:, ~mask]).all()


@pytest.mark.parametrize("TE", TRAINS, ids=TRAIN_NAMES)
@pytest.mark.parametrize("seed", range(3))
def test_no_voxel_is_wrong_at_a_signal_to_noise_of_10(
    make_echoes: MakeEchoes, make_sphere: MakeSphere, TE: RealArray, seed: int
) -> None:
    shape = (16, 41, 44)
    field, mask = make_sphere(shape, radius=8.0, peak=230.0, b0_direction=(1.0, 0.5, 0.2))
    offset = coil_offset(shape)
    echoes = make_echoes(field, TE, phase_offset=offset, noise_sd=0.1, seed=seed)
    unwrapped = unwrap_echoes(np.angle(echoes), np.abs(echoes), TE, mask)
    truth = offset + 2 * np.pi * field * TE.reshape(-1, 1, 1, 1)
    assert np.abs(turns_off(unwrapped, truth, mask)).max() < 0.5
    frequency = unwrap_field(echoes, TE, mask)
    assert np.abs((frequency - field)[mask]).max() < 0.5 / np.diff(TE).min()


@pytest.mark.parametrize("TE", TRAINS, ids=TRAIN_NAMES)
@pytest.mark.parametrize("centre", [-60.0, 60.0])
def test_the_field_has_its_absolute_multiple(
    make_echoes: MakeEchoes, TE: RealArray, centre: float
) -> None:
    x = np.linspace(-1, 1, 60)
    field = np.broadcast_to(centre + 900.0 * x**3, (3, 5, 60)).copy()
    mask = np.ones(field.shape, dtype=bool)
    echoes = make_echoes(field, TE, phase_offset=2.5)
    np.testing.assert_allclose(unwrap_field(echoes, TE, mask), field, atol=1e-2)


def test_uneven_echo_times_find_a_field_far_from_the_centre(make_echoes: MakeEchoes) -> None:
    field = np.broadcast_to(np.linspace(1200.0, 1500.0, 20), (3, 5, 20)).copy()
    mask = np.ones(field.shape, dtype=bool)
    assert np.abs(field).min() > 1 / np.diff(UNEVEN).min()
    echoes = make_echoes(field, UNEVEN, phase_offset=2.5, noise_sd=0.05)
    found = unwrap_field(echoes, UNEVEN, mask)
    assert np.abs(found - field).max() < 30.0


def test_even_echo_times_take_the_multiple_nearest_the_centre(make_echoes: MakeEchoes) -> None:
    period = 1 / 2.3e-3
    field = np.full((3, 4, 5), 0.7 * period)
    found = unwrap_field(make_echoes(field, EVEN), EVEN, np.ones(field.shape, dtype=bool))
    np.testing.assert_allclose(found, -0.3 * period, atol=1e-2)


@pytest.mark.parametrize("TE", TRAINS, ids=TRAIN_NAMES)
def test_regions_that_do_not_touch_agree(make_echoes: MakeEchoes, TE: RealArray) -> None:
    x = np.linspace(-1, 1, 50)
    field = np.broadcast_to(300.0 * x**2 - 100.0, (4, 6, 50)).copy()
    mask = np.zeros(field.shape, dtype=bool)
    mask[..., :20] = mask[:, :, 24:30] = mask[1, 2, 35] = mask[:, 3:, 38:] = True
    echoes = make_echoes(field, TE, phase_offset=coil_offset((4, 6, 50)))
    frequency = unwrap_field(echoes, TE, mask)
    np.testing.assert_allclose(frequency[mask], field[mask], atol=1e-2)
    np.testing.assert_array_equal(frequency[~mask], 0.0)


def test_a_region_beyond_a_gap_continues_the_field_of_the_largest(make_echoes: MakeEchoes) -> None:
    # Its own median, 0.6 periods, would go to -0.4: the voxels at the gap know better.
    period = 1 / 2.3e-3
    field = np.broadcast_to(np.linspace(-0.3, 0.7, 60) * period, (3, 5, 60)).copy()
    mask = np.ones(field.shape, dtype=bool)
    mask[..., 46:49] = False
    echoes = make_echoes(field, EVEN, phase_offset=coil_offset((3, 5, 60)))
    found = unwrap_field(echoes, EVEN, mask)
    np.testing.assert_allclose(found[mask], field[mask], atol=1e-2)


def test_long_spacings_sharpen_the_field_as_a_straight_line_would(
    make_echoes: MakeEchoes,
) -> None:
    TE = np.array([1.0, 3.0, 5.5, 9.0, 14.0]) * 1e-3
    field = np.full((10, 20, 25), 30.0)
    echoes = make_echoes(field, TE, r2star=0.0, noise_sd=0.02)
    found = unwrap_field(echoes, TE, np.ones(field.shape, dtype=bool))
    bound = 0.02 / (2 * np.pi * np.sqrt(np.sum((TE - TE.mean()) ** 2)))
    # The lags share echoes, so their sum is a little noisier than the best line.
    assert bound * 0.95 < found.std() < bound * 1.1


def test_the_weighted_median_is_that_of_each_region() -> None:
    values = np.array([5.0, 1.0, 9.0, 2.0, 7.0, 3.0])
    weights = np.array([1.0, 1.0, 5.0, 1.0, 0.0, 1.5])
    regions = np.array([0, 0, 0, 1, 2, 1])
    medians = unwrapping.weighted_medians(values, weights, regions)
    np.testing.assert_array_equal(medians, [9.0, 3.0, 7.0])


def test_bright_voxels_decide_where_the_centre_is(make_echoes: MakeEchoes) -> None:
    period = 1 / 2.3e-3
    field = np.broadcast_to(np.linspace(0, 0.9 * period, 40), (2, 3, 40)).copy()
    magnitude = np.where(field > 0.8 * period, 20.0, 1.0)
    mask = np.ones(field.shape, dtype=bool)
    found = unwrap_field(make_echoes(field, EVEN, magnitude=magnitude), EVEN, mask)
    np.testing.assert_allclose(found, field - period, atol=1e-2)


def test_the_input_is_left_alone(make_echoes: MakeEchoes) -> None:
    field = np.full((3, 4, 5), 100.0)
    echoes = make_echoes(field, EVEN)
    phase, magnitude, mask = np.angle(echoes), np.abs(echoes), field > 0
    before = phase.copy(), magnitude.copy(), mask.copy()
    unwrap_echoes(phase, magnitude, EVEN, mask)
    for now, then in zip((phase, magnitude, mask), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_a_voxel_without_signal_harms_no_other(make_echoes: MakeEchoes) -> None:
    field = np.broadcast_to(np.linspace(-200, 200, 30), (3, 4, 30)).copy()
    magnitude = np.ones(field.shape)
    magnitude[1, 1:3, 12:15] = magnitude[0, 0, 0] = 0
    mask = np.ones(field.shape, dtype=bool)
    mask[0, 0, 1] = mask[0, 1, 0] = mask[1, 0, 0] = False
    echoes = make_echoes(field, EVEN, magnitude=magnitude)
    found = unwrap_field(echoes, EVEN, mask)
    good = mask & (magnitude > 0)
    np.testing.assert_allclose(found[good], field[good], atol=1e-2)
    assert np.isfinite(unwrap_echoes(np.angle(echoes), np.abs(echoes), EVEN, mask)[:, mask]).all()


def test_magnitude_and_phase_belong_together() -> None:
    with pytest.raises(ValueError, match=r"phase \(2, 3, 4, 5\) and magnitude \(2, 3, 4, 6\)"):
        unwrap_echoes(np.zeros((2, 3, 4, 5)), np.ones((2, 3, 4, 6)), TWO, np.ones((3, 4, 5), bool))


def test_one_echo_is_refused() -> None:
    one = np.ones((1, 3, 4, 5))
    with pytest.raises(ReconstructionError, match="at least 2 echoes"):
        unwrap_echoes(one, one, np.array([1e-3]), np.ones((3, 4, 5), bool))


@pytest.mark.usefixtures("plain_kernels")
def test_the_kernels_say_in_python_what_they_say_compiled(make_echoes: MakeEchoes) -> None:
    field = np.broadcast_to(np.linspace(-300, 300, 12), (2, 3, 12)).copy()
    magnitude = np.ones(field.shape)
    magnitude[0, 0, 0] = 0
    echoes = make_echoes(field, UNEVEN, magnitude=magnitude)
    found = unwrap_field(echoes, UNEVEN, np.ones(field.shape, dtype=bool))
    np.testing.assert_allclose(found[magnitude > 0], field[magnitude > 0], atol=1e-2)
