"""K-space of the fine object: the exact sum, and what a plain transform makes of it."""

import numpy as np
import pytest

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
    signal = (rng.standard_normal((2, 4, 6, 5)) + 1j * rng.standard_normal((2, 4, 6, 5))).astype(
        np.complex64
    )
    encoding = Encoding(size, fov, dropped)
    kspace = FourierSum(encoding, geometry, ORIGIN)(signal)
    assert kspace.shape == (2, size[0], size[1], size[2] - dropped)
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
        expected = (signal * wave).sum(axis=(1, 2, 3)) * weight
        np.testing.assert_allclose(kspace[:, kz, ky, kx], expected, rtol=2e-4, atol=1e-5)


def test_points_that_do_not_divide_the_field_of_view_are_refused() -> None:
    with pytest.raises(ValueError, match="do not divide the field of view"):
        FourierSum(Encoding((4, 4, 4), (40.0, 40.0, 40.0)), oblique((4, 4, 4), (3.0, 5, 5)), ORIGIN)
