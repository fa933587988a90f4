"""How far a profile is shifted against a template: three ways, all to a fraction of a point."""

from typing import NamedTuple

import numpy as np
import pyfftw

from chistream.arrays import IntArray, RealArray

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
    n = profiles.shape[1]
    size = pyfftw.next_fast_len(2 * n)
    spectrum = np.fft.rfft(profiles, size) * np.fft.rfft(template, size).conj()
    correlation = np.fft.irfft(spectrum, size)
    shifts = np.arange(-max_shift, max_shift + 1)
    low, high = np.maximum(shifts, 0), np.minimum(n + shifts, n)
    energy = _running_energy(profiles)
    template_energy = _running_energy(template)
    overlap = (energy[:, high] - energy[:, low]) * (
        template_energy[high - shifts] - template_energy[low - shifts]
    )
    score = correlation[:, shifts] / np.sqrt(np.maximum(overlap, np.finfo(float).tiny))
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
        np.clip(round(_steepest(template[None], spacing)[0]), half, len(template) - 1 - half)
    )
    piece = template[edge - half : edge + half + 1]
    centres = np.rint(shifts).astype(int)
    places = (centres[:, None] + edge + np.arange(-reach, reach + 1))[..., None]
    index = np.clip(places + np.arange(-half, half + 1), 0, profiles.shape[1] - 1)
    windows = profiles[np.arange(len(profiles))[:, None, None], index]
    product = windows @ piece
    error = (windows**2).sum(axis=-1) - product**2 / (piece @ piece)
    best, fraction = _peak(-error)
    rows = np.arange(len(profiles))
    residual = np.sqrt(np.maximum(error[rows, best], 0.0) / len(piece))
    return Fit(centres + best - reach + fraction, product[rows, best] / (piece @ piece), residual)


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
    middle = float(_steepest(template[None], spacing)[0])
    first = max(0, round(middle) - max_shift)
    last = min(len(template), round(middle) + max_shift + 1)
    return _steepest(profiles, spacing, first, last) - middle


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
