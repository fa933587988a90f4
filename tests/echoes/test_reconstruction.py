"""From k-space to echoes: whatever was left out, the phase between echoes is the object's."""

from dataclasses import replace

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

from chistream.arrays import ComplexArray, Mask, RealArray, Size
from chistream.echoes.options import EchoOptions, ParallelImaging, PartialFourier
from chistream.echoes.reconstruction import Sampling, reconstruct_echoes

SHAPE = (16, 40, 24)
N_COILS = 8


@pytest.fixture(scope="module")
def hybrid() -> ComplexArray:
    return hybrid_of(object_echoes(SHAPE), smooth_coils(N_COILS, SHAPE))


EVERYWHERE: Mask = np.ones(SHAPE[:2], bool)


def sampling_of(pattern: Mask, region: Mask = EVERYWHERE, places: Mask = EVERYWHERE) -> Sampling:
    return Sampling(
        sampled=np.stack([pattern & region] * 3),
        region=region,
        lattice=places,
        readout_support=np.ones(SHAPE[2], bool),
    )


FILLED: tuple[PartialFourier, ...] = ("predict", "zero")


def steps_between(echoes: ComplexArray) -> ComplexArray:
    steps: ComplexArray = echoes[1:] * echoes[:-1].conj()
    return steps


def phase_error(found: ComplexArray, true: ComplexArray, mask: Mask) -> RealArray:
    """Error of the phase between echoes, in a mask [rad]."""
    turned = steps_between(found) * steps_between(true).conj()
    error: RealArray = np.angle(turned[:, mask])
    return error


def test_full_sampling_gives_phase_between_echoes_and_magnitude(hybrid: ComplexArray) -> None:
    everything = np.ones(SHAPE[:2], bool)
    found, warnings, _ = reconstruct_echoes(hybrid, sampling_of(everything), SHAPE)
    true, inside = object_echoes(SHAPE), body(SHAPE)
    assert np.abs(phase_error(found, true, inside)).max() < 0.005
    np.testing.assert_allclose(np.abs(found[:, inside]), np.abs(true[:, inside]), rtol=0.01)
    assert not warnings
    assert found.dtype == np.complex64


@pytest.mark.parametrize(
    ("steps", "shift", "method", "limit"),
    [
        ((1, 2), 0, "auto", 0.02),
        ((1, 2), 0, "sense", 0.02),
        ((2, 1), 0, "sense", 0.02),
        ((2, 2), 1, "sense", 0.02),
        # GRAPPA cannot interpolate past the ends of a slab of 16 partitions.
        ((2, 1), 0, "auto", 0.05),
        ((2, 2), 1, "auto", 0.05),
    ],
)
def test_undersampling_costs_little_phase(
    hybrid: ComplexArray,
    steps: tuple[int, int],
    shift: int,
    method: ParallelImaging,
    limit: float,
) -> None:
    places = lattice(SHAPE[:2], steps, shift)
    pattern = places | centre_block(SHAPE[:2], (8, 16))
    sampled, sampling = hybrid * pattern[:, :, None], sampling_of(pattern, places=places)
    options = EchoOptions(parallel_imaging=method)
    found, warnings, _ = reconstruct_echoes(sampled.copy(), sampling, SHAPE, options=options)
    true, inside = object_echoes(SHAPE), body(SHAPE)
    error = np.sqrt(np.mean(phase_error(found, true, inside) ** 2))
    assert error < limit
    assert not warnings
    zeros = EchoOptions(parallel_imaging="none")
    folded, _, _ = reconstruct_echoes(sampled, sampling, SHAPE, options=zeros)
    assert error < 0.5 * np.sqrt(np.mean(phase_error(folded, true, inside) ** 2))


@pytest.mark.parametrize("method", ["sense", "grappa", "none"])
def test_espirit_may_teach_the_coils(hybrid: ComplexArray, method: ParallelImaging) -> None:
    places = EVERYWHERE if method == "none" else lattice(SHAPE[:2], (1, 2))
    pattern = places | centre_block(SHAPE[:2], (16, 16))
    options = EchoOptions(parallel_imaging=method, sensitivities="espirit")
    found, _, _ = reconstruct_echoes(
        hybrid * pattern[:, :, None], sampling_of(pattern, places=places), SHAPE, options=options
    )
    true, inside = object_echoes(SHAPE), body(SHAPE)
    assert np.sqrt(np.mean(phase_error(found, true, inside) ** 2)) < 0.02
    other = EchoOptions(parallel_imaging=method)
    adaptive, _, _ = reconstruct_echoes(
        hybrid * pattern[:, :, None], sampling_of(pattern, places=places), SHAPE, options=other
    )
    assert not np.array_equal(found, adaptive)


def test_a_few_lost_lines_are_filled(hybrid: ComplexArray) -> None:
    pattern = np.random.default_rng(2).uniform(size=SHAPE[:2]) > 0.08
    pattern |= centre_block(SHAPE[:2], (6, 10))
    sampled, sampling = hybrid * pattern[:, :, None], sampling_of(pattern)
    true = object_echoes(SHAPE)
    filled, _, _ = reconstruct_echoes(sampled, sampling, SHAPE)
    options = EchoOptions(parallel_imaging="none")
    zeros, _, _ = reconstruct_echoes(sampled, sampling, SHAPE, options=options)
    errors = [np.linalg.norm(np.abs(found) - np.abs(true)) for found in (filled, zeros)]
    assert errors[0] < 0.25 * errors[1]


def test_a_separate_calibration_serves_the_coils_only(hybrid: ComplexArray) -> None:
    pattern = lattice(SHAPE[:2], (2, 2), 1)
    block = hybrid[:, :, 4:12, 12:28] * np.float32(3)  # another scan, another scale
    sampling = replace(sampling_of(pattern, places=pattern), calibration=block)
    options = EchoOptions(parallel_imaging="sense")
    found, warnings, _ = reconstruct_echoes(
        hybrid * pattern[:, :, None], sampling, SHAPE, options=options
    )
    true, inside = object_echoes(SHAPE), body(SHAPE)
    assert np.sqrt(np.mean(phase_error(found, true, inside) ** 2)) < 0.02
    ratio = np.abs(found[:, inside]) / np.abs(true[:, inside])
    assert np.median(ratio) == pytest.approx(1, abs=0.01)
    assert not warnings


def test_without_a_complete_centre_there_are_zeros_and_a_warning(hybrid: ComplexArray) -> None:
    pattern = lattice(SHAPE[:2], (2, 2), 1)
    found, warnings, _ = reconstruct_echoes(
        hybrid * pattern[:, :, None], sampling_of(pattern), SHAPE
    )
    assert found.shape == (3, *SHAPE)
    assert "not sampled fully" in warnings[0]


def test_partial_fourier_is_completed_on_request() -> None:
    true = object_echoes(SHAPE, roughness=0)  # POCS lives on smooth phase
    hybrid = hybrid_of(true, smooth_coils(N_COILS, SHAPE))
    region = np.zeros(SHAPE[:2], bool)
    region[:, 10:] = True
    sampled, sampling = hybrid * region[:, :, None], sampling_of(region, region)
    errors = []
    for method in ("pocs", "zero"):
        options = EchoOptions(partial_fourier=method)
        found, _, _ = reconstruct_echoes(sampled, sampling, SHAPE, options=options)
        errors.append(np.linalg.norm(np.abs(found) - np.abs(true)))
    assert errors[0] < 0.6 * errors[1]


@pytest.mark.parametrize(
    ("parallel_imaging", "is_predicted"), [("grappa", True), ("sense", False), ("none", True)]
)
def test_lines_are_predicted_where_the_lines_of_all_coils_are_known(
    hybrid: ComplexArray, parallel_imaging: ParallelImaging, is_predicted: bool
) -> None:
    region = np.zeros(SHAPE[:2], bool)
    region[:, 10:] = True
    places = lattice(SHAPE[:2], (1, 2)) if parallel_imaging != "none" else np.ones_like(region)
    pattern = (places | centre_block(SHAPE[:2], (8, 14))) & region
    sampling = sampling_of(pattern, region, places)
    predict, zero = (
        reconstruct_echoes(
            hybrid * pattern[:, :, None],
            sampling,
            SHAPE,
            options=EchoOptions(parallel_imaging, partial_fourier=method, noise_map=True),
        )
        for method in FILLED
    )
    assert (np.abs(predict.echoes - zero.echoes).max() > 1e-3) == is_predicted
    assert ("not covered is zero" in " ".join(predict.warnings)) != is_predicted
    assert "not covered is zero" not in " ".join(zero.warnings)
    if is_predicted:
        assert predict.noise is None


def test_asymmetric_echoes_are_completed_along_x() -> None:
    support = np.arange(SHAPE[2]) >= 5
    noise = complex_noise((3, 2, *SHAPE), 1)
    sampling = replace(sampling_of(np.ones(SHAPE[:2], bool)), readout_support=support)
    assert sampling.support.sum() == SHAPE[0] * SHAPE[1] * (SHAPE[2] - 5)
    zero, _, _ = reconstruct_echoes(noise, sampling, SHAPE)
    options = EchoOptions(partial_fourier="pocs")
    completed, _, _ = reconstruct_echoes(noise, sampling, SHAPE, options=options)
    assert np.abs(completed - zero).max() > 0.1


@pytest.mark.parametrize("recon", [(12, 40, 24), (16, 80, 48)])
def test_the_image_has_the_size_that_was_asked_for(hybrid: ComplexArray, recon: Size) -> None:
    everything = sampling_of(np.ones(SHAPE[:2], bool))
    found, _, _ = reconstruct_echoes(hybrid, everything, recon)
    assert found.shape == (3, *recon)
