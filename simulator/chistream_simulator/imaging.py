"""The object as the scanner's encoding sees it: fine signal, coils, and its k-space."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import erf

from chistream.arrays import ComplexArray, Mask, RealArray
from chistream.physics.constants import ppm_to_hz
from chistream.physics.geometry import Geometry
from chistream_simulator.case import Case
from chistream_simulator.coils import Loop, coil_maps, loops_around
from chistream_simulator.fields import shim_field, shim_terms
from chistream_simulator.grids import cropped, refined, with_size
from chistream_simulator.options.slab import turn_matrix
from chistream_simulator.phantoms.phantom import Phantom
from chistream_simulator.phantoms.pose import AT_REST, Pose
from chistream_simulator.phantoms.scene import Scene, block_points
from chistream_simulator.phantoms.shapes import Points, point
from chistream_simulator.sampling import Encoding, FourierSum

SLAB = 0.9
"""Part of the field of view along z that the slab's excitation covers."""

SLAB_EDGE = 0.03
"""Softness of the slab's edges, relative to the field of view."""

FORMER_GAP = 55.0
"""Distance of the coils' former from the body [mm]."""

PHASE_LENGTH = 150.0
"""Distance over which the transmit phase changes by about ``phase_offset`` [mm]."""


_COILS_AT_ONCE = 4


@dataclass(frozen=True)
class ObjectMaps:
    """What the scanner sees of an object on some grid.

    Parameters
    ----------
    scene
        Tissue maps; the amplitude is weighted by the slab's excitation.
    field
        Total field behind the shim ``(z, y, x)`` [ppm].
    phase_offset
        Phase at TE = 0 [rad]; broadcasts to ``(z, y, x)``.
    """

    scene: Scene
    field: RealArray
    phase_offset: RealArray

    def signal(self, echo_time: float, h1_frequency: float) -> ComplexArray:
        r"""Signal ``(z, y, x)`` complex64 at an echo time [s] and proton frequency [Hz].

        .. math:: m \, e^{-R_2^* TE} \, e^{i (2 \pi f TE + \varphi_0)}
        """
        maps = self.scene.quantities
        magnitude = (maps["water"] + maps["fat"]) * np.exp(-np.float32(echo_time) * maps["r2star"])
        turns = 2 * np.pi * float(ppm_to_hz(1.0, h1_frequency)) * echo_time
        phase = self.field * np.float32(turns) + self.phase_offset
        signal = np.empty(magnitude.shape, np.complex64)
        # Sine and cosine apart: several times faster than a complex exponential.
        np.multiply(magnitude, np.cos(phase), out=signal.real)
        np.multiply(magnitude, np.sin(phase), out=signal.imag)
        return signal


class Imaging:
    """A phantom in a scanner: grids, coils, shim, and k-space at any position of the diaphragm.

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
        gap = FORMER_GAP
        reach = [min(phantom.body.reach(axis), 180.0) for axis in ((1.0, 0, 0), (0, 1.0, 0))]
        self.loops: list[Loop] = loops_around(
            case.n_coils, phantom.body.centre, (reach[0] + gap, reach[1] + gap)
        )

    def coil_maps(self, geometry: Geometry) -> ComplexArray:
        """Sensitivities ``(coils, z, y, x)`` on a grid; 1 in the middle of the slab."""
        return coil_maps(self.loops, geometry, self.geometry.position)

    def maps(self, geometry: Geometry, pose: Pose = AT_REST) -> ObjectMaps:
        """Find what the scanner sees on a grid in a pose of the patient."""
        scene = self.phantom.scene(geometry, pose)
        profile = self._slab_profile(geometry)
        for signal in ("water", "fat"):
            scene.quantities[signal] *= profile
        field = self.phantom.field(geometry, pose)
        field -= shim_field(block_points(geometry), self.shim)
        return ObjectMaps(scene, field, self._phase_offset(block_points(geometry)))

    def kspace(self, descent: float) -> ComplexArray:
        """Noiseless k-space ``(echoes, coils, kz, ky, kx)`` complex64 at a descent [mm]."""
        case, maps = self.case, self.maps(self.object_geometry, Pose(descent))
        size = (*self.encoding.size[:2], self.encoding.n_samples)
        kspace = np.empty((len(case.TE), case.n_coils, *size), np.complex64)
        for samples, echo_time in zip(kspace, case.TE, strict=True):
            signal = maps.signal(echo_time, case.h1_frequency)
            # A few coils at a time: enough for every thread, little memory.
            for start in range(0, case.n_coils, _COILS_AT_ONCE):
                coils = slice(start, start + _COILS_AT_ONCE)
                samples[coils] = self._fourier_sum(signal * self._object_csm[coils])
        return kspace

    @cached_property
    def object_geometry(self) -> Geometry:
        """The fine grid of the object: as long as the oversampled readout, cut to the body."""
        oversampled = with_size(self.geometry, 2, self.encoding.size[2])
        distance = self.phantom.body.signed_distance(block_points(oversampled))
        near = np.broadcast_to(distance < max(oversampled.voxel_size), oversampled.shape)
        block = (slice(0, near.shape[0]), _range(near, (0, 2)), _range(near, (0, 1)))
        return refined(cropped(oversampled, block), self.case.object_oversampling)

    @cached_property
    def shim(self) -> RealArray:
        """Coefficients of the shim, fitted over the phantom's focus at rest [ppm, ppm/mm]."""
        scene = self.phantom.scene(self.geometry)
        region = np.any([scene.where(label) for label in self.phantom.focus], axis=0)
        field = self.phantom.field(self.geometry)
        return shim_terms(block_points(self.geometry), field, region, self.case.shim)

    @cached_property
    def _object_csm(self) -> ComplexArray:
        return self.coil_maps(self.object_geometry)

    @cached_property
    def _fourier_sum(self) -> FourierSum:
        return FourierSum(self.encoding, self.object_geometry, self.geometry.position)

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
    nz, ny, nx = case.matrix
    fov_z, fov_y, fov_x = case.fov
    n = nx * case.readout_oversampling
    dropped = min(round((1 - case.asymmetric_echo) * n), n // 2)
    return Encoding((nz, ny, n), (fov_z, fov_y, fov_x * case.readout_oversampling), dropped)


def _range(mask: Mask, others: tuple[int, int]) -> slice:
    where = np.flatnonzero(mask.any(axis=others))
    return slice(int(where[0]), int(where[-1]) + 1)
