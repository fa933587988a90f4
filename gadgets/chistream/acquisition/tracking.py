"""The heart's own displacement: lines shifted back to where they would have been measured."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from chistream.acquisition.lines import Line
from chistream.arrays import ComplexArray, IntArray, RealArray, Vector
from chistream.physics.fourier import to_image, to_kspace

CENTRAL_LINES = (6, 12)
"""Lines on either side of the centre, along z and y, that the factor is estimated from."""

_MEASUREMENTS = 6
"""Of each central line, at most."""

_STILL = 0.05
"""Displacements below this [mm] are left alone."""

_REST = 1.5
"""A central line measured this close to end-expiration [mm] shows the heart at rest."""

_FAR = 3.0
"""One measured farther from it [mm] shows the heart displaced."""

_FEWEST_PAIRS = 40
"""Lines measured both at rest and displaced that an estimate needs."""

_FACTORS = np.arange(-0.3, 1.51, 0.1)

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


@dataclass(eq=False)
class CentralLines:
    """Measurements of the centre of k-space in the first echo, each with its position.

    Parameters
    ----------
    centre
        Counters ``(z, y)`` of the centre.
    """

    centre: tuple[int, int]
    kept: dict[Line, list[tuple[float, float, ComplexArray]]] = field(default_factory=dict)

    def see(self, line: Line, time: float, position: float, values: ComplexArray) -> None:
        """Keep a copy of a measurement ``(coils, x)`` if its line is central and it is early."""
        if line.echo or not np.isfinite(position):
            return
        away = (abs(line.step_2 - self.centre[0]), abs(line.step_1 - self.centre[1]))
        if away[0] > CENTRAL_LINES[0] or away[1] > CENTRAL_LINES[1]:
            return
        known = self.kept.setdefault(line, [])
        known.append((time, position, values.copy()))
        known.sort(key=lambda one: one[0])
        del known[_MEASUREMENTS:]


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
    phases = np.exp(2j * np.pi * shifts * _wave_numbers(shifts.shape[1:], axes))
    kx = np.arange(hybrid.shape[-1]) - hybrid.shape[-1] // 2
    for echo, z in np.argwhere(shifts.any(axis=2)):
        rows = np.flatnonzero(shifts[echo, z])
        plane = hybrid[echo, :, z, rows]
        if np.abs(along_x[echo, z]).max() > 0.01:
            turns = np.outer(along_x[echo, z, rows], kx) / len(kx)
            plane = to_image(to_kspace(plane, (-1,)) * np.exp(2j * np.pi * turns)[:, None], (-1,))
        hybrid[echo, :, z, rows] = plane * phases[echo, z, rows, None, None]


def estimate_factor(lines: CentralLines, size: tuple[int, int], axes: SlabAxes) -> float | None:
    r"""Estimate how far the heart moves for each millimetre of the diaphragm.

    .. math:: \hat f = \arg\min_f \sum_{\mathbf r \in \mathrm{heart}} \sum_c
              \left| \mathcal F^{-1}\!\left[ w \left( S_d\, e^{i 2 \pi f d\, \mathbf k \cdot
              \hat{\mathbf s}} - S_0 \right) \right]_c \right|^2

    over the central lines that were measured both near end-expiration (S0, their mean) and
    displaced by d.

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
        The factor, in [-0.3, 1.5]; None if fewer than 40 lines were measured in both positions, or
        no factor inside makes the two alike.

    Notes
    -----
    What is compared are images of low resolution, near the middle of the slab only: the chest wall
    does not move with the heart, and the liver moves more. A window over the lines keeps it from
    leaking in.
    """
    pairs = list(_pairs(lines))
    if len(pairs) < _FEWEST_PAIRS or max(map(abs, axes.superior)) < 0.3:
        return None
    z, y = np.array([(line.step_2, line.step_1) for line, *_ in pairs]).T
    k = np.stack([z - lines.centre[0], y - lines.centre[1]])
    there = np.array([d for _, d, _, _ in pairs])
    rest, moved = (np.stack([pair[i] for pair in pairs]) for i in (2, 3))
    problem = _Consistency(k, there, rest, moved, size, axes)
    costs = [problem.cost(factor) for factor in _FACTORS]
    best = int(np.argmin(costs))
    if best in {0, len(costs) - 1}:
        return None
    left, middle, right = costs[best - 1 : best + 2]
    step = 0.5 * (left - right) / (left - 2 * middle + right)
    return float(_FACTORS[best] + step * (_FACTORS[1] - _FACTORS[0]))


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
    ) -> None:
        nx = rest.shape[-1]
        x = (np.arange(nx) - nx // 2) * axes.spacing[2]
        inside = np.abs(x) <= _HEART_RADIUS
        window = np.prod(
            [
                np.cos(0.5 * np.pi * axis / (n + 1)) ** 2
                for axis, n in zip(k, CENTRAL_LINES, strict=True)
            ],
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
            max(s, n * s / (4 * m))
            for n, s, m in zip(size, axes.spacing, CENTRAL_LINES, strict=False)
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


def _pairs(
    lines: CentralLines,
) -> Iterator[tuple[Line, float, ComplexArray, ComplexArray]]:
    for line, known in sorted(lines.kept.items()):
        rest = [values for _, position, values in known if abs(position) <= _REST]
        far = [(position, values) for _, position, values in known if abs(position) >= _FAR]
        if rest:
            mean = np.mean(rest, axis=0)
            yield from ((line, position, mean, values) for position, values in far)


def _wave_numbers(shape: tuple[int, ...], axes: SlabAxes) -> RealArray:
    """Cycles per millimetre towards the head, at each line ``(z, y)``."""
    kz, ky = (
        (np.arange(n) - n // 2) * s / (n * step)
        for n, s, step in zip(shape, axes.superior, axes.spacing, strict=False)
    )
    return kz[:, None] + ky
