"""A centre frequency that drifts and breathes: found in the lines themselves, and taken out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit
from threadpoolctl import threadpool_limits

from chistream.arrays import ComplexArray, Mask, RealArray

_LINES = (24, 32)
"""Central partitions and lines that are looked at."""

_N_COILS = 6
_N_COLUMNS = 12
_PATCH = (3, 3)
"""Partitions and lines of which neighbours are predicted from each other."""

_SIGNAL = 1e-2
"""Part of a patch's largest variance at which a direction counts as signal. With a tenth of it, or
two rounds, chests without a drift were given one of a hertz; with three times as much, chests with
a drift were found to have none."""

_N_ROUNDS = 8
_DEPTH = 3
_SMALLEST_STEP = 1e-3
"""Rounds of which the next one is made, and the change that ends them [rad]."""

_LONGEST_WAVE = 120.0
"""Half a period of the fastest drift that is looked for, on average over the scan [s]."""

_MOST_WAVES = 4
_STILL = 0.05
"""Deviation of positions [mm] below which nobody breathes."""

_CHANCE = 0.01
"""Chance that a coefficient of nothing is believed. With three echoes one degree of freedom is left
for its standard error, and three times that is passed by one in five."""

_SMALLEST_SPAN = 0.3
"""A drift of less is left [Hz]: it is below the errors of the field, and may be none."""

_ALIKE = 0.9
"""Part of the variance of positions that slow waves explain, from which nobody can tell a drift
from breathing."""


@dataclass(frozen=True, eq=False)
class FrequencyDrift:
    """How the centre frequency moved.

    Parameters
    ----------
    offsets
        Of each line ``(z, y)`` [Hz], 0 on average over the lines; 0 where there is no line.
    per_mm
        Change with the diaphragm's or belt's position [Hz per its unit]; 0 if none was found.
    """

    offsets: RealArray
    per_mm: float

    @property
    def span(self) -> float:
        """Largest minus smallest offset [Hz]."""
        return float(np.ptp(self.offsets))


def estimate_drift(
    hybrid: ComplexArray,
    sampled: Mask,
    TE: Sequence[float],
    times: RealArray,
    positions: RealArray | None = None,
) -> FrequencyDrift | None:
    r"""Estimate how the centre frequency moved, from the consistency of neighbouring lines.

    .. math:: \min_{\varphi_e} \sum_{x, p} \left\| N_x \,
              P_p \left( e^{-i \varphi_e} y_e \right) \right\|^2, \qquad
              \varphi_e = \sum_j a_{ej} \, b_j(t, d), \qquad a_{ej} = c_j + 2 \pi \, TE_e \, f_j

    Coils that see the object differently make neighbouring lines predictable from each other: the
    patches P of a few lines and all coils span few directions, and N projects onto the others.
    Lines of other heartbeats, at another frequency, do not fit. Their phases are modelled by slow
    waves in time and by breathing, estimated for each echo by itself; what grows with TE is a
    frequency, what is common to all echoes (a shift of the heart) is none.

    Parameters
    ----------
    hybrid
        ``(echoes, coils, kz, ky, x)`` complex64, centred at ``n // 2``, at least three echoes.
    sampled
        Lines that hold data ``(echoes, kz, ky)``.
    TE
        Echo times [s].
    times
        When each line was measured ``(kz, ky)`` [s].
    positions
        Where the diaphragm was ``(kz, ky)`` [mm], or what a belt said; None: not known.

    Returns
    -------
    FrequencyDrift | None
        What was found; terms that a t test over the echoes does not tell from none are left out.
        None: the centre is not sampled fully, there are fewer than three echoes or two coils, no
        term is certain, or all together move by less than 0.3 Hz.

    Notes
    -----
    After the consistency-driven method of [1]_, with local predictions in place of sensitivities.
    A drift that is faster than breathing and slower than a line is not modelled.

    References
    ----------
    .. [1] Meineke J, Nielsen T. Data consistency-driven determination of B0-fluctuations in
       gradient-echo MRI. Magn Reson Med. 2019;81(5):3046-3055. doi:10.1002/mrm.27630
    """
    centre = _centre(sampled)
    if centre is None or len(hybrid) < 3 or hybrid.shape[1] < 2:
        return None
    known: Mask = np.logical_and.reduce(sampled)
    if positions is not None and np.std(positions[known]) < _STILL:
        positions = None
    basis = _basis(times, positions, known).astype(np.float32)
    block = _compressed(hybrid[:, :, centre[0], centre[1]])
    with threadpool_limits(1, "blas"):
        phases = _consistent_phases(block, basis[:, centre[0], centre[1]])
    frequencies = _frequencies(phases, np.asarray(TE))
    if not frequencies.any():
        return None
    offsets = np.tensordot(frequencies, basis, 1)
    if np.ptp(offsets) < _SMALLEST_SPAN:
        return None
    per_mm = 0.0
    if positions is not None:
        per_mm = float(frequencies[-1] / _spread(positions, known))
    return FrequencyDrift(offsets.astype(np.float32), per_mm)


def is_told_apart(times: RealArray, positions: RealArray, sampled: Mask) -> bool:
    """Tell whether a drift in time can be told from breathing.

    Parameters
    ----------
    times
        When each line was measured ``(kz, ky)`` [s].
    positions
        Where the diaphragm was ``(kz, ky)`` [mm].
    sampled
        Lines that hold data ``(echoes, kz, ky)``.

    Returns
    -------
    bool
        False if positions follow time so closely, as when the diaphragm sinks and sinks, that
        waves in time explain nine tenths of their variance. Who holds his breath is told apart.
    """
    known: Mask = np.logical_and.reduce(sampled)
    if np.std(positions[known]) < _STILL:
        return True
    *waves, breathing = (one[known] for one in _basis(times, positions, known))
    explained = np.stack(waves, axis=1)
    parts = np.linalg.lstsq(explained, breathing, rcond=None)[0]
    left = breathing - explained @ parts
    return bool(left @ left > (1 - _ALIKE) * (breathing @ breathing))


def remove_drift(hybrid: ComplexArray, TE: Sequence[float], drift: FrequencyDrift) -> None:
    """Turn lines back by the frequency they were measured at; in place.

    Parameters
    ----------
    hybrid
        ``(echoes, coils, kz, ky, x)`` complex64, centred at ``n // 2``.
    TE
        Echo times [s].
    drift
        What `estimate_drift` found.
    """
    for echo, time in enumerate(TE):
        turn = np.exp(-2j * np.pi * time * drift.offsets).astype(np.complex64)
        hybrid[echo] *= turn[:, :, None]


def _centre(sampled: Mask) -> tuple[slice, slice] | None:
    """Return the central lines, if every echo has all of them and they hold patches enough."""
    middle = [
        slice(max(0, n // 2 - most // 2), min(n, n // 2 - most // 2 + most))
        for n, most in zip(sampled.shape[1:], _LINES, strict=True)
    ]
    z, y = middle
    enough = z.stop - z.start >= 2 * _PATCH[0] and y.stop - y.start >= 4 * _PATCH[1]
    return (z, y) if enough and sampled[:, z, y].all() else None


def _basis(times: RealArray, positions: RealArray | None, known: Mask) -> RealArray:
    """Make waves in time and the positions, of zero mean over the known lines ``(n, kz, ky)``."""
    first, last = times[known].min(), times[known].max()
    span = max(float(last - first), 1e-6)
    n_waves = int(np.clip(span / _LONGEST_WAVE, 1, _MOST_WAVES))
    along = (times - first) / span
    functions = [np.cos(np.pi * (wave + 1) * along) for wave in range(n_waves)]
    if positions is not None:
        functions.append(positions / _spread(positions, known))
    return np.array([np.where(known, f - f[known].mean(), 0.0) for f in functions])


def _spread(positions: RealArray, known: Mask) -> float:
    return max(float(np.std(positions[known])), 1e-6)


def _compressed(block: ComplexArray) -> ComplexArray:
    """Bring a block ``(echoes, coils, z, y, x)`` to fewer coils and to fewer, mean columns."""
    flat = np.moveaxis(block, 1, 0).reshape(block.shape[1], -1)
    _, vectors = np.linalg.eigh(flat @ flat.conj().T)
    fewer = vectors[:, ::-1][:, :_N_COILS].conj().T
    coils = np.einsum("vc,eczyx->evzyx", fewer, block, optimize=True)
    power = (np.abs(coils) ** 2).sum(axis=(0, 1, 2, 3))
    step = -(-coils.shape[-1] // _N_COLUMNS)
    chosen = np.flatnonzero(power > 0.05 * power.max())[::step]
    columns: ComplexArray = coils[..., chosen].astype(np.complex64)
    return columns


def _consistent_phases(block: ComplexArray, basis: RealArray) -> RealArray:
    """Find for each echo the coefficients ``(echoes, n)`` that make its lines fit best [rad].

    The directions without signal are learnt from lines that drift, and follow them: each step goes
    part of the way only, the same part each time, which Anderson's method makes up for.
    """
    phases: RealArray = np.zeros((len(block), len(basis)))
    points: list[RealArray] = []
    steps: list[RealArray] = []
    for _ in range(_N_ROUNDS):
        step = _step(block, basis, phases)
        points, steps = [*points[-_DEPTH:], phases], [*steps[-_DEPTH:], step]
        phases = _extrapolated(points, steps)
        if np.abs(step).max() < _SMALLEST_STEP:
            break
    return phases


def _extrapolated(points: list[RealArray], steps: list[RealArray]) -> RealArray:
    """Tell where steps from points ``(echoes, n)`` lead, by Anderson's method."""
    where, change = points[-1], steps[-1]
    if len(points) > 1:
        by_step = np.array([(change - other).ravel() for other in steps[:-1]]).T
        by_point = np.array([(where - other).ravel() for other in points[:-1]]).T
        parts = np.linalg.lstsq(by_step, change.ravel(), rcond=1e-3)[0]
        change = change - ((by_point + by_step) @ parts).reshape(change.shape)
    found: RealArray = where + change
    return found


def _step(block: ComplexArray, basis: RealArray, phases: RealArray) -> RealArray:
    """Make one Gauss-Newton step ``(echoes, n)`` from phases ``(echoes, n)`` [rad]."""
    turned = block * np.exp(-1j * np.tensordot(phases, basis, 1))[:, None, :, :, None]
    turned = turned.astype(np.complex64)
    normal = np.zeros((len(block), len(basis), len(basis)))
    right = np.zeros((len(block), len(basis)))
    for x in range(block.shape[-1]):
        column = turned[..., x]
        patches = np.array([_patches(echo) for echo in column])
        noise = _noise_space(patches.reshape(-1, patches.shape[-1]))
        for echo, own in enumerate(column):
            slopes = np.array([(_patches(1j * b * own) @ noise).ravel() for b in basis])
            residual = (patches[echo] @ noise).ravel()
            normal[echo] += (slopes.conj() @ slopes.T).real
            right[echo] += (slopes.conj() @ residual).real
    step: RealArray = np.linalg.solve(normal, right[..., None])[..., 0]
    return step


def _patches(lines: ComplexArray) -> ComplexArray:
    """Cut ``(coils, z, y)`` into all its patches ``(patches, coils * z * y)``."""
    windows = np.lib.stride_tricks.sliding_window_view(lines, _PATCH, axis=(1, 2))
    moved = np.moveaxis(windows, 0, 2)
    return moved.reshape(moved.shape[0] * moved.shape[1], -1)


def _noise_space(patches: ComplexArray) -> ComplexArray:
    """Return the directions ``(n, directions)`` in which patches have next to no signal."""
    values, vectors = np.linalg.eigh(patches.T @ patches.conj())
    n_quiet = max(int((values < _SIGNAL * values[-1]).sum()), 1)
    quiet: ComplexArray = vectors[:, :n_quiet].conj()
    return quiet


def _frequencies(phases: RealArray, TE: RealArray) -> RealArray:
    """Fit what grows with TE [Hz] to coefficients ``(echoes, n)``; zero what is uncertain."""
    design = np.column_stack([np.ones(len(TE)), 2 * np.pi * TE])
    inverse = np.linalg.pinv(design)
    common, slopes = inverse @ phases
    left = phases - np.outer(np.ones(len(TE)), common) - 2 * np.pi * np.outer(TE, slopes)
    error = np.sqrt((left**2).sum(axis=0) / (len(TE) - 2) * (inverse[1] ** 2).sum())
    certain = stdtrit(len(TE) - 2, 1 - _CHANCE / 2)
    frequencies: RealArray = np.where(np.abs(slopes) > certain * error, slopes, 0.0)
    return frequencies
