"""Phantoms of which no closed form is known: their field comes from a forward model."""

from functools import lru_cache
from typing import ClassVar

import numpy as np

from chistream.arrays import RealArray, Vector
from chistream.physics.geometry import Geometry
from chistream_simulator.magnetics.forward import SplitField
from chistream_simulator.phantoms.phantom import QUANTITIES, Phantom
from chistream_simulator.phantoms.pose import AT_REST, Pose
from chistream_simulator.phantoms.scene import (
    Part,
    Scene,
    TissueValues,
    blank_scene,
    block_points,
)
from chistream_simulator.phantoms.shapes import Point, Shape


class PaintedPhantom(Phantom):
    """A phantom whose field is computed from what is painted.

    Parameters
    ----------
    parts, values, surroundings, body, pools, focus
        As for every phantom.
    low, high
        Corners of what causes the field (L, P, S) [mm]; along S it is continued.
    silent
        Tissues whose field is background, since they give hardly any signal.
    b0_direction
        Of B0 in the object (L, P, S).
    """

    def __init__(
        self,
        parts: tuple[Part, ...],
        values: TissueValues,
        *,
        surroundings: str,
        body: Shape,
        pools: tuple[str, ...],
        focus: tuple[str, ...],
        low: Point,
        high: Point,
        silent: tuple[str, ...],
        b0_direction: Vector,
    ) -> None:
        super().__init__(
            parts, values, surroundings=surroundings, body=body, pools=pools, focus=focus
        )
        self.b0_direction = b0_direction
        self._corners = low, high
        self._silent = silent
        # Slab, truth and shim ask for different grids, each several times.
        self._split = lru_cache(maxsize=2)(self._new_split)

    magnetic: ClassVar[tuple[str, ...]] = ("chi",)
    """Quantities of which `source` is made."""

    def source(self, scene: Scene) -> RealArray:
        """Return what causes the field [ppm]: chi ``(z, y, x)``, magnetisation ``(3, z, y, x)``."""
        return scene.quantities["chi"]

    def field(self, geometry: Geometry, pose: Pose = AT_REST) -> RealArray:
        """Field ``(z, y, x)`` float32 relative to B0 [ppm], unshimmed."""
        return self.scene_with_field(geometry, pose)[1]

    def scene_with_field(self, geometry: Geometry, pose: Pose = AT_REST) -> tuple[Scene, RealArray]:
        """Paint the object on a grid, and find its field there: see `scene` and `field`."""
        split = self._split(geometry)
        body = self.scene(split.body_geometry, pose, self.magnetic)
        slab = self.scene(split.slab_geometry, pose, (*dict.fromkeys(QUANTITIES + self.magnetic),))
        field = split.field(self.source(body), self.source(slab))
        return slab.cropped(split.inner), field

    def local_field(self, geometry: Geometry) -> RealArray:
        """Field ``(z, y, x)`` [ppm] of the signal-giving tissues inside the grid, at rest."""
        split = self._split(geometry)
        body, slab = (
            self._audible(grid) * _share_within(geometry, grid)
            for grid in (split.body_geometry, split.slab_geometry)
        )
        return split.field(body, slab)

    def _audible(self, geometry: Geometry) -> RealArray:
        """Paint the source anew with water in place of what gives no signal.

        To take lungs and air away afterwards would leave the shells where they mix with tissue.
        """
        values = {
            name: {**tissue, **dict.fromkeys(self.magnetic, 0.0)}
            if name in self._silent
            else tissue
            for name, tissue in self.values.items()
        }
        outside = {name: values[self.surroundings][name] for name in self.magnetic}
        return self.source(blank_scene(geometry, outside).paint(self.parts, values))

    def _new_split(self, geometry: Geometry) -> SplitField:
        return SplitField(geometry, *self._corners, b0_direction=self.b0_direction)


def _share_within(target: Geometry, grid: Geometry) -> RealArray:
    """Part of each voxel of a grid ``(z, y, x)`` that lies within the box of another grid."""
    own = np.asarray(grid.axes)
    offsets = [p - c for p, c in zip(block_points(grid), target.position, strict=True)]
    share = np.ones((), np.float32)
    for n, step, axis in zip(target.shape, target.voxel_size, target.axes, strict=True):
        along = sum(o * np.float32(a) for o, a in zip(offsets, axis, strict=True))
        width = float(
            np.dot(grid.voxel_size, np.abs(own @ np.asarray(axis)))
        )  # of a voxel along this axis
        middle = ((n - 1) / 2 - n // 2) * step
        share = share * np.clip(0.5 + (n * step / 2 - np.abs(along - middle)) / width, 0, 1)
    return np.asarray(share, np.float32)
