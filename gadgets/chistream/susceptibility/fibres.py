"""What a susceptibility tensor says of fibres: anisotropy, direction, helix angle."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from chistream.arrays import Mask, RealArray, Vector
from chistream.physics.backend import converted, matched, namespace, norm
from chistream.physics.dipole import TENSOR_PARTS
from chistream.susceptibility.inversion import only_inside

FibreSign: TypeAlias = Literal["muscle", "collagen", "stronger"]


@dataclass(frozen=True, slots=True, eq=False)
class FibreMaps:
    """The eigen-decomposition of a susceptibility tensor.

    Parameters
    ----------
    mean
        Mean susceptibility, a third of the trace ``(z, y, x)`` [ppm].
    anisotropy
        Susceptibility along the fibre less the mean of the two across it ``(z, y, x)`` [ppm].
    direction
        Unit vector along the fibre ``(3, z, y, x)`` over (z, y, x), of arbitrary sign.
    eigenvalues
        In rising order ``(3, z, y, x)`` [ppm].
    """

    mean: RealArray
    anisotropy: RealArray
    direction: RealArray
    eigenvalues: RealArray


def decompose_tensor(tensor: RealArray, mask: Mask, *, fibre: FibreSign = "muscle") -> FibreMaps:
    """Take mean, anisotropy and fibre direction from a susceptibility tensor.

    Parameters
    ----------
    tensor
        Components zz, zy, zx, yy, yx, xx ``(6, z, y, x)`` [ppm], of any array library.
    mask
        Voxels to decompose ``(z, y, x)``; all maps are zero elsewhere.
    fibre
        Which eigenvector is the fibre. Muscle is less diamagnetic along its fibres: the one of
        the largest eigenvalue. Collagen is more diamagnetic along them, so that scar tissue
        turns the sign: the one of the smallest. ``"stronger"``: whichever of the two lies farther
        from the middle one.

    Returns
    -------
    FibreMaps
        The maps.

    Raises
    ------
    ValueError
        If the tensor has other than 6 components, or there is no such sign.

    References
    ----------
    .. [1] Liu C. Susceptibility tensor imaging. Magn Reson Med. 2010;63(6):1471-1477.
       doi:10.1002/mrm.22482
    .. [2] Dibb R, Qi Y, Liu C. Magnetic susceptibility anisotropy of myocardium imaged by
       cardiovascular magnetic resonance reflects the anisotropy of myocardial filament
       alpha-helix polypeptide bonds. J Cardiovasc Magn Reson. 2015;17:60.
       doi:10.1186/s12968-015-0159-4

    Examples
    --------
    >>> tensor = np.zeros((6, 1, 1, 1))
    >>> tensor[[0, 3, 5], 0, 0, 0] = 0.3, 0.0, 0.0
    >>> maps = decompose_tensor(tensor, np.ones((1, 1, 1), dtype=bool))
    >>> round(float(maps.mean[0, 0, 0]), 6), round(float(maps.anisotropy[0, 0, 0]), 6)
    (0.1, 0.3)
    >>> abs(maps.direction[:, 0, 0, 0]).round(6).tolist()
    [1.0, 0.0, 0.0]
    """
    if tensor.ndim != 4 or tensor.shape[0] != len(TENSOR_PARTS):
        raise ValueError(f"tensor must have shape (6, z, y, x), got {tuple(tensor.shape)}")
    if fibre not in {"muscle", "collagen", "stronger"}:
        raise ValueError(f"fibre must be 'muscle', 'collagen' or 'stronger', got {fibre!r}")
    xp = namespace(tensor, mask)
    parts = [only_inside(tensor[i, ...], mask) for i in range(6)]
    rows = [xp.stack([parts[_part(i, j)] for j in range(3)], axis=-1) for i in range(3)]
    values, vectors = xp.linalg.eigh(xp.stack(rows, axis=-2))
    low, middle, high = (values[..., i] for i in range(3))
    along_high = high - middle >= middle - low
    if fibre != "stronger":
        along_high = xp.full_like(along_high, fibre == "muscle")
    along = xp.where(along_high, high, low)
    across = (low + middle + high - along) / 2
    directions = [
        only_inside(xp.where(along_high, vectors[..., i, 2], vectors[..., i, 0]), mask)
        for i in range(3)
    ]
    return FibreMaps(
        only_inside((low + middle + high) / 3, mask),
        only_inside(along - across, mask),
        xp.stack(directions),
        xp.stack([low, middle, high]),
    )


def helix_angle(
    direction: RealArray, voxel_size: Vector, *, centre: Vector, axis: Vector
) -> RealArray:
    """Measure how steeply fibres climb around the long axis of a ventricle.

    Parameters
    ----------
    direction
        Unit vectors along the fibres ``(3, z, y, x)`` over (z, y, x), of any array library.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm].
    centre
        A point of the long axis ``(z, y, x)`` [voxels].
    axis
        Direction of the long axis, apex to base ``(z, y, x)``; need not be normalised.

    Returns
    -------
    RealArray
        Angle between the fibre, seen along the radius, and the circumference ``(z, y, x)``
        [degrees], in [-90, 90]; positive where the fibre climbs to the base as it turns
        counter-clockwise, seen from the base.

    Raises
    ------
    ValueError
        If the axis is zero.
    """
    if not any(axis):
        raise ValueError(f"axis must not be zero, got {axis}")
    xp = namespace(direction)
    along = [a / norm(np.asarray(axis, dtype=float)) for a in axis]
    places = np.meshgrid(
        *(
            (np.arange(n) - c) * edge
            for n, c, edge in zip(direction.shape[1:], centre, voxel_size, strict=True)
        ),
        indexing="ij",
    )
    z, y, x = (matched(place, direction, "float64") for place in places)
    # The axis times the radius; the order (z, y, x) turns the signs of a cross product.
    around = [
        along[2] * y - along[1] * x,
        along[0] * x - along[2] * z,
        along[1] * z - along[0] * y,
    ]
    length = xp.sqrt(around[0] ** 2 + around[1] ** 2 + around[2] ** 2)
    length = xp.where(length > 0, length, 1.0)
    climb = sum(direction[i, ...] * along[i] for i in range(3))
    turn = sum(direction[i, ...] * around[i] for i in range(3)) / length
    sign = 1.0 - 2.0 * converted(turn < 0, "float64")
    angle: RealArray = xp.atan2(climb * sign, xp.abs(turn)) * (180 / np.pi)
    return angle


def _part(i: int, j: int) -> int:
    return TENSOR_PARTS.index((min(i, j), max(i, j)))
