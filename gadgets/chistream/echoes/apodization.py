"""Against ringing at sharp edges: tapers of k-space, and resampling where a ripple is zero."""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypeAlias

import numpy as np

from chistream.arrays import ComplexArray, Mask, RealArray, size_of
from chistream.physics.compiled import compiled
from chistream.physics.fourier import N_THREADS, to_image, to_kspace

Taper: TypeAlias = Literal["tukey", "hann", "gaussian"]

DEFAULT_WIDTH: dict[Taper, float] = {"tukey": 0.5, "hann": 1.0, "gaussian": 1.0}

_AXES = (-3, -2, -1)
_LINES = 4096
"""Lines that a thread works on at a time."""

_FLOOR = 1e-9
"""Weight of every axis in the corners of k-space, where all weights are zero: they share alike."""

_REACH = 3
"""Voxels on either side whose variation tells how much an edge rings there."""


def apodize(
    echoes: ComplexArray, support: Mask, kind: Taper, width: float | None = None
) -> ComplexArray:
    r"""Taper k-space towards the ends of what was sampled, along each axis.

    .. math:: w(k) = \begin{cases} \cos^2\!\left(\frac{\pi}{2} \frac{k - 1 + a}{a}\right),
              \; k > 1 - a & \text{tukey} \\ \cos^2\!\left(\frac{\pi k}{2 a}\right)
              & \text{hann} \\ 2^{-(k / a)^2} & \text{gaussian} \end{cases}

    with k the distance from the centre, 1 at the farthest sample, and a the width.

    Parameters
    ----------
    echoes
        Images ``(..., z, y, x)``, the origin at ``n // 2``.
    support
        What was sampled of k-space ``(z, y, x)``, centred at ``n // 2``: its farthest sample on
        either side of an axis is where the taper ends.
    kind
        ``tukey``: only the outer part a falls; ``hann``: reaches zero at a; ``gaussian``: half at
        a.
    width
        The width a; (0, 1] for ``tukey``, at least 1 for ``hann``, > 0 for ``gaussian``. None
        takes 0.5, 1 and 1.

    Returns
    -------
    ComplexArray
        Images ``(..., z, y, x)`` complex64. A taper is real and even: a phase that varies slowly
        stays as it is.

    Raises
    ------
    ValueError
        If the shapes differ, nothing was sampled, or the width is out of its range.
    """
    if size_of(echoes) != support.shape or not support.any():
        raise ValueError(
            f"support {support.shape} must be that of echoes {echoes.shape}, not empty"
        )
    width = DEFAULT_WIDTH[kind] if width is None else width
    if width <= 0 or (kind == "tukey" and width > 1) or (kind == "hann" and width < 1):
        raise ValueError(f"{kind} takes no width of {width}")
    windows = []
    for axis, n in enumerate(support.shape):
        others = tuple(i for i in range(3) if i != axis)
        distance = np.abs(np.arange(n) - n // 2)
        farthest = int(distance[support.any(axis=others)].max())
        # Half a step beyond the last sample: it keeps some weight, and one sample keeps all of it.
        window = taper(distance / (farthest + 0.5), kind, width).astype(np.float32)
        windows.append(np.expand_dims(window, others))
    weight = windows[0] * windows[1] * windows[2]
    return to_image(to_kspace(echoes, _AXES) * weight, _AXES).astype(np.complex64, copy=False)


def taper(k: RealArray, kind: Taper, width: float) -> RealArray:
    """Evaluate a taper.

    Parameters
    ----------
    k
        Distances from the centre, 1 at the end of what was sampled; >= 0.
    kind, width
        As in `apodize`.

    Returns
    -------
    RealArray
        Weights from 1 at the centre down to 0.

    Examples
    --------
    >>> taper(np.array([0.0, 0.5, 0.75, 1.0]), "tukey", 0.5).round(3).tolist()
    [1.0, 1.0, 0.5, 0.0]
    """
    if kind == "gaussian":
        gaussian: RealArray = 2.0 ** -((k / width) ** 2)
        return gaussian
    start, length = (1 - width, width) if kind == "tukey" else (0.0, width)
    weights: RealArray = np.cos(np.pi / 2 * np.clip((k - start) / length, 0, 1)) ** 2
    return weights


def remove_ringing(echoes: ComplexArray, support: Mask, n_shifts: int = 20) -> ComplexArray:
    r"""Remove ripples by sampling the image, locally shifted, where their sinc is zero.

    .. math:: s(\mathbf r) = \arg\min_{|s| \le 1/2} \min_\pm \sum_{n=1}^{3}
              \left| I_s(\mathbf r \pm n) - e^{\pm i\theta} I_s(\mathbf r \pm (n - 1)) \right|

    with :math:`I_s` the image shifted by s voxels along one axis, and :math:`\theta` the step of
    its smooth phase.

    Parameters
    ----------
    echoes
        Echoes ``(echoes, z, y, x)`` on the grid on which they were sampled: not interpolated yet.
    support
        What was sampled of k-space ``(z, y, x)``. An axis is left as it is if a part of it was not
        sampled: there the ripples have another period.
    n_shifts
        Shifts tried to either side, up to half a voxel, >= 1.

    Returns
    -------
    ComplexArray
        Echoes ``(echoes, z, y, x)`` complex64.

    Raises
    ------
    ValueError
        If the shapes differ or ``n_shifts`` is not positive.

    Notes
    -----
    The method of [1]_ works on magnitudes. Here differences are taken after the step of the phase
    has been undone, so that a phase that varies makes no variation of its own and interpolation
    between shifted voxels does not lose signal. Each axis is treated alone; the results are joined
    in k-space, where each of them is right that was not treated along the edge in question:

    .. math:: G_x = \frac{(1 + \cos k_y)(1 + \cos k_z)}{\sum_{cyc}}

    References
    ----------
    .. [1] Kellner E, Dhital B, Kiselev VG, Reisert M. Gibbs-ringing artifact removal based on local
       subvoxel-shifts. Magn Reson Med. 2016;76(5):1574-1581. doi:10.1002/mrm.26054
    """
    if echoes.ndim != 4 or size_of(echoes) != support.shape or n_shifts < 1:
        raise ValueError(
            f"echoes {echoes.shape} must be (echoes, z, y, x) of the support's {support.shape}, "
            f"n_shifts {n_shifts} at least 1"
        )
    axes = [axis for axis in range(3) if _rings(support, axis)]
    cleaned = np.array(echoes, np.complex64)
    if not axes:
        return cleaned
    shares = _shares(support.shape, axes)
    for image in cleaned:
        joined = sum(
            to_kspace(_resample(image, axis, n_shifts), _AXES) * share
            for axis, share in zip(axes, shares, strict=True)
        )
        image[...] = to_image(np.asarray(joined, np.complex64), _AXES)
    return cleaned


def _rings(support: Mask, axis: int) -> bool:
    """Tell whether an axis is long enough, and was sampled from end to end."""
    others = tuple(i for i in range(3) if i != axis)
    return support.shape[axis] > 2 * _REACH and bool(support.any(axis=others).all())


def _shares(shape: tuple[int, ...], axes: list[int]) -> list[RealArray]:
    """Weigh the results of the axes in k-space; weights add up to 1."""
    smooth = {
        axis: np.expand_dims(
            1 + np.cos(2 * np.pi * (np.arange(shape[axis]) - shape[axis] // 2) / shape[axis]),
            tuple(i for i in range(3) if i != axis),
        )
        for axis in axes
    }
    raw = [np.full(shape, _FLOOR) + _product(smooth, axis) for axis in axes]
    total = sum(raw)
    return [(weight / total).astype(np.float32) for weight in raw]


def _product(factors: dict[int, RealArray], left_out: int) -> RealArray:
    return np.asarray(math.prod(f for axis, f in factors.items() if axis != left_out))


def _resample(image: ComplexArray, axis: int, n_shifts: int) -> ComplexArray:
    """Take each voxel ``(z, y, x)`` from the shift along one axis at which it rings least."""
    lines = np.ascontiguousarray(np.moveaxis(image, axis, -1))
    shape = lines.shape
    lines = lines.reshape(-1, shape[-1])
    found = np.empty_like(lines)
    parts = [slice(first, first + _LINES) for first in range(0, len(lines), _LINES)]

    def resample(part: slice) -> None:
        steps = smooth_steps(lines[part])
        best = np.empty(steps.shape, np.float32)
        for shift, moved in _shifted(lines[part], n_shifts):
            take_calmest(moved, steps, shift, best, found[part])

    with ThreadPoolExecutor(N_THREADS) as pool:
        list(pool.map(resample, parts))
    return np.moveaxis(found.reshape(shape), -1, axis)


def _shifted(lines: ComplexArray, n_shifts: int) -> Iterator[tuple[float, ComplexArray]]:
    """Shift lines ``(lines, n)``: ``moved[i] = line(i + shift)``, no shift first."""
    n = lines.shape[-1]
    k = (np.arange(n) - n // 2) / n
    spectrum = to_kspace(lines, (-1,))
    for j in sorted(range(-n_shifts, n_shifts + 1), key=abs):
        shift = j / (2 * n_shifts + 1)
        ramp = np.exp(2j * np.pi * k * shift).astype(np.complex64)
        if n % 2 == 0:
            ramp[0] = np.cos(np.pi * shift)  # k and -k share this sample
        yield shift, lines if j == 0 else to_image(spectrum * ramp, (-1,))


def smooth_steps(lines: ComplexArray) -> ComplexArray:
    """Find the steps of the smooth phase along lines.

    Parameters
    ----------
    lines
        ``(lines, n)``, periodic.

    Returns
    -------
    ComplexArray
        ``exp(i step)`` from each voxel to the next ``(lines, n)`` complex64: the mean of 7
        products of neighbours. 1 where there is no signal.
    """
    product = np.roll(lines, -1, -1) * lines.conj()
    total = sum(np.roll(product, j, -1) for j in range(-_REACH, _REACH + 1))
    magnitude = np.abs(total)
    steps: ComplexArray = np.divide(total, magnitude, out=np.ones_like(total), where=magnitude > 0)
    return steps


@compiled
def take_calmest(
    moved: ComplexArray, steps: ComplexArray, shift: float, best: RealArray, found: ComplexArray
) -> None:
    """Keep the voxels of lines (lines, n) that vary less than at the shifts before, 0 first."""
    n_lines, n = moved.shape
    change = np.empty(n, np.float32)
    for line in range(n_lines):
        for i in range(n):
            rest = moved[line, (i + 1) % n] - steps[line, i] * moved[line, i]
            change[i] = np.sqrt(rest.real**2 + rest.imag**2)
        for i in range(n):
            ahead = np.float32(0)
            behind = np.float32(0)
            for j in range(_REACH):
                ahead += change[(i + j) % n]
                behind += change[i - j - 1]  # from the end if negative: lines are periodic
            variation = min(ahead, behind)
            if shift == 0:
                best[line, i] = variation
                found[line, i] = moved[line, i]
            elif variation < best[line, i]:
                best[line, i] = variation
                found[line, i] = interpolated(moved[line], steps[line], i, shift)


@compiled
def interpolated(line: ComplexArray, steps: ComplexArray, i: int, shift: float) -> complex:
    """Return a line's value at i - shift, between two samples; the phase turns by their step."""
    n = len(line)
    if shift > 0:
        angle = np.angle(steps[i - 1])
        there: complex = line[i - 1] * np.exp(1j * angle * (1 - shift))
    else:
        angle = np.angle(steps[i])
        there = line[(i + 1) % n] * np.exp(-1j * angle * (1 + shift))
    here: complex = line[i] * np.exp(-1j * angle * shift)
    return here + abs(shift) * (there - here)
