"""The displacement of what is off resonance along the readout."""

from collections.abc import Sequence

import numpy as np

from chistream.arrays import ComplexArray, RealArray


def undo_displacement(
    echoes: ComplexArray, displacement: RealArray, signs: Sequence[float]
) -> ComplexArray:
    r"""Move what is off resonance back along the readout, to first order.

    .. math:: E(x) = E'(x) - s \, d(x) \, \partial_x E'(x), \qquad d = f / b

    Parameters
    ----------
    echoes
        E' ``(echoes, z, y, x)``.
    displacement
        d: frequency over bandwidth per voxel ``(z, y, x)`` [voxels], well below 1.
    signs
        s: +1 for echoes read forward, -1 for those read backwards.

    Returns
    -------
    ComplexArray
        E ``(echoes, z, y, x)`` complex64.

    Notes
    -----
    During a readout k grows with time and phase with frequency, and samples are
    :math:`\int m \, e^{-i 2 \pi k x}`: a point is seen at x - d. The slope is that of the
    band-limited function.
    """
    n = echoes.shape[-1]
    k = np.fft.fftfreq(n)
    k[np.abs(k) == 0.5] = 0  # the slope of the sample at Nyquist is not known
    moved = np.empty(echoes.shape, np.complex64)
    for echo, sign in enumerate(signs):
        slope = np.fft.ifft(np.fft.fft(echoes[echo]) * (2j * np.pi * k))
        moved[echo] = echoes[echo] - sign * displacement * slope
    return moved
