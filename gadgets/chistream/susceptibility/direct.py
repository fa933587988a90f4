"""Susceptibility in one division: truncated k-space division and Tikhonov regularisation."""

from typing import Literal

import numpy as np

from chistream.arrays import Mask, RealArray, Vector, size_of
from chistream.physics.dipole import ALONG_Z, half_dipole_kernel
from chistream.physics.fourier import RealTransform
from chistream.physics.padding import Padding
from chistream.susceptibility.inversion import FieldData, referenced

MARGIN: Vector = (20.0, 20.0, 20.0)
"""Room that keeps the opposite faces of the periodic grid apart [mm]."""


def invert_tkd(
    local_field: RealArray,
    mask: Mask,
    voxel_size: Vector,
    *,
    b0_direction: Vector = ALONG_Z,
    threshold: float = 0.15,
    margin: Vector = MARGIN,
) -> RealArray:
    r"""Estimate susceptibility by truncated k-space division.

    .. math:: \hat\chi = F^{-1} \frac{\operatorname{sign} D}{\max(|D|, t)} F f

    Parameters
    ----------
    local_field
        Background-free field ``(z, y, x)`` relative to B0 [ppm]; only the mask is read.
    mask
        Voxels where the field is known, and reported ``(z, y, x)``.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm], unequal ones welcome.
    b0_direction
        Direction of B0 ``(z, y, x)``.
    threshold
        t, the smallest kernel magnitude that is still divided by, in (0, 2/3]: larger ones have
        fewer streaks and lose more of chi.
    margin
        Room around the volume on each side ``(z, y, x)`` [mm], >= 0; an axis with 0 is taken as
        periodic.

    Returns
    -------
    RealArray
        Susceptibility ``(z, y, x)`` [ppm], float64, with zero mean over the mask and zero outside:
        the field does not know the constant.

    Raises
    ------
    ValueError
        If the mask is empty or differs in shape, the field is not finite in it, ``b0_direction``
        is zero or the threshold out of range.

    Notes
    -----
    Chi is underestimated by the part of the spectrum below the threshold (a sphere of 12 voxels,
    at 0.15: by 6 to 17 %, most with a tilted B0).

    References
    ----------
    .. [1] Shmueli K, et al. Magnetic susceptibility mapping of brain tissue in vivo using MRI
       phase data. Magn Reson Med. 2009;62(6):1510-1522. doi:10.1002/mrm.22135

    Examples
    --------
    >>> field = np.zeros((6, 7, 8))
    >>> field[3, 3, 4] = 0.1
    >>> chi = invert_tkd(field, np.ones(field.shape, dtype=bool), (2.0, 1.0, 1.0))
    >>> bool(abs(chi.mean()) < 1e-12)
    True
    """
    if not 0 < threshold <= 2 / 3:
        raise ValueError(f"threshold must lie in (0, 2/3], got {threshold}")
    data = FieldData(local_field, mask, voxel_size, b0_direction)
    padding = Padding.of_margin(size_of(local_field), voxel_size, margin)
    kernel = half_dipole_kernel(padding.outer, voxel_size, b0_direction)
    return _filtered(data, padding, np.sign(kernel) / np.maximum(np.abs(kernel), threshold))


def invert_tikhonov(
    local_field: RealArray,
    mask: Mask,
    voxel_size: Vector,
    *,
    b0_direction: Vector = ALONG_Z,
    strength: float = 0.01,
    regulariser: Literal["identity", "gradient"] = "identity",
    margin: Vector = MARGIN,
) -> RealArray:
    r"""Estimate susceptibility by Tikhonov regularisation, in closed form.

    .. math:: \hat\chi = F^{-1} \frac{D}{D^2 + \lambda R} F f, \qquad
              \hat\chi = \arg\min_\chi \| f - D \chi \|_2^2 + \lambda \| \Gamma \chi \|_2^2

    Parameters
    ----------
    local_field
        Background-free field ``(z, y, x)`` relative to B0 [ppm]; only the mask is read.
    mask
        Voxels where the field is known, and reported ``(z, y, x)``.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm], unequal ones welcome.
    b0_direction
        Direction of B0 ``(z, y, x)``.
    strength
        Lambda, > 0: what a large or rough chi costs.
    regulariser
        Gamma: ``"identity"`` (R = 1), or ``"gradient"`` (R is the spectrum of minus the
        Laplacian, in units of the shortest voxel edge).
    margin
        Room around the volume on each side ``(z, y, x)`` [mm], >= 0; an axis with 0 is taken as
        periodic.

    Returns
    -------
    RealArray
        Susceptibility ``(z, y, x)`` [ppm], float64, with zero mean over the mask and zero outside:
        the field does not know the constant.

    Raises
    ------
    ValueError
        If the mask is empty or differs in shape, the field is not finite in it, ``b0_direction``
        is zero, the strength not positive or the regulariser unknown.

    References
    ----------
    .. [1] Bilgic B, Chatnuntawech I, Fan AP, et al. Fast image reconstruction with
       L2-regularization. J Magn Reson Imaging. 2014;40(1):181-191. doi:10.1002/jmri.24365

    Examples
    --------
    >>> field = np.zeros((6, 7, 8))
    >>> field[3, 3, 4] = 0.1
    >>> mask = np.ones(field.shape, dtype=bool)
    >>> weak = invert_tikhonov(field, mask, (2.0, 1.0, 1.0), strength=0.001)
    >>> strong = invert_tikhonov(field, mask, (2.0, 1.0, 1.0), strength=0.1)
    >>> bool(np.ptp(strong) < np.ptp(weak))
    True
    """
    if not strength > 0:
        raise ValueError(f"strength must be positive, got {strength}")
    data = FieldData(local_field, mask, voxel_size, b0_direction)
    padding = Padding.of_margin(size_of(local_field), voxel_size, margin)
    kernel = half_dipole_kernel(padding.outer, voxel_size, b0_direction)
    if regulariser == "identity":
        cost = np.ones_like(kernel)
    elif regulariser == "gradient":
        cost = _roughness(padding, voxel_size)
    else:
        raise ValueError(f"regulariser must be 'identity' or 'gradient', got {regulariser!r}")
    # At k = 0 the kernel knows nothing and the gradient costs nothing: the mean is free.
    cost[0, 0, 0] = 1.0
    return _filtered(data, padding, kernel / (kernel**2 + strength * cost))


def _filtered(data: FieldData, padding: Padding, inverse: RealArray) -> RealArray:
    field = padding.pad(np.where(data.mask, data.field, 0.0), "float64")
    chi = RealTransform(padding.outer).convolve(field, inverse)
    return referenced(padding.crop(chi), data.mask)


def _roughness(padding: Padding, voxel_size: Vector) -> RealArray:
    """Sample the spectrum of the finite-difference Laplacian ``(z, y, x // 2 + 1)``."""
    nz, ny, nx = padding.outer
    k = np.meshgrid(np.fft.fftfreq(nz), np.fft.fftfreq(ny), np.fft.rfftfreq(nx), indexing="ij")
    shortest = min(voxel_size)
    along_z, along_y, along_x = (
        (2.0 * np.sin(np.pi * f) * shortest / edge) ** 2
        for f, edge in zip(k, voxel_size, strict=True)
    )
    roughness: RealArray = along_z + along_y + along_x
    return roughness
