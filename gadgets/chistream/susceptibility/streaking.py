"""Susceptibility by LSQR, less the streaks that it is estimated to have (iLSQR)."""

from chistream.arrays import Mask, RealArray, Vector
from chistream.physics.backend import converted, mean, quantile
from chistream.physics.dipole import ALONG_Z
from chistream.physics.gradients import adjoint_differences, forward_differences
from chistream.physics.solvers import Solution, least_squares
from chistream.susceptibility.cones import solve_well_shown
from chistream.susceptibility.inversion import FieldData, Inversion
from chistream.susceptibility.local_problem import Limits, LocalProblem, free_faces

SMOOTH, EDGY = 0.6, 0.999
"""Parts of the mask below which a slope counts in full, and above which it is an edge (Li 2015)."""

TRUNCATION = 0.125
"""Kernel magnitude below which the fast estimate divides no more."""


def invert_ilsqr(
    local_field: RealArray,
    mask: Mask,
    voxel_size: Vector,
    *,
    b0_direction: Vector = ALONG_Z,
    weights: RealArray | None = None,
    strength: float = 0.1,
    margin: Vector | None = None,
    tolerance: float = 1e-2,
    max_iterations: int = 50,
) -> Inversion:
    r"""Estimate susceptibility by LSQR, and take its streaks away.

    .. math:: \chi_0 \approx \arg\min \| W (D \chi - f) \|_2, \qquad \chi = \chi_0 - M \hat\chi_s,
              \qquad \hat\chi_s = \arg\min \sum_i \| G_i \nabla_i (\chi_0 - M \chi_s) \|_2^2,
              \quad M = F^{-1} [|D| < t] F

    Parameters
    ----------
    local_field
        Background-free field ``(z, y, x)`` relative to B0 [ppm], of any array library; only the
        mask is read.
    mask
        Voxels where the field is known, and reported ``(z, y, x)``.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm], unequal ones welcome.
    b0_direction
        Direction of B0 ``(z, y, x)``.
    weights
        W, the reciprocal of the field's standard deviation ``(z, y, x)``, >= 0, of any unit: the
        largest counts as 1. By default uniform.
    strength
        t, the kernel magnitude up to which a frequency may hold streaks, in (0, 2/3).
    margin
        Room around the volume on each side ``(z, y, x)`` [mm], >= 0. By default 20 mm, or half of
        the volume's extent where that is less.
    tolerance
        Stop when the map changes by less than this part of itself.
    max_iterations
        Most iterations.

    Returns
    -------
    Inversion
        Susceptibility ``(z, y, x)`` [ppm], float32, with zero mean over the mask.

    Raises
    ------
    ValueError
        If a volume differs in shape, the mask is empty, the field is not finite in it, weights
        are negative or all zero, ``b0_direction`` is zero, or an option is out of range.

    Notes
    -----
    The weights G of the slopes come from a fast estimate that has hardly any streaks: 1 for flat
    places and 0 for edges. The published fast estimate smooths the cone by an average over
    neighbouring frequencies; here it is the truncated division with its cone left out.
    In both least-squares problems the early end of the iteration regularises.

    References
    ----------
    .. [1] Li W, Wang N, Yu F, et al. A method for estimating and removing streaking artifacts in
       quantitative susceptibility mapping. NeuroImage. 2015;108:111-122.
       doi:10.1016/j.neuroimage.2014.12.043

    Examples
    --------
    >>> import numpy as np
    >>> from chistream.physics.dipole import field_of
    >>> chi = np.zeros((16, 18, 20))
    >>> chi[6:10, 7:11, 8:12] = 0.2
    >>> field = field_of(chi, (2.0, 2.0, 2.0))
    >>> found = invert_ilsqr(field, np.ones(chi.shape, dtype=bool), (2.0, 2.0, 2.0)).chi
    >>> bool(0.15 < found[chi > 0].mean() - found[chi == 0].mean() < 0.22)
    True
    """
    if not 0 < strength < 2 / 3:
        raise ValueError(f"strength must lie in (0, 2/3), got {strength}")
    limits = Limits(tolerance, max_iterations)
    data = FieldData(local_field, mask, voxel_size, b0_direction, None, weights)
    problem = LocalProblem(data, margin)
    first = solve_well_shown(problem, limits.tolerance, limits.max_iterations)
    streaks = _streaks(problem, first.values, strength, limits)
    return problem.solved(
        first.values - streaks.values,
        n_iterations=first.n_iterations + streaks.n_iterations,
        converged=first.converged and streaks.converged,
        strength=strength,
        method="ilsqr",
    )


def _streaks(problem: LocalProblem, chi: RealArray, strength: float, limits: Limits) -> Solution:
    """Find what, within the cone alone, explains the slopes of flat places."""
    voxel_size = problem.data.voxel_size
    flat = _flatness(problem)
    cone = converted(problem.xp.abs(problem.kernel) < strength, "float32")

    def within(volume: RealArray) -> RealArray:
        return problem.transform.convolve(volume, cone)

    found = least_squares(
        lambda streaks: flat * forward_differences(within(streaks), voxel_size),
        lambda slopes: within(adjoint_differences(flat * slopes, voxel_size)),
        flat * forward_differences(chi, voxel_size),
        tolerance=limits.tolerance,
        max_iterations=limits.max_iterations,
    )
    return Solution(within(found.values), found.n_iterations, found.residual, found.converged)


def _flatness(problem: LocalProblem) -> RealArray:
    """Say how flat a fast estimate is across each face ``(3, z, y, x)``: 1 flat, 0 an edge."""
    xp, kernel = problem.xp, problem.kernel
    shown = xp.abs(kernel) > TRUNCATION
    inverse = xp.where(shown, 1 / xp.where(shown, kernel, xp.ones_like(kernel)), 0 * kernel)
    fast = problem.transform.convolve(problem.field, inverse)
    fast = problem.inside * (fast - mean(fast[problem.inside > 0]))
    faces = free_faces(problem.inside)
    slopes = xp.abs(forward_differences(fast, problem.data.voxel_size)) * faces
    flatness = []
    for axis in range(3):
        along = slopes[axis, ...]
        used = along[problem.inside > 0]
        low, high = quantile(used, SMOOTH), quantile(used, EDGY)
        flatness.append(xp.clip((high - along) / max(high - low, 1e-30), 0.0, 1.0))
    weights: RealArray = xp.stack(flatness) * faces
    return weights
