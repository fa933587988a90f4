"""What every stage that works on field maps demands of its input, in any array library."""

import math

import numpy as np

from chistream.arrays import Mask, RealArray, Vector
from chistream.physics.backend import namespace


def check_field(name: str, field: RealArray, mask: Mask, voxel_size: Vector) -> None:
    """Refuse a field map that cannot be worked on.

    Parameters
    ----------
    name
        What the caller names the field.
    field
        Field map ``(z, y, x)``.
    mask
        Voxels where it is used ``(z, y, x)``.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm].

    Raises
    ------
    ValueError
        If the field is no volume, the mask is empty or of another shape, a voxel size is not
        positive, or the field is not finite everywhere in the mask.
    """
    if field.ndim != 3:
        raise ValueError(f"{name} must have the axes (z, y, x), got shape {field.shape}")
    check_same_shape("mask", mask, name, field)
    if not all(edge > 0 for edge in voxel_size):
        raise ValueError(f"voxel_size must be positive, got {voxel_size} mm")
    xp = namespace(field, mask)
    n_used = int(xp.count_nonzero(mask))
    if n_used == 0:
        raise ValueError(f"mask is empty: none of its {math.prod(mask.shape)} voxels is set")
    n_bad = int(xp.count_nonzero(~xp.isfinite(field) & mask))
    if n_bad:
        raise ValueError(f"{name} is not finite in {n_bad} of {n_used} voxels of the mask")


def check_weights(weights: RealArray, field: RealArray, mask: Mask) -> None:
    """Refuse weights that are no weights.

    Parameters
    ----------
    weights
        Trust in each voxel ``(z, y, x)``.
    field
        Field map ``(z, y, x)`` that they belong to.
    mask
        Voxels where they are used ``(z, y, x)``.

    Raises
    ------
    ValueError
        If the shapes differ, or a weight in the mask is negative or not finite, or all are zero.
    """
    check_same_shape("weights", weights, "field", field)
    xp = namespace(weights, mask)
    used = weights[mask]
    least, most = float(xp.min(used)), float(xp.max(used))
    if not (0 <= least <= most < math.inf and most > 0):  # a nan is none of this
        raise ValueError(
            f"weights must be finite, not negative and not all zero in the mask, "
            f"got {least} to {most}"
        )


def check_same_shape(
    name: str, volume: RealArray | Mask, other_name: str, other: RealArray
) -> None:
    """Refuse two volumes that do not lie on one grid.

    Parameters
    ----------
    name, volume
        One volume and what the caller names it.
    other_name, other
        The other.

    Raises
    ------
    ValueError
        If their shapes differ.
    """
    if tuple(volume.shape) != tuple(other.shape):
        raise ValueError(
            f"{name} {tuple(volume.shape)} and {other_name} {tuple(other.shape)} differ in shape"
        )


def check_b0_direction(b0_direction: Vector) -> None:
    """Refuse a direction of B0 that points nowhere.

    Parameters
    ----------
    b0_direction
        Direction of B0 ``(z, y, x)``.

    Raises
    ------
    ValueError
        If it is zero or not finite.
    """
    if not (np.isfinite(b0_direction).all() and np.any(b0_direction)):
        raise ValueError(f"b0_direction must not be zero, got {b0_direction}")
