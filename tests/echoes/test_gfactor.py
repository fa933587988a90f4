"""Closed forms of noise against replicas of it, and against what is known without any."""

import numpy as np
import pytest
from tests.echoes.phantoms import (
    body,
    centre_block,
    complex_noise,
    hybrid_of,
    lattice,
    object_echoes,
    smooth_coils,
)

from chistream.arrays import ComplexArray, Mask
from chistream.echoes.calibration import calibration_block
from chistream.echoes.coil_images import reconstruct_coil_images
from chistream.echoes.combination import combine_coils
from chistream.echoes.gfactor import grappa_noise, replicated_noise, sense_noise
from chistream.echoes.grappa import learn_grappa
from chistream.echoes.grappa_filling import apply_grappa
from chistream.echoes.sense import solve_sense

SHAPE = (12, 28, 10)
N_COILS = 8
CSM = smooth_coils(N_COILS, SHAPE)
EVERYWHERE: Mask = np.ones(SHAPE[:2], bool)
PATTERNS = [((1, 2), 0), ((2, 2), 1)]


def block_of(pattern: Mask) -> ComplexArray:
    signal = hybrid_of(300 * object_echoes(SHAPE), CSM)
    found = calibration_block(signal + complex_noise(signal.shape, 1), np.stack([pattern] * 3))
    assert found is not None
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "shift"), PATTERNS)
@pytest.mark.parametrize("embedded", [True, False])
def test_noise_of_grappa_is_that_of_replicas(
    steps: tuple[int, int], shift: int, embedded: bool
) -> None:
    places, centre = lattice(SHAPE[:2], steps, shift), centre_block(SHAPE[:2], (8, 14))
    learnt = learn_grappa(block_of(places | centre), places)
    pattern = places | centre if embedded else places

    def reconstruct(noise: ComplexArray) -> ComplexArray:
        apply_grappa(noise, np.stack([pattern] * len(noise)), EVERYWHERE, learnt)
        return combine_coils(reconstruct_coil_images(noise), CSM)

    expected = replicated_noise(reconstruct, pattern, (N_COILS, SHAPE[2]), n_replicas=100)
    ratio = grappa_noise(CSM, learnt, pattern, EVERYWHERE)[body(SHAPE)] / expected[body(SHAPE)]
    assert abs(np.median(ratio) - 1) < 0.03
    # A map of 100 replicas is itself uncertain by 5 %.
    assert np.std(ratio) < 0.065
    assert np.mean(np.abs(ratio - 1) < 0.1) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "shift"), PATTERNS)
def test_noise_of_sense_is_that_of_replicas(steps: tuple[int, int], shift: int) -> None:
    places = lattice(SHAPE[:2], steps, shift)

    def reconstruct(noise: ComplexArray) -> ComplexArray:
        sampled = np.stack([places] * len(noise))
        return solve_sense(noise, sampled, CSM, tolerance=1e-4, max_iterations=60)

    expected = replicated_noise(reconstruct, places, (N_COILS, SHAPE[2]), n_replicas=100)
    ratio = sense_noise(CSM, places) / expected
    assert abs(np.median(ratio) - 1) < 0.02
    assert np.mean(np.abs(ratio - 1) < 0.1) > 0.9


def test_full_sampling_has_noise_one_everywhere() -> None:
    learnt = learn_grappa(complex_noise((1, N_COILS, 6, 6, SHAPE[2]), 1), EVERYWHERE)
    found = grappa_noise(2 * CSM, learnt, EVERYWHERE, EVERYWHERE)
    np.testing.assert_allclose(found, 0.5, rtol=1e-5)
    np.testing.assert_allclose(sense_noise(CSM, EVERYWHERE, strength=0), 1, rtol=1e-5)
    half = EVERYWHERE.copy()
    half[: SHAPE[0] // 2] = False
    found = grappa_noise(CSM, learnt, half, half)
    np.testing.assert_allclose(found, np.sqrt(0.5), rtol=1e-5)


def test_coils_that_share_nothing_unfold_without_loss() -> None:
    # Each half of the field of view has a coil of its own: R = 2 costs its root, and g is 1.
    csm = np.zeros((2, *SHAPE), np.complex64)
    csm[0, :, : SHAPE[1] // 2], csm[1, :, SHAPE[1] // 2 :] = 1, 1j
    noise = sense_noise(csm, lattice(SHAPE[:2], (1, 2)), strength=0)
    np.testing.assert_allclose(noise, np.sqrt(2), rtol=1e-5)


def test_where_there_are_no_coils_there_is_no_noise() -> None:
    csm = CSM.copy()
    csm[:, 3:5, 6:9] = 0
    places = lattice(SHAPE[:2], (2, 2), 1)
    learnt = learn_grappa(block_of(places | centre_block(SHAPE[:2], (8, 14))), places)
    for noise in (sense_noise(csm, places), grappa_noise(csm, learnt, places, EVERYWHERE)):
        assert not noise[3:5, 6:9].any()
        assert noise[6:, 10:].all()


def test_shapes_and_lattices_are_checked() -> None:
    with pytest.raises(ValueError, match="must be"):
        sense_noise(CSM, EVERYWHERE[:3])
    with pytest.raises(ValueError, match="strength"):
        sense_noise(CSM, EVERYWHERE, strength=-1)
    with pytest.raises(ValueError, match="do not divide"):
        sense_noise(CSM, lattice(SHAPE[:2], (1, 3)))
    with pytest.raises(ValueError, match="n_replicas"):
        replicated_noise(lambda noise: noise[:, 0], EVERYWHERE, (1, 4), n_replicas=1)
