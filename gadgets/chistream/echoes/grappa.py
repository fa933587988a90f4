"""Parallel imaging in k-space: each missing line from its neighbours in all coils (GRAPPA)."""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from chistream.arrays import ComplexArray, IntArray, Mask
from chistream.physics.fourier import N_THREADS, to_kspace

_REACH = (3, 4)
"""Lines (z, y) on either side of a missing one that may serve it."""

_MAX_SOURCES = 12
"""Lines that serve a missing one, the nearest first."""

_READOUT_REACH = 2
"""Samples along kx on either side that serve a sample."""

_READOUT_LINES = 48
"""Samples along kx, about the centre, that weights are learnt from."""


_ROOM = 2**21
"""Samples that one thread gathers at a time."""


class _Kernel(NamedTuple):
    """Where a kind of missing line lies ``(n, 2)``, and where its sources do, relative to it."""

    targets: IntArray
    sources: IntArray


def fill_grappa(
    hybrid: ComplexArray,
    sampled: Mask,
    region: Mask,
    lattice: Mask,
    block: ComplexArray,
    *,
    strength: float = 1e-5,
) -> ComplexArray:
    r"""Fill the lines that a lattice leaves out.

    .. math:: d_c(\mathbf k) = \sum_{j, c'} w_{c j c'}\, d_{c'}(\mathbf k + \mathbf q_j)

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
        If shapes do not fit, the block has fewer than 5 samples along x, or the strength is not
        positive.

    Notes
    -----
    Each place of a missing line in the lattice has a kernel of its own, whatever the pattern (1D,
    2D, CAIPIRINHA). The kernel's extent along kx becomes a weight for each x, so nothing but the
    block is transformed. Sources beyond the covered part of k-space count as zeros: kernels that
    extrapolate past the ends of a slab were measured to do worse.

    References
    ----------
    .. [1] Griswold MA, et al. Generalized autocalibrating partially parallel acquisitions (GRAPPA).
       Magn Reson Med. 2002;47(6):1202-1210. doi:10.1002/mrm.10171
    .. [2] Breuer FA, et al. General formulation for quantitative G-factor calculation in GRAPPA
       reconstructions. Magn Reson Med. 2009;62(3):739-746. doi:10.1002/mrm.22066
    """
    _check(hybrid, sampled, region, lattice, block)
    if strength <= 0:
        raise ValueError(f"strength must be positive, got {strength}")
    filled = np.array(hybrid, np.complex64)
    middle = _middle_of_kspace(block)
    for kernel in _kernels(lattice, region, (block.shape[2], block.shape[3])):
        weights = _learn(middle, kernel.sources, strength)
        _apply(hybrid, sampled, lattice, kernel, weights, filled)
    return filled


def _check(
    hybrid: ComplexArray, sampled: Mask, region: Mask, lattice: Mask, block: ComplexArray
) -> None:
    n_echoes, n_coils, *plane, n_x = hybrid.shape
    masks = sampled.shape[1:], region.shape, lattice.shape
    if len(sampled) != n_echoes or set(masks) != {tuple(plane)}:
        raise ValueError(
            f"sampled {sampled.shape}, region {region.shape} and lattice {lattice.shape} do not "
            f"fit hybrid {hybrid.shape}"
        )
    if block.shape[1] != n_coils or block.shape[4] != n_x or n_x <= 2 * _READOUT_REACH:
        raise ValueError(
            f"block {block.shape} must have coils and x of hybrid {hybrid.shape}, and 5 samples"
        )


def _middle_of_kspace(block: ComplexArray) -> ComplexArray:
    """Transform a hybrid block to k-space, and keep its centre along kx."""
    kspace = to_kspace(block, (-1,))
    n = kspace.shape[-1]
    kept = min(n, _READOUT_LINES)
    return kspace[..., n // 2 - kept // 2 : n // 2 - kept // 2 + kept]


def _kernels(lattice: Mask, region: Mask, block: tuple[int, int]) -> list[_Kernel]:
    """Sort the missing lines by where the lattice lies around them, as far as a block reaches."""
    tile = lattice[: _period(lattice), : _period(lattice.T)]
    reach_z, reach_y = (min(reach, (n - 1) // 2) for reach, n in zip(_REACH, block, strict=True))
    offsets = np.array(
        [(z, y) for z in range(-reach_z, reach_z + 1) for y in range(-reach_y, reach_y + 1)]
    )
    offsets = offsets[np.argsort((offsets**2).sum(axis=1), kind="stable")]
    places = np.argwhere(region)
    by_sources: dict[bytes, list[IntArray]] = {}
    for residue in np.argwhere(~tile):
        around = residue + offsets
        is_source = tile[around[:, 0] % tile.shape[0], around[:, 1] % tile.shape[1]]
        targets = places[np.all((places - residue) % tile.shape == 0, axis=1)]
        sources = offsets[is_source][:_MAX_SOURCES]
        by_sources.setdefault(sources.tobytes(), []).append(targets)
    return [
        _Kernel(np.concatenate(targets), np.frombuffer(key, offsets.dtype).reshape(-1, 2))
        for key, targets in by_sources.items()
        if key and sum(map(len, targets))
    ]


def _period(lattice: Mask) -> int:
    """Find the smallest shift along the first axis that leaves a lattice as it is."""
    n = len(lattice)
    return next((p for p in range(1, n) if np.array_equal(lattice[p:], lattice[: n - p])), n)


def _learn(kspace: ComplexArray, sources: IntArray, strength: float) -> ComplexArray:
    """Fit weights ``(sources, kx, coils, coils)`` (from, to) to all places in the block."""
    n_echoes, n_coils, nz, ny, nx = kspace.shape
    low, high = np.minimum(sources.min(axis=0), 0), np.maximum(sources.max(axis=0), 0)
    n_z, n_y, n_x = nz - (high - low)[0], ny - (high - low)[1], nx - 2 * _READOUT_REACH

    def around(echo: int, z: int, y: int, x: int) -> ComplexArray:
        first = (z - low[0], y - low[1], x + _READOUT_REACH)
        part = tuple(slice(f, f + n) for f, n in zip(first, (n_z, n_y, n_x), strict=True))
        seen: ComplexArray = kspace[echo][:, part[0], part[1], part[2]].reshape(n_coils, -1)
        return seen

    taps = range(-_READOUT_REACH, _READOUT_REACH + 1)
    n = len(sources) * len(taps) * n_coils
    gram, moment = np.zeros((n, n), np.complex128), np.zeros((n, n_coils), np.complex128)
    for echo in range(n_echoes):
        rows = np.concatenate([around(echo, z, y, x) for z, y in sources for x in taps])
        gram += rows.conj() @ rows.T
        moment += rows.conj() @ around(echo, 0, 0, 0).T
    gram += strength * np.trace(gram).real / n * np.eye(n)
    weights: ComplexArray = np.asarray(np.linalg.solve(gram, moment), np.complex64)
    return weights.reshape(len(sources), len(taps), n_coils, n_coils)


def _along_x(weights: ComplexArray, positions: IntArray, n: int) -> ComplexArray:
    """Turn the kernel along kx into weights at positions x of n ``(x, sources * from, to)``."""
    taps = np.arange(weights.shape[1]) - _READOUT_REACH
    # The neighbour at kx + q enters the image along x as exp(-2 pi i q x / n).
    waves = np.exp(-2j * np.pi * np.outer(positions - n // 2, taps) / n)
    over_x = np.tensordot(waves, weights, (1, 1))
    return over_x.reshape(len(positions), -1, weights.shape[-1]).astype(np.complex64)


def _apply(
    hybrid: ComplexArray,
    sampled: Mask,
    lattice: Mask,
    kernel: _Kernel,
    weights: ComplexArray,
    filled: ComplexArray,
) -> None:
    """Fill the targets of a kernel from the lattice, a few positions x at a time."""
    n_echoes, n_coils, nz, ny, nx = hybrid.shape
    places = kernel.targets[:, None] + kernel.sources
    is_inside = np.all((places >= 0) & (places < (nz, ny)), axis=-1)
    # What is no source reads the line of zeros behind the last one.
    rows = np.where(is_inside, places[..., 0] * ny + places[..., 1], nz * ny)
    at_once = max(1, _ROOM // (rows.size * n_coils))

    def fill(first: int) -> None:
        positions = np.arange(first, min(first + at_once, nx))
        over_x = _along_x(weights, positions, nx)
        lines = np.zeros((len(positions), nz * ny + 1, n_coils), np.complex64)
        for echo in range(n_echoes):
            part = (hybrid[echo][..., positions] * lattice[..., None]).transpose(3, 1, 2, 0)
            lines[:, :-1] = part.reshape(len(positions), -1, n_coils)
            wanted = ~sampled[echo][tuple(kernel.targets.T)]
            z, y = kernel.targets[wanted].T
            gathered = lines[:, rows[wanted]].reshape(len(positions), len(z), over_x.shape[1])
            # Indices on both sides of a slice put their axis first.
            filled[echo, :, z, y, first : positions[-1] + 1] = (gathered @ over_x).transpose(
                1, 2, 0
            )

    with ThreadPoolExecutor(N_THREADS) as pool:
        list(pool.map(fill, range(0, nx, at_once)))
