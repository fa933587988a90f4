"""Spikes, carriers and a drifting field: how much, where, and at which frequency."""

from typing import Any

import numpy as np
import pytest

from chistream.arrays import ComplexArray
from chistream_simulator.case import Case
from chistream_simulator.gradients import EchoTrain
from chistream_simulator.interference import (
    Zipper,
    add_spikes,
    apply_frequency_offset,
    frequency_offset,
    signal_level,
)


def silence(*shape: int) -> ComplexArray:
    return np.zeros(shape, np.complex64)


def test_spikes_hit_the_part_of_the_readouts_asked_for_and_say_which() -> None:
    samples = silence(4000, 3, 65)
    hit = add_spikes(samples, rate=0.1, level=7.0, rng=np.random.default_rng(1))
    touched = np.abs(samples).sum(axis=1) > 0
    np.testing.assert_array_equal(touched.any(axis=-1), hit)
    # Standard deviation of a binomial rate: 0.5 %.
    assert hit.mean() == pytest.approx(0.1, abs=0.015)
    lengths = touched[hit].sum(axis=-1)
    assert set(lengths.tolist()) == {1, 2, 3}
    level = np.sqrt(np.mean(np.abs(samples[hit]) ** 2, axis=1).max(axis=-1))
    assert 3.5 <= level.min() < level.max() <= 10.5
    assert level.mean() == pytest.approx(7.0, rel=0.05)
    # Anywhere in the readout, and in every coil at once.
    assert np.ptp(np.flatnonzero(touched.any(axis=0))) == 64
    assert (np.abs(samples[hit]).max(axis=-1) > 0).all()


def test_no_rate_no_spike_and_all_of_them_with_rate_one() -> None:
    samples = silence(20, 2, 9)
    assert not add_spikes(samples, rate=0.0, level=1.0, rng=np.random.default_rng(1)).any()
    assert not samples.any()
    assert add_spikes(samples, rate=1.0, level=1.0, rng=np.random.default_rng(1)).all()


def test_the_level_is_that_of_the_strongest_sample() -> None:
    rng = np.random.default_rng(2)
    kspace = rng.standard_normal((3, 4, 5, 2)) @ np.array([1, 1j]) / np.sqrt(2)
    kspace[..., 3] *= 10
    expected = np.sqrt(np.mean(np.abs(kspace[..., 3]) ** 2))
    assert signal_level(kspace.astype(np.complex64)) == pytest.approx(expected, rel=1e-5)


def test_a_zipper_is_one_line_of_the_spectrum_at_its_frequency() -> None:
    dwell_time, n = 5e-6, 400
    samples = silence(6, 3, n)
    starts = 36_000 + np.array([0.0, 0.015, 0.03, 0.9, 0.915, 0.93])
    zipper = Zipper(10_500.0, 2.0, 3, np.random.default_rng(3))
    zipper.add(samples, starts, dwell_time)
    spectrum = np.abs(np.fft.fft(samples)) / n
    assert (spectrum.argmax(axis=-1) == round(10_500 * n * dwell_time)).all()
    strengths = np.abs(zipper.amplitudes)
    np.testing.assert_allclose(spectrum.max(axis=-1), np.tile(strengths, (6, 1)), rtol=1e-4)
    assert np.sqrt(np.mean(strengths**2)) == pytest.approx(2.0)
    assert np.ptp(np.angle(zipper.amplitudes)) > 0.1


def test_the_carrier_runs_on_between_readouts() -> None:
    """Two readouts are two windows on one wave, whatever lies between them."""
    samples, whole = silence(2, 2, 50), silence(1, 2, 1000)
    rng = np.random.default_rng
    Zipper(-31_234.5, 1.0, 2, rng(4)).add(samples, 40_000 + np.array([0.0, 0.004]), 5e-6)
    Zipper(-31_234.5, 1.0, 2, rng(4)).add(whole, np.array([40_000.0]), 5e-6)
    np.testing.assert_allclose(samples[0], whole[0, :, :50], atol=1e-5)
    # A clock of 40,000 s leaves 7e-12 s, 1e-6 turns.
    np.testing.assert_allclose(samples[1], whole[0, :, 800:850], atol=1e-5)


@pytest.mark.parametrize(
    ("frequency", "share"), [(0.0, 1.0), (60e3, 1.0), (99e3, 0.0322), (150e3, 0.0)]
)
def test_the_receivers_filter_weakens_a_carrier_near_the_edge(
    frequency: float, share: float
) -> None:
    samples = silence(1, 1, 64)
    zipper = Zipper(frequency, 1.0, 1, np.random.default_rng(5))
    zipper.add(samples, np.zeros(1), 5e-6, 0.793)
    np.testing.assert_allclose(np.abs(samples), share, atol=0.003)


def test_the_centre_frequency_drifts_with_time_and_breathing() -> None:
    case = Case(f0_drift=-3.0, f0_breathing=0.4)
    offset = frequency_offset(np.array([0.0, 60.0, 120.0]), np.array([0.0, 5.0, 10.0]), case)
    np.testing.assert_allclose(offset, [0.0, -1.0, -2.0])


@pytest.mark.parametrize("bipolar", [False, True])
def test_an_offset_turns_each_sample_by_its_own_time(*, bipolar: bool) -> None:
    train = EchoTrain((2e-3, 5e-3, 8e-3), 15e-3, 8e-6, 145, 48, 360.0, bipolar=bipolar)
    rng = np.random.default_rng(6)
    samples = (rng.standard_normal((4, 3, 2, 145, 2)) @ np.array([1, 1j])).astype(np.complex64)
    turned = samples.copy()
    offsets = np.array([0.0, 10.0, -20.0, 300.0])
    apply_frequency_offset(turned, offsets, train)
    for line, echo in np.ndindex(4, 3):
        centre = 96 if bipolar and echo == 1 else 48
        times = train.TE[echo] + 8e-6 * (np.arange(145) - centre)
        expected = samples[line, echo] * np.exp(2j * np.pi * offsets[line] * times)
        np.testing.assert_allclose(turned[line, echo], expected, atol=1e-4)


def test_no_offset_changes_no_bit() -> None:
    train = EchoTrain((2e-3,), 15e-3, 8e-6, 145, 48, 360.0)
    samples: Any = np.full((2, 1, 2, 145), 1 + 1j, np.complex64)
    apply_frequency_offset(samples, np.zeros(2), train)
    assert (samples == 1 + 1j).all()
