"""The noise level of complex images, from the images themselves."""

import numpy as np

from chistream.arrays import ComplexArray

_NORMAL_MAD = 0.674489750196
"""Median of the magnitude of a standard normal number."""


def estimate_noise(echoes: ComplexArray) -> float:
    """Estimate the standard deviation of the noise from the finest detail of the last echo.

    The tissue is least bright there, the noise is the same. The mixed difference along z, y and x
    removes whatever varies smoothly along any of the axes; the median of its magnitude ignores
    the edges that remain.

    Parameters
    ----------
    echoes
        Complex images ``(echoes, z, y, x)``; axes of length 1 are left out of the difference.

    Returns
    -------
    float
        Standard deviation of the real part, equal to that of the imaginary part, in the unit of
        the images; 0 where there is no noise (or nothing but zeros).

    Notes
    -----
    Noise that has been smoothed or zero-filled is taken for smaller than it is: pass the level
    that the noise scan gave to the functions that ask for one, if there is one.

    References
    ----------
    .. [1] Donoho DL, Johnstone IM. Ideal spatial adaptation by wavelet shrinkage. Biometrika.
       1994;81(3):425-455. doi:10.1093/biomet/81.3.425

    Examples
    --------
    >>> parts = np.random.default_rng(1).standard_normal((2, 1, 30, 31, 32))
    >>> round(estimate_noise(parts[0] + 1j * parts[1]), 1)
    1.0
    """
    detail = echoes[-1]
    measured = detail != 0
    for axis in (-3, -2, -1):
        n = detail.shape[axis]
        if n > 1:
            ahead, behind = np.arange(1, n), np.arange(n - 1)
            detail = (detail.take(ahead, axis) - detail.take(behind, axis)) / np.sqrt(2)
            measured = measured.take(ahead, axis) & measured.take(behind, axis)
    # Scanners set the air around the body to zero: exact zeros say nothing about the noise.
    samples = detail[measured]
    if not samples.size:
        return 0.0
    parts = np.concatenate([samples.real, samples.imag])
    return float(np.median(np.abs(parts)) / _NORMAL_MAD)
