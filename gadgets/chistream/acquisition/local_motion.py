"""How far each part of the chest moved between two measurements of the centre of k-space."""

from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from chistream.arrays import ComplexArray, IntArray, Mask, RealArray, Size, Vector

_BLOCK = 30.0
"""Distance of the parts' middles [mm]: a heart holds a dozen of them, a spine is one."""

_HALF_LENGTH, _TAPER = 75.0, 15.0
"""Along x, what lies farther from the middle [mm] is left out; the length of the edge."""

_FARTHEST = 95.0
"""Parts farther from the middle along y and z [mm] are taken to rest."""

_HIGHEST = 8
"""Highest harmonic along x; along y and z the lines themselves end."""

_FINEST = 20.0
"""Length [mm] of the Gaussian that is taken away from k-space. What is coarser is the coils' sight
of what moves beneath them, which stays where it is and would pull every factor towards 0."""

_PHASE = 0.1
"""Unit of the phase that lungs, as they fill, add for each mm [rad]."""

_SMOOTH, _TIED = 0.01, 0.02
"""Weights of differences between neighbours, and, relative to those, from the mean."""

_COARSE = np.linspace(-1.5, 1.5, 16)
_ROUNDS, _LAST_ROUNDS, _LARGEST_STEP = 6, 2, 0.5
"""Steps that fit each part, and further ones that fit the heart's way aside with them."""

_HEART_RADIUS = 50.0
"""The heart is looked for this close to the middle of the slab [mm]."""

_MOVING = 0.5
"""Part of the upper quartile of factors that what moves with the heart reaches."""

_AT_REST = 0.25
"""Where even the upper quartile stays below this, nothing moves, and all parts count."""

_SLANTING = 0.35
"""The heart goes aside by no more than this for each mm of the diaphragm."""


class LocalFactors(NamedTuple):
    """Displacement of parts of the chest, for that of the diaphragm.

    Parameters
    ----------
    factors
        Of each part ``(parts,)``.
    weights
        How much the measurements say about it ``(parts,)``.
    middles
        Where it lies ``(parts, 3)``, z first [mm] from the middle of the slab.
    aside
        How far the heart moves across the axis of the body for each mm of the diaphragm, as a
        vector ``(z, y, x)``.
    """

    factors: RealArray
    weights: RealArray
    middles: RealArray
    aside: Vector

    @property
    def of_heart(self) -> float:
        """Factor of the heart: the weighted median of what moves in the middle."""
        moving = parts_of_heart(self.factors, self.weights, self.middles)
        return weighted_quantile(self.factors[moving], self.weights[moving], 0.5)


def parts_of_heart(factors: RealArray, weights: RealArray, middles: RealArray) -> Mask:
    """Tell which parts ``(parts,)`` move with the heart; chest wall and spine do not."""
    near = np.linalg.norm(middles, axis=1) <= _HEART_RADIUS
    upper = weighted_quantile(np.abs(factors[near]), weights[near], 0.75)
    moving: Mask = near & (np.abs(factors) >= (_MOVING * upper if upper >= _AT_REST else 0.0))
    return moving


def weighted_quantile(values: RealArray, weights: RealArray, part: float) -> float:
    """Return the value ``(n,)`` below which a part of the weights ``(n,)`` lies."""
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(below, part * below[-1])])


def fit_local_factors(
    rest: ComplexArray,
    moved: ComplexArray,
    displacement: RealArray,
    superior: Vector,
    fov: Vector,
) -> LocalFactors | None:
    r"""Fit how far each part of the chest moves, by what its motion changes in k-space.

    .. math:: S_2(\mathbf k) - S_1(\mathbf k) = \sum_j \left( e^{-i 2 \pi f_j d\,
              \mathbf k \cdot \hat{\mathbf s} + i \varphi_j d} - 1 \right)
              \mathcal F[\psi_j\, \mathcal F^{-1} S_1](\mathbf k)

    with overlapping parts psi that add up to 1, their factors f and their change of phase. What
    rests cancels, even where lines are missing. The parts that move with the heart share a
    displacement across the body's axis, which is fitted last.

    Parameters
    ----------
    rest
        Central lines, complete ``(coils, z, y, x)``: image along x; odd numbers of lines, k = 0 at
        ``n // 2``.
    moved
        The same at another position of the diaphragm.
    displacement
        How far it was away ``(z, y)`` [mm]; 0 for lines that were not measured there.
    superior
        Direction towards the head along ``(z, y, x)``.
    fov
        Encoded field of view ``(z, y, x)`` [mm].

    Returns
    -------
    LocalFactors | None
        None if no common factor within +-1.5 is a start.
    """
    # The matrices are small: BLAS threads would mostly wait for each other.
    with threadpool_limits(1, "blas"):
        model = _Model(rest, moved, displacement, superior, fov)
        costs = [model.cost(factor) for factor in _COARSE]
        best = int(np.argmin(costs))
        if best in {0, len(costs) - 1}:
            return None
        factors, weights, aside = model.fit(float(_COARSE[best]))
    return LocalFactors(factors, weights, model.middles, aside)


class _Model:
    """The lines of every part at rest, and what they turn into."""

    def __init__(
        self,
        rest: ComplexArray,
        moved: ComplexArray,
        displacement: RealArray,
        superior: Vector,
        fov: Vector,
    ) -> None:
        nx = rest.shape[-1]
        x = (np.arange(nx) - nx // 2) * fov[2] / nx
        near = np.abs(x) <= _HALF_LENGTH
        taper = np.sin(0.5 * np.pi * np.clip((_HALF_LENGTH - np.abs(x[near])) / _TAPER, 0, 1)) ** 2
        rest, moved = rest[..., near] * taper, moved[..., near] * taper
        extent = (fov[0], fov[1], float(near.sum()) * fov[2] / nx)
        size: Size = (rest.shape[1], rest.shape[2], int(near.sum()))
        used = displacement != 0
        away = displacement[used][:, None]
        self._turns = _turns(size, extent, superior, used) * away
        self._across = _across(superior)
        self._turns_aside = [_turns(size, extent, one, used) * away for one in self._across]
        self._displacement = displacement[used]
        weights = _weights(size, extent, used)[..., None]
        hats, self.middles, self._neighbours = _parts(size, extent)
        self._parts = _lines_of_parts(rest, hats)[:, used] * weights
        change = _low_harmonics((moved - rest).astype(np.complex64), np.ones((1, size[2])))[0]
        self._change = np.moveaxis(change[:, used], 0, -1) * weights

    def cost(self, factor: float) -> float:
        """Return what a factor common to all parts leaves unexplained."""
        whole = self._parts.sum(axis=0)
        phases = np.exp(-2j * np.pi * factor * self._turns)[..., None]
        return float(np.linalg.norm(self._change - whole * (phases - 1)))

    def fit(self, start: float) -> tuple[RealArray, RealArray, Vector]:
        """Fit the parts' factors by Gauss-Newton steps; return their weights and the way aside."""
        n = len(self._parts)
        unknown = np.concatenate([np.full(n, start), np.zeros(n + 2)])
        weights, moving = np.ones(n), np.zeros(n, bool)
        penalty = np.zeros((2 * n + 2, 2 * n + 2))
        penalty[:-2, :-2] = np.kron(np.eye(2), self._neighbours) + _TIED * np.eye(2 * n)
        for round_ in range(_ROUNDS + _LAST_ROUNDS):
            if round_ == _ROUNDS:
                moving = parts_of_heart(unknown[:n], weights, self.middles)
            known = slice(0, 2 * n + 2 * bool(moving.any()))
            slopes, left = self._linearised(unknown, moving)
            normal = slopes @ slopes.T
            weights = np.diag(normal)[:n].astype(float)
            scale = _SMOOTH * float(np.trace(normal)) / len(normal)
            pull = penalty @ unknown
            pull[:n] -= _TIED * unknown[:n].mean()
            held = normal + scale * penalty[known, known]
            step = np.linalg.solve(held, slopes @ left - scale * pull[known])
            unknown[known] += np.clip(step, -_LARGEST_STEP, _LARGEST_STEP)
        amounts = np.clip(unknown[-2:], -_SLANTING, _SLANTING)
        z, y, x = (amounts @ np.array(self._across)).tolist()
        return unknown[:n], weights, (z, y, x)

    def _linearised(self, unknown: RealArray, moving: Mask) -> tuple[RealArray, RealArray]:
        """Slopes ``(unknowns, numbers)`` and what is left ``(numbers,)``, as real numbers."""
        n = len(self._parts)
        added = _PHASE * np.multiply.outer(unknown[n:-2], self._displacement)[..., None]
        turned = np.multiply.outer(-2 * np.pi * unknown[:n], self._turns) + added
        for amount, turns in zip(unknown[-2:], self._turns_aside, strict=True):
            turned[moving] -= 2 * np.pi * amount * turns
        moved = self._parts * np.exp(1j * turned).astype(np.complex64)[..., None]
        left = self._change - (moved - self._parts).sum(axis=0)
        by_factor = moved * (-2j * np.pi * self._turns).astype(np.complex64)[..., None]
        by_phase = moved * (1j * _PHASE * self._displacement).astype(np.complex64)[:, None, None]
        slopes = [by_factor, by_phase]
        if moving.any():
            heart = moved[moving].sum(axis=0)
            slopes += [
                (heart * (-2j * np.pi * turns).astype(np.complex64)[..., None])[None]
                for turns in self._turns_aside
            ]
        rows = np.concatenate(slopes)
        rows = rows.reshape(len(rows), -1)
        return rows.view(np.float32), left.astype(np.complex64).ravel().view(np.float32)


def _across(superior: Vector) -> tuple[Vector, Vector]:
    """Return two unit vectors across a direction, and across each other."""
    along = np.asarray(superior) / np.linalg.norm(superior)
    _, _, rows = np.linalg.svd(along[None])
    (z, y, x), (w, v, u) = rows[1:].tolist()
    return (z, y, x), (w, v, u)


def _turns(size: Size, extent: Vector, superior: Vector, used: Mask) -> RealArray:
    """Cycles for each mm towards the head ``(lines, harmonics)``."""
    z, y = (_harmonics(n) * s / e for n, s, e in zip(size[:2], superior, extent, strict=False))
    x = _harmonics(size[2])
    along_x = x[np.abs(x) <= _HIGHEST] * superior[2] / extent[2]
    turns: RealArray = (z[:, None] + y)[used][:, None] + along_x
    return turns


def _weights(size: Size, extent: Vector, used: Mask) -> RealArray:
    """Fade the outer lines, against leakage, and the innermost, which coils colour."""
    z, y, x = (_harmonics(n) for n in size)
    fade = np.multiply.outer(*(np.cos(0.5 * np.pi * k / (len(k) // 2 + 1)) for k in (z, y)))
    x = x[np.abs(x) <= _HIGHEST]
    squares = ((z / extent[0]) ** 2)[:, None] + (y / extent[1]) ** 2
    k_squared = squares[used][:, None] + (x / extent[2]) ** 2
    weights: RealArray = fade[used][:, None] * (1 - np.exp(-0.5 * _FINEST**2 * k_squared))
    return weights.astype(np.float32)


def _low_harmonics(lines: ComplexArray, hats: RealArray) -> ComplexArray:
    """Cut ``(coils, z, y, x)`` along x into pieces; return ``(pieces, coils, z, y, harmonics)``."""
    k = _harmonics(lines.shape[-1])
    waves = np.exp(-2j * np.pi * np.outer(k, k[np.abs(k) <= _HIGHEST]) / len(k)) / len(k) ** 0.5
    pieces: ComplexArray = lines @ (hats[:, :, None] * waves).astype(np.complex64)[:, None, None]
    return pieces


def _lines_of_parts(rest: ComplexArray, hats: tuple[RealArray, ...]) -> ComplexArray:
    """Cut ``(coils, z, y, x)`` into parts; return ``(parts, z, y, harmonics, coils)``.

    A piece of the image along an axis is a matrix that works on k-space along it: few lines and
    few harmonics need no Fourier transform of the image for each part.
    """
    z, y = (_blurs(pieces) for pieces in hats[:2])
    along_x = np.moveaxis(_low_harmonics(rest.astype(np.complex64), hats[2]), 1, -1)
    along_y = np.tensordot(y, along_x, (2, 2))  # (y pieces, y, x pieces, z, harmonics, coils)
    along_z = np.tensordot(z, along_y, (2, 3))  # (z pieces, z, y pieces, y, x pieces, ...)
    ordered = along_z.transpose(0, 2, 4, 1, 3, 5, 6)
    return np.ascontiguousarray(ordered).reshape(-1, *ordered.shape[3:])


def _blurs(hats: RealArray) -> ComplexArray:
    """Return how pieces ``(pieces, n)`` of an image act on its k-space ``(pieces, n, n)``."""
    k = _harmonics(hats.shape[1])
    waves = np.exp(-2j * np.pi * np.outer(k, k) / len(k)) / len(k) ** 0.5
    blurs: ComplexArray = ((waves * hats[:, None]) @ waves.conj().T).astype(np.complex64)
    return blurs


def _parts(size: Size, extent: Vector) -> tuple[tuple[RealArray, ...], RealArray, RealArray]:
    """Divide each axis; return the pieces' shapes, middles ``(n, 3)`` and neighbours ``(n, n)``."""
    axes = [_hats(n, length) for n, length in zip(size, extent, strict=True)]
    counts = tuple(len(middles) for _, middles in axes)
    middles = np.stack(np.meshgrid(*(m for _, m in axes), indexing="ij"), -1).reshape(-1, 3)
    differences = np.zeros((len(middles), len(middles)))
    index: IntArray = np.arange(len(middles)).reshape(counts)
    for axis in range(3):
        one = np.take(index, range(counts[axis] - 1), axis).ravel()
        other = np.take(index, range(1, counts[axis]), axis).ravel()
        for i, j in ((one, one), (other, other)):
            np.add.at(differences, (i, j), 1.0)
        for i, j in ((one, other), (other, one)):
            np.add.at(differences, (i, j), -1.0)
    return tuple(hats for hats, _ in axes), middles, differences


def _hats(n: int, length: float) -> tuple[RealArray, RealArray]:
    """Divide an axis into smooth, overlapping pieces that add up to 1; drop the far ones."""
    n_pieces = max(1, round(length / _BLOCK))
    middles = (np.arange(n_pieces) - (n_pieces - 1) / 2) * length / n_pieces
    places = (np.arange(n) - n // 2) * length / n
    away = (places - middles[:, None] + length / 2) % length - length / 2
    reach = np.minimum(np.abs(away) * n_pieces / length, 1.0)
    hats: RealArray = np.cos(0.5 * np.pi * reach) ** 2 if n_pieces > 1 else np.ones((1, n))
    kept = np.abs(middles) <= _FARTHEST
    return hats[kept], middles[kept]


def _harmonics(n: int) -> RealArray:
    return np.arange(n, dtype=float) - n // 2
