"""Solids painted onto grids, one over the other, with soft partial-volume edges."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from chistream.arrays import Mask, RealArray
from chistream.physics.geometry import Geometry
from chistream_simulator.grids import cropped
from chistream_simulator.phantoms.partial_volumes import blend, filled_block, mark, points_at
from chistream_simulator.phantoms.pose import AT_REST, Pose
from chistream_simulator.phantoms.shapes import Points, Shape

Block: TypeAlias = tuple[slice, slice, slice]
"""Part of a grid: indices along ``(z, y, x)``."""

TissueValues: TypeAlias = Mapping[str, Mapping[str, float]]
"""Value of each quantity, by tissue."""

WHOLE: Block = (slice(None), slice(None), slice(None))


@dataclass(frozen=True)
class Part:
    """One solid of an object.

    Parameters
    ----------
    shape
        Where it is.
    tissue
        What it is made of: a name of the tissue table.
    label
        What it is called in the truth; parts may share a label.
    deform
        Makes the solid of a pose from the one at rest. None: neither the solid nor the values of
        its tissue depend on the pose, and it need be painted once only.
    """

    shape: Shape
    tissue: str
    label: str
    deform: Callable[[Shape, Pose], Shape] | None = None

    def at(self, pose: Pose) -> Shape:
        """Return the solid in a pose of the patient."""
        return self.shape if self.deform is None else self.deform(self.shape, pose)


@dataclass
class Scene:
    """What lies on a grid.

    Parameters
    ----------
    geometry
        The grid.
    quantities
        Maps ``(z, y, x)`` float32 by name; partial volumes mix linearly.
    labels
        ``(z, y, x)`` uint8: 1 + index of the label in `names`, 0 where nothing was painted.
    names
        Labels in the order of their numbers.
    """

    geometry: Geometry
    quantities: dict[str, RealArray]
    labels: npt.NDArray[np.uint8]
    names: list[str] = field(default_factory=list)

    def copy(self) -> "Scene":
        """Return an independent copy."""
        maps = {name: values.copy() for name, values in self.quantities.items()}
        return Scene(self.geometry, maps, self.labels.copy(), list(self.names))

    def cropped(self, block: Block) -> "Scene":
        """Return a part of it, which shares its memory."""
        maps = {name: values[block] for name, values in self.quantities.items()}
        return Scene(cropped(self.geometry, block), maps, self.labels[block], self.names)

    def where(self, label: str) -> Mask:
        """Return the voxels ``(z, y, x)`` of a label; none if nothing is called so."""
        if label not in self.names:
            return np.zeros(self.geometry.shape, dtype=bool)
        where: Mask = self.labels == self.names.index(label) + 1
        return where

    def paint(self, parts: Iterable[Part], tissues: TissueValues, pose: Pose = AT_REST) -> "Scene":
        """Paint solids over what is there; a voxel that a surface cuts is mixed.

        Parameters
        ----------
        parts
            In the order of painting.
        tissues
            Values of the scene's quantities.
        pose
            Of the patient.

        Returns
        -------
        Scene
            This scene.
        """
        for part in parts:
            if part.label not in self.names:
                self.names.append(part.label)
            self._paint(part.at(pose), tissues[part.tissue], self.names.index(part.label) + 1)
        return self

    def _paint(self, shape: Shape, values: Mapping[str, float], number: int) -> None:
        block = block_around(self.geometry, shape)
        if any(part.start == part.stop for part in block):
            return
        filled = filled_block(self.geometry, block, shape)
        for name, quantity in self.quantities.items():
            blend(quantity[block], filled, float(values[name]))
        mark(self.labels[block], filled, number)


def blank_scene(geometry: Geometry, surroundings: Mapping[str, float]) -> Scene:
    """Make a scene in which there is nothing but its surroundings.

    Parameters
    ----------
    geometry
        The grid.
    surroundings
        Value of every quantity, by name.

    Returns
    -------
    Scene
        Uniform maps, no labels.
    """
    maps: dict[str, RealArray] = {
        name: np.full(geometry.shape, value, np.float32) for name, value in surroundings.items()
    }
    return Scene(geometry, maps, np.zeros(geometry.shape, np.uint8))


def block_around(geometry: Geometry, shape: Shape) -> Block:
    """Find the voxels of a grid that a solid can cut.

    Parameters
    ----------
    geometry
        The grid.
    shape
        The solid.

    Returns
    -------
    Block
        Indices within the grid; an empty slice if the solid lies outside.
    """
    offset = np.subtract(shape.centre, geometry.position)
    axes = geometry.axes
    z, y, x = (
        _extent(n, float(offset @ np.asarray(axis)) / d, shape.reach(axis) / d)
        for n, d, axis in zip(geometry.shape, geometry.voxel_size, axes, strict=True)
    )
    return z, y, x


def block_points(geometry: Geometry, block: Block = WHOLE) -> Points:
    """Find the patient positions of the voxel centres of a block.

    Parameters
    ----------
    geometry
        The grid.
    block
        Part of it; default: all.

    Returns
    -------
    Points
        L, P and S [mm] float32, which broadcast to the shape of the block. On a grid along the
        patient's axes each is a line of values, not a volume: painting there costs little.
    """
    z, y, x = (np.arange(n)[part] for n, part in zip(geometry.shape, block, strict=True))
    return points_at(geometry, z[:, None, None], y[None, :, None], x[None, None, :])


def _extent(n: int, centre: float, reach: float) -> slice:
    if np.isinf(reach):
        return slice(0, n)
    low, high = centre - reach + n // 2, centre + reach + n // 2
    return slice(int(np.clip(np.floor(low), 0, n)), int(np.clip(np.ceil(high) + 1, 0, n)))
