"""Priors over echoes: proximal maps against their definition, and lines that they give back."""

import numpy as np
import pytest
from tests.echoes.phantoms import (
    body,
    centre_block,
    complex_noise,
    hybrid_of,
    object_echoes,
    smooth_coils,
)

from chistream.arrays import ComplexArray, Size
from chistream.echoes.low_rank import shrink_rank
from chistream.echoes.options import EchoOptions
from chistream.echoes.reconstruction import Sampling, reconstruct_echoes
from chistream.echoes.regularised import Prior, solve_regularised
from chistream.echoes.sense import solve_sense
from chistream.echoes.wavelet import shrink_wavelets

SHAPES = [(4, 9, 16), (5, 12, 10), (3, 5, 6)]


def norm(values: ComplexArray) -> float:
    return float(np.linalg.norm(values))


@pytest.mark.parametrize("shape", SHAPES)
def test_no_threshold_changes_nothing(shape: Size) -> None:
    echoes = complex_noise((3, *shape), 1)
    for found in (
        shrink_wavelets(echoes, 0, shift=(1, 2, 3)),
        shrink_rank(echoes, 0, shift=(1, 2, 3)),
    ):
        np.testing.assert_allclose(found, echoes, atol=2e-6)
        assert found.dtype == np.complex64


def test_a_large_threshold_leaves_the_coarsest_level_of_wavelets() -> None:
    echoes = complex_noise((2, 4, 8, 16), 2)
    found = shrink_wavelets(echoes, 1e6, levels=1)
    pairs = echoes.reshape(2, 4, 4, 2, 8, 2).mean(axis=(3, 5))
    np.testing.assert_allclose(found, pairs.repeat(2, axis=2).repeat(2, axis=3), atol=1e-6)
    moved = shrink_wavelets(np.roll(echoes, -1, 3), 1e6, levels=1, shift=(0, 0, 1))
    np.testing.assert_allclose(np.roll(moved, 1, 3), found, atol=1e-6)


def test_details_are_kept_by_their_size_over_all_echoes() -> None:
    echoes = np.zeros((2, 1, 1, 8), np.complex64)
    echoes[0, ..., 0], echoes[0, ..., 1] = 3, -3
    echoes[1, ..., 0], echoes[1, ..., 1] = 4j, -4j
    # One detail, of norm 5 sqrt(2); alone, that of the first echo would be nearly lost.
    np.testing.assert_allclose(
        shrink_wavelets(echoes, 4, levels=1), echoes * (1 - 4 / np.sqrt(50)), atol=1e-6
    )


@pytest.mark.parametrize("shift", [(0, 0, 0), (1, 2, 0)])
def test_singular_values_of_blocks_are_shrunk(shift: Size) -> None:
    echoes = complex_noise((4, 4, 6, 8), 3)
    found = np.roll(shrink_rank(echoes, 1.5, block=(2, 3, 4), shift=shift), shift, (1, 2, 3))
    block = np.roll(echoes, shift, (1, 2, 3))[:, 2:, 3:, :4].reshape(4, -1)
    left, values, right = np.linalg.svd(block, full_matrices=False)
    expected = (left * np.maximum(values - 1.5, 0)) @ right
    np.testing.assert_allclose(found[:, 2:, 3:, :4].reshape(4, -1), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("prior", ["low_rank", "wavelet"])
def test_lost_lines_are_found_better_than_by_coils_alone(prior: Prior) -> None:
    shape, n_coils = (8, 24, 20), 4
    csm, true = smooth_coils(n_coils, shape), 20 * object_echoes(shape)
    rng = np.random.default_rng(4)
    sampled = rng.uniform(size=(3, *shape[:2])) > 0.5
    sampled |= centre_block(shape[:2], (4, 8))
    hybrid = hybrid_of(true, csm) + complex_noise((3, n_coils, *shape), 5)
    hybrid *= sampled[:, None, :, :, None]
    inside = body(shape)
    plain = norm((solve_sense(hybrid, sampled, csm) - true)[:, inside])
    found = norm((solve_regularised(hybrid, sampled, csm, prior) - true)[:, inside])
    assert found < 0.9 * plain
    with pytest.raises(ValueError, match="strength"):
        solve_regularised(hybrid, sampled, csm, prior, strength=-1)


def test_without_strength_the_lines_are_explained() -> None:
    shape = (4, 10, 8)
    csm, true = smooth_coils(4, shape), object_echoes(shape)
    every = np.ones((3, *shape[:2]), bool)
    found = solve_regularised(hybrid_of(true, csm), every, csm, strength=0, n_iterations=5)
    np.testing.assert_allclose(found, true, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("prior", ["low_rank", "wavelet"])
def test_the_stage_offers_them(prior: Prior) -> None:
    shape = (6, 16, 12)
    pattern = np.random.default_rng(2).uniform(size=shape[:2]) > 0.1
    pattern |= centre_block(shape[:2], (4, 8))
    every = np.ones(shape[:2], bool)
    sampling = Sampling(np.stack([pattern] * 3), every, every, np.ones(shape[2], bool))
    hybrid = hybrid_of(20 * object_echoes(shape), smooth_coils(4, shape))
    hybrid *= pattern[:, :, None]
    options = EchoOptions(parallel_imaging=prior)
    found, warnings, _ = reconstruct_echoes(hybrid, sampling, shape, options=options)
    plain, _, _ = reconstruct_echoes(hybrid, sampling, shape)
    assert not warnings
    # Other than by coils alone, and not by much.
    assert 1e-4 < norm(found - plain) / norm(plain) < 0.1
