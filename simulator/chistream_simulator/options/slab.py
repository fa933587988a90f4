"""Where the volume lies, and how finely the object beneath it is made."""

import numpy as np
from pydantic import Field, model_validator
from typing_extensions import Self

from chistream.arrays import RealArray, Size, Vector
from chistream_simulator.options.section import Section


class SlabOptions(Section):
    """The slab. Anything per axis is ``(z, y, x)``."""

    matrix: Size = Field((20, 72, 96), description="Reconstructed voxels (z, y, x).")
    fov: Vector = Field((100.0, 237.6, 316.8), description="Field of view (z, y, x) [mm].")
    position: Vector = Field((0.0, 0.0, 0.0), description="Centre of the slab (L, P, S) [mm].")
    rotation: Vector = Field(
        (0.0, 0.0, 0.0), description="Turns of the slab about L, then P, then S [degrees]."
    )
    orientation: Vector = Field(
        (0.0, 0.0, 0.0),
        description="Turns of object, slab and coils in the magnet about L, then P, then S "
        "[degrees]: one orientation of several, as COSMOS and tensor imaging take them.",
    )
    object_oversampling: Size = Field((2, 2, 2), description="Object points in each voxel.")

    @property
    def voxel_size(self) -> Vector:
        """Voxel edge lengths ``(z, y, x)`` [mm]."""
        z, y, x = (extent / n for extent, n in zip(self.fov, self.matrix, strict=True))
        return z, y, x

    @property
    def turn(self) -> RealArray:
        """Matrix ``(3, 3)`` that takes object coordinates to the magnet's (L, P, S)."""
        return turn_matrix(self.orientation)

    @property
    def b0_direction(self) -> Vector:
        """Direction of B0 in the object's coordinates (L, P, S)."""
        left, posterior, superior = self.turn[2].tolist()
        return left, posterior, superior

    @model_validator(mode="after")
    def _has_a_grid(self) -> Self:
        if min(self.matrix) < 1 or max(self.matrix) > 1024 or not min(self.fov) > 0:
            raise ValueError(f"matrix {self.matrix} must be 1..1024 and fov {self.fov} mm > 0")
        if min(self.object_oversampling) < 2:
            raise ValueError(
                f"object_oversampling {self.object_oversampling} must be >= 2 in every axis: with "
                "one point a voxel the object would be made of the voxels it is imaged with"
            )
        return self


def turn_matrix(angles: Vector) -> RealArray:
    """Turn about L, then P, then S.

    Parameters
    ----------
    angles
        [degrees].

    Returns
    -------
    RealArray
        Rotation ``(3, 3)``: its columns are where the axes L, P and S go.

    Examples
    --------
    >>> (turn_matrix((0.0, 0.0, 90.0)) @ [1.0, 0.0, 0.0]).round(9).tolist()
    [0.0, 1.0, 0.0]
    """
    matrix = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(angles)):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[[first, second], [first, second]] = np.cos(angle)
        turn[second, first], turn[first, second] = np.sin(angle), -np.sin(angle)
        matrix = turn @ matrix
    return matrix
