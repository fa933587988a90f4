"""Receiver noise: coloured between coils, and shaped by the receiver's filter."""

from functools import lru_cache

import numpy as np
import scipy.fft

from chistream.arrays import ComplexArray, RealArray
from chistream_simulator.case import Case
from chistream_simulator.coils import Loop, mutual_resistance
from chistream_simulator.phantoms.shapes import Shape

OWN_LOSSES = 0.25
"""Losses of a loop of 60 mm at 64 MHz, in copper and electronics, relative to those in a chest
20 mm beneath it: unloaded and loaded quality differ by a factor of five."""

_REFERENCE_RADIUS = 60.0
_REFERENCE_FREQUENCY = 64e6
_LOADED = 0.35
"""Resistance that such a chest induces, relative to the fifth power of the radius."""


def unit_covariance(
    case: Case, loops: list[Loop], body: Shape, rng: np.random.Generator
) -> ComplexArray:
    """Find the noise covariance of a case's array, of mean variance 1.

    Parameters
    ----------
    case
        Model of the noise, frequency.
    loops
        The array.
    body
        What conducts in it.
    rng
        For what differs from channel to channel.

    Returns
    -------
    ComplexArray
        Hermitian, positive definite ``(coils, coils)``.
    """
    if case.noise_model == "exponential":
        return coil_covariance(len(loops), case.noise_correlation, rng)
    return array_covariance(loops, body, case.h1_frequency, rng)


def array_covariance(
    loops: list[Loop], body: Shape, h1_frequency: float, rng: np.random.Generator
) -> ComplexArray:
    r"""Find the noise covariance of loops around a body, of mean variance 1.

    .. math:: \Psi_{jk} = g_j g_k \, e^{i (\varphi_j - \varphi_k)}
              \left( R_{jk} + \delta_{jk} r_j \right)

    Currents in the body are heard by several loops, R; copper and electronics make noise of their
    own, r, which counts for less the higher the frequency and the larger the loop.

    Parameters
    ----------
    loops
        The array, with the phases of its channels.
    body
        What conducts.
    h1_frequency
        [Hz].
    rng
        For the gains g, which differ by some 20 %.

    Returns
    -------
    ComplexArray
        Hermitian, positive definite ``(coils, coils)``.

    References
    ----------
    .. [1] Roemer PB, et al. The NMR phased array. Magn Reson Med. 1990;16(2):192-225.
       doi:10.1002/mrm.1910160203
    """
    radii = np.array([loop.radius for loop in loops])
    # Copper's resistance goes with length and the root of frequency, the body's with the cube of
    # the radius and the square of frequency.
    own = OWN_LOSSES * _LOADED * radii**3 * _REFERENCE_RADIUS**2
    own *= (_REFERENCE_FREQUENCY / h1_frequency) ** 1.5
    factors = _gains(len(loops), rng) * np.exp(1j * np.array([loop.phase for loop in loops]))
    covariance = mutual_resistance(loops, body) + np.diag(own)
    covariance = covariance * np.outer(factors, factors.conj())
    result: ComplexArray = covariance / np.mean(covariance.diagonal().real)
    return result


def coil_covariance(n_coils: int, correlation: float, rng: np.random.Generator) -> ComplexArray:
    r"""Make up the noise covariance of an array, of mean variance 1.

    .. math:: \Psi_{jk} = g_j g_k \, \rho^{|j - k|} e^{i \varphi (j - k)}

    Parameters
    ----------
    n_coils
        Number of coils.
    correlation
        Correlation of neighbours, in [0, 1).
    rng
        For the gains g, which differ by some 20 %, and the phase.

    Returns
    -------
    ComplexArray
        Hermitian, positive definite ``(coils, coils)``.
    """
    gains = _gains(n_coils, rng)
    steps = np.subtract.outer(np.arange(n_coils), np.arange(n_coils))
    phase = np.exp(1j * rng.uniform(-np.pi, np.pi) * steps)
    return np.asarray(
        np.outer(gains, gains) * correlation ** np.abs(steps) * phase, dtype=np.complex128
    )


def combined_snr(csm: ComplexArray, covariance: ComplexArray) -> RealArray:
    """Signal-to-noise ratio of an optimally combined unit signal.

    Parameters
    ----------
    csm
        Sensitivities ``(coils, ...)``.
    covariance
        Noise covariance ``(coils, coils)`` of complex samples.

    Returns
    -------
    RealArray
        Signal over the standard deviation of the real part, in the shape of the rest of `csm`.
    """
    flat = csm.reshape(len(csm), -1)
    power = np.einsum("cn,cn->n", flat.conj(), np.linalg.solve(covariance, flat)).real
    # A complex sample has its variance in two parts; the image's real part has half of it.
    result: RealArray = np.sqrt(2 * power).reshape(csm.shape[1:])
    return result


def _gains(n_coils: int, rng: np.random.Generator) -> RealArray:
    """Gains that differ by some 20 %, of mean square 1."""
    gains = 1 + 0.2 * np.clip(rng.standard_normal(n_coils), -2, 2)
    result: RealArray = gains / np.sqrt(np.mean(gains**2))
    return result


class Receiver:
    """Noise of an array behind its receivers' filters.

    Parameters
    ----------
    covariance
        Covariance ``(coils, coils)`` of complex samples at the reference dwell time, as seen in
        the flat part of the filter.
    dwell_time
        The reference [s].
    bandwidth_ratio
        Equivalent noise bandwidth of the filter relative to the sampled bandwidth, > 2/3.
    rng
        Where chance comes from.
    """

    def __init__(
        self,
        covariance: ComplexArray,
        dwell_time: float,
        bandwidth_ratio: float,
        rng: np.random.Generator,
    ) -> None:
        self._colour = np.linalg.cholesky(covariance).astype(np.complex64)
        self._dwell_time = dwell_time
        self._ratio = bandwidth_ratio
        self._rng = rng

    def noise(self, n_readouts: int, n_samples: int, dwell_time: float) -> ComplexArray:
        """Draw noise readouts.

        Parameters
        ----------
        n_readouts, n_samples
            How many.
        dwell_time
            Time between their samples [s]; the variance goes with its inverse.

        Returns
        -------
        ComplexArray
            Noise ``(readouts, coils, samples)`` complex64.
        """
        shape = (n_readouts, len(self._colour), n_samples)
        white = self._rng.standard_normal((*shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
        response = filter_response(n_samples, self._ratio)
        if self._ratio < 1:
            white = scipy.fft.ifft(scipy.fft.fft(white) * response, overwrite_x=True)
        scale = np.sqrt(self._dwell_time / dwell_time / 2)
        noise: ComplexArray = (self._colour * np.float32(scale)) @ white
        return noise


@lru_cache(maxsize=8)
def filter_response(n_samples: int, bandwidth_ratio: float) -> RealArray:
    """Amplitude of the receiver's filter over the sampled band, in unshifted FFT order.

    Parameters
    ----------
    n_samples
        Samples of a readout.
    bandwidth_ratio
        Equivalent noise bandwidth: mean of the squared response, in (2/3, 1].

    Returns
    -------
    RealArray
        Response ``(samples,)``: 1 over the middle, which holds the middle half of the band, and
        a straight slope to 0 at its edges.
    """
    return filter_amplitude(np.fft.fftfreq(n_samples), bandwidth_ratio)


def filter_amplitude(frequency: RealArray, bandwidth_ratio: float) -> RealArray:
    """Amplitude of the receiver's filter at some frequencies.

    Parameters
    ----------
    frequency
        Relative to the sampled bandwidth: its edges are at -1/2 and 1/2.
    bandwidth_ratio
        As for `filter_response`.

    Returns
    -------
    RealArray
        Between 0 and 1, float32; 0 beyond the edges.
    """
    flat = 0.75 * (bandwidth_ratio - 1 / 3)  # 2 flat + 2 (1/2 - flat) / 3 = ratio
    distance = np.abs(frequency)
    slope = (0.5 - distance) / max(0.5 - flat, 1e-6)
    return np.where(distance <= flat, 1.0, np.clip(slope, 0.0, 1.0)).astype(np.float32)
