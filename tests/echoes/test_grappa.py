"""GRAPPA finds what coils of few Fourier terms determine, and touches nothing that was measured."""

import numpy as np
import pytest
from tests.echoes.phantoms import (
    body,
    centre_block,
    complex_noise,
    grid,
    hybrid_of,
    lattice,
    object_echoes,
    smooth_coils,
)

from chistream.arrays import ComplexArray, Mask, Size
from chistream.echoes import grappa_filling
from chistream.echoes.coil_images import reconstruct_coil_images
from chistream.echoes.combination import combine_coils
from chistream.echoes.grappa_filling import fill_grappa
from chistream.echoes.sense import solve_sense
from chistream.physics.compiled import python_form

SHAPE = (16, 30, 20)
PATTERNS = [((1, 2), 0), ((2, 1), 0), ((2, 2), 0), ((2, 2), 1), ((1, 3), 1)]


def waves(n_coils: int, shape: Size) -> ComplexArray:
    """Coils that are one wave each: a line of one is, exactly, the neighbour of another's."""
    z, y, x = (p * (n // 2) / n for p, n in zip(grid(shape), shape, strict=True))
    turns = [(0, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1), (1, 1, 0), (0, -1, 1), (-1, 0, 0)]
    csm: ComplexArray = np.array(
        [np.exp(2j * np.pi * (a * z + b * y + c * x)) for a, b, c in turns[:n_coils]]
    )
    return csm.astype(np.complex64)


def undersampled(
    hybrid: ComplexArray, places: Mask, lines: tuple[int, int]
) -> tuple[ComplexArray, Mask, ComplexArray]:
    """Hybrid of a lattice and of a centre, their mask for all echoes, and the centre."""
    size = places.shape[0], places.shape[1]
    pattern = places | centre_block(size, lines)
    first = [n // 2 - m // 2 for n, m in zip(size, lines, strict=True)]
    z, y = (slice(f, f + m) for f, m in zip(first, lines, strict=True))
    return hybrid * pattern[:, :, None], np.stack([pattern] * len(hybrid)), hybrid[:, :, z, y]


@pytest.mark.parametrize("shape", [SHAPE, (13, 27, 11)])
@pytest.mark.parametrize(("steps", "shift"), PATTERNS)
def test_lines_are_found_that_neighbours_determine(
    shape: Size, steps: tuple[int, int], shift: int
) -> None:
    hybrid = hybrid_of(complex_noise((4, *shape), 3), waves(7, shape))
    places = lattice(shape[:2], steps, shift)
    lines, sampled, block = undersampled(hybrid, places, (11, 21))
    region = np.ones(shape[:2], bool)
    filled = fill_grappa(lines, sampled, region, places, block, strength=1e-9)
    # The outermost lines lack neighbours.
    inner = (slice(None), slice(None), slice(3, -3), slice(4, -4))
    error = np.linalg.norm(filled[inner] - hybrid[inner]) / np.linalg.norm(hybrid[inner])
    assert error < 2e-3
    assert filled.dtype == np.complex64


def test_what_was_measured_and_what_lies_outside_stay() -> None:
    hybrid = complex_noise((1, 3, *SHAPE), 4)
    places = lattice(SHAPE[:2], (2, 2), 1)
    region = np.ones(SHAPE[:2], bool)
    region[:3] = False
    lines, sampled, block = undersampled(hybrid, places, (6, 12))
    sampled &= region
    lines = lines * region[:, :, None]
    filled = fill_grappa(lines, sampled, region, places, block)
    np.testing.assert_array_equal(filled[:, :, sampled[0]], lines[:, :, sampled[0]])
    assert not filled[:, :, :3].any()
    assert np.abs(filled[:, :, region]).min(axis=(0, 1, 3)).all()


@pytest.mark.parametrize(("steps", "shift"), PATTERNS)
def test_a_part_is_filled_as_it_is_in_the_whole(steps: tuple[int, int], shift: int) -> None:
    hybrid = complex_noise((2, 3, 15, 26, 8), 4)
    places = lattice((15, 26), steps, shift)
    lines, sampled, block = undersampled(hybrid, places, (9, 15))
    region, part = np.ones((15, 26), bool), np.zeros((15, 26), bool)
    part[5:8, 7:18] = True
    whole = fill_grappa(lines, sampled, region, places, block)
    filled = fill_grappa(lines, sampled, part, places, block)
    np.testing.assert_allclose(filled[:, :, part], whole[:, :, part], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(filled[:, :, ~part], lines[:, :, ~part])
    np.testing.assert_array_equal(fill_grappa(lines, sampled, ~region, places, block), lines)


def test_lines_without_neighbours_in_a_small_block_stay_empty() -> None:
    hybrid = complex_noise((1, 2, *SHAPE), 4)
    places = lattice(SHAPE[:2], (4, 1))
    lines, sampled, block = undersampled(hybrid, places, (4, 30))
    filled = fill_grappa(lines, sampled, np.ones(SHAPE[:2], bool), places, block)
    # A reach of one line: those two lines away from the lattice have no source.
    assert not filled[0, :, 2].any()
    assert filled[0, :, 1].all()


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "shift"), [((1, 2), 0), ((2, 2), 1)])
def test_its_noise_is_hardly_more_than_that_of_sense(steps: tuple[int, int], shift: int) -> None:
    shape, n_coils, n_replicas = (12, 20, 8), 8, 100
    csm, places = smooth_coils(n_coils, shape), lattice((12, 20), steps, shift)
    signal = hybrid_of(300 * object_echoes(shape), csm)
    _, _, block = undersampled(signal + complex_noise(signal.shape, 1), places, (6, 10))
    noise = complex_noise((n_replicas, n_coils, *shape), 10) * places[:, :, None]
    sampled = np.stack([places] * n_replicas)
    filled = fill_grappa(noise, sampled, np.ones((12, 20), bool), places, block)
    images = combine_coils(reconstruct_coil_images(filled), csm)
    inside = body(shape)
    reference = solve_sense(noise, sampled, csm)
    ratio = images.std(axis=0)[inside] / reference.std(axis=0)[inside]
    assert np.median(ratio) < 1.1


def test_shapes_and_strength_are_checked() -> None:
    hybrid = complex_noise((1, 2, *SHAPE), 4)
    full = np.ones(SHAPE[:2], bool)
    with pytest.raises(ValueError, match="do not fit hybrid"):
        fill_grappa(hybrid, full[None], full, full[:5], hybrid)
    some = lattice(SHAPE[:2], (1, 2))
    with pytest.raises(ValueError, match="the block that weights were learnt from"):
        fill_grappa(hybrid, full[None], full, some, hybrid[:, :1])
    with pytest.raises(ValueError, match="must be \\(echoes, coils, kz, ky, x\\)"):
        fill_grappa(hybrid, full[None], full, full, hybrid[0])
    with pytest.raises(ValueError, match="strength"):
        fill_grappa(hybrid, full[None], full, full, hybrid, strength=0)


def test_the_kernels_do_in_python_what_they_do_compiled() -> None:
    lines, pitch = complex_noise((2, 3, 4, 2), 1), 6
    rows = np.zeros((2, 2, 3 * pitch), np.complex64)
    python_form(grappa_filling.collect)(lines, rows, pitch)
    laid = rows.reshape(2, 2, 3, pitch)
    np.testing.assert_array_equal(laid[..., :4], np.moveaxis(lines, -1, 0))
    assert not laid[..., 4:].any()
    wanted = np.random.default_rng(2).random((3, 4)) < 0.5
    written = np.zeros_like(lines)
    python_form(grappa_filling.spread)(rows, wanted, written, pitch)
    np.testing.assert_array_equal(written, lines * wanted[:, :, None])
    gathered = np.empty((2, 2, 5), np.complex64)
    python_form(grappa_filling.gather)(rows, np.array([(1, 7), (0, 2)]), gathered)
    np.testing.assert_array_equal(gathered, [rows[1, :, 7:12], rows[0, :, 2:7]])
