"""The heart's own displacement: lines shifted back to where they would have been measured."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import scipy.fft

from chistream.acquisition.lines import Line
from chistream.arrays import ComplexArray, IntArray, RealArray, Vector
from chistream.physics.fourier import to_image, to_kspace

_INNER, _OUTER = (6, 12), (8, 20)
"""Lines on either side of the centre, along z and y, that the factor is estimated from: the inner
ones, or, where a scanner takes those but once (PAWS does), some more."""

_STILL = 0.05
"""Displacements below this [mm] are left alone."""

_LEAST_ALONG_X = 0.05
"""Shifts along the readout below this part of a voxel do not pay for their Fourier transforms."""

_APART = 2.0
"""Two measurements of a line at positions farther apart than this [mm] tell of motion."""

_FEWEST_PAIRS, _MOST_PAIRS = 30, 200
"""Such pairs of measurements that an estimate needs, and that it takes time for."""

_COARSE, _FINE = np.linspace(-1.5, 1.5, 16), 0.1
"""Factors to try first, and the step around the best of them."""

_VIRTUAL_COILS = 4
"""Coils are combined to so many: all of them would take as long as the rest of the stage."""

_HEART_RADIUS = 45.0
"""The heart is looked for this close to the middle of the slab [mm]."""


@dataclass(frozen=True)
class SlabAxes:
    """How the encoded slab lies to the patient's long axis.

    Parameters
    ----------
    superior
        Components of the direction towards the head along ``(z, y, x)``.
    spacing
        Encoded voxel ``(z, y, x)`` [mm].
    """

    superior: Vector
    spacing: Vector


class Measured(NamedTuple):
    """One measurement of a line.

    Parameters
    ----------
    position
        Displacement of the diaphragm [mm].
    time
        When [s]; tells equal positions apart.
    values
        Samples ``(coils, x)``.
    """

    position: float
    time: float
    values: ComplexArray


@dataclass(eq=False)
class CentralLines:
    """Of each line of the centre of k-space in the first echo, the two measurements farthest apart.

    Parameters
    ----------
    centre
        Counters ``(z, y)`` of the centre.
    ends
        The highest and the lowest measurement of each line, by position and time.
    """

    centre: tuple[int, int]
    ends: dict[Line, tuple[Measured, Measured]] = field(default_factory=dict)

    def see(self, line: Line, time: float, position: float, values: ComplexArray) -> None:
        """Keep a copy of a measurement ``(coils, x)`` if its line is central and it is an end."""
        if line.echo or not np.isfinite(position):
            return
        if not _is_within(line, self.centre, _OUTER):
            return
        if line not in self.ends:
            self.ends[line] = (Measured(position, time, values.copy()),) * 2
            return
        high, low = self.ends[line]
        if (position, time) > high[:2]:
            self.ends[line] = (Measured(position, time, values.copy()), low)
        elif (position, time) < low[:2]:
            self.ends[line] = (high, Measured(position, time, values.copy()))


def shift_back(hybrid: ComplexArray, positions: RealArray, factor: float, axes: SlabAxes) -> None:
    r"""Shift every line by a part of the displacement it was measured at, in place.

    .. math:: S(\mathbf k) \leftarrow S(\mathbf k)\,
              e^{+i 2 \pi f d\, \mathbf k \cdot \hat{\mathbf s}}

    Parameters
    ----------
    hybrid
        ``(echoes, coils, z, y, x)``: image along x, k-space along y and z with k = 0 at ``n // 2``.
    positions
        Displacement of the diaphragm towards the head for each line ``(echoes, z, y)`` [mm].
    factor
        Displacement of the heart for that of the diaphragm.
    axes
        Where the head is.
    """
    shifts = np.where(np.abs(factor * positions) > _STILL, factor * positions, 0.0)
    along_x = shifts * axes.superior[2] / axes.spacing[2]
    turns = shifts * _wave_numbers(shifts.shape[1:], axes)
    phases = np.exp(2j * np.pi * turns).astype(np.complex64)
    kx = np.fft.fftfreq(hybrid.shape[-1])
    for echo, z in np.argwhere(shifts.any(axis=2)):
        plane = hybrid[echo, :, z]
        plane *= phases[echo, z, :, None]
        rows = np.flatnonzero(np.abs(along_x[echo, z]) > _LEAST_ALONG_X)
        if len(rows):
            ramps = np.exp(2j * np.pi * np.outer(along_x[echo, z, rows], kx)).astype(np.complex64)
            spectrum = scipy.fft.fft(plane[:, rows], overwrite_x=True)
            spectrum *= ramps
            plane[:, rows] = scipy.fft.ifft(spectrum, overwrite_x=True)


def estimate_factor(lines: CentralLines, size: tuple[int, int], axes: SlabAxes) -> float | None:
    r"""Estimate how far the heart moves for each millimetre of the diaphragm.

    .. math:: \hat f = \arg\min_f \sum_{\mathbf r \in \mathrm{heart}} \sum_c
              \left| \mathcal F^{-1}\!\left[ w \left( S_2\, e^{i 2 \pi f (d_2 - d_1)\,
              \mathbf k \cdot \hat{\mathbf s}} - S_1 \right) \right]_c \right|^2

    over the central lines that were measured at two positions d of the diaphragm, 2 mm or more
    apart.

    Parameters
    ----------
    lines
        Measurements of the centre of k-space.
    size
        Encoded size ``(z, y)``.
    axes
        Where the head is.

    Returns
    -------
    float | None
        The factor, in [-1.5, 1.5]; None if there are fewer than 30 pairs of measurements, or no
        factor inside makes the two alike.

    Notes
    -----
    What is compared are images of low resolution, near the middle of the slab only: the chest wall
    does not move with the heart, and the liver moves more. A window over the lines keeps it from
    leaking in.
    """
    reach, pairs = _INNER, _pairs(lines, _INNER)
    if len(pairs) < _FEWEST_PAIRS:
        reach, pairs = _OUTER, _pairs(lines, _OUTER)
    if len(pairs) < _FEWEST_PAIRS or max(map(abs, axes.superior)) < 0.3:
        return None
    z, y = np.array([(line.step_2, line.step_1) for line, *_ in pairs]).T
    k = np.stack([z - lines.centre[0], y - lines.centre[1]])
    apart = np.array([pair[1] for pair in pairs])
    rest, moved = (np.stack([pair[i] for pair in pairs]) for i in (2, 3))
    problem = _Consistency(k, apart, rest, moved, size, axes, reach)
    coarse = [problem.cost(factor) for factor in _COARSE]
    best = int(np.argmin(coarse))
    if best in {0, len(coarse) - 1}:
        return None
    left, middle, right = (problem.cost(_COARSE[best] + step * _FINE) for step in (-1, 0, 1))
    return float(_COARSE[best] + 0.5 * _FINE * (left - right) / (left - 2 * middle + right))


class _Consistency:
    """How unlike the heart displaced and shifted back is to the heart at rest."""

    def __init__(
        self,
        k: IntArray,
        displacement: RealArray,
        rest: ComplexArray,
        moved: ComplexArray,
        size: tuple[int, int],
        axes: SlabAxes,
        reach: tuple[int, int],
    ) -> None:
        nx = rest.shape[-1]
        x = (np.arange(nx) - nx // 2) * axes.spacing[2]
        near = np.abs(x) <= 1.5 * _HEART_RADIUS  # what is shifted in may come from beside it
        inside = np.abs(x[near]) <= _HEART_RADIUS
        rest, moved = _fewer_coils(rest[..., near], moved[..., near])
        window = np.prod(
            [np.cos(0.5 * np.pi * axis / (n + 1)) ** 2 for axis, n in zip(k, reach, strict=True)],
            axis=0,
        )
        self._displacement, self._axes = displacement, axes
        self._along_s = k[0] * axes.superior[0] / (size[0] * axes.spacing[0]) + k[1] * (
            axes.superior[1] / (size[1] * axes.spacing[1])
        )
        self._inside, self._window = inside, window[:, None, None]
        self._rest, self._moved = rest[..., inside], to_kspace(moved, (-1,))
        self._to_heart = self._waves(k, size, axes)

    def _waves(self, k: IntArray, size: tuple[int, int], axes: SlabAxes) -> ComplexArray:
        """Fourier sum from the lines to places ``(places, lines)`` around the middle."""
        steps = [
            max(s, n * s / (4 * m)) for n, s, m in zip(size, axes.spacing, _OUTER, strict=False)
        ]
        along = [np.arange(-_HEART_RADIUS, _HEART_RADIUS + 1e-6, step) for step in steps]
        z, y = (grid.ravel() for grid in np.meshgrid(*along, indexing="ij"))
        near = np.hypot(z, y) <= _HEART_RADIUS
        turns = np.outer(z[near], k[0] / (size[0] * axes.spacing[0]))
        turns += np.outer(y[near], k[1] / (size[1] * axes.spacing[1]))
        return np.exp(2j * np.pi * turns).astype(np.complex64)

    def cost(self, factor: float) -> float:
        shift = factor * self._displacement
        nx = self._moved.shape[-1]
        turns = shift * self._axes.superior[2] / (nx * self._axes.spacing[2])
        ramp = np.outer(turns, np.arange(nx) - nx // 2) + (shift * self._along_s)[:, None]
        moved = to_image(self._moved * np.exp(2j * np.pi * ramp)[:, None], (-1,))
        difference = self._window * (moved[..., self._inside] - self._rest)
        image = self._to_heart @ difference.reshape(len(difference), -1).astype(np.complex64)
        return float(np.vdot(image, image).real)


def _fewer_coils(rest: ComplexArray, moved: ComplexArray) -> tuple[ComplexArray, ComplexArray]:
    """Combine the coils of both to the principal components of the first."""
    by_coil = np.moveaxis(rest, 1, 0).reshape(rest.shape[1], -1)
    _, vectors = np.linalg.eigh(by_coil @ by_coil.conj().T)
    fewer = vectors[:, -_VIRTUAL_COILS:].conj().T
    return fewer @ rest, fewer @ moved


def _is_within(line: Line, centre: tuple[int, int], reach: tuple[int, int]) -> bool:
    away = (abs(line.step_2 - centre[0]), abs(line.step_1 - centre[1]))
    return away[0] <= reach[0] and away[1] <= reach[1]


def _pairs(
    lines: CentralLines, reach: tuple[int, int]
) -> list[tuple[Line, float, ComplexArray, ComplexArray]]:
    """Pair the highest and the lowest measurement of each line, the farthest apart first."""
    apart = [
        (line, low.position - high.position, high.values, low.values)
        for line, (high, low) in lines.ends.items()
        if high.position - low.position >= _APART and _is_within(line, lines.centre, reach)
    ]
    return sorted(apart, key=lambda pair: (pair[1], pair[0]))[:_MOST_PAIRS]


def _wave_numbers(shape: tuple[int, ...], axes: SlabAxes) -> RealArray:
    """Cycles per millimetre towards the head, at each line ``(z, y)``."""
    kz, ky = (
        (np.arange(n) - n // 2) * s / (n * step)
        for n, s, step in zip(shape, axes.superior, axes.spacing, strict=False)
    )
    return kz[:, None] + ky
