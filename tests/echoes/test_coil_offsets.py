"""Offsets of coils in closed form, taken out by two echoes."""

import numpy as np
import pytest
from tests.echoes.phantoms import body, complex_noise, grid

from chistream.arrays import ComplexArray, Mask, RealArray, Size
from chistream.echoes.coil_offsets import OffsetMethod, estimate_offset_maps
from chistream.echoes.combination import combine_coils
from chistream.errors import ReconstructionError

SHAPES: list[Size] = [(16, 48, 61), (15, 49, 60), (1, 61, 70)]
WHOLE, UNEVEN = (0.002, 0.004, 0.006), (0.0023, 0.0049, 0.0081)
N_COILS = 5


def frequency(shape: Size) -> RealArray:
    """Smooth field [Hz] that wraps between echoes."""
    z, y, x = grid(shape)
    field: RealArray = 190 * x - 110 * y + 60 * z * x + 60 * y * x
    return field


def coils(shape: Size) -> ComplexArray:
    """Sensitivities with polynomial phases; steps of up to 0.15 rad from voxel to voxel."""
    z, y, x = grid(shape)
    maps = []
    for coil in range(N_COILS):
        angle = 2 * np.pi * coil / N_COILS
        cos, sin = np.cos(angle), np.sin(angle)
        phase = angle + 2.5 * x * cos + 2 * y * sin + 1.2 * x * y - 0.8 * y**2 * cos + 0.7 * z * x
        distance = (y - 1.1 * sin) ** 2 + (x - 1.1 * cos) ** 2
        maps.append(np.exp(-0.5 * distance + 1j * phase + 0.3j * x**3))
    csm: ComplexArray = np.array(maps)
    return csm


def images_of(shape: Size, TE: tuple[float, ...]) -> ComplexArray:
    """Coil images of a body of magnitude 1 that decays."""
    times = np.reshape(TE, (-1, 1, 1, 1))
    echoes = body(shape) * np.exp((2j * np.pi * frequency(shape) - 25) * times)
    images: ComplexArray = (echoes[:, None] * coils(shape)).astype(np.complex64)
    return images


def residual(images: ComplexArray, csm: ComplexArray, TE: tuple[float, ...]) -> RealArray:
    """Phase of the combined echoes in the body, less that of the field."""
    shape: Size = (images.shape[2], images.shape[3], images.shape[4])
    turned = np.exp(-2j * np.pi * frequency(shape) * np.reshape(TE, (-1, 1, 1, 1)))
    phase: RealArray = np.angle(combine_coils(images, csm) * turned)[:, body(shape)]
    return phase


@pytest.mark.parametrize(
    ("method", "TE"), [("mcpc3ds", UNEVEN), ("mcpc3ds", WHOLE), ("aspire", WHOLE)]
)
@pytest.mark.parametrize("shape", SHAPES)
def test_smooth_offsets_are_removed(
    shape: Size, method: OffsetMethod, TE: tuple[float, ...]
) -> None:
    images = images_of(shape, TE)
    phase = residual(images, estimate_offset_maps(images, TE, method=method), TE)
    # The rest comes from blocks of 2 x 5 x 5 voxels that the rim of the body cuts.
    assert np.abs(phase).max() < 0.05
    assert np.sqrt((phase**2).mean()) < 0.01


def test_the_phase_between_echoes_is_the_objects_own() -> None:
    images = images_of(SHAPES[0], UNEVEN)
    phase = residual(images, estimate_offset_maps(images, UNEVEN), UNEVEN)
    np.testing.assert_allclose(phase - phase[0], 0, atol=1e-5)


def test_sensitivities_are_those_of_the_coils() -> None:
    shape = SHAPES[0]
    true = coils(shape)
    true /= np.sqrt((np.abs(true) ** 2).sum(axis=0))
    csm = estimate_offset_maps(images_of(shape, UNEVEN), UNEVEN)
    power = (np.abs(csm) ** 2).sum(axis=0)
    np.testing.assert_allclose(power[body(shape)], 1, atol=1e-5)
    overlap = np.abs((csm.conj() * true).sum(axis=0))
    assert (1 - overlap)[body(shape)].max() < 3e-3


def n_vortices(image: ComplexArray, mask: Mask) -> int:
    """Count the ends of fringe lines in planes of z: squares around which the phase turns."""
    steps = [np.angle(np.roll(image, -1, axis) * image.conj()) for axis in (1, 2)]
    turn = steps[0] + np.roll(steps[1], -1, 1) - np.roll(steps[0], -1, 2) - steps[1]
    inside = mask & np.roll(mask, -1, 1) & np.roll(mask, -1, 2) & np.roll(mask, (-1, -1), (1, 2))
    return int((np.abs(turn[inside]) > np.pi).sum())


@pytest.mark.parametrize(("method", "TE"), [("mcpc3ds", UNEVEN), ("aspire", WHOLE)])
def test_no_fringe_line_has_an_end(method: OffsetMethod, TE: tuple[float, ...]) -> None:
    shape = SHAPES[1]
    images = images_of(shape, TE)
    images += np.float32(0.08) * complex_noise(images.shape, 5)
    csm = estimate_offset_maps(images, TE, method=method)
    combined = combine_coils(images, csm)[0]
    assert n_vortices(combined, body(shape)) == 0
    # The plain sum of the coils has some: the count can see them.
    assert n_vortices(images[0].sum(axis=0), body(shape)) > 0


def test_noise_of_the_offsets_costs_little_signal_to_noise() -> None:
    shape, level = SHAPES[1], 0.1
    clean = images_of(shape, UNEVEN)
    noise = np.float32(level) * complex_noise(clean.shape, 6)
    csm = estimate_offset_maps(clean + noise, UNEVEN)
    true = coils(shape)
    best = np.sqrt((np.abs(true) ** 2).sum(axis=0))[body(shape)]
    signal = np.abs((csm.conj() * true).sum(axis=0))[body(shape)]
    assert np.median(signal / best) > 0.99


def test_virtual_coils_that_pass_through_zero_are_followed() -> None:
    shape = SHAPES[0]
    mixing = np.fft.fft(np.eye(N_COILS), norm="ortho").astype(np.complex64)
    images = np.einsum("vc,eczyx->evzyx", mixing, images_of(shape, UNEVEN))
    true = np.einsum("vc,czyx->vzyx", mixing, coils(shape))
    true /= np.sqrt((np.abs(true) ** 2).sum(axis=0))
    csm = estimate_offset_maps(images, UNEVEN)
    signal = np.abs((csm.conj() * true).sum(axis=0))[body(shape)]
    # Offsets smoothed widely alone lose 0.08 in the mean, and half in places.
    assert (1 - signal).mean() < 5e-4
    assert (1 - signal).max() < 5e-3


def test_a_second_polarity_is_left_to_its_own_correction() -> None:
    shape, TE = SHAPES[0], (0.002, 0.004, 0.006, 0.008)
    images = images_of(shape, TE)
    between = 0.4 + 0.05 * np.arange(shape[2])
    images[1::2] *= np.exp(1j * between).astype(np.complex64)
    is_reversed = (False, True, False, True)
    csm = estimate_offset_maps(images, TE, is_reversed=is_reversed)
    phase = residual(images, csm, TE)
    assert np.sqrt((phase[::2] ** 2).mean()) < 0.01
    inside = np.broadcast_to(between, shape)[body(shape)]
    rest = np.angle(np.exp(1j * (phase[1::2] - inside)))
    assert np.sqrt((rest**2).mean()) < 0.01


def test_two_echoes_of_two_polarities_have_to_do() -> None:
    TE = (0.002, 0.004)
    images = images_of(SHAPES[2], TE)
    alone = estimate_offset_maps(images, TE, is_reversed=(False, True))
    np.testing.assert_array_equal(alone, estimate_offset_maps(images, TE))


def test_parts_of_the_body_that_do_not_touch_are_told_by_the_tuning_of_the_scanner() -> None:
    shape = SHAPES[2]
    images = images_of(shape, UNEVEN)
    images[..., 30:36] = 0
    phase = residual(images, estimate_offset_maps(images, UNEVEN), UNEVEN)
    x = np.broadcast_to(np.arange(shape[2]), shape)[body(shape)]
    assert np.sqrt((phase[:, (x < 30) | (x > 35)] ** 2).mean()) < 0.05


def test_nothing_gives_maps_of_nothing() -> None:
    empty = np.zeros((2, 3, 4, 5, 6), np.complex64)
    csm = estimate_offset_maps(empty, (0.002, 0.004), sigma=(0.5, 1.0, 3.0))
    np.testing.assert_array_equal(csm, 0)


def test_aspire_needs_whole_spacings() -> None:
    with pytest.raises(ReconstructionError, match=r"TE are \[2.3, 4.9, 8.1\] ms: choose .* mcpc"):
        estimate_offset_maps(images_of(SHAPES[2], UNEVEN), UNEVEN, method="aspire")


@pytest.mark.parametrize("TE", [(0.002,), (0.004, 0.002)])
def test_echoes_that_tell_nothing_are_refused(TE: tuple[float, ...]) -> None:
    images = np.ones((len(TE), 2, 3, 4, 5), np.complex64)
    with pytest.raises(ReconstructionError, match="need two echoes at increasing TE"):
        estimate_offset_maps(images, TE)


def test_what_does_not_fit_is_refused() -> None:
    images = np.ones((2, 2, 3, 4, 5), np.complex64)
    with pytest.raises(ValueError, match="with 3 TE and 3 polarities"):
        estimate_offset_maps(images, UNEVEN)
    with pytest.raises(ValueError, match="sigma must be at least"):
        estimate_offset_maps(images, (0.002, 0.004), sigma=(0.1, 1, 1))
