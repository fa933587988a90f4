"""Parallel imaging in image space: the echoes that fit the lines of all coils best."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyfftw

from chistream.arrays import ComplexArray, Mask, RealArray
from chistream.physics.fourier import N_THREADS

_ROOM = 2**22
"""Samples of k-space that one thread works on at a time; it holds three arrays of this size."""


def solve_sense(
    hybrid: ComplexArray,
    sampled: Mask,
    csm: ComplexArray,
    *,
    strength: float = 2e-4,
    tolerance: float = 1e-3,
    max_iterations: int = 30,
) -> ComplexArray:
    r"""Find the echoes that explain the sampled lines of all coils (CG-SENSE).

    .. math:: \hat\rho_e = \arg\min_\rho \sum_c \| M_e F (s_c \rho) - d_{ec} \|^2
              + \lambda \|\rho\|^2

    Parameters
    ----------
    hybrid
        Whitened hybrid k-space ``(echoes, coils, kz, ky, x)``, centred at ``n // 2``, zero where
        nothing was sampled.
    sampled
        Lines that hold data ``(echoes, kz, ky)``, in any pattern: M.
    csm
        Sensitivities ``(coils, z, y, x)``, of root-sum-of-squares 1; where they are zero, so are
        the echoes. All echoes share them, so the phase between echoes is the object's own.
    strength
        The regularisation :math:`\lambda`, >= 0. A voxel that is sampled fully has 1 on the
        diagonal of the normal equations, one at a reduction R at least 1 / (R g^2), so that the
        default costs 0.1 % of the magnitude at R = 4.
    tolerance
        Iteration ends for each partition along x and echo when the residual of its normal
        equations has become less than this part of their right side.
    max_iterations
        Iterations at most.

    Returns
    -------
    ComplexArray
        Echoes ``(echoes, z, y, x)`` complex64.

    Raises
    ------
    ValueError
        If shapes do not fit, or the strength is negative.

    Notes
    -----
    Nothing is undersampled along x: each x is a problem of its own, in 2D, and solved beside
    others. Besides the result, memory is that of a few positions x.

    References
    ----------
    .. [1] Pruessmann KP, Weiger M, Boernert P, Boesiger P. Advances in sensitivity encoding with
       arbitrary k-space trajectories. Magn Reson Med. 2001;46(4):638-651. doi:10.1002/mrm.1241
    """
    _check(hybrid, sampled, csm, strength)
    n_echoes, n_coils, nz, ny, nx = hybrid.shape
    echoes = np.empty((n_echoes, nz, ny, nx), np.complex64)
    mask = np.fft.ifftshift(sampled, (1, 2))[:, None]
    at_once = max(1, min(-(-nx // N_THREADS), _ROOM // (n_echoes * n_coils * nz * ny)))

    def solve(first: int) -> None:
        part = slice(first, first + at_once)
        # Position x in front and FFT order inside: then transforms are contiguous and unshifted.
        lines = np.fft.ifftshift(np.moveaxis(hybrid[..., part], -1, 0), (-2, -1))
        maps = np.fft.ifftshift(np.moveaxis(csm[..., part], -1, 0), (-2, -1))[:, None]
        solution = _solve(lines, mask, maps, np.float32(strength), tolerance, max_iterations)
        echoes[..., part] = np.moveaxis(np.fft.fftshift(solution, (-2, -1)), 0, -1)

    with ThreadPoolExecutor(N_THREADS) as pool:
        list(pool.map(solve, range(0, nx, at_once)))
    return echoes


def _solve(
    lines: ComplexArray,
    mask: Mask,
    maps: ComplexArray,
    strength: np.float32,
    tolerance: float,
    max_iterations: int,
) -> ComplexArray:
    """Solve lines ``(x, echoes, coils, z, y)`` for ``(x, echoes, z, y)``."""
    coils = pyfftw.empty_aligned(lines.shape, "complex64")
    to_k = pyfftw.FFTW(coils, coils, (-2, -1), "FFTW_FORWARD", ("FFTW_ESTIMATE",))
    to_r = pyfftw.FFTW(coils, coils, (-2, -1), "FFTW_BACKWARD", ("FFTW_ESTIMATE",))
    conjugate = maps.conj()
    scale = np.float32(1 / np.sqrt(lines.shape[-2] * lines.shape[-1]))

    def combined() -> ComplexArray:
        to_r.execute()
        image: ComplexArray = np.einsum("xecij,xecij->xeij", coils, conjugate_of(coils))
        return image * scale

    def conjugate_of(like: ComplexArray) -> ComplexArray:
        return np.broadcast_to(conjugate, like.shape)

    def normal(image: ComplexArray) -> ComplexArray:
        np.multiply(image[:, :, None], maps, out=coils)
        to_k.execute()
        np.multiply(coils, mask * scale, out=coils)
        return combined() + strength * image

    np.multiply(lines, mask, out=coils)
    return _conjugate_gradients(normal, combined(), tolerance, max_iterations)


def _conjugate_gradients(
    normal: Callable[[ComplexArray], ComplexArray],
    right: ComplexArray,
    tolerance: float,
    max_iterations: int,
) -> ComplexArray:
    """Solve the normal equations of each ``(x, echo)``, all at once and with steps of their own."""
    solution = np.zeros_like(right)
    residual, direction = right.copy(), right.copy()
    energy = _energy(residual)
    goal = tolerance**2 * energy
    for _ in range(max_iterations):
        is_open = energy > goal
        if not is_open.any():
            break
        image = normal(direction)
        curvature = np.sum((direction.conj() * image).real, axis=(-2, -1), keepdims=True)
        step = np.where(is_open, energy / np.where(curvature > 0, curvature, 1), 0)
        solution += step * direction
        residual -= step * image
        following = _energy(residual)
        direction = (
            residual + np.where(is_open, following / np.where(energy > 0, energy, 1), 0) * direction
        )
        energy = following
    return solution


def _energy(values: ComplexArray) -> RealArray:
    energy: RealArray = np.sum(values.real**2 + values.imag**2, axis=(-2, -1), keepdims=True)
    return energy


def _check(hybrid: ComplexArray, sampled: Mask, csm: ComplexArray, strength: float) -> None:
    n_echoes, *volume = hybrid.shape
    if tuple(volume) != csm.shape or sampled.shape != (n_echoes, *volume[1:3]):
        raise ValueError(
            f"hybrid {hybrid.shape}, csm {csm.shape} and sampled {sampled.shape} must be (echoes, "
            "coils, z, y, x), (coils, z, y, x) and (echoes, z, y) of one size"
        )
    if strength < 0:
        raise ValueError(f"strength must not be negative, got {strength}")
