"""K-space of the fine object: the exact sum, and what a plain transform makes of it."""

import numpy as np
import pytest

from chistream.arrays import ComplexArray
from chistream.physics.geometry import Geometry
from chistream_simulator.sampling import Encoding, FourierSum

ORIGIN = (5.0, -3.0, 2.0)
SIZES = [((4, 5, 6), (2, 2, 2)), ((5, 6, 7), (2, 3, 2)), ((3, 4, 9), (3, 2, 4))]


def oblique(shape: tuple[int, int, int], voxel_size: tuple[float, float, float]) -> Geometry:
    c, s = np.cos(0.4), np.sin(0.4)
    return Geometry(shape, voxel_size, (7.0, -4.0, 1.5), (c, 0, -s), (0, 1, 0), (s, 0, c))


@pytest.mark.parametrize(("size", "factors"), SIZES)
@pytest.mark.parametrize("dropped", [0, 2])
def test_every_sample_is_the_sum_over_all_points(
    size: tuple[int, int, int], factors: tuple[int, int, int], dropped: int
) -> None:
    fov = (40.0, 30.0, 36.0)
    step = tuple(f / n / k for f, n, k in zip(fov, size, factors, strict=True))
    geometry = oblique((4, 6, 5), (step[0], step[1], step[2]))
    rng = np.random.default_rng(3)
    signal = (rng.standard_normal((4, 6, 5)) + 1j * rng.standard_normal((4, 6, 5))).astype(
        np.complex64
    )
    encoding = Encoding(size, fov, dropped)
    points = FourierSum(encoding, geometry, ORIGIN)
    kspace = points.lines(points.readouts(points.band_limited(signal)))
    assert kspace.shape == (size[0], size[1], size[2] - dropped)
    assert encoding.centre_sample == size[2] // 2 - dropped

    offsets = geometry.voxel_positions() - np.reshape(ORIGIN, (3, 1, 1, 1))
    z, y, x = (
        np.tensordot(axis, offsets, axes=1) / f
        for axis, f in zip(
            (geometry.slice_dir, geometry.phase_dir, geometry.read_dir), fov, strict=True
        )
    )
    weight = 1 / np.prod(factors) / np.sqrt(np.prod(size))
    for kz, ky, kx in ((0, 0, 0), (size[0] - 1, 1, kspace.shape[-1] - 1), (1, size[1] - 1, 1)):
        k = (kz - size[0] // 2, ky - size[1] // 2, kx - encoding.centre_sample)
        wave = np.exp(-2j * np.pi * (k[0] * z + k[1] * y + k[2] * x))
        expected = (signal * wave).sum() * weight
        # Noise holds every frequency alike: the filter's 80 dB, twice.
        tolerance = 4e-4 * np.abs(kspace).max()
        np.testing.assert_allclose(kspace[kz, ky, kx], expected, atol=tolerance)


@pytest.mark.parametrize("n_encoded", [24, 31])
def test_coils_are_seen_through_the_fewer_points(n_encoded: int) -> None:
    # A smooth map and an object with edges, longer than the field of view along y: it folds over.
    encoding = Encoding((2, n_encoded, 2 * n_encoded), (10.0, 100.0, 300.0))
    geometry = Geometry(
        (2, 3 * n_encoded, 3 * n_encoded), (5.0, 50.0 / n_encoded, 75 / n_encoded), (2.0, 9.0, -7.0)
    )
    points = FourierSum(encoding, geometry, ORIGIN)

    def smooth(grid: Geometry) -> ComplexArray:
        x, y, _ = grid.voxel_positions()
        return np.asarray(np.exp(-(((x - 60) ** 2 + (y + 30) ** 2) / 90**2) + 0.01j * x))

    signal = np.zeros(geometry.shape, np.complex64)
    signal[:, 5:-4, 7:-9] = 1 + 2j
    signal[:, 20:30, 11:40] = -1
    weighted = points.band_limited(signal) * smooth(points.coil_geometry)
    kspace = points.lines(points.readouts(weighted.astype(np.complex64)))

    seen = signal * smooth(geometry)
    x, y, z = (p - c for p, c in zip(geometry.voxel_positions(), ORIGIN, strict=True))
    for kz, ky, kx in ((0, 0, 0), (1, n_encoded // 2, n_encoded), (0, n_encoded - 1, 3)):
        k = (kz - 1, ky - n_encoded // 2, kx - n_encoded)
        wave = np.exp(-2j * np.pi * (k[0] * z / 10 + k[1] * y / 100 + k[2] * x / 300))
        expected = (seen * wave).sum() / 4 / np.sqrt(np.prod(encoding.size))
        np.testing.assert_allclose(kspace[kz, ky, kx], expected, atol=2e-4 * np.abs(kspace).max())
