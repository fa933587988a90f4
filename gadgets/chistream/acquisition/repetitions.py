"""Repetitions of a scan, averaged as complex data."""

import numpy as np

from chistream.acquisition.kspace import KSpace
from chistream.arrays import ComplexArray, RealArray


def align_repetitions(kspace: KSpace, reference: int = 0) -> RealArray:
    r"""Turn every repetition to the phase of one of them, echo by echo, in place.

    .. math:: \varphi_{re} = \arg \sum_{\mathbf k} \overline{S_{e}(\mathbf k)}\,
              S_{re}(\mathbf k)

    over the lines that both measured. A frequency that drifted between repetitions is a phase that
    grows with the echo time; it cancels as well, to the extent that it is the same everywhere.

    Parameters
    ----------
    kspace
        What was measured, with the same coils in all repetitions.
    reference
        The repetition that is not turned.

    Returns
    -------
    RealArray
        Phases taken away ``(repetitions, echoes)`` [rad]; 0 for the reference, and where no line
        was measured in both.
    """
    values, weights = kspace.sums()
    n_echoes = kspace.n_echoes
    phases = np.zeros((len(values) // n_echoes, n_echoes))
    for repetition, echo in np.ndindex(phases.shape):
        if repetition != reference:
            one, other = reference * n_echoes + echo, repetition * n_echoes + echo
            phase = _phase_between(values[one], values[other], weights[one], weights[other])
            phases[repetition, echo] = phase
            values[other] *= np.complex64(np.exp(-1j * phase))
    return phases


def _phase_between(
    first: ComplexArray, other: ComplexArray, w_first: RealArray, w_other: RealArray
) -> float:
    """Phase of one repetition's sums ``(coils, z, y, x)`` relative to another's [rad]."""
    total = 0j
    for z, y in np.argwhere((w_first > 0) & (w_other > 0)):
        product = np.vdot(first[:, z, y], other[:, z, y])
        total += complex(product) / float(w_first[z, y] * w_other[z, y])
    return float(np.angle(total))
