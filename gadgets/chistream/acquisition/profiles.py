"""Profiles along the navigator's column: one for each readout, from all its coils."""

from functools import lru_cache

import numpy as np
import scipy.fft

from chistream.arrays import ComplexArray, RealArray

OVERSAMPLING = 4
"""Profile points for each sample: fine enough that a parabola finds a maximum to 1/50 sample."""

_MARGIN = 0.1
"""Part of the column left out at each end: it fades there whatever the patient does, which would
pull every displacement towards zero."""

_NEIGHBOURS = 6
"""Samples on either side whose covariance is added: coils see neighbours alike, and noise less."""

_QUIETEST = 1e-4
"""A coil quieter than this part of the noisiest is either dead or noise-free: no more weight."""


_RESOLUTION = 4.0
"""Width to which the column is smoothed [mm], while phases still tell noise from signal: finer
would find the edge more exactly at an SNR above 10, and lose it at an SNR of 5."""


def smoothing_of(column: float, n_samples: int) -> float:
    """Tell how many samples of a column [mm] are smoothed together; 2 or more."""
    return max(2.0, _RESOLUTION * n_samples / column)


def coil_combination(
    samples: ComplexArray, smoothing: float, noise_variances: RealArray | None = None
) -> ComplexArray:
    r"""Find the weights that let the coils' signals add up in phase at each place of the column.

    .. math:: R(r) = \sum_{n} \sum_{|r' - r| \le 6} x_n(r')\, x_n(r')^H, \qquad
              p_n(r) = \left| u_1(r)^H x_n(r) \right|

    with whitened coil images x of navigator n and the first eigenvector of R: the principal
    component of what the coils measured around a place while the patient breathed.

    Parameters
    ----------
    samples
        Navigator readouts ``(n, coils, samples)``, n >= 1.
    smoothing
        Resolution of the profiles [samples].
    noise_variances
        Noise of the coils ``(coils,)``, any scale. None takes the darkest tenth of each coil's
        mean profile as its noise.

    Returns
    -------
    ComplexArray
        Weights ``(coils, points)``, the noise's whitening included.

    References
    ----------
    .. [1] Walsh DO, Gmitro AF, Marcellin MW. Adaptive reconstruction of phased array MR imagery.
       Magn Reson Med. 2000;43(5):682-690.
    """
    images = [_coil_images(one, smoothing) for one in samples]
    if noise_variances is None:
        mean = np.mean([np.abs(image) ** 2 for image in images], axis=0)
        variances, level = np.quantile(mean, 0.1, axis=1), float(mean.max())
    else:
        variances, level = noise_variances, float(noise_variances.max())
    smallest = max(_QUIETEST * level, np.finfo(float).tiny)
    whitening: RealArray = 1 / np.sqrt(np.maximum(variances, smallest))
    n_coils, n_points = images[0].shape
    n_places = -(-n_points // OVERSAMPLING)
    covariance: ComplexArray = np.zeros((n_places, n_coils, n_coils), np.complex128)
    for image in images:
        covariance += _covariances(whitening[:, None] * image)
    vectors: ComplexArray = np.linalg.eigh(_sum_of_neighbours(covariance))[1]
    combination = np.repeat(vectors[:, :, -1].conj().T, OVERSAMPLING, axis=1)[:, :n_points]
    combination *= whitening[:, None]
    return combination


def combined_power(samples: ComplexArray, combination: ComplexArray, smoothing: float) -> RealArray:
    """Combine coils.

    Parameters
    ----------
    samples
        Navigator readouts ``(n, coils, samples)``.
    combination
        Weights ``(coils, points)``.
    smoothing
        Resolution of the profiles [samples].

    Returns
    -------
    RealArray
        Power along the column ``(n, points)``, without the ends of the column.
    """
    # One navigator at a time: the fine profiles of all coils together would outweigh k-space.
    sums = [np.einsum("cr,cr->r", combination, _coil_images(one, smoothing)) for one in samples]
    power: RealArray = np.abs(np.stack(sums)) ** 2
    return power


def _coil_images(samples: ComplexArray, smoothing: float) -> ComplexArray:
    n = samples.shape[-1]
    image = scipy.fft.ifft(samples * _window(n, smoothing), OVERSAMPLING * n, norm="ortho")
    # The ends of the column lie in the middle of what the transform makes.
    half, margin = image.shape[-1] // 2, int(_MARGIN * image.shape[-1])
    kept: ComplexArray = np.concatenate(
        [image[..., half + margin :], image[..., : half - margin]], axis=-1
    )
    return kept


@lru_cache(maxsize=4)
def _window(n: int, smoothing: float) -> RealArray:
    # A Hann window smooths without ringing, zeros make the grid fine. Where the samples start does
    # not matter to a magnitude.
    half = min(n / smoothing, n / 2)
    away = np.arange(n) - (n - 1) / 2
    inside = np.abs(away) < half + 0.5
    return np.where(inside, np.cos(0.5 * np.pi * away / (half + 0.5)) ** 2, 0)


def _covariances(image: ComplexArray) -> ComplexArray:
    """Outer product ``(places, coils, coils)`` at each sample's place."""
    coarse = image[:, ::OVERSAMPLING].T
    product: ComplexArray = coarse[:, :, None] * coarse[:, None].conj()
    return product


def _sum_of_neighbours(covariance: ComplexArray) -> ComplexArray:
    start = np.zeros((1, *covariance.shape[1:]))
    running = np.concatenate([start, np.cumsum(covariance, axis=0)])
    places = np.arange(len(covariance))
    first = np.maximum(places - _NEIGHBOURS, 0)
    beyond = np.minimum(places + _NEIGHBOURS + 1, len(covariance))
    summed: ComplexArray = running[beyond] - running[first]
    return summed
