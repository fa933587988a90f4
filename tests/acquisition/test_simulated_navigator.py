"""Displacements of simulated navigators against the diaphragm that made them."""

from typing import NamedTuple

import numpy as np
import pytest

from chistream.acquisition.gating_options import Estimator
from chistream.acquisition.navigator import learn_template, measure
from chistream.arrays import ComplexArray, RealArray
from chistream_simulator.case import Case
from chistream_simulator.navigator import Navigator
from chistream_simulator.receiver import combined_snr
from chistream_simulator.scanner import Scan

N_PROFILES, N_LEARNT = 1000, 80


class Series(NamedTuple):
    """Navigators of a breathing chest, for each millimetre and coil, and their truth."""

    noiseless: ComplexArray
    descents: RealArray
    covariance: ComplexArray


@pytest.fixture(scope="module", params=[1, 8], ids=["one coil", "eight coils"])
def series(request: pytest.FixtureRequest) -> Series:
    case = Case(
        phantom="chest",
        matrix=(8, 32, 32),
        fov=(120.0, 300.0, 300.0),
        n_coils=request.param,
        breathing_amplitude=12.0,
        gating="none",
    )
    scan = Scan(case)
    navigator = Navigator(
        case, scan.imaging.phantom, scan.imaging.loops, scan.imaging.geometry.position
    )
    descents = scan.schedule.breathing.descent(np.linspace(0, 50, N_PROFILES))
    covariance = scan.noise_covariance
    signal = combined_snr(navigator.csm, covariance) * navigator.profile(0.0)
    samples = np.stack([navigator.samples(float(d)) for d in descents]) / signal.max()
    return Series(samples, descents, covariance)


def noisy(series: Series, snr: float) -> ComplexArray:
    """Navigators with a liver of this SNR in the profile of all coils together."""
    rng = np.random.default_rng(5)
    white = rng.standard_normal((2, *series.noiseless.shape)) / np.sqrt(2)
    mixing = np.linalg.cholesky(series.covariance)
    noise = np.einsum("cd,nds->ncs", mixing, white[0] + 1j * white[1])
    samples: ComplexArray = (snr * series.noiseless + noise).astype(np.complex64)
    return samples


@pytest.mark.slow
@pytest.mark.parametrize(("snr", "largest_rms"), [(10.0, 0.5), (5.0, 1.0)])
@pytest.mark.parametrize("estimator", ["correlation", "template", "edge"])
def test_a_thousand_profiles_hold_no_gross_error(
    series: Series, estimator: Estimator, snr: float, largest_rms: float
) -> None:
    samples = noisy(series, snr)
    variances = np.real(np.diagonal(series.covariance))
    template = learn_template(samples[:N_LEARNT], 256.0, 0.625, variances, estimator)
    found = measure(samples, template)
    # The column runs from feet to head; where its zero lies is another matter.
    error = found.displacement + series.descents
    error -= np.nanmedian(error)
    rms = float(np.sqrt(np.nanmean(error**2)))
    n_unknown = int(np.isnan(error).sum())
    print(  # noqa: T201
        f"{estimator}, SNR {snr:g}: RMS {rms:.2f} mm, largest {np.nanmax(np.abs(error)):.1f} mm, "
        f"{n_unknown} of {len(error)} unknown"
    )
    assert rms <= largest_rms
    assert np.nanmax(np.abs(error)) <= 5.0
    assert n_unknown <= 10


def test_the_reference_is_end_expiration(series: Series) -> None:
    samples = noisy(series, 20.0)
    found = measure(samples, learn_template(samples[:N_LEARNT], 256.0, 0.625)).displacement
    assert np.median(found + series.descents) == pytest.approx(0.0, abs=0.5)


def test_profiles_of_noise_alone_are_not_believed(series: Series) -> None:
    template = learn_template(noisy(series, 10.0)[:N_LEARNT], 256.0, 0.625)
    found = measure(noisy(series, 0.0), template)
    assert np.isnan(found.displacement).mean() > 0.9
    assert np.median(found.snr) < 4.0
