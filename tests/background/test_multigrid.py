"""Multigrid against direct solutions, and its kernels against their Python form."""

import numpy as np
import pytest
from scipy import ndimage

from chistream.arrays import Mask, RealArray, Size, Vector
from chistream.background import multigrid
from chistream.background.multigrid import Poisson
from chistream.physics.compiled import python_form

KERNELS = ["relax", "residual_of", "neighbours", "coarsen", "gather", "spread"]


@pytest.mark.parametrize("voxel_size", [(1.0, 1.0, 1.0), (3.0, 1.0, 2.0)])
@pytest.mark.parametrize("shape", [(6, 7, 8), (7, 9, 6)])
def test_the_solution_is_the_direct_one(shape: Size, voxel_size: Vector) -> None:
    interior = ndimage.binary_erosion(np.random.default_rng(1).uniform(size=shape) < 0.97)
    poisson = Poisson(interior, voxel_size)
    unknowns = np.flatnonzero(interior)
    matrix = np.zeros((unknowns.size, unknowns.size))
    for column, index in enumerate(unknowns):
        point = np.zeros(shape)
        point.flat[index] = 1.0
        matrix[:, column] = poisson.apply(point).flat[unknowns]
    np.testing.assert_allclose(matrix, matrix.T)
    right = np.where(interior, np.random.default_rng(2).standard_normal(shape), 0.0)
    found = poisson.solve(right, tolerance=1e-10, max_iterations=80)
    assert found.converged
    direct = np.linalg.solve(matrix, right.flat[unknowns])
    np.testing.assert_allclose(found.values.flat[unknowns], direct, atol=1e-8)


@pytest.mark.parametrize("n", [17, 33, 48])
def test_the_number_of_iterations_does_not_grow_with_the_grid(n: int) -> None:
    interior = ndimage.binary_erosion(np.ones((n, n + 1, n + 3), dtype=bool))
    right = np.where(interior, np.random.default_rng(3).standard_normal(interior.shape), 0.0)
    found = Poisson(interior, (1.0, 1.0, 1.0)).solve(right, tolerance=1e-6, max_iterations=50)
    assert found.n_iterations <= 22


def test_long_voxels_do_not_slow_it_down() -> None:
    interior = ndimage.binary_erosion(np.ones((16, 40, 41), dtype=bool))
    right = np.where(interior, np.random.default_rng(4).standard_normal(interior.shape), 0.0)
    found = Poisson(interior, (5.0, 1.2, 1.2)).solve(right, tolerance=1e-6, max_iterations=50)
    assert found.n_iterations <= 22


def test_the_kernels_in_python_solve_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multigrid, "COARSEST", 4)
    interior = ndimage.binary_erosion(np.ones((6, 7, 8), dtype=bool))
    right = np.where(interior, np.random.default_rng(5).standard_normal(interior.shape), 0.0)
    compiled = solved(interior, right)
    for name in KERNELS:
        monkeypatch.setattr(multigrid, name, python_form(getattr(multigrid, name)))
    np.testing.assert_allclose(solved(interior, right), compiled, atol=1e-12)


def solved(interior: Mask, right: RealArray) -> RealArray:
    poisson = Poisson(interior, (2.0, 1.0, 1.0))
    return poisson.solve(right, tolerance=1e-8, max_iterations=3).values
