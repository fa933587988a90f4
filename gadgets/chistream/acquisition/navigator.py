"""Breathing from navigator readouts: how far the diaphragm moved between heartbeats."""

from dataclasses import dataclass

import numpy as np
import pyfftw

from chistream.arrays import ComplexArray, RealArray

_OVERSAMPLING = 4
"""Profile points for each sample: fine enough that a parabola finds a maximum to 1/50 sample."""

_MARGIN = 0.1
"""Part of the column left out at each end: it fades there whatever the patient does, which would
pull every displacement towards zero."""

_SEARCH_RANGE = 50.0
"""Largest displacement that is looked for [mm]; deep breaths move the diaphragm 40 mm."""

_MODE_STEP = 0.05
"""Step of the search for the most frequent position [mm]."""

_SAME_POSITION = 1.0
"""Profiles this close to end-expiration [mm] are averaged into the template."""


@dataclass(frozen=True, eq=False)
class Template:
    """End-expiration as later navigators are compared with it.

    Parameters
    ----------
    profile
        Combined profile ``(points,)``.
    coil_weights
        Weight of each coil's power ``(coils,)``.
    floor
        Power of noise and background that is subtracted.
    spacing
        Distance of two points [mm].
    offset
        Position of end-expiration in the template's own displacements [mm].
    first
        Position of end-expiration relative to the first navigator [mm].
    """

    profile: RealArray
    coil_weights: RealArray
    floor: float
    spacing: float
    offset: float
    first: float


def learn_template(
    samples: ComplexArray, column: float, bandwidth: float, noise_variances: RealArray | None = None
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

    Returns
    -------
    Template
        What `displacements` compares with.

    Notes
    -----
    Breathing rests at end-expiration, which makes it the most frequent position. Coils are
    combined as the root of the sum of squares with weights 1 / noise variance: a nearby, quiet
    coil decides, a noisy one cannot.
    """
    weights = _coil_weights(_mean_power(samples), noise_variances)
    combined = _combined_power(samples, weights)
    floor = float(np.quantile(combined, 0.1))
    profiles = _profiles(combined, floor)
    spacing = column / combined.shape[1]
    rough = spacing * shifts_of(profiles, profiles[0], _max_shift(spacing, profiles.shape[1]))
    first = most_frequent(rough, bandwidth)
    distance = np.abs(rough - first)
    profile = profiles[distance <= max(_SAME_POSITION, distance.min())].mean(axis=0)
    fine = spacing * shifts_of(profiles, profile, _max_shift(spacing, len(profile)))
    offset = most_frequent(fine, bandwidth)
    return Template(profile, weights, floor, spacing, offset, first)


def displacements(samples: ComplexArray, template: Template) -> RealArray:
    """Measure how far each navigator lies from end-expiration.

    Parameters
    ----------
    samples
        Navigator readouts ``(n, coils, samples)``.
    template
        What they are compared with.

    Returns
    -------
    RealArray
        Displacements ``(n,)`` [mm], 0 at end-expiration, positive towards higher indices of the
        column; NaN where a profile has no signal or is not finite.
    """
    profiles = _profiles(_combined_power(samples, template.coil_weights), template.floor)
    largest = _max_shift(template.spacing, profiles.shape[1])
    return template.spacing * shifts_of(profiles, template.profile, largest) - template.offset


def shifts_of(profiles: RealArray, template: RealArray, max_shift: int) -> RealArray:
    r"""Find by how much a template must be shifted to match each profile, by least squares.

    .. math:: \min_{s, a} \sum_r \frac{(p(r + s) - a\, t(r))^2}{\sum_r p(r + s)^2}

    The sums run over the points that both have after the shift; the smallest value is that of the
    largest normalised correlation. A parabola through its three highest points gives the fraction.

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
    best = np.clip(score.argmax(axis=1), 1, 2 * max_shift - 1)
    left, middle, right = (score[np.arange(len(score)), best + step] for step in (-1, 0, 1))
    curvature = left - 2 * middle + right
    curved = curvature < 0
    vertex = np.where(curved, (left - right) / (2 * np.where(curved, curvature, -1.0)), 0.0)
    fractional = best - max_shift + np.clip(vertex, -1.0, 1.0)
    return np.where(energy[:, -1] > 0, fractional, np.nan)


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


def _mean_power(samples: ComplexArray) -> RealArray:
    # One navigator at a time: the fine profiles of all coils together would outweigh k-space.
    power = np.zeros((samples.shape[1], _OVERSAMPLING * samples.shape[2]))
    for one in samples:
        power += _power(one)
    return power / len(samples)


def _combined_power(samples: ComplexArray, weights: RealArray) -> RealArray:
    return np.stack([weights @ _power(one) for one in samples])


def _power(samples: ComplexArray) -> RealArray:
    # A Hann window against ringing, zeros for a fine grid: resolution 2 samples, noise less. Where
    # the samples start does not matter to a magnitude.
    n = samples.shape[-1]
    image = np.fft.ifft(samples * np.hanning(n + 2)[1:-1], _OVERSAMPLING * n, norm="ortho")
    power: RealArray = np.abs(np.fft.fftshift(image, -1)) ** 2
    return power


def _coil_weights(mean: RealArray, noise_variances: RealArray | None) -> RealArray:
    noise = np.quantile(mean, 0.1, axis=1) if noise_variances is None else noise_variances
    # A coil quieter than 1e-4 of the strongest is either dead or noise-free: no more weight.
    level = mean.max() if noise_variances is None else noise.max()
    return 1 / np.maximum(noise, max(1e-4 * level, np.finfo(float).tiny))


def _profiles(combined: RealArray, floor: float) -> RealArray:
    margin = int(_MARGIN * combined.shape[-1])
    profiles: RealArray = np.sqrt(np.maximum(combined - floor, 0.0))
    return profiles[..., margin : combined.shape[-1] - margin]


def _max_shift(spacing: float, n_points: int) -> int:
    return int(np.clip(_SEARCH_RANGE / spacing, 2, n_points // 2))


def _running_energy(profiles: RealArray) -> RealArray:
    start = np.zeros((*profiles.shape[:-1], 1))
    return np.concatenate([start, np.cumsum(profiles**2, axis=-1)], axis=-1)
