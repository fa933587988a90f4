"""Field, R2* and phase offset of every voxel by a non-linear fit to the complex echoes."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chistream.arrays import ComplexArray, Mask, RealArray
from chistream.field.echo_train import check_mask, check_train
from chistream.field.noise import estimate_noise
from chistream.field.unwrapping import unwrap_field
from chistream.physics.compiled import compiled

_TWO_PI = 2 * math.pi
_N_PARAMETERS = 4
_MAX_ITERATIONS = 30
_MAX_STEP = 1.0
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class EchoFit:
    """What the echoes say of every voxel; all maps ``(z, y, x)`` float32, 0 outside the mask.

    Parameters
    ----------
    frequency
        Field [Hz].
    frequency_sd
        Standard deviation of the field that the noise causes [Hz]: the Cramer-Rao bound.
    r2star
        Decay rate [1/s], >= 0.
    phase_offset
        Phase at TE = 0 [rad], in [-pi, pi].
    amplitude
        Magnitude at TE = 0, in the unit of the echoes.
    residual
        Misfit in units of the noise: root of the mean square over the degrees of freedom, 1 where
        only noise is left; 0 for two echoes, which leave no freedom.
    relative_residual
        Root of the part of the signal's energy that the model does not explain, in [0, 1].
    noise_sd
        Standard deviation of the noise in the real (and in the imaginary) part of an echo.
    """

    frequency: RealArray
    frequency_sd: RealArray
    r2star: RealArray
    phase_offset: RealArray
    amplitude: RealArray
    residual: RealArray
    relative_residual: RealArray
    noise_sd: float


def fit_echoes(
    echoes: ComplexArray,
    TE: npt.ArrayLike,
    mask: Mask,
    *,
    start: RealArray | None = None,
    noise_sd: float | None = None,
) -> EchoFit:
    r"""Fit amplitude, decay, phase offset and frequency to the complex echoes.

    .. math:: \min_{m, R_2^*, \varphi, f} \sum_e
              \left| s_e - m\, e^{-R_2^* TE_e + i (\varphi + 2 \pi f\, TE_e)} \right|^2

    Parameters
    ----------
    echoes
        Complex echoes ``(echoes, z, y, x)``, at least two, evenly spaced or not.
    TE
        Increasing echo times ``(echoes,)`` [s].
    mask
        Voxels to fit ``(z, y, x)``.
    start
        Frequency ``(z, y, x)`` [Hz] to start from, on the right multiple of 2 pi between echoes;
        default `unwrap_field`.
    noise_sd
        Standard deviation of the noise in the real part of an echo, equal in the imaginary part
        and in all voxels; 1 for whitened k-space and unitary transforms. Default: from the
        residuals of the fit, or with two echoes from the finest detail of the images.

    Returns
    -------
    EchoFit
        The maps.

    Raises
    ------
    ValueError
        If the shapes differ, or noise_sd is negative.
    ReconstructionError
        If there are fewer than two echoes, the echo times do not increase or the mask is empty.

    Notes
    -----
    Gauss-Newton on the logarithm of the signal's model, where the pairs (log m, R2*) and
    (phase, f) are orthogonal, so that a step is two weighted straight lines; a step that does not
    lower the misfit is halved. The start is the unwrapped slope of the phase over the echoes, and
    the fit stays on its multiple of 2 pi. R2* is free to be negative within the
    fit, because a bound would bias the mean of noisy voxels, and is reported as 0 then.
    The variance of f is :math:`\sigma^2 / (4\pi^2 \sum_e m_e^2 (TE_e - \overline{TE})^2)`, with
    the mean echo time weighted by :math:`m_e^2`.

    References
    ----------
    .. [1] Liu T, et al. Nonlinear formulation of the magnetic field to source relationship for
       robust quantitative susceptibility mapping. Magn Reson Med. 2013;69(2):467-476.
       doi:10.1002/mrm.24272
    """
    train, times = check_train(echoes, TE)
    mask = check_mask(mask, train)
    if noise_sd is not None and noise_sd < 0:
        raise ValueError(f"noise_sd must not be negative, got {noise_sd}")
    if start is None:
        start = unwrap_field(train, times, mask)
    if start.shape != mask.shape:
        raise ValueError(f"start {start.shape} and echoes {train.shape} differ in shape")

    signals = np.ascontiguousarray(train[:, mask].T)
    fitted = fit_signals(signals, times, start[mask].astype(np.float64))
    energy, misfit = np.sum(np.abs(signals).astype(np.float64) ** 2, axis=1), fitted[:, 5]
    freedom = 2 * len(times) - _N_PARAMETERS
    if noise_sd is None:
        noise_sd = noise_from_misfit(misfit, freedom) if freedom else estimate_noise(train)

    chi = np.sqrt(misfit / (freedom * noise_sd**2)) if freedom and noise_sd else 0 * misfit
    relative = np.sqrt(np.minimum(misfit / np.maximum(energy, np.finfo(float).tiny), 1.0))
    return EchoFit(
        frequency=_on_grid(fitted[:, 0], mask),
        frequency_sd=_on_grid(noise_sd * fitted[:, 4], mask),
        r2star=_on_grid(fitted[:, 1], mask),
        phase_offset=_on_grid(fitted[:, 2], mask),
        amplitude=_on_grid(fitted[:, 3], mask),
        residual=_on_grid(chi, mask),
        relative_residual=_on_grid(relative, mask),
        noise_sd=noise_sd,
    )


def noise_from_misfit(misfit: RealArray, freedom: int) -> float:
    """Estimate the noise from the median misfit, which few voxels that fit badly cannot move.

    Parameters
    ----------
    misfit
        Sum of the squares that a fit leaves ``(voxels,)``.
    freedom
        Degrees of freedom that it leaves, >= 1.

    Returns
    -------
    float
        Standard deviation of the noise in the real part of an echo.
    """
    # Median of the chi-squared distribution (Wilson-Hilferty).
    median = freedom * (1 - 2 / (9 * freedom)) ** 3
    return float(np.sqrt(np.median(misfit) / median))


def _on_grid(column: RealArray, mask: Mask) -> RealArray:
    volume = np.zeros(mask.shape, dtype=np.float32)
    volume[mask] = column
    return volume


@compiled
def fit_signals(signals: ComplexArray, TE: RealArray, start: RealArray) -> RealArray:
    """Fit each of the signals ``(voxels, echoes)`` from its start frequency [Hz].

    The columns of the result ``(voxels, 6)``: frequency [Hz], R2* [1/s], phase offset [rad],
    amplitude, standard deviation of the frequency for noise 1 [Hz], misfit (sum of squares).
    """
    result = np.zeros((len(signals), 6))
    centre = TE.mean()
    span = TE[-1] - TE[0]
    times = (TE - centre) / span
    for voxel in range(len(signals)):
        signal = signals[voxel].astype(np.complex128)
        scale = np.abs(signal).max()
        if not scale > 0:
            continue
        signal /= scale
        guess = first_guess(signal, times, _TWO_PI * span * start[voxel])
        level, rate, misfit, information = descend(signal, times, guess[0], guess[1])
        turn = rate.imag / span
        decay = -rate.real / span
        result[voxel, 0] = turn / _TWO_PI
        result[voxel, 1] = max(decay, 0.0)
        phase = level.imag - turn * centre
        result[voxel, 2] = phase - _TWO_PI * math.floor(phase / _TWO_PI + 0.5)
        result[voxel, 3] = scale * math.exp(level.real + result[voxel, 1] * centre)
        result[voxel, 4] = 1.0 / (_TWO_PI * span * scale * math.sqrt(information))
        result[voxel, 5] = misfit * scale**2
    return result


@compiled
def first_guess(signal: ComplexArray, times: RealArray, turn: float) -> tuple[complex, complex]:
    """Guess log signal at the central time and its rate, given the turn of the phase."""
    sums = np.zeros(5)
    mean = 0j
    for echo in range(len(times)):
        angle = turn * times[echo]
        mean += signal[echo] * complex(math.cos(angle), -math.sin(angle))
        power = abs(signal[echo]) ** 2
        if power > 0:
            height = 0.5 * math.log(power)
            sums[0] += power
            sums[1] += power * times[echo]
            sums[2] += power * times[echo] ** 2
            sums[3] += power * height
            sums[4] += power * height * times[echo]
    determinant = sums[0] * sums[2] - sums[1] ** 2
    slope = 0.0
    if determinant > 1e-9 * sums[0] ** 2:
        slope = (sums[0] * sums[4] - sums[1] * sums[3]) / determinant
    level = (sums[3] - slope * sums[1]) / sums[0]
    return complex(level, math.atan2(mean.imag, mean.real)), complex(slope, turn)


@compiled
def descend(
    signal: ComplexArray, times: RealArray, level: complex, rate: complex
) -> tuple[complex, complex, float, float]:
    """Fit exp(level + rate * time); return level, rate, misfit and information on the rate."""
    misfit, information, level_step, rate_step = propose(signal, times, level, rate)
    for _ in range(_MAX_ITERATIONS):
        if abs(level_step) < _TOLERANCE and abs(rate_step) < _TOLERANCE:
            break
        tried = propose(signal, times, level + level_step, rate + rate_step)
        if tried[0] <= misfit:
            level += level_step
            rate += rate_step
            misfit, information, level_step, rate_step = tried
        else:
            level_step /= 2
            rate_step /= 2
    return level, rate, misfit, information


@compiled
def propose(
    signal: ComplexArray, times: RealArray, level: complex, rate: complex
) -> tuple[float, float, complex, complex]:
    """Return misfit, information on the rate, and the Gauss-Newton step of level and rate."""
    misfit = w0 = w1 = w2 = 0.0
    b0 = b1 = 0j
    for echo in range(len(times)):
        exponent = level + rate * times[echo]
        size = math.exp(min(exponent.real, 20.0))
        model = complex(size * math.cos(exponent.imag), size * math.sin(exponent.imag))
        rest = signal[echo] - model
        misfit += rest.real**2 + rest.imag**2
        weight = size * size
        w0 += weight
        w1 += weight * times[echo]
        w2 += weight * times[echo] ** 2
        gradient = rest * model.conjugate()
        b0 += gradient
        b1 += gradient * times[echo]
    information = max(w2 - w1 * w1 / w0, 1e-12 * w0)
    rate_step = (b1 - b0 * (w1 / w0)) / information
    level_step = (b0 - rate_step * w1) / w0
    largest = max(abs(rate_step), abs(level_step), _MAX_STEP)
    return (
        misfit,
        information,
        level_step * (_MAX_STEP / largest),
        rate_step * (_MAX_STEP / largest),
    )
