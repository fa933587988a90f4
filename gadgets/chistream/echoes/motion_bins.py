"""Echoes of several positions of the diaphragm, registered and aligned before they are combined."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import scipy.ndimage

from chistream.arrays import ComplexArray, IntArray, Mask, RealArray, Vector
from chistream.physics.fourier import to_image, to_kspace

Registration: TypeAlias = Literal["none", "rigid", "smooth"]

_SMOOTH = 15.0
"""Deviation of the Gaussian within which displacement and field are one [mm]."""

_REGION = 60.0
"""Deviation of the Gaussian that the heart is weighted by, about the middle of the slab [mm]."""

_TIED = 3e-2
"""Weight that keeps unknowns small, relative to what the region says of them on average."""

_SHELLS = 8
"""Shells of k-space in which the bins' errors are measured."""


class Bin(NamedTuple):
    """Echoes of one range of positions.

    Parameters
    ----------
    echoes
        ``(echoes, z, y, x)``; lines that the bin did not measure are those of the window.
    counts
        Measurements of each line ``(kz, ky)``, centred at ``n // 2``; 0: not measured.
    """

    echoes: ComplexArray
    counts: RealArray


def combine_bins(
    echoes: ComplexArray,
    weights: RealArray,
    bins: Sequence[Bin],
    TE: Sequence[float],
    voxel_size: Vector,
    noise: float,
    registration: Registration = "smooth",
) -> ComplexArray:
    r"""Register bins to the window, align their phases and fields, and average lines.

    .. math:: I_b - I_0 \approx P_b \left[ \mathbf u \cdot \nabla I_0
              + i \left( \varphi + 2 \pi f\, TE \right) I_0 \right]

    for each echo, where P keeps the lines that the bin measured, and the displacement u, the phase
    and the frequency f are smooth in space and common to all echoes. What is left of the difference
    is noise and error; it is averaged into the lines of the window, weighted by measurements and by
    how far it exceeds the noise in its shell of k-space.

    Parameters
    ----------
    echoes
        Of the window ``(echoes, z, y, x)``, on the grid of k-space.
    weights
        How much of each line ``(kz, ky)`` was accepted; 0 where one of a bin stands in, which is
        not compared.
    bins
        The others.
    TE
        Echo times [s].
    voxel_size
        Edge lengths ``(z, y, x)`` [mm].
    noise
        Standard deviation of a complex voxel of an echo made of single measurements.
    registration
        ``none``: phase and field alone are aligned; ``rigid``: the heart's displacement as well,
        one for all of it; ``smooth``: a displacement that differs from place to place.

    Returns
    -------
    ComplexArray
        ``(echoes, z, y, x)`` complex64.

    Notes
    -----
    Lines must have been shifted by the heart's usual factor before: what is left to register is a
    part of a voxel, for which the first order above is enough. It is the local least-squares method
    of [1]_, of complex images that are incomplete in k-space.

    References
    ----------
    .. [1] Lucas BD, Kanade T. An iterative image registration technique with an application to
       stereo vision. Proc 7th Int Joint Conf Artif Intell. 1981;2:674-679.
    """
    total = np.maximum(weights, 1.0).astype(float)
    added = np.zeros_like(echoes)
    region = _region(echoes.shape[1:], voxel_size)
    for one in bins:
        left = _aligned(echoes, one, weights > 0, TE, voxel_size, registration, region)
        share = _reliable(left, one.counts, weights, region, noise)
        added += share[:, :, None].astype(np.float32) * to_kspace(left, (-3, -2))
        total += share
    added /= total[:, :, None].astype(np.float32)
    combined: ComplexArray = (echoes + to_image(added, (-3, -2))).astype(np.complex64)
    return combined


def _region(shape: tuple[int, ...], voxel_size: Vector) -> RealArray:
    """Gaussian about the middle ``(z, y, x)``."""
    z, y, x = (
        np.exp(-0.5 * ((np.arange(n) - n // 2) * d / _REGION) ** 2)
        for n, d in zip(shape, voxel_size, strict=True)
    )
    region: RealArray = (z[:, None, None] * y[:, None] * x).astype(np.float32)
    return region


def _kept(images: ComplexArray, lines: RealArray) -> ComplexArray:
    """Keep some lines ``(kz, ky)`` of images ``(..., z, y, x)``."""
    return to_image(to_kspace(images, (-3, -2)) * lines[:, :, None], (-3, -2))


def _aligned(
    echoes: ComplexArray,
    one: Bin,
    accepted: Mask,
    TE: Sequence[float],
    voxel_size: Vector,
    registration: Registration,
    region: RealArray,
) -> ComplexArray:
    """Return the difference of a bin from the window that no displacement and no field explains."""
    measured = (one.counts > 0).astype(np.float32)
    compared = measured * accepted
    normal, right = _equations(echoes, one.echoes, compared, TE, voxel_size, registration)
    unknowns = _solve(normal, right, voxel_size, registration, region)
    difference = _kept(one.echoes - echoes, measured)
    for echo, image in enumerate(echoes):
        slopes = _slopes(image, TE[echo], voxel_size, registration)
        change = sum(u * slope for u, slope in zip(unknowns, slopes, strict=True))
        difference[echo] -= _kept(np.asarray(change), measured)
    return difference


def _slopes(
    image: ComplexArray, echo_time: float, voxel_size: Vector, registration: Registration
) -> list[ComplexArray]:
    """Tell what each unknown changes in an echo ``(z, y, x)``: phase [rad], kHz, way [mm]."""
    turned = (1j * image).astype(np.complex64)
    slopes: list[ComplexArray] = [turned, np.complex64(2e3 * np.pi * echo_time) * turned]
    if registration != "none":
        slopes += [
            np.asarray(np.gradient(image, step, axis=axis), np.complex64)
            for axis, step in enumerate(voxel_size)
        ]
    return slopes


def _equations(
    echoes: ComplexArray,
    others: ComplexArray,
    compared: RealArray,
    TE: Sequence[float],
    voxel_size: Vector,
    registration: Registration,
) -> tuple[RealArray, RealArray]:
    """Sum products over echoes: ``(unknowns, unknowns, z, y, x)`` and ``(unknowns, z, y, x)``."""
    normal: RealArray = np.zeros(0)
    right: RealArray = np.zeros(0)
    for image, other, echo_time in zip(echoes, others, TE, strict=True):
        slopes = [
            _kept(slope, compared) for slope in _slopes(image, echo_time, voxel_size, registration)
        ]
        difference = _kept(other - image, compared)
        products = np.array([[(a.conj() * b).real for b in slopes] for a in slopes])
        aims = np.array([(a.conj() * difference).real for a in slopes])
        normal = products if not normal.size else normal + products
        right = aims if not right.size else right + aims
    return normal, right


def _solve(
    normal: RealArray,
    right: RealArray,
    voxel_size: Vector,
    registration: Registration,
    region: RealArray,
) -> RealArray:
    """Solve for the unknowns ``(unknowns, z, y, x)``: smooth, or one displacement for all."""
    widths = [_SMOOTH / d for d in voxel_size]
    known = _local(normal, right, widths, region)
    if registration == "rigid":
        weighed = (normal * region).sum(axis=(-3, -2, -1)), (right * region).sum(axis=(-3, -2, -1))
        whole = np.linalg.lstsq(*weighed, rcond=1e-6)[0]
        moved = np.einsum("ijzyx,j->izyx", normal[:2, 2:], whole[2:])
        known[:2] = _local(normal[:2, :2], right[:2] - moved, widths, region)
        known[2:] = whole[2:, None, None, None]
    return known.astype(np.float32)


def _local(
    normal: RealArray, right: RealArray, widths: Sequence[float], region: RealArray
) -> RealArray:
    n = len(right)
    smooth = np.empty((*right.shape[1:], n, n))
    aims = np.empty((*right.shape[1:], n, 1))
    for i in range(n):
        aims[..., i, 0] = scipy.ndimage.gaussian_filter(right[i], widths)
        for j in range(i + 1):
            smooth[..., i, j] = scipy.ndimage.gaussian_filter(normal[i, j], widths)
            smooth[..., j, i] = smooth[..., i, j]
    usual = np.array([np.average(smooth[..., i, i], weights=region) for i in range(n)])
    smooth += np.diag(_TIED * usual + 1e-30)
    found: RealArray = np.moveaxis(np.linalg.solve(smooth, aims)[..., 0], -1, 0)
    return found


def _reliable(
    left: ComplexArray, counts: RealArray, weights: RealArray, region: RealArray, noise: float
) -> RealArray:
    """How many measurements those of a bin are worth ``(kz, ky)``, by what they differ by."""
    both = (counts > 0) & (weights > 0)
    safe_counts = np.maximum(counts, 1e-6)
    power = (np.abs(to_kspace(left * region, (-3, -2))) ** 2).sum(axis=3).mean(axis=0)
    power /= np.mean(np.sum(region**2, axis=2))
    shell = _shells(counts.shape)
    n = np.maximum(np.bincount(shell[both], minlength=_SHELLS), 1)
    expected = (1 / safe_counts + 1 / np.maximum(weights, 1.0))[both]
    level = np.bincount(shell[both], power[both], _SHELLS) / n
    usual = np.bincount(shell[both], expected, _SHELLS) / n
    # What exceeds the noise is the bin's own error, whatever it is averaged with.
    excess = np.maximum(level / noise**2 - usual, 0.0)
    excess[usual == 0] = np.inf
    worth: RealArray = np.where(counts > 0, 1 / (1 / safe_counts + excess[shell]), 0.0)
    return worth


def _shells(shape: tuple[int, ...]) -> IntArray:
    """Find the number of the shell of each line ``(kz, ky)``."""
    kz, ky = ((np.arange(n) - n // 2) / (n / 2) for n in shape)
    radius = np.hypot(kz[:, None], ky)
    shells: IntArray = np.minimum((radius / radius.max() * _SHELLS).astype(int), _SHELLS - 1)
    return shells
