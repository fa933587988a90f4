"""The field that a susceptibility distribution adds to B0."""

import numpy as np

from chistream.arrays import RealArray, Size, Vector, size_of
from chistream.physics.backend import converted, matched
from chistream.physics.fourier import plan_transform

ALONG_Z: Vector = (1.0, 0.0, 0.0)
"""B0 along the first array axis."""

TENSOR_PARTS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
"""Components of a symmetric tensor over the axes (z, y, x), in the order they are kept in."""


def dipole_kernel(shape: Size, voxel_size: Vector, b0_direction: Vector = ALONG_Z) -> RealArray:
    r"""Sample the unit dipole kernel in k-space.

    .. math:: D(\mathbf k) = \tfrac13 - \frac{(\mathbf k\cdot\hat{\mathbf b})^2}{|\mathbf k|^2},
              \qquad D(\mathbf 0) = 0

    Parameters
    ----------
    shape
        Grid size ``(z, y, x)``; odd and even sizes are both centred on FFT index 0.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm].
    b0_direction
        Direction of B0 in the order of the array axes, ``(z, y, x)``; need not be normalised.

    Returns
    -------
    RealArray
        Kernel ``(z, y, x)``, dimensionless, between -2/3 and 1/3, in unshifted FFT order.

    Raises
    ------
    ValueError
        If ``b0_direction`` is the zero vector.

    Notes
    -----
    The Lorentz sphere is removed, so a uniform susceptibility gives no field: the kernel says
    nothing about the mean of chi, and setting ``D(0) = 0`` makes that mean zero.

    References
    ----------
    .. [1] Salomir R, de Senneville BD, Moonen CTW. A fast calculation method for magnetic field
       inhomogeneity due to an arbitrary distribution of bulk susceptibility. Concepts Magn Reson
       B. 2003;19B(1):26-34. doi:10.1002/cmr.b.10083

    Examples
    --------
    >>> kernel = dipole_kernel((4, 4, 4), (1.0, 1.0, 1.0))
    >>> round(float(kernel[1, 0, 0]), 6), round(float(kernel[0, 1, 0]), 6)
    (-0.666667, 0.333333)
    """
    b = np.asarray(b0_direction, dtype=float)
    if not b.any():
        raise ValueError(f"b0_direction must not be zero, got {b0_direction}")
    b /= np.linalg.norm(b)
    axes = [np.fft.fftfreq(n, d) for n, d in zip(shape, voxel_size, strict=True)]
    kz, ky, kx = np.meshgrid(*axes, indexing="ij", sparse=True)
    k_squared = kz**2 + ky**2 + kx**2
    k_squared[0, 0, 0] = 1.0  # any value: the numerator is zero there
    kernel: RealArray = 1 / 3 - (kz * b[0] + ky * b[1] + kx * b[2]) ** 2 / k_squared
    kernel[0, 0, 0] = 0.0
    # On an even axis k and -k share the Nyquist sample. Their mean keeps the field of a tilted B0
    # real; everywhere else the two are equal and nothing changes.
    mirrored = np.roll(kernel[::-1, ::-1, ::-1], 1, axis=(0, 1, 2))
    return (kernel + mirrored) / 2


def tensor_kernels(shape: Size, voxel_size: Vector, b0_direction: Vector = ALONG_Z) -> RealArray:
    r"""Sample what each component of a susceptibility tensor adds to the field, in k-space.

    .. math:: \hat f = \tfrac13 \, b^T \hat\chi b
              - \frac{(\mathbf k \cdot b) \, \mathbf k^T \hat\chi b}{|\mathbf k|^2}

    Parameters
    ----------
    shape
        Grid size ``(z, y, x)`` of the real volume.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm].
    b0_direction
        Direction b of B0 ``(z, y, x)``; need not be normalised.

    Returns
    -------
    RealArray
        Kernels ``(6, z, y, x // 2 + 1)`` of the components zz, zy, zx, yy, yx and xx, zero at
        k = 0, in unshifted FFT order.

    References
    ----------
    .. [1] Liu C. Susceptibility tensor imaging. Magn Reson Med. 2010;63(6):1471-1477.
       doi:10.1002/mrm.22482, eq. 7

    Examples
    --------
    >>> kernels = tensor_kernels((4, 5, 6), (1.0, 1.0, 1.0))
    >>> isotropic = kernels[0] + kernels[3] + kernels[5]
    >>> bool(np.allclose(isotropic, half_dipole_kernel((4, 5, 6), (1.0, 1.0, 1.0))))
    True
    """
    b = np.asarray(b0_direction, dtype=float) / np.linalg.norm(b0_direction)
    axes = [np.fft.fftfreq(n, d) for n, d in zip(shape, voxel_size, strict=True)]
    k = np.stack(np.meshgrid(*axes, indexing="ij"))
    length = np.sqrt(np.sum(k**2, axis=0))
    length[0, 0, 0] = 1.0
    k /= length
    along = np.einsum("a,azyx->zyx", b, k)
    kernels = []
    for i, j in TENSOR_PARTS:
        kernel = b[i] * b[j] / 3 - along * (k[i] * b[j] + k[j] * b[i]) / 2
        kernels.append(kernel if i == j else 2 * kernel)
    whole = np.stack(kernels)
    whole[:, 0, 0, 0] = 0.0
    # As in `dipole_kernel`: the mean of k and -k, which share the Nyquist sample of an even axis.
    mirrored = np.roll(whole[:, ::-1, ::-1, ::-1], 1, axis=(1, 2, 3))
    half: RealArray = ((whole + mirrored) / 2)[..., : shape[2] // 2 + 1]
    return half


def half_dipole_kernel(
    shape: Size, voxel_size: Vector, b0_direction: Vector = ALONG_Z
) -> RealArray:
    """Sample the dipole kernel on the half spectrum that `RealTransform` uses.

    Parameters
    ----------
    shape
        Grid size ``(z, y, x)`` of the real volume.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm].
    b0_direction
        Direction of B0 ``(z, y, x)``.

    Returns
    -------
    RealArray
        Kernel ``(z, y, x // 2 + 1)``, dimensionless, in unshifted FFT order.
    """
    return dipole_kernel(shape, voxel_size, b0_direction)[..., : shape[2] // 2 + 1]


def field_of(chi: RealArray, voxel_size: Vector, b0_direction: Vector = ALONG_Z) -> RealArray:
    """Compute the field that a susceptibility map causes, by circular convolution.

    Parameters
    ----------
    chi
        Susceptibility ``(z, y, x)`` [ppm], zero-padded by the caller against wrap-around; of any
        array library.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm].
    b0_direction
        Direction of B0 ``(z, y, x)``.

    Returns
    -------
    RealArray
        Field offset ``(z, y, x)`` relative to B0 [ppm], float64.
    """
    kernel = half_dipole_kernel(size_of(chi), voxel_size, b0_direction)
    chi = converted(chi, "float64")
    return plan_transform(chi).convolve(chi, matched(kernel, chi))
