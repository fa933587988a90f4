"""A heart with its two blood pools in a chest with lungs, liver, spine and great vessels.

A chest-like body, not an anatomy: smooth solids, no fat and no ribs. B0 runs along S; the trunk
goes on along S without end.
"""

from collections.abc import Callable
from functools import cached_property

import numpy as np

from chistream.arrays import RealArray
from chistream.physics.geometry import Geometry
from chistream_simulator.case import Case
from chistream_simulator.fields import field_on_grid, patient_grid, sample
from chistream_simulator.phantoms.phantom import PencilBeam, Phantom, tissue_values
from chistream_simulator.phantoms.pose import AT_REST, Pose
from chistream_simulator.phantoms.scene import Part, Scene, blank_scene, block_around, block_points
from chistream_simulator.phantoms.shapes import (
    Axes,
    Ellipsoid,
    Point,
    Shape,
    axes_with,
    cylinder,
    point,
)

TRUNK = (165.0, 106.0)
"""Half widths of the trunk towards L and P [mm]."""

TRUNK_PERIOD = 440.0
"""Length of trunk that is modelled before it repeats [mm]: lungs and liver, with muscle between."""

PADDING = (90.0, 100.0)
"""Air on each side of the trunk, towards L and P [mm]."""

SILENT = ("air", "lung")
"""Tissues whose field is background, since they give hardly any signal."""

LONG_AXIS: Point = (0.62, -0.58, -0.53)
"""From the base of the heart to its apex: to the left, forwards and down."""

LV_CENTRE: Point = (30.0, -26.0, -2.0)

DOME: Point = (-72.0, -4.0, -36.0)
"""Top of the liver at end-expiration, under the right lung."""


class ChestPhantom(Phantom):
    """The chest, and its field from a forward model of its own.

    Parameters
    ----------
    case
        Slab (whose voxels set the spacing of the field's grid), tissues, blood and motion.
    """

    def __init__(self, case: Case) -> None:
        body = cylinder((0.0, 0.0, 0.0), TRUNK)
        heart_motion = (0.0, -case.tracking_factor_ap, -case.tracking_factor)
        parts = (Part(body, "muscle", "body"), *_chest(), *_heart(heart_motion))
        super().__init__(
            parts,
            tissue_values(case),
            surroundings="air",
            body=body,
            pools=("LV", "RV"),
            focus=("LV", "RV", "myocardium"),
        )
        self._spacing = _spacing(case)

    @property
    def beam(self) -> PencilBeam:
        """A column of 25 mm through the dome of the liver, as on scanners."""
        return PencilBeam(DOME, 12.5)

    def field(self, geometry: Geometry, pose: Pose = AT_REST) -> RealArray:
        """Field ``(z, y, x)`` float32 relative to B0 [ppm], unshimmed.

        Parameters
        ----------
        geometry
            Any grid within the trunk's surroundings.
        pose
            Of the patient.

        Returns
        -------
        RealArray
            Interpolated from the patient's grid.
        """
        field = self._resting_field if pose == AT_REST else self._field(pose)
        return sample(field, self.patient_geometry, geometry)

    def local_field(self, geometry: Geometry) -> RealArray:
        """Field ``(z, y, x)`` [ppm] of the signal-giving tissues inside the grid, at rest."""
        chi = {name: {"chi": value["chi"]} for name, value in self.values.items()}
        # Painted anew with water in place of lungs and air: to take their voxels away afterwards
        # would leave the shells where they are mixed with tissue.
        chi |= {name: {"chi": 0.0} for name in SILENT}
        scene = blank_scene(self.patient_geometry, chi[self.surroundings]).paint(self.parts, chi)
        local = _cut_out(scene.quantities["chi"], self.patient_geometry, geometry)
        return sample(field_on_grid(local, self.patient_geometry), self.patient_geometry, geometry)

    @cached_property
    def patient_geometry(self) -> Geometry:
        """The grid along the patient's axes on which fields are computed."""
        half = (*TRUNK, TRUNK_PERIOD / 2)
        low = point(-np.asarray(half))
        return patient_grid(low, half, self._spacing, PADDING)

    @cached_property
    def _resting_field(self) -> RealArray:
        # The shim, the noise level, the truth and the first motion state all need it.
        return self._field(AT_REST)

    def _field(self, pose: Pose) -> RealArray:
        return field_on_grid(self._patient(pose).quantities["chi"], self.patient_geometry)

    @cached_property
    def _resting(self) -> Scene:
        chi = {name: {"chi": values["chi"]} for name, values in self.values.items()}
        blank = blank_scene(self.patient_geometry, chi[self.surroundings])
        return blank.paint([p for p in self.parts if p.deform is None], chi)

    def _patient(self, pose: Pose) -> Scene:
        # What moves is painted last, onto a copy of what rests: most of the work is done once.
        moving = [p for p in self.parts if p.deform is not None]
        return self._resting.copy().paint(moving, self.values, pose)


def _chest() -> tuple[Part, ...]:
    down = _following((0.0, 0.0, -1.0))
    left, posterior, superior = DOME
    liver = Ellipsoid((left, posterior, superior - 80.0), (82.0, 80.0, 80.0))
    left_dome = Ellipsoid((82.0, 2.0, -124.0), (72.0, 80.0, 76.0))
    return (
        Part(Ellipsoid((-79.0, 2.0, 75.0), (71.0, 80.0, 138.0)), "lung", "lung"),
        Part(Ellipsoid((83.0, 3.0, 75.0), (67.0, 80.0, 138.0)), "lung", "lung"),
        Part(cylinder((0.0, 74.0, 0.0), (19.0, 17.0)), "bone", "spine"),
        Part(cylinder((0.0, -94.0, 0.0), (17.0, 6.0)), "bone", "sternum"),
        Part(cylinder((24.0, 50.0, 0.0), (11.0, 11.0)), "arterial_blood", "aorta"),
        Part(left_dome, "muscle", "body", down),
        Part(liver, "liver", "liver", down),
    )


def _heart(motion: Point) -> tuple[Part, ...]:
    axes, follow = _heart_axes(), _following(motion)

    def solid(towards_rv: float, along: float, semi_axes: Point) -> Ellipsoid:
        offset = towards_rv * np.asarray(axes[0]) + along * np.asarray(axes[2])
        return Ellipsoid(point(np.asarray(LV_CENTRE) + offset), semi_axes, axes)

    def part(shape: Ellipsoid, tissue: str, label: str) -> Part:
        return Part(shape, tissue, label, follow)

    return (
        part(solid(0.0, -58.0, (26.0, 26.0, 22.0)), "arterial_blood", "LA"),
        part(solid(40.0, -46.0, (23.0, 25.0, 24.0)), "venous_blood", "RA"),
        part(solid(34.0, -6.0, (29.0, 36.0, 43.0)), "myocardium", "myocardium"),
        part(solid(34.0, -6.0, (26.0, 33.0, 40.0)), "venous_blood", "RV"),
        part(solid(0.0, 0.0, (32.0, 32.0, 47.0)), "myocardium", "myocardium"),
        part(solid(0.0, -3.0, (22.0, 22.0, 38.0)), "arterial_blood", "LV"),
    )


def _following(motion: Point) -> Callable[[Shape, Pose], Shape]:
    """Make a solid follow the diaphragm, by so much (L, P, S) for each mm of its descent."""

    def deform(shape: Shape, pose: Pose) -> Shape:
        left, posterior, superior = (pose.descent * m for m in motion)
        return shape.moved((left, posterior, superior))

    return deform


def _heart_axes() -> Axes:
    """Directions from the LV to the RV, at right angles to it, and from base to apex."""
    apex = np.asarray(axes_with(LONG_AXIS)[2])
    right_and_forwards = np.array([-0.75, -0.6, -0.1])
    towards_rv = right_and_forwards - (right_and_forwards @ apex) * apex
    towards_rv /= np.linalg.norm(towards_rv)
    return point(towards_rv), point(np.cross(apex, towards_rv)), point(apex)


def _spacing(case: Case) -> Point:
    """Half of the smallest voxel edge in plane; along S, of the axes that run along S."""
    slab_voxels = case.voxel_size
    in_plane = min(slab_voxels[1:]) / 2
    tilted = max(map(abs, case.rotation)) > 18.0  # in-plane axes then have a third along S
    along_s = min(slab_voxels) if tilted else slab_voxels[0]
    return in_plane, in_plane, along_s / 2


def _cut_out(chi: RealArray, source: Geometry, target: Geometry) -> RealArray:
    """Keep what lies within another grid's box."""
    axes = (target.slice_dir, target.phase_dir, target.read_dir)
    extents = np.multiply(target.shape, target.voxel_size)
    radius = 0.6 * float(np.linalg.norm(extents))  # some more than half of the diagonal
    block = block_around(source, Ellipsoid(target.position, (radius, radius, radius)), margin=0.0)
    offsets = [p - c for p, c in zip(block_points(source, block), target.position, strict=True)]
    cut = np.zeros_like(chi)
    cut[block] = chi[block]
    for n, step, axis in zip(target.shape, target.voxel_size, axes, strict=True):
        along: RealArray = np.zeros((), np.float32)
        for offset, cosine in zip(offsets, axis, strict=True):
            along = along + offset * np.float32(cosine / step)
        cut[block] *= np.abs(along + n // 2 - (n - 1) / 2) <= n / 2
    return cut
