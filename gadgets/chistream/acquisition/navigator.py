"""Breathing from navigator readouts: how far the diaphragm moved between heartbeats."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from chistream.acquisition.estimators import edge_shifts, fit_template, shifts_of
from chistream.acquisition.gating_options import Estimator
from chistream.acquisition.profiles import (
    OVERSAMPLING,
    coil_combination,
    combined_power,
    smoothing_of,
)
from chistream.arrays import ComplexArray, RealArray

_SEARCH_RANGE = 50.0
"""Largest displacement that is looked for [mm]; deep breaths move the diaphragm 40 mm."""

_MODE_STEP = 0.05
"""Step of the search for the most frequent position [mm]."""

_SAME_POSITION = 1.0
"""Profiles this close to end-expiration [mm] are averaged into the template."""

LOWEST_SNR = 4.0
"""Profiles whose edge is less than this high above what the fit leaves say nothing."""

_LARGEST_SCALE = 4.0
"""A profile this many times brighter or darker than the template shows something else."""


@dataclass(frozen=True, eq=False)
class Template:
    """End-expiration as later navigators are compared with it.

    Parameters
    ----------
    profile
        Combined profile ``(points,)``.
    combination
        Weights of the coils at each place ``(coils, points)``.
    smoothing
        Resolution of the profiles [samples].
    floor
        Power of noise and background that is subtracted.
    spacing
        Distance of two points [mm].
    offset
        Position of end-expiration in the template's own displacements [mm].
    first
        Position of end-expiration relative to the first navigator [mm].
    estimator
        How displacements are found.
    """

    profile: RealArray
    combination: ComplexArray
    smoothing: float
    floor: float
    spacing: float
    offset: float
    first: float
    estimator: Estimator


class Measured(NamedTuple):
    """What navigators say.

    Parameters
    ----------
    displacement
        Distance from end-expiration ``(n,)`` [mm], positive towards higher indices of the column;
        NaN where the profile cannot be trusted.
    snr
        Height of the profile's edge over what the template leaves unexplained ``(n,)``; 0 without
        signal.
    """

    displacement: RealArray
    snr: RealArray


def learn_template(
    samples: ComplexArray,
    column: float,
    bandwidth: float,
    noise_variances: RealArray | None = None,
    estimator: Estimator = "correlation",
) -> Template:
    """Find end-expiration among navigators, and average the profiles that were measured there.

    Parameters
    ----------
    samples
        Navigator readouts ``(n, coils, samples)``, in time order, n >= 1.
    column
        Length of the column that a readout covers [mm].
    bandwidth
        Width [mm] within which positions count as equally frequent (the kernel's deviation).
    noise_variances
        Noise of the coils ``(coils,)``, any scale. None takes the darkest tenth of each coil's
        mean profile as its noise.
    estimator
        ``correlation``, ``template`` (least squares around the edge) or ``edge``.

    Returns
    -------
    Template
        What `measure` compares with.

    Notes
    -----
    Breathing rests at end-expiration, which makes it the most frequent position. It is looked for
    twice: among correlations with the first profile, and again with the average of the profiles
    that lie there.
    """
    smoothing = smoothing_of(column, samples.shape[-1])
    combination = coil_combination(samples, smoothing, noise_variances)
    combined = combined_power(samples, combination, smoothing)
    floor = float(np.quantile(combined, 0.1))
    profiles = _profiles(combined, floor)
    spacing = column / (OVERSAMPLING * samples.shape[-1])
    rough = spacing * shifts_of(profiles, profiles[0], _max_shift(spacing, profiles.shape[1]))
    first = most_frequent(rough, bandwidth)
    distance = np.abs(rough - first)
    profile = profiles[distance <= max(_SAME_POSITION, distance.min())].mean(axis=0)
    template = Template(profile, combination, smoothing, floor, spacing, 0.0, first, estimator)
    found = measure(samples, template).displacement
    known = found[np.isfinite(found)]
    return replace(template, offset=most_frequent(known, bandwidth)) if known.size else template


def measure(samples: ComplexArray, template: Template) -> Measured:
    """Measure how far each navigator lies from end-expiration, and how sure that is.

    Parameters
    ----------
    samples
        Navigator readouts ``(n, coils, samples)``.
    template
        What they are compared with.

    Returns
    -------
    Measured
        Displacements and the quality of each profile.

    Notes
    -----
    Whatever the estimator, the template is fitted where it puts the edge: a profile whose edge
    stands out less than fourfold from what the fit leaves, or that is four times brighter or darker
    than the template, is not believed.
    """
    profiles = _profiles(
        combined_power(samples, template.combination, template.smoothing), template.floor
    )
    largest = _max_shift(template.spacing, profiles.shape[1])
    spacing, reference = template.spacing, template.profile
    if template.estimator == "edge":
        shifts = edge_shifts(profiles, reference, largest, spacing)
    else:
        shifts = shifts_of(profiles, reference, largest)
    has_signal = np.isfinite(shifts)
    fit = fit_template(profiles, reference, np.where(has_signal, shifts, 0.0), spacing)
    if template.estimator == "template":
        shifts = np.where(has_signal, fit.shifts, np.nan)
    snr = fit.scale * np.ptp(reference) / np.maximum(fit.residual, 1e-6 * np.ptp(reference))
    is_alike = np.abs(np.log(np.maximum(fit.scale, 1e-9))) <= np.log(_LARGEST_SCALE)
    is_good = has_signal & (snr >= LOWEST_SNR) & is_alike
    found = np.where(is_good, spacing * shifts - template.offset, np.nan)
    return Measured(found, np.where(has_signal, snr, 0.0))


def most_frequent(positions: RealArray, bandwidth: float) -> float:
    """Find the position with the most others around it.

    Parameters
    ----------
    positions
        Positions ``(n,)`` [mm], n >= 1.
    bandwidth
        Standard deviation of the Gaussian that weighs what is near [mm].

    Returns
    -------
    float
        Maximum of the kernel density estimate [mm], to 0.05 mm.

    Examples
    --------
    >>> round(most_frequent(np.array([0.1, 8.0, 0.0, 5.0, -0.1]), 1.0), 1)
    0.0
    """
    grid = np.arange(positions.min(), positions.max() + _MODE_STEP, _MODE_STEP)
    density = np.exp(-0.5 * ((grid[:, None] - positions) / bandwidth) ** 2).sum(axis=1)
    # The first of equals: rounding must not choose between two positions.
    return float(grid[np.argmax(density >= density.max() * (1 - 1e-9))])


def _profiles(combined: RealArray, floor: float) -> RealArray:
    profiles: RealArray = np.sqrt(np.maximum(combined - floor, 0.0))
    return profiles


def _max_shift(spacing: float, n_points: int) -> int:
    return int(np.clip(_SEARCH_RANGE / spacing, 2, n_points // 2))
