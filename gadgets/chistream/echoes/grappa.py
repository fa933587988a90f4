"""Parallel imaging in k-space: each missing line from its neighbours in all coils (GRAPPA)."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from chistream.arrays import ComplexArray, IntArray, Mask, RealArray
from chistream.physics.fourier import N_THREADS

_REACH = (3, 4)
"""Lines (z, y) on either side of a missing one that may serve it."""

_MAX_SOURCES = 12
"""Lines that serve a missing one, the nearest first."""

_WINDOW = (1 / 64, 1 / 12)
"""Parts of the field of view along x, on either side, that weights are learnt from: if the block
gives enough equations, and at most."""

_DARK = 1e-3
"""Positions x with less than this part of the mean energy are regularised as if they had it."""

_AT_ONCE = 16
"""Positions x that one thread works on at a time: 128 bytes, so that memory is read in lines."""


class GrappaKernel(NamedTuple):
    """Weights of the missing lines that have the lattice around them in the same way.

    Attributes
    ----------
    residues
        Their places within the lattice's tile ``(n, 2)``, (z, y).
    sources
        Where their sources lie, relative to them ``(sources, 2)``, (z, y).
    weights
        ``(x, to coils, sources, from coils)`` complex64.
    """

    residues: IntArray
    sources: IntArray
    weights: ComplexArray


@dataclass(frozen=True, eq=False)
class GrappaWeights:
    """What a calibration block tells about the lines that a lattice leaves out.

    Parameters
    ----------
    lattice
        Places of the undersampling ``(kz, ky)``, periodic, all over k-space.
    tile
        Lines after which the lattice repeats itself (z, y).
    kernels
        One for each way in which the lattice lies around a missing line. A line that no place of
        the lattice is near enough to belongs to none.
    """

    lattice: Mask
    tile: tuple[int, int]
    kernels: tuple[GrappaKernel, ...]


def fill_grappa(
    hybrid: ComplexArray,
    sampled: Mask,
    region: Mask,
    lattice: Mask,
    block: ComplexArray,
    *,
    strength: float = 1e-3,
) -> ComplexArray:
    r"""Fill the lines that a lattice leaves out.

    .. math:: d_c(\mathbf k, x) = \sum_{j, c'} w_{c j c'}(x)\, d_{c'}(\mathbf k + \mathbf q_j, x)

    Parameters
    ----------
    hybrid
        Whitened hybrid k-space ``(echoes, coils, kz, ky, x)``, centred at ``n // 2``, zero where
        nothing was sampled.
    sampled
        Lines that hold data ``(echoes, kz, ky)``; they stay.
    region
        Lines to fill ``(kz, ky)``, where they are not sampled.
    lattice
        Places of the undersampling ``(kz, ky)``, periodic, all over k-space: the sources.
    block
        Fully sampled centre ``(echoes, coils, kz, ky, x)`` to learn weights from; all echoes share
        them.
    strength
        Regularisation of the weights, relative to the mean energy of a source, > 0.

    Returns
    -------
    ComplexArray
        Hybrid k-space ``(echoes, coils, kz, ky, x)`` complex64, filled within the region; a line
        is left empty if no line of the lattice is near enough.

    Raises
    ------
    ValueError
        If shapes do not fit, or the strength is not positive.

    Notes
    -----
    This is `learn_grappa`, which needs the block alone and may run while the scan goes on, and
    `apply_grappa` on a copy.

    References
    ----------
    .. [1] Griswold MA, et al. Generalized autocalibrating partially parallel acquisitions (GRAPPA).
       Magn Reson Med. 2002;47(6):1202-1210. doi:10.1002/mrm.10171
    """
    learnt = learn_grappa(block, lattice, strength=strength)
    filled = np.array(hybrid, np.complex64)
    apply_grappa(filled, sampled, region, learnt)
    return filled


def learn_grappa(block: ComplexArray, lattice: Mask, *, strength: float = 1e-3) -> GrappaWeights:
    r"""Learn the weights of all lines that a lattice leaves out.

    .. math:: w(x) = \arg\min_w \sum_{x'} h(x' - x) \sum_{\mathbf k, e}
              \Big| d_c - \sum_{j, c'} w_{c j c'}\, d_{c'}(\mathbf k + \mathbf q_j) \Big|^2
              + \lambda(x) |w|^2

    Parameters
    ----------
    block
        Fully sampled centre of whitened hybrid k-space ``(echoes, coils, kz, ky, x)``.
    lattice
        Places of the undersampling ``(kz, ky)``, periodic, all over k-space.
    strength
        Regularisation of the weights, relative to the mean energy of a source, > 0.

    Returns
    -------
    GrappaWeights
        For `apply_grappa`.

    Raises
    ------
    ValueError
        If the block has not five axes, the lattice not two, or the strength is not positive.

    Notes
    -----
    Each place of a missing line in the lattice has a kernel of its own, whatever the pattern (1D,
    2D, CAIPIRINHA). Weights are learnt at each position x, with its neighbours in a Hann window
    h: nothing is transformed, a position needs to know only the few things that fold there, and
    equations are few. Measured on a noise-free simulated chest at full
    size (24 x 144 x 256, 2 x 2 CAIPIRINHA, 12 x 24 lines to learn from, 8 virtual coils of 16):
    phase between echoes wrong by 0.10 rad in the heart, against 0.13 rad of kernels with 5 taps
    along kx. On a smaller one (24 x 96 x 96, weights from lines at SNR 30), in the heart [rad RMS]:

    ==========================================  =======  =====
    virtual coils (energy kept) of 16           2 x 2    R = 2
    ==========================================  =======  =====
    8 (0.999)                                   0.122    0.041
    12 (0.9999)                                 0.092    0.038
    16 (all)                                    0.090    0.038
    12, weights of each echo                    0.169
    12, 16 x 32 lines to learn from             0.088
    12, 20 sources within 4 x 5 lines           0.121
    12, learnt where the heart folds only       0.090
    16, weights from lines without noise        0.074
    ==========================================  =======  =====

    With 12 coils, noise at SNR 30 alone makes 0.31 rad at 2 x 2, 0.11 in a full scan. Bright fat
    is a part of the error only (0.084 without it): the heart's own signal is wrong by 4 %.
    Self-consistent k-space [2]_, from these lines on, gains 8 % at most. Sources beyond the covered
    part count as zeros: kernels that extrapolate past the ends of a slab were measured to do worse.

    References
    ----------
    .. [1] Griswold MA, et al. Generalized autocalibrating partially parallel acquisitions (GRAPPA).
       Magn Reson Med. 2002;47(6):1202-1210. doi:10.1002/mrm.10171
    .. [2] Lustig M, Pauly JM. SPIRiT: iterative self-consistent parallel imaging reconstruction
       from arbitrary k-space. Magn Reson Med. 2010;64(2):457-471. doi:10.1002/mrm.22428
    """
    if block.ndim != 5 or lattice.ndim != 2:
        raise ValueError(
            f"block {block.shape} must be (echoes, coils, kz, ky, x), and lattice {lattice.shape} "
            "(kz, ky)"
        )
    if strength <= 0:
        raise ValueError(f"strength must be positive, got {strength}")
    tile = _period(lattice), _period(lattice.T)
    kernels = tuple(
        GrappaKernel(residues, sources, _learn(block, sources, strength))
        for residues, sources in _kinds(lattice[: tile[0], : tile[1]], block.shape[2:4])
    )
    return GrappaWeights(lattice, tile, kernels)


def apply_grappa(hybrid: ComplexArray, sampled: Mask, region: Mask, learnt: GrappaWeights) -> None:
    """Fill the lines that a lattice leaves out, in place.

    Parameters
    ----------
    hybrid
        Whitened hybrid k-space ``(echoes, coils, kz, ky, x)`` complex64, centred at ``n // 2``,
        zero where nothing was sampled. Lines of the region that were not sampled are written.
    sampled
        Lines that hold data ``(echoes, kz, ky)``; they stay.
    region
        Lines to fill ``(kz, ky)``, where they are not sampled.
    learnt
        Of `learn_grappa`.

    Raises
    ------
    ValueError
        If shapes do not fit.

    Notes
    -----
    Only lines of the lattice are read and only others written, so that the order does not matter.
    Besides, memory is that of a few positions x.
    """
    _check(hybrid, sampled, region, learnt)
    wanted = region & ~sampled & ~learnt.lattice
    if not wanted.any():
        return
    places: Mask = np.any(wanted, axis=0)
    z, y = (_around(places, axis, learnt) for axis in (0, 1))
    hybrid, wanted = hybrid[:, :, z, y], wanted[:, z, y]

    def fill(first: int) -> None:
        part = slice(first, first + _AT_ONCE)
        predicted = _predict(np.moveaxis(hybrid[..., part], -1, 0), first, learnt)
        np.copyto(
            hybrid[..., part], np.moveaxis(predicted, 0, -1), where=wanted[:, None, ..., None]
        )

    with ThreadPoolExecutor(N_THREADS) as pool:
        list(pool.map(fill, range(0, hybrid.shape[-1], _AT_ONCE)))


def _check(hybrid: ComplexArray, sampled: Mask, region: Mask, learnt: GrappaWeights) -> None:
    n_echoes, n_coils, *plane, n_x = hybrid.shape
    masks = sampled.shape[1:], region.shape, learnt.lattice.shape
    if len(sampled) != n_echoes or set(masks) != {tuple(plane)}:
        raise ValueError(
            f"sampled {sampled.shape}, region {region.shape} and lattice {learnt.lattice.shape} "
            f"do not fit hybrid {hybrid.shape}"
        )
    for kernel in learnt.kernels:
        if kernel.weights.shape[:2] != (n_x, n_coils):
            raise ValueError(
                f"the block that weights were learnt from has (x, coils) "
                f"{kernel.weights.shape[:2]}, hybrid {hybrid.shape} has not"
            )


def _around(places: Mask, axis: int, learnt: GrappaWeights) -> slice:
    """Bound places ``(kz, ky)`` along an axis, with their sources, from the start of a tile on."""
    lines, tile = np.nonzero(places)[axis], learnt.tile[axis]
    first = max(int(lines.min()) - _REACH[axis], 0)
    return slice(first // tile * tile, int(lines.max()) + _REACH[axis] + 1)


def _period(lattice: Mask) -> int:
    """Find the smallest shift along the first axis that leaves a lattice as it is."""
    n = len(lattice)
    return next((p for p in range(1, n) if np.array_equal(lattice[p:], lattice[: n - p])), n)


def _kinds(tile: Mask, block: tuple[int, ...]) -> Iterator[tuple[IntArray, IntArray]]:
    """Sort missing places by where the lattice lies around them, as far as a block reaches."""
    reach_z, reach_y = (min(reach, (n - 1) // 2) for reach, n in zip(_REACH, block, strict=True))
    offsets = np.array(
        [(z, y) for z in range(-reach_z, reach_z + 1) for y in range(-reach_y, reach_y + 1)]
    )
    offsets = offsets[np.argsort((offsets**2).sum(axis=1), kind="stable")]
    by_sources: dict[bytes, list[IntArray]] = {}
    for residue in np.argwhere(~tile):
        around = residue + offsets
        is_source = tile[around[:, 0] % tile.shape[0], around[:, 1] % tile.shape[1]]
        by_sources.setdefault(offsets[is_source][:_MAX_SOURCES].tobytes(), []).append(residue)
    for key, residues in by_sources.items():
        if key:
            yield np.array(residues), np.frombuffer(key, offsets.dtype).reshape(-1, 2)


def _learn(block: ComplexArray, sources: IntArray, strength: float) -> ComplexArray:
    """Fit weights ``(x, to coils, sources, from coils)`` to all places in the block."""
    n_coils, n_x = block.shape[1], block.shape[-1]
    n_equations = _equations(block, sources)
    window = _window(n_x, len(sources) * n_coils / n_equations)
    energy = float(np.mean(block.real**2 + block.imag**2)) * n_equations
    weights = np.empty((n_x, n_coils, len(sources), n_coils), np.complex64)
    reach = len(window) // 2

    def learn(first: int) -> None:
        last = min(first + _AT_ONCE, n_x)
        begin, end = max(0, first - reach), min(n_x, last + reach)
        gram, moment = _normal_equations(block[..., begin:end], sources)
        for x in range(first, last):
            near = slice(max(0, x - reach), min(n_x, x + reach + 1))
            share = window[near.start - x + reach : near.stop - x + reach]
            part = slice(near.start - begin, near.stop - begin)
            solution = _solve(
                np.tensordot(share, gram[part], 1),
                np.tensordot(share, moment[part], 1),
                strength,
                energy,
            )
            weights[x] = solution.T.reshape(weights.shape[1:])

    with ThreadPoolExecutor(N_THREADS) as pool:
        list(pool.map(learn, range(0, n_x, _AT_ONCE)))
    return weights


def _window(n: int, needed: float) -> RealArray:
    """Make a Hann window over n positions that needs so many of them."""
    least, most = (round(part * n) for part in _WINDOW)
    reach = min(max(least, int(np.ceil(needed)) - 1), max(least, most))
    window: RealArray = np.cos(np.pi / 2 * np.arange(-reach, reach + 1) / (reach + 1)) ** 2
    return window


def _solve(
    gram: ComplexArray, moment: ComplexArray, strength: float, energy: float
) -> ComplexArray:
    """Solve the regularised normal equations of one position."""
    mean = max(np.trace(gram).real / len(gram), _DARK * energy, np.finfo(np.float32).tiny)
    solution: ComplexArray = np.linalg.solve(gram + strength * mean * np.eye(len(gram)), moment)
    return solution


def _extent(sources: IntArray) -> tuple[IntArray, IntArray]:
    """Bounds of a kernel, its target at zero included."""
    return np.minimum(sources.min(axis=0), 0), np.maximum(sources.max(axis=0), 0)


def _equations(block: ComplexArray, sources: IntArray) -> int:
    """Count the places that a kernel has in a block, in all echoes."""
    low, high = _extent(sources)
    return len(block) * int(np.prod(np.array(block.shape[2:4]) - (high - low)))


def _normal_equations(block: ComplexArray, sources: IntArray) -> tuple[ComplexArray, ComplexArray]:
    """Sum over places in the block: Gram matrices ``(x, n, n)`` and moments ``(x, n, coils)``."""
    _, n_coils, nz, ny, n_x = block.shape
    low, high = _extent(sources)
    n_z, n_y = nz - (high - low)[0], ny - (high - low)[1]
    moved = np.ascontiguousarray(block.transpose(4, 1, 0, 2, 3))

    def around(z: int, y: int) -> ComplexArray:
        z, y = z - low[0], y - low[1]
        return moved[..., z : z + n_z, y : y + n_y].reshape(n_x, n_coils, -1)

    rows = np.concatenate([around(z, y) for z, y in sources], axis=1)
    adjoint = rows.conj()
    return (
        adjoint @ rows.swapaxes(1, 2),
        adjoint @ around(0, 0).swapaxes(1, 2),
    )


def _predict(lines: ComplexArray, first: int, learnt: GrappaWeights) -> ComplexArray:
    """Predict every line of ``(x, echoes, coils, kz, ky)`` that a kernel serves."""
    *_, nz, ny = lines.shape
    margin_z, margin_y = _REACH
    # Beyond the ends of k-space: zeros. One position at a time, and in place, stays in the cache.
    padded = np.zeros((*lines.shape[1:3], nz + 2 * margin_z, ny + 2 * margin_y), np.complex64)
    predicted = np.zeros(lines.shape, np.complex64)
    for x, around in enumerate(lines):
        padded[..., margin_z : margin_z + nz, margin_y : margin_y + ny] = around
        for kernel in learnt.kernels:
            weights = kernel.weights[first + x]
            for residue in kernel.residues:
                _predict_residue(padded, weights, kernel.sources, residue, learnt, predicted[x])
    return predicted


def _predict_residue(
    padded: ComplexArray,
    weights: ComplexArray,
    sources: IntArray,
    residue: IntArray,
    learnt: GrappaWeights,
    predicted: ComplexArray,
) -> None:
    """Predict the lines ``(echoes, coils, kz, ky)`` at one place of the tile."""
    n_echoes, n_coils = padded.shape[:2]
    target = predicted[..., residue[0] :: learnt.tile[0], residue[1] :: learnt.tile[1]]
    gathered = np.empty((n_echoes, len(sources), *target.shape[1:]), np.complex64)
    for source, (z, y) in enumerate(residue + sources + _REACH):
        part = padded[..., z :: learnt.tile[0], y :: learnt.tile[1]]
        gathered[:, source] = part[..., : target.shape[2], : target.shape[3]]
    columns = gathered.reshape(n_echoes, len(sources) * n_coils, -1)
    target[...] = (weights.reshape(n_coils, -1) @ columns).reshape(target.shape)
