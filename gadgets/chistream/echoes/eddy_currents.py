"""Phase that eddy currents leave in single echoes, beyond what a field or an offset explains."""

from collections.abc import Sequence

import numpy as np

from chistream.arrays import ComplexArray, RealArray
from chistream.echoes.bipolar import PolarityOffset, fit_offset


def correct_eddy_currents(
    echoes: ComplexArray, TE: Sequence[float], is_reversed: Sequence[bool] | None = None
) -> tuple[ComplexArray, RealArray]:
    r"""Remove a spatially linear phase of each echo that is no linear function of TE.

    .. math:: \arg S_e(\mathbf r) = \varphi_0(\mathbf r) + 2 \pi f(\mathbf r) TE_e
              + c_e + \mathbf g_e \cdot \mathbf r

    Parameters
    ----------
    echoes
        Complex echoes ``(echoes, z, y, x)``; of alternating polarity: behind `correct_polarity`.
    TE
        Echo times [s].
    is_reversed
        Whether each echo was read backwards, if that was corrected: its pattern is left alone.

    Returns
    -------
    corrected : ComplexArray
        ``(echoes, z, y, x)`` complex64; the echoes themselves if there are fewer than three.
    phases : RealArray
        What was removed: constant in the middle [rad] and slopes along z, y and x [rad per voxel]
        of each echo ``(echoes, 4)``, orthogonal to a constant and to TE over the echoes.

    Notes
    -----
    What is common to all echoes is part of the offset and what grows with TE is part of the field:
    no echoes tell those apart from the object's own, and they stay. Since what is removed is
    orthogonal to both, an unweighted fit of the field does not change. Fat's phase is an outlier
    of the robust fit.
    """
    patterns = _free_patterns(TE, is_reversed)
    phases = np.zeros((len(echoes), 4))
    if not len(patterns):
        return echoes, phases
    residual, weight = _residual_phase(echoes, TE)
    for pattern in patterns:
        along = np.tensordot(pattern, residual, 1)
        offset = fit_offset((weight * np.exp(2j * along)).astype(np.complex64))
        phases += np.outer(pattern, (offset.constant, *offset.slope))
    corrected = np.empty(echoes.shape, np.complex64)
    for echo, (constant, z, y, x) in enumerate(phases.tolist()):
        phase = PolarityOffset(constant, (z, y, x)).over(echoes)
        corrected[echo] = echoes[echo] * np.exp(-1j * phase)
    return corrected, phases


def _free_patterns(TE: Sequence[float], is_reversed: Sequence[bool] | None) -> RealArray:
    """Orthonormal patterns over the echoes ``(n, echoes)`` that nothing else explains."""
    n = len(TE)
    known = [np.ones(n), np.asarray(TE) / TE[-1]]
    if is_reversed is not None and len(set(is_reversed)) == 2:
        known.append(np.where(is_reversed, -1.0, 1.0))
    vectors, sizes, _ = np.linalg.svd(np.column_stack(known))
    patterns: RealArray = vectors[:, int((sizes > 1e-6 * sizes[0]).sum()) :].T
    return patterns


def _residual_phase(echoes: ComplexArray, TE: Sequence[float]) -> tuple[RealArray, RealArray]:
    """Return what each echo's phase is beside a line [rad], and the weight of each voxel.

    The line is that of the closest echoes: only small phases are left, which do not wrap.
    """
    spacings = np.diff(TE)
    closest = np.flatnonzero(spacings < 1.01 * spacings.min())
    pairs = sum(echoes[e + 1] * echoes[e].conj() for e in closest)
    frequency = np.angle(pairs) / spacings.min()
    still = [
        echo * np.exp(-1j * frequency * (time - TE[0]))
        for echo, time in zip(echoes, TE, strict=True)
    ]
    middle = np.sum(still, axis=0).conj()
    residual = np.array([np.angle(echo * middle) for echo in still])
    power = np.abs(echoes[0]) ** 2
    typical = np.median(power[power > 0.01 * power.max()])
    return residual, power / (power + typical)
