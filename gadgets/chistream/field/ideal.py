"""Water, fat, field and R2* of every voxel by a non-linear fit to the complex echoes.

The amplitudes are eliminated: for a given field and R2* they follow by linear least squares, and
what the projection onto the model leaves of the signal is the misfit to be lowered.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields

import numpy as np

from chistream.arrays import ComplexArray, IntArray, Mask, RealArray
from chistream.physics.compiled import compiled

_TWO_PI = 2 * math.pi
_MAX_ITERATIONS = 25
_TOLERANCE = 0.005
_LARGEST_STEP = 60.0
_FASTEST_DECAY = 1500.0
_SLOWEST_DECAY = -100.0
_CHUNK = 20_000


@dataclass(frozen=True)
class Separated:
    """What the echoes of each voxel say; all ``(voxels,)``.

    Parameters
    ----------
    frequency
        Field [Hz].
    r2star
        Common decay rate [1/s]; noise can make it negative.
    water, fat
        Complex amplitudes at TE = 0.
    unit_sd
        Standard deviation of the field for noise of 1 in the real part of an echo [Hz]: the
        Cramer-Rao bound.
    misfit
        Sum of the squares of what is left of the signal.
    """

    frequency: RealArray
    r2star: RealArray
    water: ComplexArray
    fat: ComplexArray
    unit_sd: RealArray
    misfit: RealArray

    def at(self, voxels: IntArray) -> "Separated":
        """Pick some voxels."""
        return Separated(*(getattr(self, field.name)[voxels] for field in fields(self)))

    def replaced(
        self, voxels: IntArray, other: "Separated", which: Mask | slice = slice(None)
    ) -> "Separated":
        """Copy, with some voxels taken from another fit."""
        columns = []
        for field in fields(self):
            column = getattr(self, field.name).copy()
            column[voxels] = getattr(other, field.name)[which]
            columns.append(column)
        return Separated(*columns)


def separate_signals(
    signals: ComplexArray,
    TE: RealArray,
    precession: ComplexArray,
    frequency: RealArray,
    r2star: RealArray,
    *,
    fit_decay: bool = True,
) -> Separated:
    r"""Fit water, fat, field and R2* to each of the signals.

    .. math:: \min_{\rho_w, \rho_f, f, R_2^*} \sum_e \left| s_e - (\rho_w + \rho_f c_e)
              e^{(i 2 \pi f - R_2^*) TE_e} \right|^2

    Parameters
    ----------
    signals
        Complex echoes ``(voxels, echoes)``, at least three.
    TE
        True echo times ``(echoes,)`` [s].
    precession
        c, what has become of fat's signal at each echo ``(echoes,)``.
    frequency
        Start ``(voxels,)`` [Hz], in the basin of the wanted minimum.
    r2star
        Start ``(voxels,)`` [1/s].
    fit_decay
        Whether R2* is fitted, or left as it is.

    Returns
    -------
    Separated
        The maps.

    Notes
    -----
    Gauss-Newton on the projected residual with Kaufman's gradient; field and R2* are the real and
    imaginary part of one complex frequency, in which the model is analytic, so that a step is one
    complex division. Halved where it does not lower the misfit.

    References
    ----------
    .. [1] Reeder SB, et al. Iterative decomposition of water and fat with echo asymmetry and
       least-squares estimation (IDEAL). Magn Reson Med. 2005;54(3):636-644. doi:10.1002/mrm.20624
    .. [2] Yu H, et al. Multiecho water-fat separation and simultaneous R2* estimation with
       multifrequency fat spectrum modeling. Magn Reson Med. 2008;60(5):1122-1134.
       doi:10.1002/mrm.21737
    .. [3] Golub GH, Pereyra V. The differentiation of pseudo-inverses and nonlinear least squares
       problems whose variables separate. SIAM J Numer Anal. 1973;10(2):413-432.
       doi:10.1137/0710036
    """
    n_voxels = len(signals)
    rates = np.empty((n_voxels, 4))
    amplitudes = np.empty((n_voxels, 2), dtype=np.complex128)

    def fit(start: int) -> None:
        part = slice(start, start + _CHUNK)
        fit_voxels(
            signals[part],
            TE,
            precession,
            frequency[part],
            r2star[part],
            fit_decay,
            rates[part],
            amplitudes[part],
        )

    with ThreadPoolExecutor() as pool:
        list(pool.map(fit, range(0, n_voxels, _CHUNK)))
    return Separated(*rates[:, :2].T, *amplitudes.T, *rates[:, 2:].T)


@compiled
def fit_voxels(
    signals: ComplexArray,
    TE: RealArray,
    precession: ComplexArray,
    frequency: RealArray,
    r2star: RealArray,
    fit_decay: bool,
    rates: RealArray,
    amplitudes: ComplexArray,
) -> None:
    """Fit each signal; write frequency, R2*, unit_sd, misfit and the two amplitudes."""
    signal = np.empty(len(TE), np.complex128)
    work = np.empty((4, len(TE)), np.complex128)
    for voxel in range(len(signals)):
        signal[:] = signals[voxel]
        start = complex(frequency[voxel], r2star[voxel] / _TWO_PI)
        rate, misfit, information = descend(signal, TE, precession, start, fit_decay, work)
        energy = (np.abs(signal) ** 2).sum()
        rates[voxel, 0] = rate.real
        rates[voxel, 1] = _TWO_PI * rate.imag
        rates[voxel, 2] = 1.0 / math.sqrt(max(information, 1e-12 * energy, 1e-30))
        rates[voxel, 3] = misfit
        solve_amplitudes(signal, TE, precession, rate, amplitudes[voxel])


@compiled
def descend(
    signal: ComplexArray,
    TE: RealArray,
    precession: ComplexArray,
    rate: complex,
    fit_decay: bool,
    work: ComplexArray,
) -> tuple[complex, float, float]:
    """Fit the rate f + i R2* / 2 pi [Hz] of a signal; return rate, misfit and information."""
    misfit, step, information = project(signal, TE, precession, rate, work)
    for _ in range(_MAX_ITERATIONS):
        if not fit_decay:
            step = complex(step.real, 0.0)
        size = abs(step)
        if size < _TOLERANCE:
            break
        if size > _LARGEST_STEP:
            step *= _LARGEST_STEP / size
        tried_rate = bounded(rate + step)
        tried = project(signal, TE, precession, tried_rate, work)
        if tried[0] <= misfit:
            rate = tried_rate
            misfit, step, information = tried
        else:
            step *= 0.5
    return rate, misfit, information


@compiled
def bounded(rate: complex) -> complex:
    """Keep R2* of a complex rate [Hz] within what the echoes can tell."""
    decay = min(max(rate.imag * _TWO_PI, _SLOWEST_DECAY), _FASTEST_DECAY)
    return complex(rate.real, decay / _TWO_PI)


@compiled
def project(
    signal: ComplexArray,
    TE: RealArray,
    precession: ComplexArray,
    rate: complex,
    work: ComplexArray,
) -> tuple[float, complex, float]:
    """Project a signal onto water and fat at a rate f + i R2* / 2 pi [Hz].

    Returns misfit, Gauss-Newton step of the rate and information on it; ``work`` ``(4, echoes)``
    is scratch.
    """
    n_echoes = len(TE)
    basis, rest, slope = work[:2], work[2], work[3]
    orthonormal_basis(TE, precession, rate, basis)
    first = second = 0j
    for echo in range(n_echoes):
        first += basis[0, echo].conjugate() * signal[echo]
        second += basis[1, echo].conjugate() * signal[echo]
    misfit = 0.0
    along_first = along_second = 0j
    for echo in range(n_echoes):
        model = first * basis[0, echo] + second * basis[1, echo]
        rest[echo] = signal[echo] - model
        misfit += rest[echo].real ** 2 + rest[echo].imag ** 2
        slope[echo] = complex(0.0, _TWO_PI * TE[echo]) * model
        along_first += basis[0, echo].conjugate() * slope[echo]
        along_second += basis[1, echo].conjugate() * slope[echo]
    information = 0.0
    gradient = 0j
    for echo in range(n_echoes):
        own = slope[echo] - along_first * basis[0, echo] - along_second * basis[1, echo]
        information += own.real**2 + own.imag**2
        gradient += own.conjugate() * rest[echo]
    if information <= 0.0:
        return misfit, 0j, 0.0
    return misfit, gradient / information, information


@compiled
def orthonormal_basis(
    TE: RealArray, precession: ComplexArray, rate: complex, basis: ComplexArray
) -> None:
    """Write an orthonormal basis of what water and fat can do at a rate [Hz]."""
    n_echoes = len(TE)
    norm = 0.0
    for echo in range(n_echoes):
        size = math.exp(-_TWO_PI * rate.imag * TE[echo])
        angle = _TWO_PI * rate.real * TE[echo]
        basis[0, echo] = complex(size * math.cos(angle), size * math.sin(angle))
        norm += size * size
    norm = math.sqrt(norm)
    overlap = 0j
    for echo in range(n_echoes):
        basis[1, echo] = basis[0, echo] * precession[echo]
        basis[0, echo] /= norm
        overlap += basis[0, echo].conjugate() * basis[1, echo]
    norm = 0.0
    for echo in range(n_echoes):
        basis[1, echo] -= overlap * basis[0, echo]
        norm += basis[1, echo].real ** 2 + basis[1, echo].imag ** 2
    norm = math.sqrt(norm)
    for echo in range(n_echoes):
        basis[1, echo] /= norm


@compiled
def solve_amplitudes(
    signal: ComplexArray,
    TE: RealArray,
    precession: ComplexArray,
    rate: complex,
    amplitudes: ComplexArray,
) -> None:
    """Solve the normal equations of water and fat at a rate [Hz]."""
    w00 = w11 = 0.0
    w01 = b0 = b1 = 0j
    for echo in range(len(TE)):
        size = math.exp(-_TWO_PI * rate.imag * TE[echo])
        angle = _TWO_PI * rate.real * TE[echo]
        demodulated = signal[echo] * complex(size * math.cos(angle), -size * math.sin(angle))
        power = size * size
        w00 += power
        w11 += power * abs(precession[echo]) ** 2
        w01 += power * precession[echo]
        b0 += demodulated
        b1 += precession[echo].conjugate() * demodulated
    determinant = w00 * w11 - abs(w01) ** 2
    amplitudes[0] = (w11 * b0 - w01 * b1) / determinant
    amplitudes[1] = (w00 * b1 - w01.conjugate() * b0) / determinant
