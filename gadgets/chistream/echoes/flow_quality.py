"""Where the phase of the echoes is no line: flow, ghosts, and whatever else moves."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtri

from chistream.arrays import ComplexArray, Mask, RealArray

_FALSE_ALARMS = 1e-3
_FAINT = 3.0
"""Magnitude over noise in the last echo below which a phase says nothing."""


@dataclass(frozen=True, eq=False)
class PhaseLinearity:
    """How well the phase of each voxel grows in a line.

    Parameters
    ----------
    residual
        Root mean square over the echoes, weighted with their power ``(z, y, x)`` [rad]; 0 where
        there is too little signal.
    chi_square
        What is left of the phase over what noise lets expect, per degree of freedom
        ``(z, y, x)``; 1 on average where nothing but noise acts.
    suspect
        Voxels ``(z, y, x)`` beyond what noise does in one of a thousand.
    degrees_of_freedom
        Of each voxel's residual.
    """

    residual: RealArray
    chi_square: RealArray
    suspect: Mask
    degrees_of_freedom: int


def measure_phase_linearity(
    echoes: ComplexArray,
    TE: Sequence[float],
    noise: float,
    *,
    fat: ComplexArray | None = None,
) -> PhaseLinearity | None:
    r"""Map what is left of the phase of the echoes beside a line in TE.

    .. math:: \chi^2 = \frac{1}{\nu} \sum_e \frac{2 |S_e|^2}{\sigma^2}
              \left( \arg S_e - \varphi_0 - 2 \pi f\, TE_e - \eta\, \Im c_e \right)^2

    Parameters
    ----------
    echoes
        Complex echoes ``(echoes, z, y, x)``.
    TE
        Echo times [s].
    noise
        Standard deviation sigma of a complex sample of the echoes; 1 if they were whitened and
        combined with maps of unit root-sum-of-squares.
    fat
        c: fat's signal relative to water's at each echo time ``(echoes,)``. With it, a small share
        eta of fat is fitted, too; voxels that are mainly fat are not modelled. None: it is not.

    Returns
    -------
    PhaseLinearity | None
        The map; None if there are too few echoes to have a residual.

    Raises
    ------
    ValueError
        If the numbers of echoes do not fit, or the noise is not positive.

    Notes
    -----
    Steady flow through a train of fly-back echoes adds a phase that grows with the echo: that is a
    false field, and no residual shows it. What is seen is flow in bipolar trains and in
    asymmetric or unequally spaced echoes, flow that changes, ghosts, and displaced signal.
    """
    if not len(echoes) == len(TE) or (fat is not None and len(fat) != len(TE)) or not noise > 0:
        raise ValueError(f"{len(echoes)} echoes, {len(TE)} TE, fat {fat}, noise {noise}")
    columns = [np.ones(len(TE)), np.asarray(TE) / TE[-1]]
    if fat is not None:
        columns.append(np.imag(fat))
    design = np.stack(columns, axis=1)
    freedom = len(TE) - int(np.linalg.matrix_rank(design, tol=1e-3))
    if freedom < 1:
        return None
    shape = echoes.shape[1:]
    loud = np.flatnonzero(np.abs(echoes[-1]) > _FAINT * noise)
    chosen = echoes.reshape(len(echoes), -1)[:, loud]
    misfit, power = _misfit(chosen, np.asarray(TE), design)
    chi_square, residual = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    chi_square.flat[loud] = 2 * misfit / noise**2 / freedom
    residual.flat[loud] = np.sqrt(misfit / power)
    suspect = chi_square > chdtri(freedom, _FALSE_ALARMS) / freedom
    return PhaseLinearity(residual, chi_square, suspect, freedom)


def _misfit(echoes: ComplexArray, TE: RealArray, design: RealArray) -> tuple[RealArray, RealArray]:
    """Return weighted squares of residual phases of ``(echoes, n)``, and the sum of weights."""
    spacings = np.diff(TE)
    closest = np.flatnonzero(spacings < 1.01 * spacings.min())
    pairs = sum(echoes[e + 1] * echoes[e].conj() for e in closest)
    turning = np.angle(pairs) / spacings.min()
    still = echoes * np.exp(-1j * np.multiply.outer(TE - TE[0], turning))
    # About the mean of the echoes: phases that are small, and so do not wrap.
    phase = np.angle(still * still.sum(axis=0).conj())
    weight = np.abs(echoes).astype(float) ** 2
    normal = np.einsum("ei,en,ej->nij", design, weight, design)
    right = np.einsum("ei,en,en->ni", design, weight, phase)
    # Where the columns are alike, the least coefficients are as good as any.
    inverse = np.linalg.pinv(normal, rcond=1e-10, hermitian=True)
    left = phase - design @ np.einsum("nij,nj->in", inverse, right)
    return (weight * left**2).sum(axis=0), weight.sum(axis=0)
