"""Noise: measured in float64, scaled as physics demands, gone after whitening."""

from collections.abc import Callable

import numpy as np
import pytest

from chistream.acquisition.compression import CompressionOptions
from chistream.acquisition.lines import Line, Lines
from chistream.acquisition.noise import (
    NoiseReport,
    NoiseScan,
    covariance_scale,
    whitening_matrix,
)
from chistream.acquisition.plan import EncodingPlan
from chistream.acquisition.receiver import Receiver
from chistream.arrays import ComplexArray, RealArray

DWELL = np.array([4e-6, 4e-6])


def colour(n_coils: int, seed: int = 3) -> ComplexArray:
    """A mixing matrix; gains spread over four decades."""
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((n_coils, n_coils)) + 1j * rng.standard_normal((n_coils, n_coils))
    gains = np.diag(np.logspace(-2, 2, n_coils)).astype(np.complex128)
    mixing: ComplexArray = gains @ (mixed + 3 * np.eye(n_coils))
    return mixing


def draw(mixing: ComplexArray, shape: tuple[int, ...], seed: int) -> ComplexArray:
    """Noise of covariance ``mixing mixing^H``, complex64."""
    rng = np.random.default_rng(seed)
    white = rng.standard_normal((len(mixing), *shape)) + 1j * rng.standard_normal(
        (len(mixing), *shape)
    )
    noise: ComplexArray = np.einsum("cd,d...->c...", mixing, white / np.sqrt(2))
    return noise.astype(np.complex64)


def scan_of(*readouts: ComplexArray, dwell_time: float = 4e-6) -> NoiseScan:
    scan = NoiseScan()
    for samples in readouts:
        scan.add(samples, dwell_time)
    return scan


def whiten(
    hybrid: ComplexArray, scan: NoiseScan, dwell_times: RealArray, bandwidth_ratio: float
) -> tuple[NoiseReport, tuple[str, ...]]:
    """Whiten in place all that a receiver is fed with."""
    n_echoes, n_coils, nz, ny, nx = hybrid.shape
    plan = EncodingPlan((nz, ny, nx), (nz, ny, nx), n_echoes, noise_bandwidth_ratio=bandwidth_ratio)
    receiver = Receiver(plan, CompressionOptions("off"), lambda stamp, time: stamp > time)
    receiver.noise = scan
    first = Lines([Line(0, nz // 2, ny // 2)], np.zeros(1), hybrid[:1, :, 0, 0])
    receiver.see(first, (nz // 2, ny // 2), scan.scales(dwell_times[:1], bandwidth_ratio))
    whitened, _ = receiver.finish(dwell_times, np.ones(nx, bool))
    lines = receiver.combine(np.moveaxis(hybrid, 1, 3).reshape(-1, n_coils, nx))
    lines = np.moveaxis(lines.reshape(n_echoes, nz, ny, n_coils, nx), 3, 1)
    hybrid[...] = lines / np.sqrt(whitened.scales)[:, None, None, None, None]
    return whitened.report, whitened.warnings


def covariance_of(samples: ComplexArray) -> ComplexArray:
    flat = samples.reshape(len(samples), -1).astype(np.complex128)
    covariance: ComplexArray = flat @ flat.conj().T / flat.shape[1]
    return covariance


@pytest.mark.parametrize("n_coils", [1, 2, 7])
@pytest.mark.parametrize(("image_dwell", "ratio"), [(4e-6, 1.0), (2e-6, 1.0), (10e-6, 0.793)])
def test_whitened_noise_has_unit_covariance(n_coils: int, image_dwell: float, ratio: float) -> None:
    mixing = colour(n_coils)
    n_noise, n_image = 20_000, 6_000
    # A receiver of variance v per unit of bandwidth: 1 / dwell in the image, ratio / dwell in the
    # noise scan, whose filter cuts the rest.
    noise = draw(mixing, (n_noise,), 1) * np.sqrt(ratio / 4e-6)
    image = draw(mixing, (2, n_image), 2) / np.sqrt(image_dwell)
    hybrid = np.ascontiguousarray(image.transpose(1, 0, 2), np.complex64)
    hybrid = hybrid.reshape(2, n_coils, 4, 30, 50)
    scan = scan_of(noise[:, :5000], noise[:, 5000:])
    report, warnings = whiten(hybrid, scan, np.full(2, image_dwell), ratio)
    assert report.measured
    assert (report.n_samples, report.rank, report.reason, warnings) == (n_noise, n_coils, "", ())
    # Wishart: entries of a covariance from n samples deviate by 1/sqrt(n); five deviations.
    tolerance = 5 * np.sqrt(1 / n_noise + 1 / (2 * n_image))
    found = covariance_of(hybrid.swapaxes(0, 1))
    np.testing.assert_allclose(found, np.eye(n_coils), atol=tolerance)
    np.testing.assert_allclose(
        report.covariance, covariance_of(noise) * 4e-6 / image_dwell / ratio, rtol=1e-5
    )


def test_each_echo_has_its_own_dwell_time() -> None:
    mixing = colour(2)
    hybrid = np.ones((2, 2, 1, 1, 1), np.complex64)
    whiten(hybrid, scan_of(draw(mixing, (5000,), 1)), np.array([4e-6, 16e-6]), 1.0)
    # Four times the dwell time, half the noise deviation: twice the whitened signal.
    np.testing.assert_allclose(hybrid[1], 2 * hybrid[0], rtol=1e-5)


def test_the_scale_is_the_ratio_of_bandwidths() -> None:
    assert covariance_scale(10e-6, 5e-6, 0.793) == pytest.approx(2 / 0.793)


def test_noise_adds_up_over_readouts_in_any_order() -> None:
    pieces = [draw(colour(3), (n,), n) for n in (10, 300, 7)]
    whole = covariance_of(np.concatenate(pieces, axis=1))
    for order in ([0, 1, 2], [2, 0, 1]):
        found = scan_of(*(pieces[i] for i in order))
        np.testing.assert_allclose(found.covariance, whole, rtol=1e-12)
        assert found.n_samples == 317


def test_a_small_noise_on_a_large_offset_keeps_its_digits() -> None:
    # 1e4 readouts of single precision would lose it; the offset is part of what disturbs.
    scan = NoiseScan()
    samples = np.full((1, 100), 1000 + 0j, np.complex64)
    for _ in range(1000):
        scan.add(samples, 1e-6)
    assert scan.covariance[0, 0].real == pytest.approx(1e6, rel=1e-13)


def test_whitening_keeps_each_coil_closest_to_itself() -> None:
    whitening, _ = whitening_matrix(covariance_of(draw(colour(5), (4000,), 1)))
    own = np.abs(np.diagonal(whitening @ np.diag(np.logspace(-2, 2, 5))))
    others = np.abs(whitening @ np.diag(np.logspace(-2, 2, 5)) - np.diag(own))
    assert (own > others.max(axis=1)).all()


def dead_coil(noise: ComplexArray) -> ComplexArray:
    return np.concatenate([noise, np.zeros_like(noise[:1])])


def copied_coil(noise: ComplexArray) -> ComplexArray:
    return np.concatenate([noise, 5 * noise[:1]])


@pytest.mark.parametrize("spoil", [dead_coil, copied_coil])
def test_coils_without_noise_of_their_own_are_removed_not_amplified(
    spoil: Callable[[ComplexArray], ComplexArray],
) -> None:
    noise = spoil(draw(colour(3), (4000,), 1))
    hybrid = noise[None, :, :, None, None].astype(np.complex64)
    report, warnings = whiten(hybrid, scan_of(noise), DWELL[:1], 1.0)
    assert report.rank == 3
    assert "1 of 4 coils have no noise of their own" in warnings[0]
    projection = covariance_of(hybrid[0])
    np.testing.assert_allclose(projection @ projection, projection, atol=1e-4)
    assert np.trace(projection).real == pytest.approx(3, abs=1e-4)


@pytest.mark.parametrize(
    ("noise", "reason"),
    [
        ([], "no noise readouts"),
        ([np.ones((3, 50), np.complex64)], "3 coils, the image 2"),
        ([np.ones((2, 1), np.complex64)], "1 samples for 2 coils"),
        ([np.zeros((2, 50), np.complex64)], "only zeros"),
    ],
)
def test_without_usable_noise_nothing_is_whitened_and_it_is_said(
    noise: list[ComplexArray], reason: str
) -> None:
    hybrid = np.ones((1, 2, 1, 2, 3), np.complex64)
    report, warnings = whiten(hybrid, scan_of(*noise), DWELL[:1], 1.0)
    assert not report.measured
    assert reason in report.reason
    assert reason in warnings[0]
    assert report.covariance.size == report.rank == report.n_samples == 0
    np.testing.assert_array_equal(hybrid, 1)


@pytest.mark.parametrize(("noise_dwell", "image"), [(0.0, DWELL), (4e-6, np.array([4e-6, 0.0]))])
def test_unknown_dwell_times_are_taken_as_equal_and_it_is_said(
    noise_dwell: float, image: RealArray
) -> None:
    noise = draw(colour(2), (1000,), 1)
    hybrid = np.broadcast_to(noise[:, :, None, None], (2, 2, 1000, 1, 1)).copy()
    _, warnings = whiten(hybrid, scan_of(noise, dwell_time=noise_dwell), image, 1.0)
    assert "Dwell times are unknown" in warnings[0]
    np.testing.assert_allclose(covariance_of(hybrid[1]), np.eye(2), atol=1e-4)


def test_noise_readouts_that_do_not_fit_are_left_out_and_counted() -> None:
    good = draw(colour(2), (1000,), 1)
    scan = scan_of(good)
    scan.add(np.full((2, 5), np.nan, np.complex64), 4e-6)
    scan.add(np.ones((3, 5), np.complex64), 4e-6)
    scan.add(np.ones((2, 5), np.complex64), 8e-6)
    scan.add(np.ones((2, 0), np.complex64), 4e-6)
    assert (scan.n_skipped, scan.n_samples, scan.n_coils) == (4, 1000, 2)
    _, warnings = whiten(np.ones((1, 2, 1, 1, 1), np.complex64), scan, DWELL[:1], 1.0)
    assert "4 noise readouts do not fit" in warnings[0]
