"""Partial Fourier from all coils and echoes: lines that were not covered, from those that were."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy.fft

from chistream.arrays import ComplexArray, Mask, RealArray
from chistream.echoes.calibration import calibration_block
from chistream.physics.fourier import N_THREADS

_KERNEL = (3, 5)
"""Lines ``(z, y)`` that determine each other."""

_REACH = 2
"""Positions on either side of x that its relations are learnt from."""

_TOLERANCE = 1e-5
"""Part of its start that a residual may keep: single precision tells no less."""


def extrapolate_kspace(
    hybrid: ComplexArray,
    region: Mask,
    *,
    strength: float = 1e-3,
    n_iterations: int = 25,
) -> None:
    r"""Fill the lines outside the region by what lines, coils and echoes have in common, in place.

    .. math:: \hat d = \arg\min_d \sum_{\mathbf k} (R_{\mathbf k} d)^H
              \lambda (C + \lambda)^{-1} (R_{\mathbf k} d), \qquad
              C(x) = \sum_{x'} h(x' - x) \sum_{\mathbf k \in centre}
              (R_{\mathbf k} d)(R_{\mathbf k} d)^H

    over the lines outside the region, where :math:`R_{\mathbf k}` takes 3 x 5 neighbouring lines
    of all coils and echoes.

    Parameters
    ----------
    hybrid
        Whitened hybrid k-space ``(echoes, coils, kz, ky, x)`` complex64, centred at ``n // 2``.
        Lines outside the region are written.
    region
        Lines that were sampled, or filled by parallel imaging ``(kz, ky)``.
    strength
        :math:`\lambda`, relative to the mean energy of a line of the centre, > 0.
    n_iterations
        Steps of conjugate gradients at each x; few keep what is hardly determined small.

    Raises
    ------
    ValueError
        If shapes do not fit, or the strength is not positive.

    Notes
    -----
    Neighbourhoods of k-space lie near a subspace, as coils and the phase that evolves between
    echoes are smooth [1]_ [2]_; the components that the centre of k-space hardly has are kept
    small everywhere. No phase is asked to be smooth or symmetric: nothing that was measured
    changes, and echoes serve each other like coils. A convolution is a matrix over coils and
    echoes in each voxel [2]_; k-space gets a margin of free lines so that its ends do not meet.

    For scans that wait for no one: at full size it takes minutes. It does nothing where the
    centre was not covered.

    On a noise-free simulated chest (24 x 96 x 96, 8 virtual coils, five echoes, 6/8 of z and y)
    the field in the heart differs from that of full sampling by 2.2 Hz RMS, against 3.2 Hz of
    zeros and 5.0 Hz of POCS; at SNR 30 by 2.4 Hz, against 3.3 Hz (full sampling: 1.0 Hz).

    References
    ----------
    .. [1] Zhang J, Liu C, Moseley ME. Parallel reconstruction using null operations. Magn Reson
       Med. 2011;66(5):1241-1253. doi:10.1002/mrm.22899
    .. [2] Haldar JP. Low-rank modeling of local k-space neighborhoods (LORAKS) for constrained
       MRI. IEEE Trans Med Imaging. 2014;33(3):668-681. doi:10.1109/TMI.2013.2293974
    """
    if hybrid.ndim != 5 or hybrid.shape[2:4] != region.shape:
        raise ValueError(
            f"hybrid {hybrid.shape} must be (echoes, coils, kz, ky, x), and region {region.shape} "
            "its (kz, ky)"
        )
    if strength <= 0:
        raise ValueError(f"strength must be positive, got {strength}")
    block = calibration_block(hybrid, region[None])
    if block is None or region.all():
        return
    n_x = hybrid.shape[-1]
    merged, centre = (lines.reshape(-1, *lines.shape[2:]) for lines in (hybrid, block))
    height, width = (min(k, n) for k, n in zip(_KERNEL, block.shape[2:4], strict=True))

    def fill(x: int) -> None:
        near = np.arange(max(0, x - _REACH), min(n_x, x + _REACH + 1))
        shares = np.cos(np.pi / 2 * (near - x) / (_REACH + 1)) ** 2
        unlike = _unlike(centre[..., near], shares, (height, width), strength)
        lines = merged[..., x]
        found = _complete(lines, region, unlike, n_iterations)
        hybrid[..., x] = np.where(region, lines, found).reshape(hybrid.shape[:-1])

    # The centre is part of what is written to only where it is not: every x can be done at once.
    with ThreadPoolExecutor(N_THREADS) as pool:
        list(pool.map(fill, range(n_x)))


def _unlike(
    centre: ComplexArray, shares: RealArray, kernel: tuple[int, int], strength: float
) -> ComplexArray:
    """Weights of what the centre ``(channels, kz, ky, x)`` hardly has: ``(c, z, y, c, z, y)``."""
    shape = len(centre), *kernel
    n = int(np.prod(shape))
    covariance = np.zeros((n, n), np.complex64)
    for x, share in enumerate(shares):
        windows = np.lib.stride_tricks.sliding_window_view(centre[..., x], kernel, (1, 2))
        rows = windows.transpose(1, 2, 0, 3, 4).reshape(-1, n)
        covariance += np.float32(share) * (rows.T @ rows.conj())
    mean = float(np.trace(covariance).real) / n
    least = np.float32(max(strength * mean, float(np.finfo(np.float32).tiny)))
    covariance[np.diag_indices(n)] += least
    weights: ComplexArray = np.linalg.inv(covariance) * least
    return weights.reshape(*shape, *shape)


def _complete(
    lines: ComplexArray, known: Mask, unlike: ComplexArray, n_iterations: int
) -> ComplexArray:
    """Find the lines ``(channels, kz, ky)`` that are not known."""
    _, height, width = unlike.shape[:3]
    n_z, n_y = known.shape
    size = n_z + 2 * (height - 1), n_y + 2 * (width - 1)
    is_free = np.ones(size, bool)
    is_free[:n_z, :n_y] = ~known
    kspace = np.zeros((len(lines), *size), np.complex64)
    kspace[:, :n_z, :n_y] = lines * known
    matrices = _in_image(unlike, size)

    def gradient(values: ComplexArray) -> ComplexArray:
        # Where k-space begins does not matter: it is only shifted relative to itself.
        image = scipy.fft.ifft2(values, norm="ortho").transpose(1, 2, 0)[..., None]
        turned = (matrices @ image)[..., 0].transpose(2, 0, 1)
        found: ComplexArray = scipy.fft.fft2(turned, norm="ortho") * is_free
        return found

    residual = -gradient(kspace)
    direction, energy = residual.copy(), _energy(residual)
    goal = _TOLERANCE**2 * energy
    for _ in range(n_iterations):
        if energy <= goal:
            break
        image = gradient(direction)
        step = np.float32(energy / float(np.vdot(direction, image).real))
        kspace += step * direction
        residual -= step * image
        following = _energy(residual)
        direction = residual + np.float32(following / energy) * direction
        energy = following
    return kspace[:, :n_z, :n_y]


def _in_image(unlike: ComplexArray, size: tuple[int, int]) -> ComplexArray:
    """Sum weights over equal distances, as matrices ``(z, y, channels, channels)`` of voxels."""
    n, height, width = unlike.shape[:3]
    lags = np.zeros((2 * height - 1, 2 * width - 1, n, n), np.complex64)
    for z in range(height):
        for y in range(width):
            part = unlike[..., z, y].transpose(1, 2, 0, 3)
            lags[height - 1 - z : 2 * height - 1 - z, width - 1 - y : 2 * width - 1 - y] += part
    over_z, over_y = (_waves(m, k) for m, k in zip(size, lags.shape[:2], strict=True))
    along_y = np.tensordot(lags, over_y, (1, 1))
    matrices: ComplexArray = np.tensordot(over_z, along_y, (1, 0)).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(matrices)


def _waves(n: int, n_lags: int) -> ComplexArray:
    """Fourier waves ``(position, lag)`` of an image at n positions, the origin first."""
    lags = np.arange(n_lags) - n_lags // 2
    waves: ComplexArray = np.exp(2j * np.pi * np.outer(np.arange(n), lags) / n)
    return waves.astype(np.complex64)


def _energy(values: ComplexArray) -> float:
    return float(np.vdot(values, values).real)
