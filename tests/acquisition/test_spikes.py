"""Sparks in the readouts of a simulated chest: all found, nothing else taken for one."""

import numpy as np
import pytest

from chistream.acquisition import spikes
from chistream.acquisition.spikes import SpikeFilter
from chistream.arrays import ComplexArray, RealArray
from chistream.physics.compiled import python_form
from chistream.stream.messages import Acquisitions
from chistream_simulator.case import Case
from chistream_simulator.scanner import Scan

RNG = np.random.default_rng(7)


@pytest.fixture(scope="module")
def chest() -> ComplexArray:
    """Imaging readouts ``(n, coils, samples)`` of a chest at an SNR of 30."""
    case = Case.model_validate(
        {
            "phantom": "chest",
            "matrix": (8, 24, 96),
            "fov": (120.0, 270.0, 330.0),
            "TE": (2e-3, 4.3e-3),
            "n_coils": 4,
            "snr": 30.0,
            "asymmetric_echo": 0.75,
            "noise_readouts": 0,
            "breathing_amplitude": 0.0,
            "navigators": "none",
        }
    )
    runs = [run for run in Scan(case).messages() if isinstance(run, Acquisitions)]
    return np.concatenate([run.samples for run in runs])


def with_spark(
    samples: ComplexArray, start: int, length: int, level: float, seed: int
) -> ComplexArray:
    rng = np.random.default_rng(seed)
    factors = rng.standard_normal((len(samples), 2)) @ (1, 1j)
    struck = samples.copy()
    struck[:, start : start + length] += level * factors[:, None].astype(np.complex64)
    return struck


@pytest.mark.slow
def test_a_chest_has_no_sparks_of_its_own(chest: ComplexArray) -> None:
    judge = SpikeFilter(0.5)
    for readout in chest:
        cleaned, n = judge.clean(readout)
        assert n == 0
        assert cleaned is readout


@pytest.mark.slow
def test_every_visible_spark_is_found_and_leaves_little(chest: ComplexArray) -> None:
    judge, noise = SpikeFilter(0.5), float(np.sqrt(np.median(np.abs(chest[..., -8:]) ** 2) / 0.69))
    # Five times the noise of an image of this matrix, in one sample of k-space.
    level = 5 * noise * np.sqrt(8 * 24 * 192)
    left, found = [], 0
    for seed, readout in enumerate(chest):
        start, length = int(RNG.integers(0, readout.shape[1] - 3)), int(RNG.integers(1, 4))
        struck = with_spark(readout, start, length, level, seed)
        cleaned, n = judge.clean(struck)
        found += n > 0
        left.append(np.sqrt(np.mean(np.sum(np.abs(cleaned - readout) ** 2, axis=1))))
    assert found >= 0.99 * len(chest)
    assert np.percentile(left, 95) < 0.02 * level


@pytest.mark.parametrize("start", [0, 1, 70, 143 - 1, 143])
def test_a_spark_anywhere_is_taken_out_of_a_smooth_readout(start: int) -> None:
    k = np.arange(144) - 60
    smooth = np.stack([np.sinc(0.31 * k), 1j * np.sinc(0.2 * k) + 0.3 * np.sinc(0.4 * k)])
    readout = (1000 * smooth).astype(np.complex64)
    readout += RNG.standard_normal(readout.shape).astype(np.complex64)
    struck = readout.copy()
    struck[:, start] += (700, 400j)
    cleaned, n = SpikeFilter(0.5).clean(struck)
    assert n == 1
    assert np.abs(cleaned - readout).max() < 30


def test_two_sparks_are_two() -> None:
    noise = RNG.standard_normal((3, 200)).astype(np.complex64)
    struck = with_spark(with_spark(noise, 30, 1, 200.0, 1), 150, 1, 300.0, 2)
    cleaned, n = SpikeFilter(0.5).clean(struck)
    assert n == 2
    assert np.abs(cleaned).max() < 12


def test_so_many_that_nothing_is_left_end_the_search() -> None:
    noise = RNG.standard_normal((2, 600)).astype(np.complex64)
    for spark in range(10):
        noise = with_spark(noise, 20 + 58 * spark, 1, 500.0, spark)
    _, n = SpikeFilter(0.5).clean(noise)
    assert n == 6


def test_readouts_that_cannot_be_judged_stay_as_they_are() -> None:
    struck = with_spark(np.ones((2, 100), np.complex64), 40, 1, 500.0, 1)
    assert SpikeFilter(0.9).clean(struck)[1] == 0
    assert SpikeFilter(0.5).clean(struck[:, 20:60])[1] == 0
    struck[0, 3] = np.nan
    cleaned, n = SpikeFilter(0.5).clean(struck)
    assert n == 0
    assert cleaned is struck


def test_a_support_is_a_part() -> None:
    with pytest.raises(ValueError, match="support must be in"):
        SpikeFilter(0.0)


def as_numbers(samples: ComplexArray) -> RealArray:
    return np.ascontiguousarray(samples, np.complex64).view(np.float32)


def test_the_filter_is_a_convolution_of_what_goes_on_oddly() -> None:
    samples = (RNG.standard_normal((2, 60, 2)) @ (1, 1j)).astype(np.complex64)
    half_of_taps = RNG.standard_normal(17).astype(np.float32)
    taps = np.concatenate([half_of_taps[:0:-1], half_of_taps])
    before = 2 * samples[:, :1] - samples[:, 16:0:-1]
    after = 2 * samples[:, -1:] - samples[:, -2:-18:-1]
    continued = np.concatenate([before, samples, after], axis=1)
    row = np.empty(2 * 60 + 64, np.float32)
    python_form(spikes.continue_oddly)(as_numbers(samples[0]), row)
    np.testing.assert_allclose(row, as_numbers(continued[0]), rtol=1e-6)
    filtered = np.array([np.convolve(coil, taps, "valid") for coil in continued])
    outside = np.zeros(2 * 60, np.float32)
    python_form(spikes.add_filtered)(row, taps, outside)
    np.testing.assert_allclose(outside, as_numbers(filtered[0]) ** 2, rtol=1e-3, atol=1e-4)
    outside, power = python_form(spikes.powers)(as_numbers(samples), taps)
    np.testing.assert_allclose(outside, (np.abs(filtered) ** 2).sum(axis=0), rtol=1e-4)
    np.testing.assert_allclose(power, (np.abs(samples) ** 2).sum(axis=0), rtol=1e-4)


@pytest.mark.parametrize("at", [0, 5, 11])
def test_what_is_around_is_on_either_side_and_not_near(at: int) -> None:
    values = np.arange(12, dtype=np.float32)
    around = [values[s] for s in range(12) if 2 <= abs(s - at) <= 4]
    assert python_form(spikes.largest_around)(values, at, 2, 4) == max(around)


def test_the_search_does_in_python_what_it_does_compiled() -> None:
    readout = RNG.standard_normal((2, 80, 2)).astype(np.float32).reshape(2, 160)
    judge = SpikeFilter(0.5)
    for place, wanted in ((33, 33), (34, 34)):
        struck = readout.copy()
        struck[:, 2 * place] += 300
        assert python_form(spikes.find_spark)(struck, judge._taps) == wanted
        assert spikes.find_spark(struck, judge._taps) == wanted
    assert python_form(spikes.find_spark)(readout, judge._taps) == -1
