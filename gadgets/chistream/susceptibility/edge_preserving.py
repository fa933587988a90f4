"""The solver behind MEDI and total-field inversion: one objective, two priors."""

import math
from dataclasses import dataclass, replace

from chistream.arrays import RealArray, Size, Vector, size_of
from chistream.physics.backend import namespace
from chistream.physics.padding import Padding
from chistream.susceptibility.inversion import FieldData, Inversion, referenced
from chistream.susceptibility.objective import Grid, Objective, Prior

COARSEST_VOXEL = 8.0
"""Voxel edge up to which axes are halved for the first guess [mm]."""

COARSE_TOLERANCE = 5.0
"""How much earlier the sweeps on a coarse grid, which only make a first guess, may end."""

NARROWER_SWEEPS = 3
"""Sweeps that show which way narrower priors draw a map."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to go on.

    Parameters
    ----------
    margin
        Room around the volume on each side ``(z, y, x)`` [mm], where sources may lie.
    tolerance
        Stop when half of the mask's voxels change by less than this in a sweep [ppm].
    max_sweeps
        Most re-linearisations of the penalty.
    sweep_iterations
        Most iterations of conjugate gradients in each.
    method
        Name of the method that asks.
    phase_per_ppm
        Phase that a field of 1 ppm makes [rad/ppm]; given, the residual is compared as a phase.
    merit
        Whether voxels that no susceptibility explains lose their weight.
    outlier_limit
        Misfit at which a voxel's weight is a quarter [standard deviations], or None for no limit.
    narrower
        Whether to tell, too, what half the widths of the priors would give.
    """

    margin: Vector
    tolerance: float
    max_sweeps: int
    sweep_iterations: int
    method: str
    phase_per_ppm: float | None = None
    merit: bool = False
    outlier_limit: float | None = None
    narrower: bool = False


def invert_edge_preserving(data: FieldData, prior: Prior, effort: Effort) -> Inversion:
    r"""Find the most probable map for Gaussian noise, Gaussian sources and rare edges.

    .. math:: \min_{\chi, c} \tfrac12 \| W (f - c - D \chi) \|_2^2
              + \lambda \| M_G \nabla \chi \|_1 + \tfrac12 \| P^{-1} \chi \|_2^2

    Parameters
    ----------
    data
        The field and what is known about it.
    prior
        What is believed of susceptibility.
    effort
        How long to go on.

    Returns
    -------
    Inversion
        The map and how it was found.

    Notes
    -----
    The L1 norm by lagged diffusivity: each sweep solves the quadratic problem whose weights come
    from the map before it, in the unknown :math:`y = P^{-1} \chi`, by conjugate gradients.
    """
    padding = Padding.of_margin(size_of(data.field), data.voxel_size, effort.margin)
    grids = _pyramid(Grid.of(data, padding, prior.model_error))
    xp = namespace(data.field)
    chi = xp.zeros_like(grids[-1].field)
    n_iterations = 0
    for grid, finer in zip(reversed(grids[1:]), reversed(grids[:-1]), strict=True):
        objective = Objective(grid, data.b0_direction, prior)
        chi, n, _ = _settle(objective, chi, effort, COARSE_TOLERANCE * effort.tolerance)
        chi = _refined(chi, size_of(finer.field))
        n_iterations += n
    objective = Objective(grids[0], data.b0_direction, prior)
    chi, n, converged = _settle(objective, chi, effort, effort.tolerance)
    if prior.steepest < math.inf:
        n_iterations += n
        objective.level_off()
        chi, n, converged = _settle(objective, chi, effort, effort.tolerance)
    found = referenced(padding.crop(chi), data.mask)
    narrower = None
    if effort.narrower:
        other = _with_narrower_priors(grids[0], data.b0_direction, prior, chi, effort)
        narrower = referenced(padding.crop(other), data.mask)
    return Inversion(
        found,
        n_iterations + n,
        converged,
        objective.misfit(chi),
        prior.strength,
        effort.method,
        narrower,
    )


def _with_narrower_priors(
    grid: Grid, b0_direction: Vector, prior: Prior, chi: RealArray, effort: Effort
) -> RealArray:
    """Go on from a map with half the widths of the priors, for a few sweeps."""
    halved = replace(
        prior, width_inside=prior.width_inside / 2, width_outside=prior.width_outside / 2
    )
    objective = Objective(grid, b0_direction, halved)
    objective.level_off()
    short = replace(effort, max_sweeps=NARROWER_SWEEPS)
    return _settle(objective, chi, short, effort.tolerance)[0]


def _settle(
    objective: Objective, chi: RealArray, effort: Effort, tolerance: float
) -> tuple[RealArray, int, bool]:
    """Sweep until the map stands still."""
    n_iterations = 0
    for sweep in range(effort.max_sweeps):
        settled = sweep > 0 or bool(namespace(chi).any(chi != 0))
        if effort.merit and settled:
            objective.distrust_outliers(chi)
        if effort.outlier_limit is not None and settled:
            objective.bound_outliers(chi, effort.outlier_limit)
        solution = objective.sweep(
            chi,
            # The first sweep has no map to compare phases with and stays linear.
            phase_per_ppm=effort.phase_per_ppm if settled else None,
            max_iterations=effort.sweep_iterations,
        )
        change = objective.change(chi, solution.values)
        chi = solution.values
        n_iterations += solution.n_iterations
        if change < tolerance:
            return chi, n_iterations, True
    return chi, n_iterations, False


def _pyramid(grid: Grid) -> list[Grid]:
    """Give a grid and its coarser forms, as long as voxels stay small and the mask survives."""
    grids = [grid]
    while namespace(grid.inside).any(grid.inside):
        factors = _halvings(grid)
        if factors == (1, 1, 1):
            return grids
        grid = grid.coarser(factors)
        grids.append(grid)
    return grids[:-1]


def _halvings(grid: Grid) -> Size:
    """Halve the axes along which voxels are small, as long as the grid allows."""
    z, y, x = (
        2 if n % 2 == 0 and 2 * edge <= COARSEST_VOXEL else 1
        for n, edge in zip(grid.field.shape, grid.voxel_size, strict=True)
    )
    return z, y, x


def _refined(chi: RealArray, shape: Size) -> RealArray:
    """Repeat voxels until a map has a finer shape."""
    for axis, n in enumerate(shape):
        chi = namespace(chi).repeat(chi, n // chi.shape[axis], axis=axis)
    return chi
