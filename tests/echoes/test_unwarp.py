"""Unwarping against phantoms that are known at every point, phase and all."""

import numpy as np
import pytest

from chistream.arrays import ComplexArray, RealArray
from chistream.echoes.unwarp import unwarp_echoes
from chistream.physics.geometry import Geometry
from chistream.physics.nonlinearity import GradientNonlinearity, Harmonic

COILS = GradientNonlinearity(
    250.0,
    (
        Harmonic(0, 3, 1, is_sine=False, value=-0.35),
        Harmonic(1, 3, 1, is_sine=True, value=-0.3),
        Harmonic(2, 3, 0, is_sine=False, value=-0.25),
        Harmonic(2, 5, 0, is_sine=False, value=0.1),
    ),
)
OBLIQUE = Geometry(
    (19, 36, 41),
    (6.0, 5.0, 4.5),
    (20.0, -15.0, 40.0),
    (0.6, 0.0, 0.8),
    (0.0, 1.0, 0.0),
    (-0.8, 0.0, 0.6),
)


def density(points: RealArray, geometry: Geometry) -> ComplexArray:
    """A blurred block with a phase that turns by more than a radian per voxel."""
    away = points - np.reshape(geometry.position, (3, 1, 1, 1))
    z, y, x = np.einsum("ai,izyx->azyx", np.array(geometry.axes), away)
    block: RealArray = np.exp(-((x / 45) ** 4) - (y / 45) ** 4 - (z / 30) ** 4)
    value: ComplexArray = block * np.exp(1j * (0.25 * x + 0.1 * y * z / 30))
    return value


def distorted(geometry: Geometry) -> tuple[ComplexArray, RealArray]:
    """What linear gradients would show: at r + d(r) what is at r; and how far it came [mm]."""
    shown = geometry.voxel_positions()
    true = shown.copy()
    for _ in range(60):
        true = shown - COILS.displacement(true)
    # Signal is kept: the density counts by how much of the object one voxel shows.
    eps = 0.01
    columns = []
    for axis in range(3):
        step = np.zeros((3, 1, 1, 1))
        step[axis] = eps
        ahead, behind = (COILS.displacement(true + s) for s in (step, -step))
        columns.append((ahead - behind) / (2 * eps))
    jacobian = np.moveaxis(np.stack(columns, axis=1), (0, 1), (-2, -1)) + np.eye(3)
    image = density(true, geometry) / np.linalg.det(jacobian)
    return image.astype(np.complex64)[None], np.linalg.norm(shown - true, axis=0)


@pytest.mark.parametrize("voxels", [(19, 36, 41), (20, 35, 40)])
def test_an_oblique_slab_off_centre_is_put_back(voxels: tuple[int, int, int]) -> None:
    geometry = Geometry(voxels, OBLIQUE.voxel_size, OBLIQUE.position, *reversed(OBLIQUE.axes))
    image, distance = distorted(geometry)
    true = density(geometry.voxel_positions(), geometry)
    inside = np.abs(true) > 0.3
    assert distance[inside].max() > 4.0
    before = np.abs(image[0] - true)[inside]
    after = np.abs(unwarp_echoes(image, geometry, COILS)[0] - true)[inside]
    assert before.max() > 0.5
    assert after.max() < 0.02
    assert np.sqrt(np.mean(after**2)) < 0.005


def test_what_would_come_from_outside_is_zero() -> None:
    coils = GradientNonlinearity(250.0, (Harmonic(0, 0, 0, is_sine=False, value=0.4),))
    geometry = Geometry((1, 8, 10), (5.0, 5.0, 10.0))
    found = unwarp_echoes(np.ones((1, 1, 8, 10), np.complex64), geometry, coils)
    assert not found.any()


def test_shapes_must_fit() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        unwarp_echoes(np.ones((1, 2, 3, 4), np.complex64), OBLIQUE, COILS)
