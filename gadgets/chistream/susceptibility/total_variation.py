"""Susceptibility of least total variation, by alternating directions (ADMM)."""

import math
from collections.abc import Callable

from chistream.arrays import Mask, RealArray, Vector
from chistream.physics.backend import namespace
from chistream.physics.dipole import ALONG_Z
from chistream.physics.gradients import adjoint_differences, forward_differences
from chistream.susceptibility.edges import magnitude_edges
from chistream.susceptibility.inversion import FieldData, Inversion
from chistream.susceptibility.local_problem import Limits, LocalProblem, free_faces

PENALTY = 100.0
"""How much stronger than the total variation its constraint pulls: mu over lambda [1/ppm]."""

NEWTON_STEPS = 4
"""Steps on each voxel's own equation; they start at its linear solution."""

LINEAR_ITERATIONS = 10
"""Iterations before phases are compared: from zero, a phase beyond pi would be led astray."""


def invert_tv(
    local_field: RealArray,
    mask: Mask,
    voxel_size: Vector,
    *,
    b0_direction: Vector = ALONG_Z,
    magnitude: RealArray | None = None,
    strength: float = 1e-3,
    edge_fraction: float = 0.3,
    margin: Vector | None = None,
    tolerance: float = 1e-3,
    max_iterations: int = 250,
) -> Inversion:
    r"""Estimate susceptibility by total variation, each step in closed form.

    .. math:: \min_\chi \tfrac12 \| f - D \chi \|_2^2 + \lambda \| M \nabla \chi \|_1

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
    strength
        Lambda, what a slope costs [ppm mm], > 0.
    edge_fraction
        Part of the mask taken as edges of the magnitude, in [0, 1), free of cost.
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
        If a volume differs in shape, the mask is empty, the field is not finite in it,
        ``b0_direction`` is zero, or an option is out of range.

    Notes
    -----
    The published method takes the field as zero outside the mask and has no noise weights, which
    is why each iteration is two Fourier transforms; `invert_fansi` knows mask and weights.

    References
    ----------
    .. [1] Bilgic B, Fan AP, Polimeni JR, et al. Fast quantitative susceptibility mapping with
       L1-regularization and automatic parameter selection. Magn Reson Med. 2014;72(5):1444-1459.
       doi:10.1002/mrm.25029, eqs. 9 to 12

    Examples
    --------
    >>> import numpy as np
    >>> from chistream.physics.dipole import field_of
    >>> chi = np.zeros((16, 18, 20))
    >>> chi[6:10, 7:11, 8:12] = 0.2
    >>> field = field_of(chi, (2.0, 2.0, 2.0))
    >>> found = invert_tv(field, np.ones(chi.shape, dtype=bool), (2.0, 2.0, 2.0)).chi
    >>> contrast = found[chi > 0].mean() - found[chi == 0].mean()
    >>> bool(0.17 < contrast < 0.21)
    True
    """
    data = FieldData(local_field, mask, voxel_size, b0_direction, magnitude)
    problem = LocalProblem(data, margin)
    variation = _Variation(problem, strength, edge_fraction)
    explained = problem.field_of(problem.field)

    def step(chi: RealArray) -> RealArray:
        return variation.solve(explained + variation.pull(chi))

    return _iterate(variation, step, Limits(tolerance, max_iterations), "tv")


def invert_fansi(
    local_field: RealArray,
    mask: Mask,
    voxel_size: Vector,
    *,
    b0_direction: Vector = ALONG_Z,
    magnitude: RealArray | None = None,
    weights: RealArray | None = None,
    strength: float = 1e-3,
    phase_per_ppm: float | None = None,
    edge_fraction: float = 0.3,
    margin: Vector | None = None,
    tolerance: float = 3e-4,
    max_iterations: int = 300,
) -> Inversion:
    r"""Estimate susceptibility by total variation with noise weights, linear or on the circle.

    .. math:: \min_\chi \frac1{2 s^2} \| W (e^{i s D \chi} - e^{i s f}) \|_2^2
              + \lambda \| M \nabla \chi \|_1

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
        Lambda, what a slope costs [ppm mm], > 0. The default suits fields with noise of 5 ppb in
        a chest and a head; without noise 2e-4 keeps more.
    phase_per_ppm
        s, ``2 pi 1e-6 f0 TE``, the phase that 1 ppm makes at a typical echo time [rad/ppm]; given,
        the data term compares phases on the circle (nlTV). By default it is linear (wTV).
    edge_fraction
        Part of the mask taken as edges of the magnitude, in [0, 1), free of cost.
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

    References
    ----------
    .. [1] Milovic C, Bilgic B, Zhao B, Acosta-Cabronero J, Tejos C. Fast nonlinear susceptibility
       inversion with variational regularization. Magn Reson Med. 2018;80(2):814-821.
       doi:10.1002/mrm.27073, eqs. 5 to 9

    Examples
    --------
    >>> import numpy as np
    >>> from chistream.physics.dipole import field_of
    >>> chi = np.zeros((16, 18, 20))
    >>> chi[6:10, 7:11, 8:12] = 0.2
    >>> field, mask = field_of(chi, (2.0, 2.0, 2.0)), np.ones(chi.shape, dtype=bool)
    >>> found = invert_fansi(field, mask, (2.0, 2.0, 2.0), phase_per_ppm=8.0)
    >>> found.method
    'nltv'
    >>> bool(0.17 < found.chi[chi > 0].mean() - found.chi[chi == 0].mean() < 0.21)
    True
    """
    data = FieldData(local_field, mask, voxel_size, b0_direction, magnitude, weights)
    problem = LocalProblem(data, margin)
    variation = _Variation(problem, strength, edge_fraction)
    consistency = _Consistency(problem, phase_per_ppm)

    def step(chi: RealArray) -> RealArray:
        return variation.solve(consistency.pull(chi) + variation.pull(chi))

    method = "wtv" if phase_per_ppm is None else "nltv"
    return _iterate(variation, step, Limits(tolerance, max_iterations), method)


def shrunk(values: RealArray, threshold: RealArray | float) -> tuple[RealArray, RealArray]:
    """Split values into what exceeds a threshold and what does not.

    Parameters
    ----------
    values
        Any quantity, of any array library.
    threshold
        Threshold >= 0, a number or an array of the same shape.

    Returns
    -------
    exceeding
        The values, closer to zero by the threshold, or zero: the proximal map of the L1 norm.
    remaining
        What was taken away.
    """
    remaining: RealArray = namespace(values).clip(values, -threshold, threshold)
    return values - remaining, remaining


class _Variation:
    """The split gradient of a map: the part of ADMM that knows the penalty."""

    def __init__(self, problem: LocalProblem, strength: float, edge_fraction: float) -> None:
        if not strength > 0:
            raise ValueError(f"strength must be positive, got {strength}")
        self.problem = problem
        self.strength = strength
        # In units of the shortest edge, so that one penalty serves all voxel sizes.
        self._edge = min(problem.data.voxel_size)
        self._penalty = PENALTY * strength / self._edge
        edges = magnitude_edges(problem, edge_fraction)
        self._threshold = free_faces(problem.inside, edges) * (1 / PENALTY)
        system = problem.kernel**2 + (self._penalty * self._edge**2) * problem.roughness()
        system[0, 0, 0] = 1.0  # nothing tells the mean: the right-hand side is zero there
        self._inverse = 1 / system
        self._dual = problem.xp.zeros_like(self._threshold)

    def pull(self, chi: RealArray) -> RealArray:
        """Split the gradient anew, and give what it adds to the right-hand side."""
        voxel_size = self.problem.data.voxel_size
        slopes = forward_differences(chi, voxel_size)
        slopes *= self._edge
        slopes += self._dual
        exceeding, self._dual = shrunk(slopes, self._threshold)
        exceeding -= self._dual
        return adjoint_differences(exceeding, voxel_size) * (self._edge * self._penalty)

    def solve(self, right: RealArray) -> RealArray:
        """Solve for the map, a division of spectra."""
        return self.problem.transform.convolve(right, self._inverse)


class _Consistency:
    """The split field of a map: the part of ADMM that knows mask, weights and phases."""

    def __init__(self, problem: LocalProblem, phase_per_ppm: float | None) -> None:
        if phase_per_ppm is not None and not phase_per_ppm > 0:
            raise ValueError(f"phase_per_ppm must be positive, got {phase_per_ppm} rad/ppm")
        self._problem = problem
        self._trust = problem.weights**2
        self._phase_per_ppm = phase_per_ppm
        self._n_done = 0
        self._dual = problem.xp.zeros_like(problem.field)

    def pull(self, chi: RealArray) -> RealArray:
        """Split the field anew, and give what it adds to the right-hand side."""
        problem = self._problem
        self._dual += problem.field_of(chi)
        split = self._nearest(self._dual)
        self._dual -= split
        return problem.field_of(split - self._dual)

    def _nearest(self, target: RealArray) -> RealArray:
        trust, field, s = self._trust, self._problem.field, self._phase_per_ppm
        self._n_done += 1
        if s is None or self._n_done <= LINEAR_ITERATIONS:
            return (trust * field + target) / (trust + 1.0)
        xp = self._problem.xp
        # The circle repeats: of its turns, the one nearest to the model holds the minimum.
        apart = s * (field - target)
        near = target + (apart - 2 * math.pi * xp.round(apart / (2 * math.pi))) / s
        split: RealArray = (trust * near + target) / (trust + 1.0)
        for _ in range(NEWTON_STEPS):
            angle = s * (split - near)
            slope = trust * xp.sin(angle) / s + split - target
            # The curvature of the circle turns negative; its size keeps the step downhill.
            split = split - slope / (trust * xp.abs(xp.cos(angle)) + 1.0)
        return split


def _iterate(
    variation: _Variation,
    step: Callable[[RealArray], RealArray],
    limits: Limits,
    method: str,
) -> Inversion:
    problem = variation.problem
    chi = problem.xp.zeros_like(problem.field)
    converged, n = False, 0
    while n < limits.max_iterations and not converged:
        before, chi = chi, step(chi)
        n += 1
        converged = problem.has_settled(chi, before, limits.tolerance)
    return problem.solved(
        chi, n_iterations=n, converged=converged, strength=variation.strength, method=method
    )
