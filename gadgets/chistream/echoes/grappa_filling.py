"""Fills the lines that a lattice leaves out with the weights of GRAPPA, position by position."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from chistream.arrays import ComplexArray, IntArray, Mask
from chistream.echoes.grappa import REACH, GrappaKernel, GrappaWeights, learn_grappa
from chistream.echoes.grappa_ends import fill_ends
from chistream.physics.compiled import compiled
from chistream.physics.fourier import N_THREADS

_AT_ONCE = 16
"""Positions x that one thread works on at a time: 128 bytes, so that memory is read in lines."""


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
    z, y = (_around(np.any(wanted, axis=0), axis, learnt) for axis in (0, 1))
    near, wanted_near = hybrid[:, :, z, y], wanted[:, z, y]
    tiles = _Tiles(learnt, wanted_near.shape[1:])

    def fill(first: int) -> None:
        part = near[..., first : first + _AT_ONCE]
        filler = _Filler(tiles, part.shape[1], part.shape[-1])
        for echo, is_wanted in zip(part, wanted_near, strict=True):
            filler.fill(echo, is_wanted, first)

    with ThreadPoolExecutor(N_THREADS) as pool:
        list(pool.map(fill, range(0, hybrid.shape[-1], _AT_ONCE)))
    fill_ends(hybrid, np.any(sampled, axis=0), wanted, learnt)


class _Target(NamedTuple):
    """A missing place of the tile, and where its sources lie.

    Attributes
    ----------
    place
        Within the tile (z, y).
    starts
        Where the row of each source begins among the lines of the lattice ``(sources, 2)``: place
        of the lattice within the tile, and offset.
    kernel
        Its weights.
    """

    place: tuple[int, int]
    starts: IntArray
    kernel: GrappaKernel


class _Tiles:
    """The lattice's own lines, laid out so that the lines beside a line are one offset away.

    Those of each place of the tile make one row: along y, with zeros between one z and the next,
    and zeros at both ends, as far as kernels reach.

    Parameters
    ----------
    learnt
        Lattice and weights.
    size
        Lines of k-space (z, y), from the start of a tile on.
    """

    def __init__(self, learnt: GrappaWeights, size: tuple[int, ...]) -> None:
        self.tile = learnt.tile
        self.n_z, self.n_y = (-(-n // step) for n, step in zip(size, self.tile, strict=True))
        margin_z, margin_y = (
            -(-reach // step) for reach, step in zip(REACH, self.tile, strict=True)
        )
        self.pitch = self.n_y + margin_y
        self.origin = margin_z * self.pitch + margin_y
        self.length = self.n_z * self.pitch
        is_read = learnt.lattice[: self.tile[0], : self.tile[1]]
        self.places: IntArray = np.argwhere(is_read)
        self.targets = tuple(self._targets(learnt))

    def lines_at(self, lines: Mask, place: tuple[int, int]) -> Mask:
        """Return lines ``(..., z, y)`` at one place of every tile."""
        at_place: Mask = lines[..., place[0] :: self.tile[0], place[1] :: self.tile[1]]
        return at_place

    def _targets(self, learnt: GrappaWeights) -> Iterator[_Target]:
        index = {(int(z), int(y)): i for i, (z, y) in enumerate(self.places)}
        for kernel in learnt.kernels:
            for residue in kernel.residues:
                tiles, places = np.divmod(residue + kernel.sources, self.tile)
                starts = [
                    (index[int(z), int(y)], self.origin + tile_z * self.pitch + tile_y)
                    for (z, y), (tile_z, tile_y) in zip(places, tiles, strict=True)
                ]
                yield _Target((int(residue[0]), int(residue[1])), np.array(starts), kernel)


class _Filler:
    """Fills lines of a few positions x and one echo at a time; keeps its arrays."""

    def __init__(self, tiles: _Tiles, n_coils: int, n_x: int) -> None:
        self._tiles = tiles
        ends = 2 * tiles.origin + tiles.length
        self._read = np.zeros((n_x, len(tiles.places), n_coils, ends), np.complex64)
        self._predicted = np.empty((n_x, n_coils, tiles.length), np.complex64)

    def fill(self, lines: ComplexArray, wanted: Mask, first: int) -> None:
        """Write what is wanted ``(kz, ky)`` into ``(coils, kz, ky, x)``, from a position x on."""
        tiles = self._tiles
        for i, (z, y) in enumerate(tiles.places):
            read = lines[:, z :: tiles.tile[0], y :: tiles.tile[1]]
            collect(read, self._read[:, i, :, tiles.origin :], tiles.pitch)
        for target in tiles.targets:
            is_wanted = tiles.lines_at(wanted, target.place)
            if is_wanted.any():
                self._predict(target, first)
                z, y = target.place
                into = lines[:, z :: tiles.tile[0], y :: tiles.tile[1]]
                spread(self._predicted, is_wanted, into, tiles.pitch)

    def _predict(self, target: _Target, first: int) -> None:
        n_x, n_coils, length = self._predicted.shape
        rows = np.empty((len(target.starts), n_coils, length), np.complex64)
        for x in range(n_x):
            gather(self._read[x], target.starts, rows)
            weights = target.kernel.weights[first + x].reshape(n_coils, -1)
            np.matmul(weights, rows.reshape(-1, length), out=self._predicted[x])


@compiled
def collect(lines: ComplexArray, rows: ComplexArray, pitch: int) -> None:
    """Lay lines ``(coils, z, y, x)`` in rows ``(x, coils, ...)``; each z takes ``pitch`` places."""
    n_coils, n_z, n_y, n_x = lines.shape
    for coil in range(n_coils):
        for z in range(n_z):
            for y in range(n_y):
                for x in range(n_x):
                    rows[x, coil, z * pitch + y] = lines[coil, z, y, x]


@compiled
def spread(rows: ComplexArray, wanted: Mask, lines: ComplexArray, pitch: int) -> None:
    """Write those of the rows ``(x, coils, ...)`` that are wanted (z, y): `collect` backwards."""
    n_coils, n_z, n_y, n_x = lines.shape
    for coil in range(n_coils):
        for z in range(n_z):
            for y in range(n_y):
                if wanted[z, y]:
                    for x in range(n_x):
                        lines[coil, z, y, x] = rows[x, coil, z * pitch + y]


@compiled
def gather(read: ComplexArray, starts: IntArray, rows: ComplexArray) -> None:
    """Copy of ``(places, coils, ...)`` what begins at each start (place, offset) into a row."""
    n_sources, n_coils, length = rows.shape
    for source in range(n_sources):
        place, start = starts[source]
        for coil in range(n_coils):
            rows[source, coil] = read[place, coil, start : start + length]


def _check(hybrid: ComplexArray, sampled: Mask, region: Mask, learnt: GrappaWeights) -> None:
    n_echoes, n_coils, *plane, n_x = hybrid.shape
    masks = sampled.shape[1:], region.shape, learnt.lattice.shape
    if len(sampled) != n_echoes or set(masks) != {tuple(plane)}:
        raise ValueError(
            f"sampled {sampled.shape}, region {region.shape} and lattice {learnt.lattice.shape} "
            f"do not fit hybrid {hybrid.shape}"
        )
    for kernel in (*learnt.kernels, *(end.kernel for end in learnt.ends)):
        if kernel.weights.shape[:2] != (n_x, n_coils):
            raise ValueError(
                f"the block that weights were learnt from has (x, coils) "
                f"{kernel.weights.shape[:2]}, hybrid {hybrid.shape} has not"
            )


def _around(places: Mask, axis: int, learnt: GrappaWeights) -> slice:
    """Bound places ``(kz, ky)`` along an axis, with their sources, from the start of a tile on."""
    lines, tile = np.nonzero(places)[axis], learnt.tile[axis]
    first = max(int(lines.min()) - REACH[axis], 0)
    return slice(first // tile * tile, int(lines.max()) + REACH[axis] + 1)
