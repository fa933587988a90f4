"""The object as the scanner sees it: grids, coils, shim, and the phase of its echoes."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import erf

from chistream.arrays import ComplexArray, Mask, RealArray
from chistream.errors import SettingsError
from chistream.physics.geometry import Geometry
from chistream_simulator.case import Case
from chistream_simulator.coils import Loop, body_array, coil_maps, loops_around
from chistream_simulator.echo_phases import EchoPhases
from chistream_simulator.grids import cropped, refined, turned, with_size
from chistream_simulator.magnetics.shim import shim_field, shim_terms
from chistream_simulator.options.slab import turn_matrix
from chistream_simulator.phantoms.jets import Jet
from chistream_simulator.phantoms.phantom import Phantom
from chistream_simulator.phantoms.pose import AT_REST, Pose
from chistream_simulator.phantoms.scene import Scene, block_points
from chistream_simulator.phantoms.shapes import Point, Points, Shape, point
from chistream_simulator.sampling import Encoding

SLAB = 0.9
"""Part of the field of view along z that the slab's excitation covers."""

SLAB_EDGE = 0.03
"""Softness of the slab's edges, relative to the field of view."""

FORMER_GAP = 55.0
"""Distance of the coils' former from the body [mm]."""

SIGNAL_THRESHOLD = 0.02
"""Signal, relative to relaxed water, below which a voxel counts as giving none."""

PHASE_LENGTH = 150.0
"""Distance over which the transmit phase changes by about ``phase_offset`` [mm]."""


@dataclass(frozen=True)
class ObjectMaps:
    """What the scanner sees of an object on some grid.

    Parameters
    ----------
    scene
        Tissue maps; water and fat are weighted by the slab's excitation.
    field
        Total field behind the shim ``(z, y, x)`` [ppm].
    phase_offset
        Phase at TE = 0 [rad]; broadcasts to ``(z, y, x)``.
    phases
        What else the echoes carry.
    velocities
        Of the blood (L, P, S) by label [m/s].
    jets
        Of blood that flows faster than its surroundings.
    """

    scene: Scene
    field: RealArray
    phase_offset: RealArray
    phases: EchoPhases
    velocities: Mapping[str, Point]
    jets: tuple[Jet, ...] = ()

    def phase_of(self, echo: int) -> RealArray:
        """Phase of an echo but for that of the field [rad]; broadcasts to ``(z, y, x)``."""
        per_velocity = self.phases.velocity_phase(echo)
        flow = [np.dot(self.velocities.get(n, (0, 0, 0)), per_velocity) for n in self.scene.names]
        points = block_points(self.scene.geometry)
        phase = self.phase_offset + self.phases.phase(echo, points)
        for jet in self.jets:
            phase = phase + np.dot(jet.direction, per_velocity) * jet.speed(points)
        if any(flow):
            phase = phase + np.asarray([0.0, *flow], np.float32)[self.scene.labels]
        return np.asarray(phase, np.float32)


class Imaging:
    """A phantom in a scanner: grids, coils, shim, and what there is to see in any pose.

    Parameters
    ----------
    case
        The scan.
    phantom
        What lies in it.
    """

    def __init__(self, case: Case, phantom: Phantom) -> None:
        self.case = case
        self.phantom = phantom
        self.geometry = slab_geometry(case)
        self.encoding = encoding_of(case)
        self.phases = EchoPhases(case, self.geometry)
        gap = FORMER_GAP
        reach = [min(phantom.body.reach(axis), 180.0) for axis in ((1.0, 0, 0), (0, 1.0, 0))]
        # A chest lies between a flexible array and one in the table; other things in a former.
        self.loops: list[Loop] = (
            body_array(case.n_coils, self._beside(phantom.body), (reach[0], reach[1]))
            if case.phantom == "chest"
            else loops_around(case.n_coils, phantom.body.centre, (reach[0] + gap, reach[1] + gap))
        )

    @property
    def magnet_geometry(self) -> Geometry:
        """Where the reconstructed volume lies in the magnet, as heads and results have it."""
        return turned(self.geometry, self.case.turn)

    def coil_maps(self, geometry: Geometry) -> ComplexArray:
        """Sensitivities ``(coils, z, y, x)`` on a grid; 1 in the middle of the slab."""
        return coil_maps(self.loops, geometry, self.geometry.position, self.case.b0_direction)

    def maps(self, geometry: Geometry, pose: Pose = AT_REST) -> ObjectMaps:
        """Find what the scanner sees on a grid in a pose of the patient."""
        return self._seen(*self.phantom.scene_with_field(geometry, pose), pose)

    def _seen(self, scene: Scene, field: RealArray, pose: Pose = AT_REST) -> ObjectMaps:
        """Excite a scene, which is changed in place, and shim its field."""
        profile = self._slab_profile(scene.geometry)
        for signal in ("water", "fat"):
            scene.quantities[signal] *= profile
        points = block_points(scene.geometry)
        field = field - shim_field(
            points, self.shim, centre=self.geometry.position, b0_direction=self.case.b0_direction
        )
        offset = self._phase_offset(points)
        jets = self.phantom.jets(pose)
        return ObjectMaps(scene, field, offset, self.phases, self.phantom.velocities, jets)

    @cached_property
    def object_geometry(self) -> Geometry:
        """The fine grid of the object: as long as the oversampled readout, cut to the body."""
        oversampled = with_size(self.geometry, 2, self.encoding.size[2])
        distance = self.phantom.body.signed_distance(block_points(oversampled))
        near = np.broadcast_to(distance < max(oversampled.voxel_size), oversampled.shape)
        if not near.any():
            raise SettingsError(self._empty)
        block = (slice(0, near.shape[0]), _range(near, (0, 2)), _range(near, (0, 1)))
        return refined(cropped(oversampled, block), self.case.object_oversampling)

    @cached_property
    def csm(self) -> ComplexArray:
        """Sensitivities ``(coils, z, y, x)`` on the grid of the reconstruction."""
        return self.coil_maps(self.geometry)

    @cached_property
    def resting(self) -> ObjectMaps:
        """What the scanner sees at rest on the grid of the reconstruction."""
        scene, field = self._unshimmed
        return self._seen(scene.copy(), field)

    @cached_property
    def _unshimmed(self) -> tuple[Scene, RealArray]:
        return self.phantom.scene_with_field(self.geometry)

    def focus(self, scene: Scene) -> Mask:
        """Find the voxels of a scene that the shim and the signal-to-noise ratio refer to.

        All that gives signal, in a slab that holds nothing of what the phantom is about.
        """
        region: Mask = np.any([scene.where(label) for label in self.phantom.focus], axis=0)
        signal: Mask = scene.quantities["water"] + scene.quantities["fat"] > SIGNAL_THRESHOLD
        if (region & signal).any():
            return region
        if not signal.any():
            raise SettingsError(self._empty)
        return signal

    @property
    def _empty(self) -> str:
        return (
            f"the slab at position {self.case.position} mm (L, P, S), of {self.case.fov} mm "
            f"(z, y, x), holds nothing of the {self.case.phantom} that gives signal: move it"
        )

    @cached_property
    def shim(self) -> RealArray:
        """Coefficients of the shim, fitted over the phantom's focus at rest [ppm/mm^n]."""
        scene, field = self._unshimmed
        region = self.focus(scene)
        return shim_terms(
            block_points(self.geometry),
            field,
            region,
            self.case.shim,
            centre=self.geometry.position,
            b0_direction=self.case.b0_direction,
        )

    def _beside(self, body: Shape) -> Point:
        """Return the place on the body's axis beside the middle of the slab."""
        left, posterior, _ = body.centre
        return left, posterior, self.geometry.position[2]

    def _slab_profile(self, geometry: Geometry) -> RealArray:
        axis = np.asarray(self.geometry.slice_dir, np.float32)
        offsets = (
            p - np.float32(c) for p, c in zip(block_points(geometry), self._middle, strict=True)
        )
        along = sum(o * a for o, a in zip(offsets, axis, strict=True) if a)
        half, edge = 0.5 * SLAB * self.case.fov[0], SLAB_EDGE * self.case.fov[0]
        profile = 0.5 * (erf((along + half) / edge) - erf((along - half) / edge))
        return np.asarray(profile, np.float32)

    @property
    def _middle(self) -> RealArray:
        """Middle of the field of view, half a voxel off the origin of an even grid."""
        n, step = self.case.matrix[0], self.case.voxel_size[0]
        shift = ((n - 1) / 2 - n // 2) * step
        return np.asarray(self.geometry.position) + shift * np.asarray(self.geometry.slice_dir)

    def _phase_offset(self, points: Points) -> RealArray:
        left, posterior, superior = (p / np.float32(PHASE_LENGTH) for p in points)
        shape = np.float32(0.5) + left**2 - left * posterior - 0.5 * posterior + 0.3 * superior
        return np.asarray(self.case.phase_offset * shape, np.float32)


def slab_geometry(case: Case) -> Geometry:
    """Find where the reconstructed volume of a case lies.

    Parameters
    ----------
    case
        With no rotation the slab is axial: readout to L, phase to P, slices to S.

    Returns
    -------
    Geometry
        Turned about L, then P, then S, about its own position.
    """
    axes = turn_matrix(case.rotation)
    read, phase, slice_ = (point(axes[:, i]) for i in range(3))
    return Geometry(case.matrix, case.voxel_size, case.position, read, phase, slice_)


def encoding_of(case: Case) -> Encoding:
    """Find the k-space samples of a case, with readout oversampling and asymmetric echo."""
    nz, ny, _ = case.matrix
    fov_z, fov_y, fov_x = case.fov
    fov = (fov_z, fov_y, fov_x * case.readout_oversampling)
    return Encoding((nz, ny, case.n_readout), fov, case.n_dropped)


def _range(mask: Mask, others: tuple[int, int]) -> slice:
    where = np.flatnonzero(mask.any(axis=others))
    return slice(int(where[0]), int(where[-1]) + 1)
