"""Virtual coils: white, smooth along x, enough of them, and the same however readouts arrive."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.acquisition.conftest import Scanner, complex_noise

from chistream.acquisition.assembly import Acquisition, AcquisitionOptions
from chistream.acquisition.compression import CompressionOptions, learn_coil_matrix
from chistream.acquisition.edges import estimate_covariance
from chistream.acquisition.gating_options import GatingOptions
from chistream.acquisition.plan import EncodingPlan
from chistream.acquisition.readouts import Readout

if TYPE_CHECKING:
    from chistream.arrays import ComplexArray

NOISE = 1 << 18
SHAPE = (12, 32, 32)
UNGATED = GatingOptions(scheme="none")


def coils_along_x(n_coils: int, nx: int) -> ComplexArray:
    """Sensitivities ``(coils, x)`` of which three span each x, other ones at other x."""
    x = np.linspace(-1, 1, nx)
    centres = np.linspace(-1, 1, n_coils)
    magnitude = np.exp(-((x - centres[:, None]) ** 2) / 0.1)
    coils: ComplexArray = magnitude * np.exp(2j * np.pi * np.outer(centres, x))
    return coils


def scanner_of_coils(n_coils: int = 8, noise: float = 0.02) -> Scanner:
    """A body seen by coils of their own x, some noise, and time stamps."""
    nx = SHAPE[2]
    z, y, x = (np.linspace(-1, 1, n) for n in SHAPE)
    body = 20 * np.exp(-4 * (z[:, None, None] ** 2 + y[:, None] ** 2)) * (np.abs(x) < 0.8)
    images = coils_along_x(n_coils, nx)[:, None, None, :] * body
    echoes = np.stack([images, images * np.exp(1j * body / 20)])
    kspace = np.fft.fftshift(
        np.fft.fftn(np.fft.ifftshift(echoes, (2, 3, 4)), axes=(2, 3, 4), norm="ortho"), (2, 3, 4)
    )
    kspace = (kspace + noise * complex_noise(kspace.shape, 4)).astype(np.complex64)
    return Scanner(kspace, EncodingPlan(SHAPE, SHAPE, 2))


def noise_readouts(n_coils: int = 8, level: float = 0.02) -> list[Readout]:
    return [
        Readout(
            level * complex_noise((n_coils, 400), seed),
            flags=NOISE,
            dwell_time=5e-6,
            time_stamp=35990.0 + seed,
        )
        for seed in range(5)
    ]


def acquire(readouts: list[Readout], **options: object) -> ComplexArray:
    compression = CompressionOptions(**options)  # type: ignore[arg-type]
    chosen = AcquisitionOptions(gating=UNGATED, compression=compression)
    acquisition = Acquisition(EncodingPlan(SHAPE, SHAPE, 2), chosen)
    for readout in readouts:
        acquisition.feed(readout)
    scan = acquisition.finish()
    assert scan.n_coils == 8
    return scan.hybrid


def test_gcc_needs_fewer_coils_than_svd_and_keeps_the_energy() -> None:
    readouts = [*noise_readouts(), *scanner_of_coils().lines()]
    whole = acquire(readouts, method="off")
    by_x, everywhere = acquire(readouts), acquire(readouts, method="svd")
    assert by_x.shape[1] < everywhere.shape[1] <= whole.shape[1] == 8
    for fewer in (by_x, everywhere):
        kept = (np.abs(fewer) ** 2).sum() / (np.abs(whole) ** 2).sum()
        assert 0.995 < kept <= 1 + 1e-6


def test_virtual_coils_are_white_and_turn_slowly_along_x() -> None:
    rng = np.random.default_rng(1)
    mixing = rng.standard_normal((8, 8)) + 1j * rng.standard_normal((8, 8)) + 4 * np.eye(8)
    whitening = np.linalg.inv(np.linalg.cholesky(mixing @ mixing.conj().T))
    lines = (complex_noise((40, 1, 32), 2) * coils_along_x(8, 32)).astype(np.complex64)
    matrix = learn_coil_matrix(lines, whitening, 0.0, CompressionOptions(energy=0.99))
    weights = matrix.weights.astype(np.complex128)
    white = weights @ (mixing @ mixing.conj().T) @ weights.conj().transpose(0, 2, 1)
    np.testing.assert_allclose(
        white, np.broadcast_to(np.eye(matrix.n_virtual), white.shape), atol=1e-5
    )
    frames = weights @ mixing
    overlap = np.einsum("xvc,xvc->x", frames[1:], frames[:-1].conj()).real / matrix.n_virtual
    assert overlap.min() > 0.7


@pytest.mark.parametrize("method", ["gcc", "svd", "off"])
def test_the_order_of_arrival_does_not_matter(method: str) -> None:
    noise, lines = noise_readouts(), scanner_of_coils().lines()
    early = acquire([*noise, *lines], method=method)
    rng = np.random.default_rng(5)
    mixed = [*noise, *lines]
    orders = {
        "late noise": [*lines, *noise],
        "backwards": [*lines[::-1], *noise],
        "shuffled": [mixed[i] for i in rng.permutation(len(mixed))],
    }
    for order in orders.values():
        found = acquire(order, method=method)
        np.testing.assert_allclose(found, early, atol=1e-6 * np.abs(early).max())


def test_noise_after_the_image_is_left_out_whenever_it_comes() -> None:
    noise, lines = noise_readouts(), scanner_of_coils().lines()
    after = replace(noise[0], samples=100 * noise[0].samples, time_stamp=36500.0)
    expected = acquire([*noise, *lines])
    for order in ([*noise, *lines, after], [after, *noise, *lines], [*lines, after, *noise]):
        np.testing.assert_allclose(acquire(order), expected, atol=1e-6 * np.abs(expected).max())


def test_without_a_noise_scan_the_edges_tell_the_noise() -> None:
    scanner = scanner_of_coils(noise=0.05)
    scan = scanner.acquire(scanner.lines(), AcquisitionOptions(gating=UNGATED))
    if not scan.noise.estimated:
        pytest.fail(f"not estimated: {scan.warnings}")
    assert not scan.noise.measured
    assert any("estimated from the edges" in warning for warning in scan.warnings)
    np.testing.assert_allclose(np.diagonal(scan.noise.covariance).real, 0.05**2, rtol=0.35)


@pytest.mark.parametrize(("n_coils", "n"), [(1, 900), (6, 4000), (16, 20_000)])
def test_the_covariance_of_noise_is_found_beside_signal(n_coils: int, n: int) -> None:
    rng = np.random.default_rng(n)
    mixing = rng.standard_normal((n_coils, n_coils)) + 2 * np.eye(n_coils)
    samples = mixing @ complex_noise((n_coils, n), 3)
    samples[:, : n // 10] *= 20
    found = estimate_covariance(samples.astype(np.complex64))
    assert found is not None
    whitening = np.linalg.inv(mixing)
    ratios = np.linalg.eigvalsh(whitening @ found @ whitening.conj().T)
    # Marchenko-Pastur: 1 +- 2 sqrt(coils / samples), and a little for what was cut off.
    assert np.abs(ratios - 1).max() < 2.5 * np.sqrt(n_coils / n) + 0.05


def test_signal_everywhere_is_no_noise() -> None:
    rng = np.random.default_rng(1)
    assert estimate_covariance(rng.standard_cauchy((4, 4000)) + 0j) is None
    assert estimate_covariance(complex_noise((2, 100), 1)) is None
    assert estimate_covariance(np.zeros((2, 1000), np.complex64)) is None


@pytest.mark.parametrize("options", [{"method": "pca"}, {"energy": 0.0}, {"energy": 1.5}])
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="coil compression is gcc, svd or off"):
        CompressionOptions(**options)  # type: ignore[arg-type]


def repeated(scanner: Scanner, phases: list[list[float]]) -> list[Readout]:
    readouts = []
    for repetition, turns in enumerate(phases):
        for line in scanner.lines():
            turn = np.exp(1j * turns[line.contrast])
            samples = (line.samples * turn).astype(np.complex64)
            time = line.time_stamp + 10.0 * repetition
            readouts.append(
                replace(line, samples=samples, repetition=3 + repetition, time_stamp=time)
            )
    return readouts


def test_repetitions_are_averaged_without_the_phase_between_them() -> None:
    scanner = scanner_of_coils()
    readouts = repeated(scanner, [[0.0, 0.0], [0.5, 1.1], [-0.4, 2.0]])
    options = AcquisitionOptions(gating=UNGATED, compression=CompressionOptions("off"))
    scan = scanner.acquire(readouts, options)
    once = scanner.acquire(readouts[: len(readouts) // 3], options)
    assert scan.repetition_phases.shape == (3, 2)
    np.testing.assert_allclose(scan.repetition_phases[1], [0.5, 1.1], atol=1e-4)
    assert "3 repetitions were averaged as complex data." in scan.warnings
    np.testing.assert_allclose(np.angle(np.vdot(once.hybrid, scan.hybrid)), 0, atol=1e-3)
    shuffled = [readouts[i] for i in np.random.default_rng(2).permutation(len(readouts))]
    again = scanner.acquire(shuffled, options)
    np.testing.assert_allclose(
        again.hybrid, scan.hybrid, atol=1e-5 * float(np.abs(scan.hybrid).max())
    )


def test_accelerated_scans_keep_more_energy() -> None:
    automatic, chosen = CompressionOptions(), CompressionOptions(energy=0.9)
    assert automatic.energy_kept(1) < automatic.energy_kept(2) == automatic.energy_kept(4) < 1
    assert chosen.energy_kept(4) == 0.9
    lines, whitening = complex_noise((40, 8, 5), 1), np.eye(8, dtype=complex)
    lines *= 10.0 ** -(np.arange(8)[:, None] / 2)
    kept = [learn_coil_matrix(lines, whitening, 0.0, automatic, r).n_virtual for r in (1, 4)]
    assert 1 < kept[0] < kept[1] < 8
