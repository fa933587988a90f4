"""Conjugate gradients against direct solutions."""

import numpy as np

from chistream.arrays import RealArray
from chistream.physics.solvers import conjugate_gradients


def stiffness(n: int, seed: int) -> RealArray:
    factor = np.random.default_rng(seed).standard_normal((n, n))
    return factor @ factor.T + np.eye(n)


def test_the_solution_is_the_direct_one() -> None:
    matrix, right = stiffness(12, 1), np.arange(12.0)
    found = conjugate_gradients(matrix.dot, right, tolerance=1e-10, max_iterations=60)
    np.testing.assert_allclose(found.values, np.linalg.solve(matrix, right), atol=1e-7)
    assert found.converged
    assert found.residual <= 1e-10


def test_a_perfect_preconditioner_needs_one_step() -> None:
    matrix, right = stiffness(12, 2), np.ones(12)
    inverse = np.linalg.inv(matrix)
    found = conjugate_gradients(
        matrix.dot, right, tolerance=1e-8, max_iterations=60, preconditioner=inverse.dot
    )
    assert found.n_iterations == 1
    np.testing.assert_allclose(matrix @ found.values, right, atol=1e-7)


def test_a_start_at_the_solution_needs_no_step_and_is_not_touched() -> None:
    matrix = stiffness(6, 3)
    start = np.arange(6.0)
    found = conjugate_gradients(
        matrix.dot, matrix @ start, tolerance=1e-8, max_iterations=60, start=start
    )
    assert found.n_iterations == 0
    found.values[:] = 0.0
    np.testing.assert_array_equal(start, np.arange(6.0))


def test_out_of_iterations_is_said() -> None:
    matrix, right = stiffness(30, 4), np.ones(30)
    found = conjugate_gradients(matrix.dot, right, tolerance=1e-12, max_iterations=2)
    assert (found.n_iterations, found.converged) == (2, False)
    left = np.linalg.norm(right - matrix @ found.values) / np.linalg.norm(right)
    np.testing.assert_allclose(found.residual, left, rtol=1e-6)


def test_nothing_on_the_right_gives_nothing() -> None:
    found = conjugate_gradients(stiffness(4, 5).dot, np.zeros(4), tolerance=1e-6, max_iterations=9)
    assert (found.n_iterations, found.residual, found.converged) == (0, 0.0, True)


def test_a_right_side_beyond_reach_ends_the_search() -> None:
    found = conjugate_gradients(
        np.diag([1.0, 0.0]).dot, np.array([0.0, 1.0]), tolerance=1e-6, max_iterations=9
    )
    assert not found.converged
    np.testing.assert_array_equal(found.values, 0.0)


def test_single_precision_stays_single() -> None:
    matrix = stiffness(6, 6).astype(np.float32)
    right = np.ones(6, np.float32)
    found = conjugate_gradients(matrix.dot, right, tolerance=1e-4, max_iterations=60)
    assert found.values.dtype == np.float32
