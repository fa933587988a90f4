"""Complex echoes put back where they belong, behind gradients that are not linear."""

import numpy as np
from scipy.ndimage import map_coordinates

from chistream.arrays import ComplexArray, RealArray, size_of
from chistream.echoes.coil_images import interpolate
from chistream.physics.geometry import Geometry
from chistream.physics.nonlinearity import GradientNonlinearity

_FINER = 2
"""Voxels for each one along an axis before the spline: cubic B-splines follow a phase that turns
half a turn per voxel not at all, and one of a quarter per fine voxel to 1 %."""


def unwarp_echoes(
    echoes: ComplexArray, geometry: Geometry, nonlinearity: GradientNonlinearity
) -> ComplexArray:
    r"""Undo the distortion by gradient non-linearity, phase and all.

    .. math:: I(\mathbf r) = I'(\mathbf r + \Delta(\mathbf r)) \;
              \left| \det \frac{\partial (\mathbf r + \Delta)}{\partial \mathbf r} \right|

    Parameters
    ----------
    echoes
        I' ``(echoes, z, y, x)`` as reconstructed with linear gradients.
    geometry
        Where the volume lies, about the isocentre.
    nonlinearity
        The gradient coils.

    Returns
    -------
    ComplexArray
        I ``(echoes, z, y, x)`` complex64 on the same grid, with the signal of each piece of tissue
        kept; zero where it would have to come from outside the volume.

    Raises
    ------
    ValueError
        If the echoes do not fit the geometry.

    Notes
    -----
    Real and imaginary parts are interpolated by cubic B-splines on a grid twice as fine, made by
    zeros around k-space. A field map fitted to the result lies on the true grid, where the dipole
    kernel holds.
    """
    if size_of(echoes) != geometry.shape:
        raise ValueError(f"echoes {echoes.shape} and a volume of {geometry.shape} do not fit")
    moved = _index_displacement(geometry, nonlinearity)
    intensity = _volume_change(moved)
    centre = np.array([n // 2 for n in geometry.shape]).reshape(3, 1, 1, 1)
    fine = tuple(_FINER * n if n > 1 else 1 for n in geometry.shape)
    factors = np.array([m / n for m, n in zip(fine, geometry.shape, strict=True)])
    middle = np.array([m // 2 for m in fine]).reshape(3, 1, 1, 1)
    places = (np.indices(geometry.shape) + moved - centre) * factors.reshape(3, 1, 1, 1) + middle
    unwarped = np.empty(echoes.shape, np.complex64)
    for echo, volume in enumerate(echoes):
        finer = interpolate(volume, (fine[0], fine[1], fine[2]))
        unwarped[echo] = map_coordinates(finer, places, order=3, mode="constant") * intensity
    return unwarped


def _index_displacement(geometry: Geometry, nonlinearity: GradientNonlinearity) -> RealArray:
    """Apparent minus true place ``(3, z, y, x)`` along (z, y, x) [voxels]."""
    moved = nonlinearity.displacement(geometry.voxel_positions())
    axes = np.array(geometry.axes) / np.array(geometry.voxel_size)[:, None]
    displacement: RealArray = np.einsum("ai,izyx->azyx", axes, moved)
    return displacement


def _volume_change(moved: RealArray) -> RealArray:
    """Return the determinant of the Jacobian of the apparent places ``(z, y, x)``."""
    slopes = np.zeros((3, 3, *moved.shape[1:]))
    for of in range(3):
        for along, n in enumerate(moved.shape[1:]):
            if n > 1:
                slopes[of, along] = np.gradient(moved[of], axis=along)
    jacobian = np.moveaxis(slopes, (0, 1), (-2, -1)) + np.eye(3)
    change: RealArray = np.abs(np.linalg.det(jacobian))
    return change
