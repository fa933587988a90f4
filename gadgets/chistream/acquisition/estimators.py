"""How far a profile is shifted against a template: three ways, all to a fraction of a point."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyfftw
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view

from chistream.arrays import ComplexArray, IntArray, RealArray

HALF_WINDOW = 40.0
"""The template is fitted this far on either side of its edge [mm]."""

_REACH = 4.0
"""Shifts around that of the largest correlation at which the template is fitted [mm]."""

_EDGE_WIDTH = 12.0
"""Length of the smoothing before the steepest place is looked for [mm]."""


class Fit(NamedTuple):
    """Where a template fits profiles best, and how well.

    Parameters
    ----------
    shifts
        Shifts ``(n,)`` [points].
    scale
        Amplitude of each profile relative to the template's ``(n,)``.
    residual
        Root mean square of what the fit leaves ``(n,)``, in the profiles' unit.
    """

    shifts: RealArray
    scale: RealArray
    residual: RealArray


class _Correlation(NamedTuple):
    """What a correlation needs of the template alone.

    Parameters
    ----------
    spectrum
        Conjugate spectrum of the template, of ``size`` points.
    size
        Length of the transform.
    low, high
        Range of the profile's points that overlap the template at each shift ``(shifts,)``.
    energy
        Energy of the template's points that overlap ``(shifts,)``.
    """

    spectrum: ComplexArray
    size: int
    low: IntArray
    high: IntArray
    energy: RealArray


def shifts_of(profiles: RealArray, template: RealArray, max_shift: int) -> RealArray:
    r"""Find by how much a template must be shifted for the largest normalised cross-correlation.

    .. math:: \max_{s} \frac{\sum_r p(r + s)\, t(r)}
                            {\sqrt{\sum_r p(r + s)^2 \sum_r t(r)^2}}

    The sums run over the points that both have after the shift. A parabola through the three
    highest points gives the fraction.

    Parameters
    ----------
    profiles
        Profiles ``(n, points)``, not negative.
    template
        The profile to shift ``(points,)``.
    max_shift
        Largest shift [points], below the number of points.

    Returns
    -------
    RealArray
        Shifts ``(n,)`` [points]; NaN for a profile with no signal or not finite.
    """
    prepared = _correlation(template.tobytes(), max_shift)
    spectrum = scipy.fft.rfft(profiles, prepared.size) * prepared.spectrum
    correlation = scipy.fft.irfft(spectrum, prepared.size)
    score = np.concatenate([correlation[:, -max_shift:], correlation[:, : max_shift + 1]], axis=1)
    energy = _running_energy(profiles)
    overlap = (energy[:, prepared.high] - energy[:, prepared.low]) * prepared.energy
    score /= np.sqrt(np.maximum(overlap, np.finfo(float).tiny))
    best, fraction = _peak(score)
    return np.where(energy[:, -1] > 0, best - max_shift + fraction, np.nan)


def fit_template(
    profiles: RealArray, template: RealArray, shifts: RealArray, spacing: float
) -> Fit:
    r"""Fit a template's edge to profiles by least squares, near known shifts.

    .. math:: \min_{s, a} \sum_{|r - e| \le 40\,\mathrm{mm}} (p(r + s) - a\, t(r))^2

    around the template's steepest place e. The amplitude is free, since the coils' sensitivities
    stay where they are while the edge moves under them.

    Parameters
    ----------
    profiles
        Profiles ``(n, points)``.
    template
        The template ``(points,)``.
    shifts
        Where to look ``(n,)`` [points], such as `shifts_of` found.
    spacing
        Distance of two points [mm].

    Returns
    -------
    Fit
        The best shift within 4 mm.
    """
    reach = max(2, round(_REACH / spacing))
    half = max(3, min(round(HALF_WINDOW / spacing), len(template) // 4))
    edge = int(
        np.clip(round(_steepest_of(template.tobytes(), spacing)), half, len(template) - 1 - half)
    )
    piece = template[edge - half : edge + half + 1]
    centres = np.rint(shifts).astype(int)
    product, energy = match(profiles, piece, centres + edge - half, reach)
    error = energy - product**2 / (piece @ piece)
    best, fraction = _peak(-error)
    rows = np.arange(len(profiles))
    residual = np.sqrt(np.maximum(error[rows, best], 0.0) / len(piece))
    return Fit(centres + best - reach + fraction, product[rows, best] / (piece @ piece), residual)


def match(
    profiles: RealArray, piece: RealArray, starts: IntArray, reach: int
) -> tuple[RealArray, RealArray]:
    """Compare a piece with profiles at several places; beyond its ends a profile stays as it is.

    Parameters
    ----------
    profiles
        Profiles ``(n, points)``.
    piece
        What they are compared with ``(length,)``.
    starts
        Where the piece begins in the middle one of the places ``(n,)`` [points].
    reach
        Places on either side of that.

    Returns
    -------
    product : RealArray
        Sum of the products of profile and piece ``(n, 2 reach + 1)``.
    energy : RealArray
        Sum of the profile's squares there, of the same shape.
    """
    around = starts[:, None] + np.arange(-reach, reach + len(piece))
    index = np.clip(around, 0, profiles.shape[1] - 1)
    strips = np.take_along_axis(profiles, index, axis=1)
    windows = sliding_window_view(strips, len(piece), axis=1)
    product: RealArray = windows @ piece
    energy: RealArray = sliding_window_view(strips**2, len(piece), axis=1).sum(axis=-1)
    return product, energy


def edge_shifts(
    profiles: RealArray, template: RealArray, max_shift: int, spacing: float
) -> RealArray:
    """Find how far the steepest place of each profile lies from the template's.

    Parameters
    ----------
    profiles
        Profiles ``(n, points)``.
    template
        The template ``(points,)``.
    max_shift
        Largest shift that is looked for [points].
    spacing
        Distance of two points [mm].

    Returns
    -------
    RealArray
        Shifts ``(n,)`` [points].
    """
    middle = _steepest_of(template.tobytes(), spacing)
    first = max(0, round(middle) - max_shift)
    last = min(len(template), round(middle) + max_shift + 1)
    return _steepest(profiles, spacing, first, last) - middle


@lru_cache(maxsize=4)
def _correlation(template: bytes, max_shift: int) -> _Correlation:
    """Prepare a template, float64 as bytes; scans compare hundreds of profiles with one."""
    values = np.frombuffer(template)
    n = len(values)
    size = pyfftw.next_fast_len(2 * n)
    shifts = np.arange(-max_shift, max_shift + 1)
    low, high = np.maximum(shifts, 0), np.minimum(n + shifts, n)
    energy = _running_energy(values)
    overlap = energy[high - shifts] - energy[low - shifts]
    return _Correlation(scipy.fft.rfft(values, size).conj(), size, low, high, overlap)


@lru_cache(maxsize=4)
def _steepest_of(template: bytes, spacing: float) -> float:
    """Find the steepest place [points] of a template, float64 as bytes."""
    return float(_steepest(np.frombuffer(template)[None], spacing)[0])


def _steepest(
    profiles: RealArray, spacing: float, first: int = 0, last: int | None = None
) -> RealArray:
    """Find the steepest place of each profile [points], to a fraction."""
    width = max(3, round(_EDGE_WIDTH / spacing))
    kernel = np.gradient(np.hanning(width + 2)[1:-1])
    # Beyond its ends a profile goes on as it ends: no edge there.
    padded = np.pad(profiles, ((0, 0), (width, width)), mode="edge")
    size = pyfftw.next_fast_len(padded.shape[1] + width)
    slope = np.fft.irfft(np.fft.rfft(padded, size) * np.fft.rfft(kernel, size), size)
    delay = width + (width - 1) // 2
    centred = np.abs(slope[:, delay : delay + profiles.shape[1]])[:, first:last]
    best, fraction = _peak(centred)
    # The middle of an even kernel lies between two of its points.
    return first + best + fraction - 0.5 * (1 - width % 2)


def _peak(score: RealArray) -> tuple[IntArray, RealArray]:
    """Find the highest point of each row, and the fraction from a parabola through three."""
    best = np.clip(score.argmax(axis=1), 1, score.shape[1] - 2)
    left, middle, right = (score[np.arange(len(score)), best + step] for step in (-1, 0, 1))
    curvature = left - 2 * middle + right
    curved = curvature < 0
    vertex = np.where(curved, (left - right) / (2 * np.where(curved, curvature, -1.0)), 0.0)
    return best, np.clip(vertex, -1.0, 1.0)


def _running_energy(profiles: RealArray) -> RealArray:
    start = np.zeros((*profiles.shape[:-1], 1))
    return np.concatenate([start, np.cumsum(profiles**2, axis=-1)], axis=-1)
