"""Methods that treat the spectrum by how well the dipole shows it: RTS and HEIDI."""

from dataclasses import dataclass

from chistream.arrays import Mask, RealArray, Vector
from chistream.physics.backend import converted
from chistream.physics.dipole import ALONG_Z
from chistream.physics.gradients import adjoint_differences, forward_differences
from chistream.physics.solvers import Solution, least_squares
from chistream.susceptibility.edges import magnitude_edges, steepest
from chistream.susceptibility.inversion import FieldData, Inversion
from chistream.susceptibility.local_problem import Limits, LocalProblem, free_faces
from chistream.susceptibility.total_variation import shrunk

TRUST = 1e5
"""Mu of RTS: what a departure from a well-conditioned frequency costs [1/ppm]."""

COUPLING = 10.0
"""Rho of RTS: how strongly slopes are held to their thresholded values [1/ppm]."""

FINE_COUPLING = 100.0
"""The same for HEIDI: slopes of 0.01 ppm between neighbours are flattened at once."""

TRANSITION = 2.0
"""Where the well-conditioned part of HEIDI begins, over where the ill-conditioned one ends."""


def invert_rts(
    local_field: RealArray,
    mask: Mask,
    voxel_size: Vector,
    *,
    b0_direction: Vector = ALONG_Z,
    weights: RealArray | None = None,
    strength: float = 0.15,
    lsqr_iterations: int = 4,
    margin: Vector | None = None,
    tolerance: float = 1e-2,
    max_iterations: int = 20,
) -> Inversion:
    r"""Estimate susceptibility in two steps: what the dipole shows, then the rest by variation.

    .. math:: \chi_1 \approx \arg\min \| W (D \chi - f) \|_2, \qquad
              \min_\chi \| \nabla \chi \|_1
              + \tfrac\mu2 \left\| [|D| > \delta] (F \chi - F \chi_1) \right\|_2^2

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
        Delta, the kernel magnitude up to which a frequency is ill-conditioned and left to the
        total variation, in (0, 2/3).
    lsqr_iterations
        Iterations of the first step, which its early end regularises.
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
    The published first step is LSMR; LSQR, which minimises the residual where LSMR minimises its
    gradient, spans the same Krylov spaces.

    References
    ----------
    .. [1] Kames C, Wiggermann V, Rauscher A. Rapid two-step dipole inversion for susceptibility
       mapping with sparsity priors. NeuroImage. 2018;167:276-283.
       doi:10.1016/j.neuroimage.2017.11.018

    Examples
    --------
    >>> import numpy as np
    >>> from chistream.physics.dipole import field_of
    >>> chi = np.zeros((16, 18, 20))
    >>> chi[6:10, 7:11, 8:12] = 0.2
    >>> field = field_of(chi, (2.0, 2.0, 2.0))
    >>> found = invert_rts(field, np.ones(chi.shape, dtype=bool), (2.0, 2.0, 2.0)).chi
    >>> bool(0.14 < found[chi > 0].mean() - found[chi == 0].mean() < 0.24)
    True
    """
    _check_cone(strength)
    data = FieldData(local_field, mask, voxel_size, b0_direction, None, weights)
    problem = LocalProblem(data, margin)
    first = solve_well_shown(problem, 0.0, lsqr_iterations)
    shown = converted(problem.xp.abs(problem.kernel) > strength, "float32")
    faces = free_faces(problem.inside)
    filling = _Filling(problem, shown, faces, Limits(tolerance, max_iterations))
    found = filling.fill(first.values)
    return problem.solved(
        found.values,
        n_iterations=first.n_iterations + found.n_iterations,
        converged=found.converged,
        strength=strength,
        method="rts",
    )


def invert_heidi(
    local_field: RealArray,
    mask: Mask,
    voxel_size: Vector,
    *,
    b0_direction: Vector = ALONG_Z,
    magnitude: RealArray | None = None,
    weights: RealArray | None = None,
    strength: float = 0.2,
    edge_fraction: float = 0.3,
    lsqr_iterations: int = 10,
    margin: Vector | None = None,
    tolerance: float = 1e-3,
    max_iterations: int = 60,
) -> Inversion:
    r"""Estimate susceptibility in three parts of its spectrum, with edges known beforehand.

    .. math:: \min_\chi \| M \nabla \chi \|_1
              + \tfrac\mu2 \| T(|D|) (F \chi - F \chi_1) \|_2^2

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
    magnitude
        Image whose edges are the edges of chi ``(z, y, x)`` [a.u.]; by default none is known.
    weights
        W, the reciprocal of the field's standard deviation ``(z, y, x)``, >= 0, of any unit: the
        largest counts as 1. By default uniform.
    strength
        Kernel magnitude up to which a frequency is ill-conditioned, in (0, 2/3); from twice that
        on it is well-conditioned (T = 1), and between the two T rises from 0 to 1.
    edge_fraction
        Part of the mask taken as edges in each of the images, in [0, 1).
    lsqr_iterations
        Iterations of the first step, the solution of the dipole equation by LSQR.
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
    The steps of the paper: the well-conditioned part by LSQR; edges from the gradients of the
    magnitude and of the Laplacian of the field, where no slope costs anything; total variation
    over all other faces, for the ill-conditioned cone and, as far as T lets it, the transitional
    one; and incrementally a second time, with the edges that the first result has by itself. No
    public code exists to compare with, and the paper's constants are tuned to a brain at 7 T: the
    defaults here are chosen on simulated heads and chests.

    References
    ----------
    .. [1] Schweser F, Sommer K, Deistung A, Reichenbach JR. Quantitative susceptibility mapping
       for investigating subtle susceptibility variations in the human brain. NeuroImage.
       2012;62(3):2083-2100. doi:10.1016/j.neuroimage.2012.05.067

    Examples
    --------
    >>> import numpy as np
    >>> from chistream.physics.dipole import field_of
    >>> chi = np.zeros((16, 18, 20))
    >>> chi[6:10, 7:11, 8:12] = 0.2
    >>> field = field_of(chi, (2.0, 2.0, 2.0))
    >>> found = invert_heidi(field, np.ones(chi.shape, dtype=bool), (2.0, 2.0, 2.0)).chi
    >>> bool(0.17 < found[chi > 0].mean() - found[chi == 0].mean() < 0.22)
    True
    """
    _check_cone(strength)
    data = FieldData(local_field, mask, voxel_size, b0_direction, magnitude, weights)
    problem = LocalProblem(data, margin)
    limits = Limits(tolerance, max_iterations)
    known = _known_edges(problem, edge_fraction)
    first = solve_well_shown(problem, 0.0, lsqr_iterations)
    xp = problem.xp
    width = (TRANSITION - 1) * strength
    shown = xp.clip((xp.abs(problem.kernel) - strength) / width, 0.0, 1.0)

    def filled(edges: Mask) -> Solution:
        faces = free_faces(problem.inside, edges)
        return _Filling(problem, shown, faces, limits, FINE_COUPLING).fill(first.values)

    draft = filled(known)
    seen = steepest(draft.values * problem.inside, problem.inside, voxel_size, edge_fraction)
    edges = known & seen if magnitude is not None else seen
    found = filled(edges)
    return problem.solved(
        found.values,
        n_iterations=first.n_iterations + draft.n_iterations + found.n_iterations,
        converged=found.converged,
        strength=strength,
        method="heidi",
    )


def solve_well_shown(problem: LocalProblem, tolerance: float, max_iterations: int) -> Solution:
    """Solve the weighted dipole equation by LSQR, whose early end spares what is hardly shown.

    Parameters
    ----------
    problem
        The local field.
    tolerance
        Stop when the gradient is below this part of the first one.
    max_iterations
        Most iterations.

    Returns
    -------
    Solution
        Map on the padded grid ``(z, y, x)`` [ppm], and how the iteration ended.
    """
    weights = problem.weights
    return least_squares(
        lambda chi: weights * problem.field_of(chi),
        lambda field: problem.field_of(weights * field),
        weights * problem.field,
        tolerance=tolerance,
        max_iterations=max_iterations,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Filling:
    """Total variation for the frequencies that are not shown, by ADMM."""

    problem: LocalProblem
    shown: RealArray
    faces: RealArray
    limits: Limits
    coupling: float = COUPLING

    def fill(self, known: RealArray) -> Solution:
        problem, edge = self.problem, min(self.problem.data.voxel_size)
        voxel_size = problem.data.voxel_size
        system = TRUST * self.shown + (self.coupling * edge**2) * problem.roughness()
        system[0, 0, 0] = 1.0  # nothing tells the mean
        # Divided before it is transformed: times mu, rounding would drown the frequencies between.
        anchored = problem.transform.convolve(known, TRUST * self.shown / system)
        threshold = self.faces * (1 / self.coupling)
        chi, dual = known, problem.xp.zeros_like(self.faces)
        converged, n = False, 0
        while n < self.limits.max_iterations and not converged:
            exceeding, dual = shrunk(edge * forward_differences(chi, voxel_size) + dual, threshold)
            pull = adjoint_differences(exceeding - dual, voxel_size)
            before = chi
            chi = anchored + problem.transform.convolve(pull, self.coupling * edge / system)
            n += 1
            converged = problem.has_settled(chi, before, self.limits.tolerance)
        return Solution(chi, n, 0.0, converged)


def _known_edges(problem: LocalProblem, fraction: float) -> Mask:
    """Join the edges of the magnitude with those of the field's Laplacian, a local image of chi."""
    in_magnitude = magnitude_edges(problem, fraction)
    voxel_size = problem.data.voxel_size
    slopes = forward_differences(problem.field, voxel_size) * free_faces(problem.inside)
    curvature = adjoint_differences(slopes, voxel_size)
    in_field = steepest(curvature, problem.inside, voxel_size, fraction)
    return in_field if in_magnitude is None else in_field | in_magnitude


def _check_cone(strength: float) -> None:
    if not 0 < strength < 2 / 3:
        raise ValueError(f"strength must lie in (0, 2/3), got {strength}")
