"""Noise: its covariance, its bandwidth, and what signal-to-noise ratio means."""

import numpy as np
import pytest

from chistream.arrays import ComplexArray
from chistream_simulator.receiver import (
    Receiver,
    coil_covariance,
    combined_snr,
    filter_response,
)


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
