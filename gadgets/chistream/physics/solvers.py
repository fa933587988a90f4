"""Linear systems too large to write down, in any array library."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from chistream.arrays import RealArray
from chistream.physics.backend import dot, namespace, norm

Operator = Callable[[RealArray], RealArray]


@dataclass(frozen=True, slots=True)
class Solution:
    """What an iteration arrived at.

    Parameters
    ----------
    values
        The unknowns, in the shape of the right-hand side.
    n_iterations
        Iterations made.
    residual
        Norm of what is left of the right-hand side, relative to the right-hand side.
    converged
        Whether the residual came below the tolerance.
    """

    values: RealArray
    n_iterations: int
    residual: float
    converged: bool


def conjugate_gradients(
    operator: Operator,
    right: RealArray,
    *,
    tolerance: float,
    max_iterations: int,
    start: RealArray | None = None,
    preconditioner: Operator | None = None,
) -> Solution:
    """Solve a symmetric positive (semi-)definite system by preconditioned conjugate gradients.

    Parameters
    ----------
    operator
        The system: takes and gives an array in the shape of the right-hand side.
    right
        Right-hand side of any shape and array library; its precision is that of the solution.
    tolerance
        Stop when the norm of the residual is below this part of the norm of the right-hand side.
    max_iterations
        Stop here in any case.
    start
        First guess; zero by default.
    preconditioner
        A symmetric positive definite approximation of the inverse; the identity by default.

    Returns
    -------
    Solution
        The unknowns and how the iteration ended.

    References
    ----------
    .. [1] Hestenes MR, Stiefel E. Methods of conjugate gradients for solving linear systems. J Res
       Natl Bur Stand. 1952;49(6):409-436. doi:10.6028/jres.049.044

    Examples
    --------
    >>> import numpy as np
    >>> stiffness = np.array([[2.0, -1.0], [-1.0, 2.0]])
    >>> right = np.array([1.0, 4.0])
    >>> found = conjugate_gradients(stiffness.dot, right, tolerance=1e-9, max_iterations=9)
    >>> found.values.round(9), found.n_iterations
    (array([2., 3.]), 2)
    """
    xp = namespace(right)
    values = xp.zeros_like(right) if start is None else xp.asarray(start, copy=True)
    residual = xp.asarray(right, copy=True) if start is None else right - operator(start)
    size = norm(right)
    left = norm(residual)
    direction = xp.zeros_like(right)
    previous, n_iterations = 1.0, 0
    while left > tolerance * size and n_iterations < max_iterations:
        steepest = residual if preconditioner is None else preconditioner(residual)
        descent = dot(residual, steepest)
        direction *= descent / previous
        direction += steepest
        image = operator(direction)
        curvature = dot(direction, image)
        if not curvature > 0:  # the direction lies in the null space: nothing more to gain
            break
        step = descent / curvature
        values += step * direction
        residual -= step * image
        left, previous = norm(residual), descent
        n_iterations += 1
    return Solution(values, n_iterations, left / size if size else 0.0, left <= tolerance * size)


def least_squares(
    forward: Operator,
    adjoint: Operator,
    right: RealArray,
    *,
    tolerance: float,
    max_iterations: int,
) -> Solution:
    r"""Minimise :math:`\| A x - b \|_2` by LSQR; an early end favours what A shows best.

    Parameters
    ----------
    forward, adjoint
        A and its transpose.
    right
        b, of any shape and array library; its precision is that of the solution.
    tolerance
        Stop when the norm of :math:`A^T (b - A x)` is below this part of that of :math:`A^T b`.
    max_iterations
        Stop here in any case.

    Returns
    -------
    Solution
        The unknowns and how the iteration ended; its residual is that of the gradient.

    References
    ----------
    .. [1] Paige CC, Saunders MA. LSQR: an algorithm for sparse linear equations and sparse least
       squares. ACM Trans Math Softw. 1982;8(1):43-71. doi:10.1145/355984.355989

    Examples
    --------
    >>> import numpy as np
    >>> tall = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
    >>> found = least_squares(
    ...     tall.dot, tall.T.dot, np.array([1.0, 2.0, 3.0]), tolerance=1e-9, max_iterations=9
    ... )
    >>> found.values.round(9)
    array([1., 1.])
    """
    beta = norm(right)
    u = right / (beta or 1.0)
    v = adjoint(u)
    alpha = norm(v)
    v = v / (alpha or 1.0)
    values, w = namespace(v).zeros_like(v), v
    left, diagonal, size = beta, alpha, alpha * beta
    gradient, n_iterations = size, 0
    while gradient > tolerance * size and n_iterations < max_iterations:
        u = forward(v) - alpha * u
        beta = norm(u)
        u = u / (beta or 1.0)
        v = adjoint(u) - beta * v
        alpha = norm(v)
        v = v / (alpha or 1.0)
        rho = math.hypot(diagonal, beta)
        cosine, sine = diagonal / rho, beta / rho
        values = values + (cosine * left / rho) * w
        w = v - (sine * alpha / rho) * w
        left, diagonal = sine * left, -cosine * alpha
        gradient = left * alpha * abs(cosine)
        n_iterations += 1
    return Solution(values, n_iterations, gradient / (size or 1.0), gradient <= tolerance * size)
