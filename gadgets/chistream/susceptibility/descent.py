"""Non-linear dipole inversion (NDI): gradient descent that ends early."""

from chistream.arrays import Mask, RealArray, Vector
from chistream.physics.dipole import ALONG_Z
from chistream.susceptibility.inversion import FieldData, Inversion
from chistream.susceptibility.local_problem import Limits, LocalProblem

STEP = 2.0
"""Step of the descent (Polak 2020); beyond 4.5 the largest values of the kernel diverge."""

LINEAR_ITERATIONS = 10
"""Iterations before phases are compared: from zero, a phase beyond pi would be led astray."""


def invert_ndi(
    local_field: RealArray,
    mask: Mask,
    voxel_size: Vector,
    *,
    b0_direction: Vector = ALONG_Z,
    weights: RealArray | None = None,
    strength: float = 1e-5,
    phase_per_ppm: float = 8.0,
    margin: Vector | None = None,
    tolerance: float = 1e-4,
    max_iterations: int = 200,
) -> Inversion:
    r"""Estimate susceptibility by non-linear descent, regularised by where it ends.

    .. math:: \chi \leftarrow \chi - \tau \left( D^T W^2 \frac{\sin(s (D \chi - f))}{s}
              + \alpha \chi \right)

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
        Alpha, what a large chi costs, >= 0; with the published value the number of iterations
        regularises more than it.
    phase_per_ppm
        s, ``2 pi 1e-6 f0 TE``, the phase that 1 ppm makes at a typical echo time [rad/ppm], > 0;
        by default that of 10 ms at 3 T.
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
    .. [1] Polak D, Chatnuntawech I, Yoon J, et al. Nonlinear dipole inversion (NDI) enables robust
       quantitative susceptibility mapping (QSM). NMR Biomed. 2020;33(12):e4271.
       doi:10.1002/nbm.4271, eqs. 3 and 4

    Examples
    --------
    >>> import numpy as np
    >>> from chistream.physics.dipole import field_of
    >>> chi = np.zeros((16, 18, 20))
    >>> chi[6:10, 7:11, 8:12] = 0.2
    >>> field = field_of(chi, (2.0, 2.0, 2.0))
    >>> found = invert_ndi(field, np.ones(chi.shape, dtype=bool), (2.0, 2.0, 2.0)).chi
    >>> bool(0.15 < found[chi > 0].mean() - found[chi == 0].mean() < 0.21)
    True
    """
    if not (strength >= 0 and phase_per_ppm > 0):
        raise ValueError(
            f"strength {strength} must not be negative, phase_per_ppm {phase_per_ppm} positive"
        )
    limits = Limits(tolerance, max_iterations)
    data = FieldData(local_field, mask, voxel_size, b0_direction, None, weights)
    problem = LocalProblem(data, margin)
    trust = problem.weights**2 * (STEP / phase_per_ppm)
    chi = problem.xp.zeros_like(problem.field)
    converged, n = False, 0
    while n < limits.max_iterations and not converged:
        angle = phase_per_ppm * (problem.field_of(chi) - problem.field)
        left = angle if n < LINEAR_ITERATIONS else problem.xp.sin(angle)
        pull = problem.field_of(trust * left)
        before, chi = chi, (1 - STEP * strength) * chi - pull
        n += 1
        converged = problem.has_settled(chi, before, limits.tolerance)
    return problem.solved(chi, n_iterations=n, converged=converged, strength=strength, method="ndi")
