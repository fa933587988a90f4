"""Coil sensitivities from the subspace that the calibration lines of all coils span (ESPIRiT)."""

import numpy as np

from chistream.arrays import ComplexArray, RealArray, Size
from chistream.echoes.calibration import low_resolution
from chistream.echoes.coil_images import reconstruct_coil_images, resize
from chistream.echoes.sensitivities import coil_phases, principal_vectors, virtual_coil_phase
from chistream.physics.compiled import compiled
from chistream.physics.fourier import to_kspace

_CENTRE = 24
"""Samples along each axis of k-space, about the centre, that are enough to learn from."""

_SQUARINGS = 4
"""Twice the steps of power iteration of adaptive maps: the second eigenvalue may come near."""


def estimate_espirit(
    block: ComplexArray,
    size: tuple[int, int],
    *,
    kernel: Size = (3, 6, 6),
    subspace: float = 0.02,
    least_eigenvalue: float = 0.8,
) -> ComplexArray:
    r"""Estimate coil sensitivities from how neighbours in k-space predict each other.

    .. math:: A = V \Sigma U^H, \qquad
              \mathcal W = \frac{1}{|K|} \sum_{\mathbf k} R_{\mathbf k}^H U_1 U_1^H R_{\mathbf k},
              \qquad \mathcal W(\mathbf r)\, s(\mathbf r) = s(\mathbf r)

    with the calibration matrix A, whose rows are all blocks of the size of a kernel.

    Parameters
    ----------
    block
        Fully sampled centre of hybrid k-space ``(echoes, coils, kz, ky, x)``, centred at
        ``n // 2``. All echoes share the sensitivities, so their rows are stacked.
    size
        Size of the grid ``(z, y)``; that of x is the block's.
    kernel
        Size ``(z, y, x)`` [samples]; cut to what the block holds.
    subspace
        Singular values below this part of the largest are taken for noise, in (0, 1).
    least_eigenvalue
        Where the eigenvalue is less, which is 1 where there is signal that sensitivities explain,
        they are zero; in [0, 1].

    Returns
    -------
    ComplexArray
        Sensitivities ``(coils, z, y, x)`` complex64 of root-sum-of-squares 1, or zero; a virtual
        coil has phase zero, as in `estimate_sensitivities`.

    Raises
    ------
    ValueError
        If there are not five axes, or a parameter is out of its range.

    Notes
    -----
    The sum over all kernels depends on the distance of two samples only: it is kept as a
    correlation of coils over lags, and Fourier-transformed partition by partition. Memory is that
    of one partition's matrices, not of all kernels at full size. Only the first eigenvector is
    used: where the object is folded into itself by a field of view that is too small, no single
    set of sensitivities is right.

    References
    ----------
    .. [1] Uecker M, Lai P, Murphy MJ, et al. ESPIRiT: an eigenvalue approach to autocalibrating
       parallel MRI: where SENSE meets GRAPPA. Magn Reson Med. 2014;71(3):990-1001.
       doi:10.1002/mrm.24751
    """
    if block.ndim != 5 or not 0 < subspace < 1 or not 0 <= least_eigenvalue <= 1:
        raise ValueError(
            f"block {block.shape} must be (echoes, coils, kz, ky, x), subspace {subspace} in "
            f"(0, 1) and least_eigenvalue {least_eigenvalue} in [0, 1]"
        )
    centre_z, centre_y, centre_x = (min(n, _CENTRE) for n in block.shape[2:])
    kspace = resize(to_kspace(block, (-1,)), (centre_z, centre_y, centre_x))
    kz, ky, kx = (min(k, n) for k, n in zip(kernel, kspace.shape[2:], strict=True))
    values, vectors = np.linalg.eigh(_gram(kspace, (kz, ky, kx)))
    rows = vectors[:, values > subspace**2 * values[-1]]
    lags = _correlate(rows, block.shape[1], (kz, ky, kx))
    csm, eigenvalues = _eigenvectors(lags, (*size, block.shape[-1]))
    phases = coil_phases(reconstruct_coil_images(low_resolution(block, size)))
    csm *= np.exp(-1j * virtual_coil_phase(csm, phases)) * (eigenvalues >= least_eigenvalue)
    return csm


def _gram(kspace: ComplexArray, kernel: Size) -> ComplexArray:
    """Sum ``a a^H`` over all blocks a of all echoes, flattened from ``(coils, z, y, x)``."""
    n = kspace.shape[1] * int(np.prod(kernel))
    gram = np.zeros((n, n), np.complex64)
    for echo in kspace:
        windows = np.lib.stride_tricks.sliding_window_view(echo, kernel, (-3, -2, -1))
        for partition in windows.transpose(1, 2, 3, 0, 4, 5, 6):
            blocks = partition.reshape(-1, n)
            gram += blocks.T @ blocks.conj()
    return gram


def _correlate(vectors: ComplexArray, n_coils: int, kernel: Size) -> ComplexArray:
    """Sum a projector over equal distances in k-space: ``(pairs, lags z, y, x)``, pairs j <= i."""
    kz, ky, kx = kernel
    projector = (vectors @ vectors.conj().T).reshape(n_coils, kz, ky, kx, n_coils, kz, ky, kx)
    lags = np.zeros((n_coils, n_coils, 2 * kz - 1, 2 * ky - 1, 2 * kx - 1), np.complex64)
    for z, y, x in np.ndindex(kernel):
        # From the sample (z, y, x) of coil j to all samples of coil i.
        to_z, to_y, to_x = (
            slice(k - 1 - first, 2 * k - 1 - first)
            for k, first in zip(kernel, (z, y, x), strict=True)
        )
        part = projector[:, :, :, :, :, z, y, x]
        lags[:, :, to_z, to_y, to_x] += np.moveaxis(part, 4, 1)
    lower = np.tril_indices(n_coils)
    correlation: ComplexArray = lags[lower] / np.float32(kz * ky * kx)
    return correlation


def _eigenvectors(lags: ComplexArray, size: Size) -> tuple[ComplexArray, RealArray]:
    """Find the principal eigenvectors ``(coils, z, y, x)`` and eigenvalues ``(z, y, x)``."""
    n_coils = int(np.sqrt(2 * len(lags)))
    over_z, over_y, over_x = (_waves(n, k) for n, k in zip(size, lags.shape[1:], strict=True))
    csm = np.empty((n_coils, *size), np.complex64)
    eigenvalues = np.empty(size, np.float32)
    vectors = np.empty((*size[1:], n_coils), np.complex64)
    for z, wave in enumerate(over_z):
        plane = np.tensordot(over_y, np.tensordot(wave, lags, (0, 1)), (1, 1))
        covariance = np.ascontiguousarray(np.tensordot(plane, over_x, (2, 1)).transpose(0, 2, 1))
        principal_vectors(covariance, _SQUARINGS, vectors)
        quadratic_forms(covariance, vectors, eigenvalues[z])
        csm[:, z] = vectors.transpose(2, 0, 1)
    return csm, eigenvalues


def _waves(n: int, n_lags: int) -> ComplexArray:
    """Fourier waves ``(position, lag)`` of the image at n positions."""
    lags = np.arange(n_lags) - n_lags // 2
    waves: ComplexArray = np.exp(2j * np.pi * np.outer(np.arange(n) - n // 2, lags) / n)
    return waves.astype(np.complex64)


@compiled
def quadratic_forms(covariance: ComplexArray, vectors: ComplexArray, values: RealArray) -> None:
    """Compute ``v^H R v`` (y, x) of vectors (y, x, c) and packed Hermitian matrices."""
    ny, nx, n_coils = vectors.shape
    for y in range(ny):
        for x in range(nx):
            pair = 0
            total = np.float32(0)
            for i in range(n_coils):
                for j in range(i + 1):
                    product = np.conj(vectors[y, x, i]) * covariance[y, x, pair] * vectors[y, x, j]
                    # The other triangle is the conjugate of this one.
                    total += np.float32(1 if i == j else 2) * product.real
                    pair += 1
            values[y, x] = total
