"""Bins of a moving object with phases and fields of their own, against the object at rest."""

from dataclasses import dataclass

import numpy as np
import pytest
from tests.echoes.phantoms import complex_noise, smooth_coils

from chistream.arrays import ComplexArray, Mask, RealArray, Size, Vector
from chistream.echoes.binned import BinnedLines, reconstruct_with_bins
from chistream.echoes.motion_bins import Bin, Registration, combine_bins
from chistream.echoes.options import EchoOptions
from chistream.echoes.reconstruction import Sampling, reconstruct_echoes
from chistream.physics.fourier import to_image, to_kspace

SIZE: Size = (12, 27, 32)
VOXEL: Vector = (6.0, 4.0, 3.5)
TE = (0.002, 0.006, 0.011)
NOISE = 0.05


def points(size: Size = SIZE) -> tuple[RealArray, RealArray, RealArray]:
    z, y, x = ((np.arange(n) - n // 2) * d for n, d in zip(size, VOXEL, strict=True))
    return z[:, None, None], y[:, None], x


def blobs(shift: Vector = (0.0, 0.0, 0.0), size: Size = SIZE) -> RealArray:
    """Gaussians here and there, displaced [mm]."""
    z, y, x = (p - s for p, s in zip(points(size), shift, strict=True))
    places = [(0, 0, 0), (12, 18, -14), (-14, -20, 20), (8, -30, -28), (-10, 28, 25)]
    image = np.zeros(size)
    for i, (a, b, c) in enumerate(places):
        away = ((z - a) / 11) ** 2 + ((y - b) / 9) ** 2 + ((x - c) / 9) ** 2
        image = image + (1 + 0.3 * i) * np.exp(-0.5 * away)
    return 3 * image


def echoes_of(image: RealArray, phase: RealArray, field: RealArray) -> ComplexArray:
    turns = [phase + 2 * np.pi * t * field + 0 * image for t in TE]
    echoes: ComplexArray = (image * np.exp(1j * np.array(turns))).astype(np.complex64)
    return echoes


def still() -> ComplexArray:
    _, y, x = points()
    return echoes_of(blobs(), 0.01 * x + 0 * y, 0.3 * y)


def moved(shift: Vector, field: float) -> ComplexArray:
    """The object displaced, in a field and a phase that differ smoothly."""
    z, y, x = points()
    other = 0.3 * y + field * (1 + 0.01 * z + 0.005 * x)
    return echoes_of(blobs(shift), 0.01 * x + 0.1 + 0.002 * y, other)


def lines_of(part: float, seed: int) -> RealArray:
    measured: Mask = np.random.default_rng(seed).uniform(size=SIZE[:2]) < part
    return measured.astype(float)


def with_lines(base: ComplexArray, other: ComplexArray, counts: RealArray) -> ComplexArray:
    measured = (counts > 0)[:, :, None]
    mixed = np.where(measured, to_kspace(other, (-3, -2)), to_kspace(base, (-3, -2)))
    image: ComplexArray = to_image(mixed, (-3, -2)).astype(np.complex64)
    return image


def error(found: ComplexArray) -> float:
    return float(np.linalg.norm(found - still()) / np.linalg.norm(still()))


def noisy(echoes: ComplexArray, seed: int) -> ComplexArray:
    result: ComplexArray = echoes + np.float32(NOISE) * complex_noise(echoes.shape, seed)
    return result


def combined(bins: list[Bin], window: ComplexArray, registration: Registration) -> ComplexArray:
    return combine_bins(window, np.ones(SIZE[:2]), bins, TE, VOXEL, NOISE, registration)


def two_bins(window: ComplexArray, shift: Vector, field: float) -> list[Bin]:
    bins = []
    for seed, sign in ((11, 1), (12, -1)):
        counts = lines_of(0.7, seed)
        way = (sign * shift[0], sign * shift[1], sign * shift[2])
        other = noisy(moved(way, sign * field), seed)
        bins.append(Bin(with_lines(window, other, counts), counts))
    return bins


@pytest.mark.parametrize(
    ("shift", "field", "registrations"),
    [
        ((0.0, 0.0, 0.0), 6.0, ("none", "rigid", "smooth")),
        ((0.8, -0.5, 0.6), 6.0, ("rigid", "smooth")),
    ],
    ids=["field alone", "displaced as well"],
)
def test_aligned_bins_lower_the_noise(
    shift: Vector, field: float, registrations: tuple[Registration, ...]
) -> None:
    window = noisy(still(), 1)
    before = error(window)
    bins = two_bins(window, shift, field)
    for registration in registrations:
        # The noise of 1 + 0.7 + 0.7 measurements would be 0.67.
        assert error(combined(bins, window, registration)) < 0.78 * before


@pytest.mark.parametrize(
    ("shift", "registration", "largest"),
    [
        ((0.0, 0.0, 0.0), "none", 0.25),
        ((0.8, -0.5, 0.6), "rigid", 0.35),
        ((0.8, -0.5, 0.6), "smooth", 0.35),
    ],
)
def test_alignment_takes_away_most_of_what_a_bin_differs_by(
    shift: Vector, registration: Registration, largest: float
) -> None:
    window, counts = still(), lines_of(0.7, 8)
    other = with_lines(window, moved(shift, 6.0), counts)
    naive = (to_kspace(other - window, (-3, -2)) / 2).astype(np.complex64)
    unaligned = np.linalg.norm(to_image(naive, (-3, -2)))
    # Noise beyond all differences: every measurement counts as one, whatever it differs by.
    found = combine_bins(
        window, np.ones(SIZE[:2]), [Bin(other, counts)], TE, VOXEL, 1e3, registration
    )
    assert np.linalg.norm(found - window) < largest * unaligned


def test_a_displacement_that_is_not_registered_gains_less() -> None:
    window = noisy(still(), 1)
    bins = two_bins(window, (1.2, -0.8, 0.9), 6.0)
    errors = {name: error(combined(bins, window, name)) for name in ("none", "rigid", "smooth")}
    assert errors["rigid"] < errors["none"]
    assert errors["smooth"] < errors["none"]
    # What does not fit counts for less: bins do no harm.
    assert errors["none"] < 1.02 * error(window)


def test_a_bin_of_another_object_is_left_out() -> None:
    window = noisy(still(), 1)
    counts = lines_of(0.7, 3)
    other = Bin(with_lines(window, noisy(still()[:, ::-1, ::-1], 2), counts), counts)
    assert error(combined([other], window, "smooth")) < 1.05 * error(window)


def test_lines_that_stand_in_are_not_compared() -> None:
    window = noisy(still(), 1)
    counts = lines_of(0.7, 4)
    weights = lines_of(0.5, 5)
    bins = [Bin(with_lines(window, noisy(moved((0, 0, 0), 6.0), 4), counts), counts)]
    found = combine_bins(window, weights, bins, TE, VOXEL, NOISE, "none")
    assert error(found) < error(window)
    nothing = combine_bins(window, np.zeros(SIZE[:2]), bins, TE, VOXEL, NOISE, "none")
    np.testing.assert_allclose(nothing, window, atol=1e-5)


def test_without_noise_an_equal_bin_changes_nothing() -> None:
    counts = lines_of(0.5, 6)
    bins = [Bin(still(), counts)]
    found = combine_bins(still(), np.ones(SIZE[:2]), bins, TE, VOXEL, 1.0, "smooth")
    np.testing.assert_allclose(found, still(), atol=1e-5)


@dataclass(frozen=True, eq=False)
class Lines:
    hybrid: ComplexArray
    counts: RealArray


@pytest.mark.parametrize("undersampled", [False, True])
def test_k_space_in_bins_becomes_echoes(undersampled: bool) -> None:
    maps = smooth_coils(5, SIZE)
    maps = maps / np.sqrt((np.abs(maps) ** 2).sum(axis=0))

    def lines(echoes: ComplexArray, seed: int) -> ComplexArray:
        clean = to_kspace((echoes[:, None] * maps).astype(np.complex64), (-3, -2))
        hybrid: ComplexArray = clean + np.float32(NOISE) * complex_noise(clean.shape, seed)
        return hybrid / np.float32(NOISE)

    _, y = np.indices(SIZE[:2])
    lattice: Mask = np.asarray((y - SIZE[1] // 2) % 2 == 0) if undersampled else y >= 0
    sampled = np.broadcast_to(lattice | (np.abs(y - SIZE[1] // 2) <= 8), (len(TE), *SIZE[:2]))
    everywhere = np.ones(SIZE[:2], bool)
    sampling = Sampling(sampled, everywhere, lattice, np.ones(SIZE[2], bool), TE=TE)
    counts = np.broadcast_to(lines_of(0.8, 7), sampled.shape) * sampled
    hybrid = lines(still(), 1) * sampled[:, None, :, :, None]
    own = lines(moved((0.5, 0.3, 0.4), 5.0), 2) * (counts > 0)[:, None, :, :, None]
    one, before = Lines(own.astype(np.complex64), counts), own.copy()
    binned = BinnedLines([one], sampled.astype(float), VOXEL, "smooth")
    options = EchoOptions(noise_map=True)
    recon: Size = (12, 27, 40)
    found = reconstruct_with_bins(hybrid.copy(), sampling, recon, SIZE, options, None, binned)
    alone = reconstruct_with_bins(
        hybrid.copy(),
        sampling,
        recon,
        SIZE,
        options,
        None,
        BinnedLines([], binned.weights, VOXEL, "smooth"),
    )
    plain = reconstruct_echoes(hybrid.copy(), sampling, recon, SIZE, options)
    np.testing.assert_array_equal(alone.echoes, plain.echoes)
    np.testing.assert_array_equal(one.hybrid, before)
    assert found.echoes.shape == (len(TE), *recon)
    assert found.noise is not None
    ideal = reconstruct_echoes(
        (lines(still(), 1) - lines(0 * still(), 1)).astype(np.complex64),
        Sampling(np.ones_like(sampled), everywhere, everywhere, sampling.readout_support, TE=TE),
        recon,
        SIZE,
    ).echoes
    turned = [fitted(e, ideal) for e in (found.echoes, alone.echoes)]
    errors = [np.linalg.norm(e - ideal) for e in turned]
    assert errors[0] < 0.95 * errors[1]


def fitted(echoes: ComplexArray, to: ComplexArray) -> ComplexArray:
    """Take away a phase that all echoes share; maps of coils have one of their own."""
    shared = (echoes.conj() * to).sum(axis=0)
    turned: ComplexArray = echoes * np.exp(1j * np.angle(shared))
    return turned
