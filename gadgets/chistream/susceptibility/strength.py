"""How strongly to regularise: the corner of the L-curve, or the discrepancy principle."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.interpolate import CubicSpline

from chistream.arrays import RealArray, Vector
from chistream.errors import ReconstructionError
from chistream.physics.backend import namespace, to_numpy
from chistream.physics.gradients import forward_differences
from chistream.susceptibility.inversion import Inversion

Invert: TypeAlias = Callable[[float], Inversion]
"""An inversion of one field with everything given but its strength."""

FINENESS = 400
"""Places at which the curvature of the L-curve is evaluated."""


@dataclass(frozen=True, slots=True, eq=False)
class StrengthChoice:
    """A regularised map, and how its strength was chosen.

    Parameters
    ----------
    inversion
        The map of the chosen strength, which it states.
    strengths
        Strengths that were tried, rising ``(n,)``.
    residuals
        What the map of each leaves unexplained of the field, relative to the field ``(n,)``.
    roughnesses
        Sum of the slopes of each map ``(n,)`` [ppm/mm].
    """

    inversion: Inversion
    strengths: RealArray
    residuals: RealArray
    roughnesses: RealArray


def choose_by_l_curve(
    invert: Invert, strengths: Sequence[float], voxel_size: Vector
) -> StrengthChoice:
    r"""Choose the strength where misfit and roughness trade most evenly.

    .. math:: \kappa = \frac{\rho' \eta'' - \rho'' \eta'}{(\rho'^2 + \eta'^2)^{3/2}}, \qquad
              \rho = \log \| W (f - D \chi) \|_2, \quad \eta = \log \| \nabla \chi \|_1

    Parameters
    ----------
    invert
        The inversion, a function of its strength; of any array library.
    strengths
        Strengths to try, > 0, five or more.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm].

    Returns
    -------
    StrengthChoice
        The map where the curvature, along cubic splines over the logarithm of the strength, is
        largest.

    Raises
    ------
    ValueError
        If there are fewer than five different strengths, or one is not positive.
    ReconstructionError
        If the curve has no corner: quadratic penalties fit strong noise gradually.

    References
    ----------
    .. [1] Hansen PC, O'Leary DP. The use of the L-curve in the regularization of discrete
       ill-posed problems. SIAM J Sci Comput. 1993;14(6):1487-1503. doi:10.1137/0914086
    """
    tried, residuals, roughnesses = _sweep(invert, strengths, voxel_size, least=5)
    t = np.log(tried)
    fine = np.linspace(t[0], t[-1], FINENESS)
    rho, eta = (CubicSpline(t, np.log(values)) for values in (residuals, roughnesses))
    bend = rho(fine, 1) * eta(fine, 2) - rho(fine, 2) * eta(fine, 1)
    curvature = bend / (rho(fine, 1) ** 2 + eta(fine, 1) ** 2) ** 1.5
    best = float(np.exp(fine[_corner(curvature)]))
    return StrengthChoice(invert(best), tried, residuals, roughnesses)


def choose_by_discrepancy(
    invert: Invert, strengths: Sequence[float], voxel_size: Vector, *, noise_residual: float
) -> StrengthChoice:
    """Choose the strength that leaves unexplained as much of the field as is noise.

    Parameters
    ----------
    invert
        The inversion, a function of its strength; of any array library.
    strengths
        Strengths to try, > 0, two or more.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm].
    noise_residual
        Weighted norm of the noise, relative to that of the field, > 0: with weights that are
        reciprocal standard deviations, the root of the number of voxels over the norm of the
        weighted field.

    Returns
    -------
    StrengthChoice
        The map whose residual, between two strengths linear in the logarithms, is that of the
        noise; of the weakest or strongest if none is.

    Raises
    ------
    ValueError
        If there are fewer than two different strengths, or a value is not positive.

    References
    ----------
    .. [1] Morozov VA. On the solution of functional equations by the method of regularization.
       Sov Math Dokl. 1966;7:414-417.
    """
    if not noise_residual > 0:
        raise ValueError(f"noise_residual must be positive, got {noise_residual}")
    tried, residuals, roughnesses = _sweep(invert, strengths, voxel_size, least=2)
    # An early end of an iteration may shake the residuals; what has been left is left.
    rising = np.maximum.accumulate(np.log(residuals))
    best = float(np.exp(np.interp(np.log(noise_residual), rising, np.log(tried))))
    return StrengthChoice(invert(best), tried, residuals, roughnesses)


def _corner(curvature: RealArray) -> int:
    """Find the largest curvature between the ends; towards an end a curve may bend once more."""
    within = curvature[1:-1]
    peaks = np.flatnonzero((within > curvature[:-2]) & (within >= curvature[2:])) + 1
    peaks = peaks[curvature[peaks] > 0]
    if not len(peaks):
        raise ReconstructionError(
            "susceptibility", "the L-curve has no corner between the strengths that were tried"
        )
    return int(peaks[np.argmax(curvature[peaks])])


def _sweep(
    invert: Invert, strengths: Sequence[float], voxel_size: Vector, *, least: int
) -> tuple[RealArray, RealArray, RealArray]:
    tried = np.unique(np.asarray(strengths, dtype=float))
    if len(tried) < least or not tried[0] > 0:
        raise ValueError(f"needs {least} different strengths > 0 or more, got {list(strengths)}")
    maps = [invert(float(strength)) for strength in tried]
    residuals = np.array([found.residual for found in maps])
    roughnesses = np.array([_roughness(found.chi, voxel_size) for found in maps])
    return tried, residuals, roughnesses


def _roughness(chi: RealArray, voxel_size: Vector) -> float:
    slopes = forward_differences(chi, voxel_size)
    return float(to_numpy(namespace(chi).sum(abs(slopes))))
