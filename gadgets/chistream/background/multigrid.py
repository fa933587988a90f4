"""Poisson's equation on any set of voxels, by multigrid-preconditioned conjugate gradients."""

from dataclasses import dataclass

import numpy as np

from chistream.arrays import Mask, RealArray, Size, Vector, size_of
from chistream.physics.compiled import compiled
from chistream.physics.solvers import Solution, conjugate_gradients

COARSEST = 300
"""Active voxels at which coarsening ends and relaxation alone solves the system."""


class Poisson:
    r"""The operator :math:`-\nabla^2` on a set of voxels, with fixed values around it.

    The seven-point stencil, with the squared voxel edges as its weights.

    Parameters
    ----------
    interior
        Voxels whose values are unknown ``(z, y, x)``; none on the faces of the volume.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm].

    Examples
    --------
    >>> interior = np.zeros((3, 3, 3), dtype=bool)
    >>> interior[1, 1, 1] = True
    >>> poisson = Poisson(interior, (1.0, 1.0, 1.0))
    >>> right = np.where(interior, 12.0, 0.0)
    >>> round(float(poisson.solve(right, tolerance=1e-9, max_iterations=9).values[1, 1, 1]), 6)
    2.0
    """

    def __init__(self, interior: Mask, voxel_size: Vector) -> None:
        self._interior = interior
        self._voxel_size = voxel_size
        self._levels = _levels(_finest(interior, voxel_size), voxel_size)

    def apply(self, values: RealArray) -> RealArray:
        r"""Apply :math:`-\nabla^2` with zeros around the interior."""
        finest = self._levels[0]
        out = np.zeros_like(values)
        residual_of(np.zeros_like(values), values, finest.diagonal, finest.coupling, out)
        return -out

    def pull_of(self, edge: RealArray) -> RealArray:
        """Give what fixed values around the interior add to the right-hand side.

        Parameters
        ----------
        edge
            Fixed values ``(z, y, x)``, zero in the interior.

        Returns
        -------
        RealArray
            Right-hand side ``(z, y, x)``, zero outside the interior.
        """
        pull = np.zeros_like(edge)
        for axis, step in enumerate(self._voxel_size):
            pull += (np.roll(edge, 1, axis) + np.roll(edge, -1, axis)) / step**2
        return np.where(self._interior, pull, 0.0)

    def solve(self, right: RealArray, *, tolerance: float, max_iterations: int) -> Solution:
        """Solve for the unknown values.

        Parameters
        ----------
        right
            Right-hand side ``(z, y, x)``, zero outside the interior.
        tolerance
            Stop when the norm of the residual is below this part of that of the right-hand side.
        max_iterations
            Stop here in any case.

        Returns
        -------
        Solution
            The values, zero outside the interior.
        """
        return conjugate_gradients(
            self.apply,
            right,
            tolerance=tolerance,
            max_iterations=max_iterations,
            preconditioner=lambda residual: _cycle(self._levels, 0, residual),
        )


@dataclass(frozen=True, slots=True)
class _Level:
    """One grid: diagonal ``(z, y, x)``, coupling to the next voxel ``(3, z, y, x)``."""

    diagonal: RealArray
    coupling: RealArray
    factors: Size  # voxels of this grid in one of the next, (z, y, x)


def _finest(interior: Mask, voxel_size: Vector) -> _Level:
    coupling = np.zeros((3, *interior.shape))
    for axis, step in enumerate(voxel_size):
        coupling[axis] = (interior & np.roll(interior, -1, axis)) / step**2
    diagonal = interior * (2.0 * sum(step**-2 for step in voxel_size))
    return _Level(diagonal, coupling, _factors(size_of(interior), voxel_size))


def _levels(finest: _Level, voxel_size: Vector) -> list[_Level]:
    levels = [finest]
    edges = np.asarray(voxel_size, dtype=float)
    while levels[-1].factors != (1, 1, 1) and np.count_nonzero(levels[-1].diagonal) > COARSEST:
        fine = levels[-1]
        edges = edges * fine.factors
        shape = [-(-n // f) for n, f in zip(fine.diagonal.shape, fine.factors, strict=True)]
        diagonal, coupling = np.zeros(shape), np.zeros((3, *shape))
        coarsen(fine.diagonal, fine.coupling, np.asarray(fine.factors), diagonal, coupling)
        factors = _factors(size_of(diagonal), (edges[0], edges[1], edges[2]))
        levels.append(_Level(diagonal, coupling, factors))
    return levels


def _factors(shape: Size, edges: Vector) -> Size:
    """Halve the axes along which voxels are short: relaxation is slow only along those."""
    shortest = min((edge for n, edge in zip(shape, edges, strict=True) if n > 1), default=0.0)
    z, y, x = (
        2 if n > 1 and edge < 1.6 * shortest else 1 for n, edge in zip(shape, edges, strict=True)
    )
    return z, y, x


def _cycle(levels: list[_Level], depth: int, right: RealArray) -> RealArray:
    """Make one symmetric V-cycle from zero; the same linear map every time."""
    level = levels[depth]
    values = np.zeros_like(right)
    last = depth == len(levels) - 1
    for _ in range(20 if last else 1):
        relax(values, right, level.diagonal, level.coupling, 0)
        relax(values, right, level.diagonal, level.coupling, 1)
    if not last:
        left = np.zeros_like(right)
        residual_of(right, values, level.diagonal, level.coupling, left)
        factors = np.asarray(level.factors)
        coarse = np.zeros_like(levels[depth + 1].diagonal)
        gather(left, factors, coarse)
        spread(_cycle(levels, depth + 1, coarse), factors, values)
    for _ in range(20 if last else 1):
        relax(values, right, level.diagonal, level.coupling, 1)
        relax(values, right, level.diagonal, level.coupling, 0)
    return values


@compiled
def relax(
    values: RealArray, right: RealArray, diagonal: RealArray, coupling: RealArray, colour: int
) -> None:
    """Solve every equation of one colour of the checkerboard for its own voxel (Gauss-Seidel).

    Parameters
    ----------
    values
        Present guess ``(z, y, x)``, improved in place.
    right
        Right-hand side ``(z, y, x)``.
    diagonal
        Diagonal of the operator ``(z, y, x)``; 0 where there is no unknown.
    coupling
        Coupling of each voxel with its next neighbour along z, y and x ``(3, z, y, x)``.
    colour
        0 or 1, the parity of z + y + x.
    """
    nz, ny, nx = values.shape
    for k in range(nz):
        for j in range(ny):
            for i in range((k + j + colour) % 2, nx, 2):
                if diagonal[k, j, i] > 0:
                    values[k, j, i] = (
                        right[k, j, i] + neighbours(values, coupling, k, j, i)
                    ) / diagonal[k, j, i]


@compiled
def residual_of(
    right: RealArray, values: RealArray, diagonal: RealArray, coupling: RealArray, out: RealArray
) -> None:
    """Write what the values leave of the right-hand side.

    Parameters
    ----------
    right, values, diagonal, coupling
        As for `relax`.
    out
        Residual ``(z, y, x)``, written where there are unknowns.
    """
    nz, ny, nx = values.shape
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                if diagonal[k, j, i] > 0:
                    out[k, j, i] = (
                        right[k, j, i]
                        + neighbours(values, coupling, k, j, i)
                        - diagonal[k, j, i] * values[k, j, i]
                    )


@compiled
def neighbours(values: RealArray, coupling: RealArray, k: int, j: int, i: int) -> float:
    """Add up the six neighbours of a voxel, each with its coupling.

    Parameters
    ----------
    values, coupling
        As for `relax`; a coupling across a face of the volume is zero.
    k, j, i
        The voxel.

    Returns
    -------
    float
        The weighted sum.
    """
    nz, ny, nx = values.shape
    total: float = coupling[0, k - 1, j, i] * values[k - 1, j, i]
    total += coupling[0, k, j, i] * values[(k + 1) % nz, j, i]
    total += coupling[1, k, j - 1, i] * values[k, j - 1, i]
    total += coupling[1, k, j, i] * values[k, (j + 1) % ny, i]
    total += coupling[2, k, j, i - 1] * values[k, j, i - 1]
    total += coupling[2, k, j, i] * values[k, j, (i + 1) % nx]
    return total


@compiled
def coarsen(
    diagonal: RealArray,
    coupling: RealArray,
    factors: RealArray,
    coarse_diagonal: RealArray,
    coarse_coupling: RealArray,
) -> None:
    """Add blocks of voxels up to one unknown each.

    Parameters
    ----------
    diagonal, coupling
        The fine operator, as for `relax`.
    factors
        Voxels in a block along each axis ``(3,)``.
    coarse_diagonal, coarse_coupling
        The coarse operator, zeros on entry.
    """
    nz, ny, nx = diagonal.shape
    fz, fy, fx = factors
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                z, y, x = k // fz, j // fy, i // fx
                coarse_diagonal[z, y, x] += diagonal[k, j, i]
                for axis in range(3):
                    c = coupling[axis, k, j, i]
                    within = (
                        (k + (axis == 0)) // fz == z
                        and (j + (axis == 1)) // fy == y
                        and (i + (axis == 2)) // fx == x
                    )
                    if within:
                        coarse_diagonal[z, y, x] -= 2.0 * c
                    else:
                        coarse_coupling[axis, z, y, x] += c


@compiled
def gather(fine: RealArray, factors: RealArray, coarse: RealArray) -> None:
    """Add the voxels of each block up.

    Parameters
    ----------
    fine
        Residual on the fine grid ``(z, y, x)``.
    factors
        Voxels in a block along each axis ``(3,)``.
    coarse
        Sums ``(z, y, x)``, zeros on entry.
    """
    nz, ny, nx = fine.shape
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                coarse[k // factors[0], j // factors[1], i // factors[2]] += fine[k, j, i]


@compiled
def spread(coarse: RealArray, factors: RealArray, fine: RealArray) -> None:
    """Add the correction of each block to its voxels.

    Parameters
    ----------
    coarse
        Correction ``(z, y, x)``.
    factors
        Voxels in a block along each axis ``(3,)``.
    fine
        Values on the fine grid ``(z, y, x)``, corrected in place; where there is no unknown they
        take a value that nothing reads.
    """
    nz, ny, nx = fine.shape
    # A correction that is constant in each block is about half of what it should be: its jumps
    # between blocks cost twice the energy of a smooth one. 1.8 is safe for conjugate gradients.
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                fine[k, j, i] += 1.8 * coarse[k // factors[0], j // factors[1], i // factors[2]]
