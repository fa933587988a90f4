"""Coil images to one complex image per echo."""

import numpy as np

from chistream.arrays import ComplexArray


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
