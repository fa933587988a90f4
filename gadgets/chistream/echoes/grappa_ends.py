"""Where the lattice ends: the lines that have its lines on one side only get weights of their own.

Kernels that count the sources beyond the ends as zeros leave most of their error there: on a
simulated chest at R = 2 the one outermost line made two thirds of the whole phase error.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from chistream.arrays import ComplexArray, IntArray, Mask
from chistream.echoes.grappa import GrappaKernel, GrappaWeights
from chistream.physics.fourier import N_THREADS

_AT_ONCE = 16
"""Positions x that one thread works on at a time: 128 bytes, so that memory is read in lines."""


class Served(NamedTuple):
    """A kernel and the missing lines that it serves.

    Attributes
    ----------
    kernel
        Its sources and weights.
    lines
        ``(kz, ky)``; no two kernels serve the same.
    is_end
        Whether it is one for the ends of the lattice.
    """

    kernel: GrappaKernel
    lines: Mask
    is_end: bool


def served_lines(learnt: GrappaWeights, sampled: Mask) -> tuple[Served, ...]:
    """Tell which kernel serves which lines.

    Parameters
    ----------
    learnt
        Of `learn_grappa`.
    sampled
        Lines that hold data ``(kz, ky)``.

    Returns
    -------
    tuple[Served, ...]
        The kernels of the lattice, then those of its ends. One of an end serves the lines for
        which none of the sources on its side was sampled.
    """
    free = np.ones(sampled.shape, bool)
    ends = []
    for beyond, kernel in learnt.ends:
        lines = free & _lines_at(kernel.residues, learnt) & ~_any_near(sampled, beyond, learnt)
        free &= ~lines
        ends.append(Served(kernel, lines, is_end=True))
    inside = (
        Served(kernel, free & _lines_at(kernel.residues, learnt), is_end=False)
        for kernel in learnt.kernels
    )
    return (*inside, *ends)


def fill_ends(hybrid: ComplexArray, sampled: Mask, wanted: Mask, learnt: GrappaWeights) -> None:
    """Fill the lines at the ends of a lattice, in place.

    Parameters
    ----------
    hybrid
        Hybrid k-space ``(echoes, coils, kz, ky, x)`` complex64. Only lines of the lattice are read
        and only others written.
    sampled
        Lines that hold data in some echo ``(kz, ky)``.
    wanted
        Lines to fill ``(echoes, kz, ky)``.
    learnt
        Of `learn_grappa`.
    """
    places: Mask = np.any(wanted, axis=0)
    ends = [
        (kernel, np.argwhere(lines & places))
        for kernel, lines, is_end in served_lines(learnt, sampled)
        if is_end and (lines & places).any()
    ]

    def fill(first: int) -> None:
        part = hybrid[..., first : first + _AT_ONCE]
        for kernel, lines in ends:
            predicted = _predict(part, lines, kernel, first)
            z, y = lines.T
            old = part[:, :, z, y]
            part[:, :, z, y] = np.where(wanted[:, z, y][:, None, :, None], predicted, old)

    with ThreadPoolExecutor(N_THREADS) as pool:
        list(pool.map(fill, range(0, hybrid.shape[-1], _AT_ONCE)))


def _predict(
    hybrid: ComplexArray, lines: IntArray, kernel: GrappaKernel, first: int
) -> ComplexArray:
    """Predict some lines ``(n, 2)`` of a few positions x: ``(echoes, coils, n, x)``."""
    n_echoes, n_coils, nz, ny, n_x = hybrid.shape
    gathered = np.empty((n_x, len(kernel.sources), n_coils, n_echoes, len(lines)), np.complex64)
    for source, offset in enumerate(kernel.sources):
        z, y = (lines + offset).T
        is_inside = (z >= 0) & (z < nz) & (y >= 0) & (y < ny)
        values = hybrid[:, :, np.where(is_inside, z, 0), np.where(is_inside, y, 0)]
        gathered[:, source] = (values * is_inside[:, None]).transpose(3, 1, 0, 2)
    weights = kernel.weights[first : first + n_x].reshape(n_x, n_coils, -1)
    predicted = weights @ gathered.reshape(n_x, weights.shape[-1], -1)
    return predicted.reshape(n_x, n_coils, n_echoes, -1).transpose(2, 1, 3, 0)


def _lines_at(residues: IntArray, learnt: GrappaWeights) -> Mask:
    """Lines ``(kz, ky)`` at some places of each tile."""
    at_places = np.zeros(learnt.lattice.shape, bool)
    for z, y in residues:
        at_places[z :: learnt.tile[0], y :: learnt.tile[1]] = True
    return at_places


def _any_near(sampled: Mask, offsets: IntArray, learnt: GrappaWeights) -> Mask:
    """Lines that have a sampled one of the lattice at any of some offsets."""
    near = np.zeros(sampled.shape, bool)
    for lines in shifted(sampled & learnt.lattice, offsets):
        near |= lines
    return near


def shifted(lines: Mask, offsets: IntArray) -> Iterator[Mask]:
    """For each offset: at each line, what lies so far from it; nothing beyond the ends."""
    nz, ny = lines.shape
    margin_z, margin_y = np.abs(offsets).max(axis=0)
    around = np.pad(lines, ((margin_z, margin_z), (margin_y, margin_y)))
    for z, y in np.add(offsets, (margin_z, margin_y)):
        yield around[z : z + nz, y : y + ny]
