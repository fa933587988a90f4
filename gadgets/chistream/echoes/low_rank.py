"""Shrinking what a few signals over the echoes do not explain, block by block."""

import numpy as np

from chistream.arrays import ComplexArray, Size


def shrink_rank(
    echoes: ComplexArray,
    threshold: float,
    *,
    block: Size = (2, 6, 6),
    shift: Size = (0, 0, 0),
) -> ComplexArray:
    r"""Shrink the singular values of all blocks (the proximal map of their nuclear norms).

    .. math:: X = U \Sigma V^H \;\rightarrow\; U \max(\Sigma - \tau, 0)\, V^H

    with X the voxels of a block by echoes (locally low rank).

    Parameters
    ----------
    echoes
        ``(echoes, z, y, x)``.
    threshold
        :math:`\tau`, in the unit of the echoes, >= 0. Noise of deviation 1 in n voxels and m
        echoes has singular values up to about :math:`\sqrt n + \sqrt m`.
    block
        Size ``(z, y, x)`` [voxels], small enough for one field and few tissues; cut to the grid.
    shift
        Voxels by which the grid of blocks is moved (z, y, x); vary it over iterations, and blocks
        leave no edges.

    Returns
    -------
    ComplexArray
        ``(echoes, z, y, x)`` complex64.

    References
    ----------
    .. [1] Trzasko JD, Manduca A. Local versus global low-rank promotion in dynamic MRI series
       reconstruction. Proc ISMRM. 2011;19:4371.
    .. [2] Zhang T, Pauly JM, Levesque IR. Accelerating parameter mapping with a locally low rank
       constraint. Magn Reson Med. 2015;73(2):655-661. doi:10.1002/mrm.25161
    """
    n_echoes, *size = echoes.shape
    edges = [min(b, n) for b, n in zip(block, size, strict=True)]
    counts = [-(-n // b) for n, b in zip(size, edges, strict=True)]
    missing = [c * b - n for c, b, n in zip(counts, edges, size, strict=True)]
    moved = np.roll(echoes, shift, (1, 2, 3))
    padded = np.pad(moved, [(0, 0), *((0, m) for m in missing)])
    (z, y, x), (a, b, c) = counts, edges
    blocks = padded.reshape(n_echoes, z, a, y, b, x, c).transpose(1, 3, 5, 0, 2, 4, 6)
    rows = blocks.reshape(-1, n_echoes, a * b * c)
    shrunk = (_shrinking(rows, threshold) @ rows).reshape(z, y, x, n_echoes, a, b, c)
    whole = shrunk.transpose(3, 0, 4, 1, 5, 2, 6).reshape(padded.shape)
    kept = whole[:, : size[0], : size[1], : size[2]].astype(np.complex64)
    return np.roll(kept, (-shift[0], -shift[1], -shift[2]), (1, 2, 3))


def _shrinking(rows: ComplexArray, threshold: float) -> ComplexArray:
    """Find the matrices over echoes ``(blocks, echoes, echoes)`` that shrink singular values."""
    values, vectors = np.linalg.eigh(rows @ rows.conj().swapaxes(1, 2))
    singular = np.sqrt(np.maximum(values, 0))
    factors = np.maximum(singular - threshold, 0) / np.where(singular > 0, singular, 1)
    shrinking: ComplexArray = (vectors * factors[:, None]) @ vectors.conj().swapaxes(1, 2)
    return shrinking.astype(np.complex64)
