"""Displacements against the ones that the profiles were made with."""

import numpy as np
import pytest

from chistream.acquisition.estimators import match, shifts_of
from chistream.acquisition.navigator import learn_template, measure, most_frequent
from chistream.arrays import ComplexArray, RealArray

COLUMN = 200.0


def breathing(n: int, seed: int = 1) -> RealArray:
    """Diaphragm positions at heartbeats [mm]: rests at 0, dips by up to 15."""
    rng = np.random.default_rng(seed)
    phase = 2 * np.pi * np.cumsum(rng.uniform(0.15, 0.3, n))
    positions: RealArray = -15 * np.abs(np.sin(phase / 2)) ** 4
    return positions


def navigators(
    positions: RealArray, *, n: int = 192, n_coils: int = 4, snr: float = np.inf, edge: float = 10.0
) -> ComplexArray:
    """Readouts of a liver that ends in lung, seen by coils that do not move with it.

    The signal-to-noise ratio is that of the liver, in the best coil of each place.
    """
    rng = np.random.default_rng(7)
    place = (np.arange(4 * n) - 2 * n) * COLUMN / (4 * n)
    centres = np.linspace(-60, 60, n_coils)
    csm = np.exp(-((place - centres[:, None]) ** 2) / (2 * 80.0**2) + 1j * centres[:, None])
    moved = place - positions[:, None] - edge
    liver = 1 / (1 + np.exp(moved / 1.5)) + 0.1
    liver = liver * (1 + 0.3 * np.sin(moved / 7) * (moved < 0)) * np.exp(0.02j * place)
    signal = np.einsum("cr,nr->ncr", csm, liver)
    k = np.arange(n) - n // 2
    waves = np.exp(-2j * np.pi * np.outer(place, k) / COLUMN) / (4 * np.sqrt(n))
    samples = (signal.reshape(-1, 4 * n) @ waves).reshape(-1, n_coils, n)
    noise = rng.standard_normal((2, *samples.shape)) / snr
    received: ComplexArray = (samples + noise[0] + 1j * noise[1]).astype(np.complex64)
    return received


def error_of(found: RealArray, positions: RealArray) -> RealArray:
    """Deviation but for the common offset, which is what the reference is about."""
    difference = found - positions
    return difference - np.median(difference)


@pytest.mark.parametrize(
    ("snr", "rms"), [(np.inf, 0.15), (10.0, 0.5), (5.0, 1.0)], ids=["no noise", "10", "5"]
)
@pytest.mark.parametrize(("n", "n_coils"), [(192, 4), (127, 1)])
def test_displacements_follow_the_diaphragm(n: int, n_coils: int, snr: float, rms: float) -> None:
    positions = breathing(60)
    samples = navigators(positions, n=n, n_coils=n_coils, snr=snr)
    template = learn_template(samples, COLUMN, 1.25)
    error = error_of(measure(samples, template).displacement, positions)
    assert np.sqrt(np.mean(error**2)) <= rms
    assert np.abs(error).max() <= 5.0


def test_zero_is_end_expiration_wherever_the_scan_began() -> None:
    positions = np.roll(breathing(60), -int(breathing(60).argmin()))  # deepest breath first
    samples = navigators(positions, snr=20)
    template = learn_template(samples, COLUMN, 1.25)
    found = measure(samples, template).displacement
    at_rest = positions > -0.3
    assert np.abs(found[at_rest]).max() <= 1.0
    assert np.median(found[positions < -10] - positions[positions < -10]) == pytest.approx(0, abs=1)
    assert template.first == pytest.approx(-positions[0], abs=1.0)


def test_the_most_frequent_displacement_is_zero_however_lopsided_breathing_is() -> None:
    # Rest ends in a slow breath: the average of what is near rest lies half a millimetre off.
    positions = np.concatenate([np.zeros(12), np.linspace(-0.3, -1.0, 20), np.full(5, -9.0)])
    samples = navigators(positions)
    template = learn_template(samples, COLUMN, 0.2)
    found = measure(samples, template).displacement
    assert most_frequent(found, 0.2) == pytest.approx(0, abs=0.06)
    assert np.abs(found[:12]).max() < 0.2


def test_the_column_sets_the_millimetres() -> None:
    positions = breathing(60)
    samples = navigators(positions)
    # The same navigators twice as far apart: the search covers half the points, nothing else.
    single, double = (
        measure(samples, learn_template(samples, column, column / 160)).displacement
        for column in (COLUMN, 2 * COLUMN)
    )
    np.testing.assert_allclose(double, 2 * single, atol=0.2)


def test_a_noisy_coil_does_not_decide() -> None:
    positions = breathing(50)
    samples = navigators(positions, snr=30)
    rng = np.random.default_rng(2)
    noise = rng.standard_normal((2, 50, 1, 192)) * 3
    noisy = np.concatenate([samples, noise[0] + 1j * noise[1]], axis=1).astype(np.complex64)
    for variances in (None, np.array([1e-3] * 4 + [9.0])):
        template = learn_template(noisy, COLUMN, 1.25, variances)
        error = error_of(measure(noisy, template).displacement, positions)
        assert np.sqrt(np.mean(error**2)) <= 0.5


@pytest.mark.parametrize("shift", [-7.0, -2.25, 0.0, 0.4, 3.5])
def test_a_shifted_profile_gives_its_shift(shift: float) -> None:
    r = np.arange(60)
    template = np.exp(-((r - 28.0) ** 2) / 50)
    profiles = np.stack([gain * np.exp(-((r - 28.0 - shift) ** 2) / 50) for gain in (1.0, 0.3)])
    np.testing.assert_allclose(shifts_of(profiles, template, 20), shift, atol=0.01)


def test_profiles_without_signal_or_with_nan_have_no_shift() -> None:
    template = np.exp(-((np.arange(40) - 20.0) ** 2) / 20)
    profiles = np.stack([np.zeros(40), np.full(40, np.nan), template])
    np.testing.assert_allclose(shifts_of(profiles, template, 8), [np.nan, np.nan, 0.0], atol=1e-9)


def test_a_shift_beyond_the_search_stays_at_its_end() -> None:
    r = np.arange(60)
    template, far = (np.exp(-((r - at) ** 2) / 50) for at in (20.0, 40.0))
    (shift,) = shifts_of(far[None], template, 6)
    assert 4 <= shift <= 6


def test_a_piece_is_compared_with_what_continues_a_profile() -> None:
    profile, piece = np.random.default_rng(3).random((2, 9)), np.array([1.0, -2.0, 0.5])
    starts, reach = np.array([0, 7]), 2
    product, energy = match(profile, piece, starts, reach)
    for row, start in enumerate(starts):
        padded = np.pad(profile[row], 4, mode="edge")
        parts = np.array([padded[4 + start + s :][:3] for s in range(-reach, reach + 1)])
        np.testing.assert_allclose(product[row], parts @ piece)
        np.testing.assert_allclose(energy[row], (parts**2).sum(axis=1))


def test_the_most_frequent_position_is_not_the_mean() -> None:
    rng = np.random.default_rng(1)
    positions = np.concatenate([rng.normal(3.0, 0.5, 60), rng.uniform(-15, 2, 60)])
    assert most_frequent(positions, 1.0) == pytest.approx(3.0, abs=0.4)


def test_a_single_navigator_is_its_own_reference() -> None:
    samples = navigators(np.array([-4.0]))
    template = learn_template(samples, COLUMN, 1.25)
    assert measure(samples, template).displacement[0] == pytest.approx(0, abs=0.05)
