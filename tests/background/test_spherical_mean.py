"""The spherical mean on voxels of any shape."""

import numpy as np
import pytest
from tests.background.bodies import Organ

from chistream.arrays import Vector
from chistream.background.spherical_mean import SphericalMean, sphere_weights

VOXELS: list[Vector] = [(1.0, 1.0, 1.0), (5.0, 1.9, 1.4), (2.0, 3.0, 1.1)]


@pytest.mark.parametrize("voxel_size", VOXELS)
@pytest.mark.parametrize("radius", [5.0, 8.3])
def test_harmonic_polynomials_equal_their_mean(voxel_size: Vector, radius: float) -> None:
    weights = sphere_weights(voxel_size, radius)
    z, y, x = np.meshgrid(
        *((np.arange(n) - n // 2) * d for n, d in zip(weights.shape, voxel_size, strict=True)),
        indexing="ij",
    )
    r2 = z**2 + y**2 + x**2
    harmonics = [
        3 + z - y,
        x * y + y * z,
        2 * z**2 - y**2 - x**2,
        z * (2 * z**2 - 3 * (x**2 + y**2)),
        35 * z**4 - 30 * z**2 * r2 + 3 * r2**2,
        x * z * (7 * z**2 - 3 * r2),
        x**5 - 10 * x**3 * y**2 + 5 * x * y**4,
    ]
    middle = tuple(n // 2 for n in weights.shape)
    for harmonic in harmonics:
        mean = float(np.sum(weights * harmonic))
        np.testing.assert_allclose(mean, harmonic[middle], atol=1e-9 * np.abs(harmonic).max())


def test_the_sphere_is_round_in_millimetres() -> None:
    weights = sphere_weights((5.0, 1.9, 1.4), 12.0)
    assert weights.shape == (5, 13, 19)
    np.testing.assert_allclose(weights, weights[::-1, ::-1, ::-1], atol=1e-15)
    # The volume behind the weights is that of the sphere.
    volume = 5.0 * 1.9 * 1.4 / weights[2, 6, 9]
    np.testing.assert_allclose(volume, 4 / 3 * np.pi * 12.0**3, rtol=0.08)


def test_a_sphere_within_its_voxel_is_refused() -> None:
    with pytest.raises(ValueError, match="radius 4 mm must reach at least the next voxel, 5 mm"):
        sphere_weights((5.0, 1.0, 1.0), 4.0)


@pytest.mark.parametrize("voxel_size", VOXELS)
def test_the_means_of_a_grid_are_sums_of_weights(voxel_size: Vector) -> None:
    shape = (11, 14, 17)
    field = np.random.default_rng(1).standard_normal(shape)
    mask = Organ(shape, voxel_size).mask
    sphere = SphericalMean(mask, voxel_size, 5.0)
    weights = sphere_weights(voxel_size, 5.0)
    halves = [n // 2 for n in weights.shape]
    padded = np.pad(field, [(h, h) for h in halves])
    held = np.pad(mask, [(h, h) for h in halves])
    z, y, x = 3, 12, 1  # next to two faces: nothing of the other side may come in
    block = tuple(slice(i, i + n) for i, n in zip((z, y, x), weights.shape, strict=True))
    found = sphere.padding.crop(sphere(sphere.padding.pad(field)))
    np.testing.assert_allclose(found[z, y, x], np.sum(weights * padded[block]), atol=1e-5)
    inside = sphere.padding.crop(sphere.inside.astype(np.float32)) > 0
    for place in np.argwhere(mask)[::37]:
        block = tuple(slice(i, i + n) for i, n in zip(place, weights.shape, strict=True))
        assert inside[tuple(place)] == held[block][weights != 0].all()
