"""Noise: its covariance, its bandwidth, and what signal-to-noise ratio means."""

import numpy as np
import pytest

from chistream.arrays import ComplexArray
from chistream_simulator.case import Case
from chistream_simulator.coils import body_array
from chistream_simulator.phantoms.shapes import Ellipsoid, cylinder
from chistream_simulator.receiver import (
    Receiver,
    array_covariance,
    coil_covariance,
    combined_snr,
    filter_amplitude,
    filter_response,
    unit_covariance,
)

TRUNK = (165.0, 106.0)


def covariance_of(samples: ComplexArray) -> ComplexArray:
    flat = np.moveaxis(samples, 1, 0).reshape(samples.shape[1], -1)
    covariance: ComplexArray = flat @ flat.conj().T / flat.shape[1]
    return covariance


@pytest.mark.parametrize("ratio", [1.0, 0.793])
@pytest.mark.parametrize("dwell_time", [4e-6, 8e-6])
def test_noise_has_the_covariance_asked_for(ratio: float, dwell_time: float) -> None:
    covariance = coil_covariance(5, 0.4, np.random.default_rng(1))
    receiver = Receiver(covariance, 4e-6, ratio, np.random.default_rng(2))
    noise = receiver.noise(400, 255, dwell_time)
    assert noise.dtype == np.complex64
    expected = covariance * ratio * 4e-6 / dwell_time
    # 102,000 samples fix each element to 0.3 % of a variance.
    np.testing.assert_allclose(covariance_of(noise), expected, atol=0.015 * expected.real.max())


def test_the_middle_of_the_band_is_not_attenuated() -> None:
    receiver = Receiver(np.eye(1, dtype=complex), 4e-6, 0.793, np.random.default_rng(2))
    spectrum = np.fft.fft(receiver.noise(2000, 128, 4e-6), norm="ortho")
    power = np.mean(np.abs(spectrum) ** 2, axis=(0, 1))
    middle = np.abs(np.fft.fftfreq(128)) <= 0.25
    np.testing.assert_allclose(power[middle].mean(), 1.0, atol=0.01)
    assert power[64] < 0.01


@pytest.mark.parametrize("ratio", [0.7, 0.793, 1.0])
def test_the_filter_has_the_noise_bandwidth_it_is_named_for(ratio: float) -> None:
    assert np.mean(filter_response(4096, ratio) ** 2) == pytest.approx(ratio, abs=2e-3)


def test_the_snr_of_one_coil_is_signal_over_the_deviation_of_the_real_part() -> None:
    rng = np.random.default_rng(4)
    receiver = Receiver(np.full((1, 1), 0.08 + 0j), 4e-6, 1.0, rng)
    noise = receiver.noise(100, 1000, 4e-6)
    snr = combined_snr(np.full((1, 3), 2.0 + 0j), np.full((1, 1), 0.08 + 0j))
    np.testing.assert_allclose(snr, 2.0 / noise.real.std(), rtol=0.01)


def test_correlated_coils_combine_to_less_than_independent_ones() -> None:
    csm = np.ones((2, 1), dtype=complex)
    correlated = np.array([[1.0, 0.5], [0.5, 1.0]], dtype=complex)
    assert combined_snr(csm, np.eye(2, dtype=complex))[0] == pytest.approx(2.0)
    assert combined_snr(csm, correlated)[0] == pytest.approx(2 / np.sqrt(1.5))


def correlation_of(covariance: ComplexArray) -> ComplexArray:
    level = np.sqrt(covariance.diagonal().real)
    correlation: ComplexArray = covariance / np.outer(level, level)
    return correlation


def chest_covariance(h1_frequency: float, seed: int = 5) -> ComplexArray:
    loops = body_array(8, (0.0, 0.0, 0.0), TRUNK)
    rng = np.random.default_rng(seed)
    return array_covariance(loops, cylinder((0.0, 0.0, 0.0), TRUNK), h1_frequency, rng)


def test_an_arrays_covariance_is_one_and_correlates_neighbours_by_a_third() -> None:
    covariance = chest_covariance(123.2e6)
    np.testing.assert_allclose(covariance, covariance.conj().T, atol=1e-12)
    assert np.linalg.eigvalsh(covariance).min() > 0.05
    assert covariance.diagonal().real.mean() == pytest.approx(1.0)
    correlation = np.abs(correlation_of(covariance))
    assert 0.1 < correlation[0, 1] < correlation[0, 2] < 0.5
    assert correlation[0, 2] > correlation[0, 3]
    # Channels have phases, so that a forgotten conjugate shows.
    assert np.abs(covariance.imag).max() > 0.1


def test_a_channels_phase_turns_its_noise_as_it_turns_its_signal() -> None:
    phases = np.exp(1j * np.array([loop.phase for loop in body_array(8, (0, 0, 0), TRUNK)]))
    turned_back = chest_covariance(123.2e6) * np.outer(phases.conj(), phases)
    np.testing.assert_allclose(turned_back.imag, 0.0, atol=1e-12)


def test_losses_of_the_loops_own_count_for_more_at_lower_field() -> None:
    high, low = (np.abs(correlation_of(chest_covariance(f)))[0, 2] for f in (123.2e6, 63.87e6))
    # 0.25 and 0.25 / 2 ** 1.5 of the losses in the body, for loops of 60 mm; these have 75 mm.
    assert high / low == pytest.approx((1 + 0.16) / (1 + 0.06), rel=0.05)


def test_gains_differ_with_the_seed_and_not_the_correlation() -> None:
    one, other = (chest_covariance(123.2e6, seed) for seed in (1, 2))
    assert not np.allclose(one.diagonal(), other.diagonal(), rtol=0.05)
    np.testing.assert_allclose(correlation_of(one), correlation_of(other), atol=1e-12)


def test_loops_far_from_a_small_object_have_noise_of_their_own_alone() -> None:
    loops = body_array(8, (0.0, 0.0, 0.0), TRUNK)
    tiny = Ellipsoid((0.0, 0.0, 0.0), (3.0, 3.0, 3.0))
    covariance = array_covariance(loops, tiny, 123.2e6, np.random.default_rng(5))
    assert np.abs(correlation_of(covariance) - np.eye(8)).max() < 0.01


def test_noise_of_an_array_has_its_covariance() -> None:
    covariance = chest_covariance(123.2e6)
    noise = Receiver(covariance, 4e-6, 0.793, np.random.default_rng(2)).noise(400, 256, 4e-6)
    # Wishart: an element of 102,400 samples is known to 0.3 % of a variance, five times which:
    np.testing.assert_allclose(covariance_of(noise), 0.793 * covariance, atol=0.016 * 2)


@pytest.mark.parametrize("n_coils", [1, 5])
def test_the_model_of_the_noise_is_chosen_by_name(n_coils: int) -> None:
    loops, body = body_array(n_coils, (0.0, 0.0, 0.0), TRUNK), cylinder((0.0, 0.0, 0.0), TRUNK)
    rng = np.random.default_rng
    found = unit_covariance(Case(), loops, body, rng(1))
    np.testing.assert_array_equal(found, array_covariance(loops, body, 123.2e6, rng(1)))
    listed = Case(noise_model="exponential", noise_correlation=0.45)
    found = unit_covariance(listed, loops, body, rng(1))
    np.testing.assert_array_equal(found, coil_covariance(n_coils, 0.45, rng(1)))


def test_the_filter_ends_at_the_edges_of_the_band() -> None:
    inside, edge, beyond = filter_amplitude(np.array([0.3, -0.5, 0.7]), 0.793)
    assert (inside, edge, beyond) == (1.0, 0.0, 0.0)
