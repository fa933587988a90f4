"""Coil images, or k-space, to one complex image per echo."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyfftw

from chistream.arrays import ComplexArray, Size
from chistream.physics.fourier import N_THREADS

_AT_ONCE = 16
"""Positions along x that are transformed together: one coil of them stays in the cache."""


def combine_coils(coil_images: ComplexArray, csm: ComplexArray) -> ComplexArray:
    r"""Combine coils with the best signal-to-noise ratio, the same way for every echo.

    .. math:: \rho = \frac{\sum_c \overline{s_c}\, I_c}{\sum_c |s_c|^2}

    Parameters
    ----------
    coil_images
        Whitened coil images ``(echoes, coils, z, y, x)``.
    csm
        Sensitivities ``(coils, z, y, x)``, of any norm.

    Returns
    -------
    ComplexArray
        Echoes ``(echoes, z, y, x)`` complex64; zero where all sensitivities are.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Notes
    -----
    With the true sensitivities and no noise this is the object. All echoes share one map, so the
    phase between echoes is the object's own, whatever the map: its error is one complex factor
    per voxel, the same for all echoes. With maps of unit root-sum-of-squares, as estimated from
    the scan itself, the magnitude keeps the receivers' shading: it is that of the root of the
    sum of squares, brighter close to the coils.

    References
    ----------
    .. [1] Roemer PB, et al. The NMR phased array. Magn Reson Med. 1990;16(2):192-225.
       doi:10.1002/mrm.1910160203
    """
    if coil_images.ndim != 5 or coil_images.shape[1:] != csm.shape:
        raise ValueError(
            f"coil_images {coil_images.shape} and csm {csm.shape} must be "
            "(echoes, coils, z, y, x) and (coils, z, y, x) of one size"
        )
    power = (csm.real**2 + csm.imag**2).sum(axis=0)
    weights = csm.conj() / np.where(power > 0, power, 1.0)
    combined = np.empty((len(coil_images), *csm.shape[1:]), np.complex64)
    for echo, images in enumerate(coil_images):
        np.einsum("czyx,czyx->zyx", weights, images, out=combined[echo], casting="same_kind")
    return combined


def combine_kspace(hybrid: ComplexArray, csm: ComplexArray) -> ComplexArray:
    """Transform hybrid k-space and combine its coils, as `combine_coils` does, in one go.

    Parameters
    ----------
    hybrid
        ``(echoes, coils, kz, ky, x)``: k-space along z and y, centred at ``n // 2``; image along
        x.
    csm
        Sensitivities ``(coils, z, y, x)``, of any norm.

    Returns
    -------
    ComplexArray
        Echoes ``(echoes, z, y, x)`` complex64; zero where all sensitivities are.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Notes
    -----
    No coil image is ever held: a few positions x of one coil are transformed and added up while
    they are in the cache, whatever the number of coils.
    """
    if hybrid.ndim != 5 or hybrid.shape[1:] != csm.shape:
        raise ValueError(
            f"hybrid {hybrid.shape} and csm {csm.shape} must be (echoes, coils, kz, ky, x) and "
            "(coils, z, y, x) of one size"
        )
    nz, ny, nx = csm.shape[1:]
    combined = np.empty((len(hybrid), nz, ny, nx), np.complex64)

    def combine(first: int) -> None:
        part = slice(first, min(first + _AT_ONCE, nx))
        _combine_positions(hybrid[..., part], csm[..., part], combined[..., part])

    with ThreadPoolExecutor(N_THREADS) as pool:
        list(pool.map(combine, range(0, nx, _AT_ONCE)))
    return combined


def plan_combination(size: Size) -> None:
    """Plan the Fourier transforms of `combine_kspace` for a grid ``(z, y, x)`` beforehand."""
    nz, ny, nx = size
    for n in {min(_AT_ONCE, nx), nx % _AT_ONCE or _AT_ONCE}:
        _plan(*_pair_of_buffers((nz, ny, n)))


def _combine_positions(lines: ComplexArray, csm: ComplexArray, combined: ComplexArray) -> None:
    """Combine ``(echoes, coils, kz, ky, x)`` of a few x into ``(echoes, z, y, x)``."""
    nz, ny, n = combined.shape[1:]
    power = (csm.real**2 + csm.imag**2).sum(axis=0)
    norm = np.where(power > 0, power, 1.0) * np.float32(np.sqrt(nz * ny))
    weights = np.fft.ifftshift(csm.conj() / norm, (-3, -2))
    kspace, image = _pair_of_buffers((nz, ny, n))
    plan = _plan(kspace, image)
    total = np.empty((nz, ny, n), np.complex64)
    for echo, coils in enumerate(lines):
        total[...] = 0
        for values, weight in zip(coils, weights, strict=True):
            _to_fft_order(values, kspace)
            plan.execute()
            np.multiply(image, weight, out=image)
            total += image
        _from_fft_order(total, combined[echo])


def _to_fft_order(centred: ComplexArray, unshifted: ComplexArray) -> None:
    """Copy ``(z, y, x)`` with its origin at ``n // 2`` to where it is at 0, along z and y."""
    for from_z, to_z in _halves(centred.shape[0]):
        for from_y, to_y in _halves(centred.shape[1]):
            unshifted[to_z, to_y] = centred[from_z, from_y]


def _from_fft_order(unshifted: ComplexArray, centred: ComplexArray) -> None:
    """Undo `_to_fft_order`."""
    for to_z, from_z in _halves(centred.shape[0]):
        for to_y, from_y in _halves(centred.shape[1]):
            centred[to_z, to_y] = unshifted[from_z, from_y]


def _halves(n: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Pair the halves of a centred axis with their places in FFT order."""
    return (slice(n // 2, n), slice(0, n - n // 2)), (slice(0, n // 2), slice(n - n // 2, n))


def _plan(source: ComplexArray, target: ComplexArray) -> pyfftw.FFTW:
    # Measured plans are four times as fast as estimated ones here. FFTW remembers what it measured;
    # a plan belongs to its arrays, since threads must not share one.
    return pyfftw.FFTW(source, target, (0, 1), "FFTW_BACKWARD", ("FFTW_MEASURE",))


def _pair_of_buffers(size: Size) -> tuple[ComplexArray, ComplexArray]:
    return pyfftw.empty_aligned(size, "complex64"), pyfftw.empty_aligned(size, "complex64")
