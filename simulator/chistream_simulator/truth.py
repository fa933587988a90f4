"""The truth beside a simulated scan: ``OUT.truth.h5``, on the grid of the reconstruction."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.ndimage import distance_transform_edt

from chistream.arrays import ComplexArray, Mask, RealArray, Size
from chistream.errors import FileFormatError
from chistream.physics.constants import ppm_to_hz
from chistream.physics.geometry import Geometry
from chistream_simulator.case import Case
from chistream_simulator.circulation import chamber_saturations, ventricular_difference
from chistream_simulator.grids import refined, turned
from chistream_simulator.imaging import SIGNAL_THRESHOLD
from chistream_simulator.phantoms.phantom import signal_at
from chistream_simulator.phantoms.scene import Scene, block_points
from chistream_simulator.phantoms.shapes import Point
from chistream_simulator.scanner import Scan
from chistream_simulator.timing.schedule import Heartbeat

FORMAT = "chistream-truth-1"

ROI_MARGIN = 0.75
"""Radius of a pool's sphere relative to the largest that fits."""


@dataclass(frozen=True)
class SphereRoi:
    """A sphere in the patient: centre (L, P, S) and radius [mm]."""

    centre: Point
    radius: float


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known about a simulated scan, at end-expiration.

    Parameters
    ----------
    geometry
        Grid of the reconstruction; all maps are means over its voxels.
    chi
        Susceptibility relative to water ``(z, y, x)`` [ppm].
    total_field
        Field behind the shim, relative to B0 ``(z, y, x)`` [ppm].
    frequency
        The same ``(z, y, x)`` [Hz].
    local_field
        Part of the field that comes from the signal-giving tissue inside the volume [ppm].
    r2star
        ``(z, y, x)`` [1/s], of what gives signal: weighted with the first echo within a voxel.
    amplitude
        Signal of water and fat at TE = 0 before the coils, with the slab's profile ``(z, y, x)``.
    fat_fraction
        Part of that signal that is fat's ``(z, y, x)``; 0 where there is none.
    phase_offset
        Phase at TE = 0 ``(z, y, x)`` [rad].
    masks
        Voxels of each label, more than half full of it, ``(z, y, x)``; ``signal`` for all tissue
        that gives signal.
    csm
        Coil sensitivities ``(coils, z, y, x)``.
    noise_covariance
        Of complex imaging samples ``(coils, coils)``.
    extras
        What only some phantoms have, such as a ``chi_tensor`` ``(6, z, y, x)`` [ppm].
    rois
        A sphere well inside each pool.
    beats
        For each heartbeat: ``time`` of its R peak and ``rr`` to the next [s], ``descent_before``
        and ``descent_after`` of the diaphragm [mm] (its mean over the lines where there are no
        navigators), ``heart_shift`` (L, P, S) [mm] in the patient and ``contraction`` at its
        middle, ``accepted``, ``reason`` if not, ``ectopic``.
    numbers
        h1_frequency [Hz], b0_direction (L, P, S) in the object, TE [s], rv_lv_difference [ppb]
        and delta_saturation of this patient's ventricles, rv_lv_difference_without_shunt [ppb],
        hematocrit, saturation_RV, seed, ...
    """

    geometry: Geometry
    chi: RealArray
    total_field: RealArray
    frequency: RealArray
    local_field: RealArray
    r2star: RealArray
    amplitude: RealArray
    fat_fraction: RealArray
    phase_offset: RealArray
    masks: dict[str, Mask]
    csm: ComplexArray
    noise_covariance: ComplexArray
    extras: dict[str, RealArray] = field(default_factory=dict)
    rois: dict[str, SphereRoi] = field(default_factory=dict)
    beats: dict[str, Any] = field(default_factory=dict)
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def TE(self) -> RealArray:
        """Echo times ``(echoes,)`` [s]."""
        return np.asarray(self.numbers["TE"])


_MAPS = (
    "chi",
    "total_field",
    "frequency",
    "local_field",
    "r2star",
    "amplitude",
    "fat_fraction",
    "phase_offset",
)


def truth_path(raw: Path) -> Path:
    """Name the truth file of a raw file: ``OUT.truth.h5`` beside ``OUT.h5``."""
    return raw.with_suffix(".truth.h5")


def make_truth(scan: Scan) -> Truth:
    """Work out the truth of a scan.

    Parameters
    ----------
    scan
        The scan.

    Returns
    -------
    Truth
        On the grid of its reconstruction.
    """
    case, imaging = scan.case, scan.imaging
    factors = case.object_oversampling
    fine = refined(imaging.geometry, factors)
    maps = imaging.maps(fine)
    values = maps.scene.quantities
    shape = fine.shape
    fat = block_mean(values["fat"], factors)
    amplitude = fat + block_mean(values["water"], factors)
    total = block_mean(maps.field, factors)
    labels = {name: maps.scene.where(name) for name in maps.scene.names}
    masks = {name: block_mean(where, factors) > 0.5 for name, where in labels.items()}
    masks["signal"] = _signal_mask(scan, maps.scene, factors)
    return Truth(
        geometry=imaging.magnet_geometry,
        chi=block_mean(values["chi"], factors),
        total_field=total,
        frequency=np.asarray(ppm_to_hz(total, case.h1_frequency), np.float32),
        local_field=block_mean(imaging.phantom.local_field(fine), factors),
        r2star=_seen_rate(scan, values, factors),
        amplitude=amplitude,
        fat_fraction=fat / np.maximum(amplitude, np.finfo(np.float32).tiny),
        phase_offset=block_mean(np.broadcast_to(maps.phase_offset, shape), factors),
        masks=masks,
        csm=imaging.csm,
        noise_covariance=scan.noise_covariance,
        rois={
            name: sphere_inside(labels[name], turned(fine, case.turn))
            for name in imaging.phantom.pools
            if name in labels and labels[name].any()
        },
        extras=imaging.phantom.extras(imaging.geometry),
        beats=_beats(scan),
        numbers=_numbers(scan),
    )


def _signal_mask(scan: Scan, scene: Scene, factors: Size) -> Mask:
    """Find the voxels that are more than half full of tissue that the first echo shows."""
    phantom, TE = scan.imaging.phantom, scan.case.TE[0]
    bright = {
        part.label
        for part in phantom.parts
        if signal_at(phantom.values[part.tissue], TE) > SIGNAL_THRESHOLD
    }
    tissue = np.any([scene.where(label) for label in bright], axis=0)
    excited = block_mean(signal_at(scene.quantities, TE), factors) > SIGNAL_THRESHOLD
    mask: Mask = (block_mean(tissue, factors) > 0.5) & excited
    return mask


def _seen_rate(scan: Scan, quantities: Mapping[str, RealArray], factors: Size) -> RealArray:
    """R2* as echoes show it: each point counts by what it gives to the first of them."""
    weight = signal_at(quantities, scan.case.TE[0]) + np.float32(1e-6)
    seen = block_mean(weight * quantities["r2star"], factors) / block_mean(weight, factors)
    return np.asarray(seen, np.float32)


def block_mean(values: RealArray | Mask, factors: Size) -> RealArray:
    """Average a map over blocks of ``(z, y, x)`` points each."""
    nz, ny, nx = (n // f for n, f in zip(values.shape, factors, strict=True))
    z, y, x = factors
    blocks = values.reshape(nz, z, ny, y, nx, x)
    return np.asarray(blocks.mean(axis=(1, 3, 5), dtype=np.float64), np.float32)


def sphere_inside(mask: Mask, geometry: Geometry) -> SphereRoi:
    """Find a sphere well inside a region.

    Parameters
    ----------
    mask
        The region ``(z, y, x)``, not empty.
    geometry
        Its grid.

    Returns
    -------
    SphereRoi
        Around the point farthest from the region's surface, three quarters of that depth wide.
    """
    depth = distance_transform_edt(np.pad(mask, 1), sampling=geometry.voxel_size)[1:-1, 1:-1, 1:-1]
    deepest = np.unravel_index(int(np.argmax(depth)), mask.shape)
    left, posterior, superior = (
        float(np.broadcast_to(p, mask.shape)[deepest]) for p in block_points(geometry)
    )
    return SphereRoi((left, posterior, superior), ROI_MARGIN * float(depth[deepest]))


def write_truth(path: Path, truth: Truth) -> None:
    """Write a truth file.

    Parameters
    ----------
    path
        HDF5 file; replaced if it exists.
    truth
        What to write.
    """
    with h5py.File(path, "w") as file:
        file.attrs["format"] = FORMAT
        for name in ("shape", "voxel_size", "position", "read_dir", "phase_dir", "slice_dir"):
            file.attrs[name] = getattr(truth.geometry, name)
        for name in (*_MAPS, "csm", "noise_covariance"):
            file[name] = getattr(truth, name)
        file["T2star"] = 1 / truth.r2star  # [s], for readers who think in times
        for name, mask in truth.masks.items():
            file[f"masks/{name}"] = mask
        for name, roi in truth.rois.items():
            file[f"rois/{name}"] = (*roi.centre, roi.radius)
        for name, values in truth.extras.items():
            file[f"extras/{name}"] = values
        for group in ("beats", "numbers"):
            for name, value in getattr(truth, group).items():
                file[f"{group}/{name}"] = value


def read_truth(path: Path) -> Truth:
    """Read a truth file.

    Parameters
    ----------
    path
        What `write_truth` wrote.

    Returns
    -------
    Truth
        The same.

    Raises
    ------
    FileFormatError
        If the file is none of ours.
    """
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT:
                raise FileFormatError(f"{path} is no truth file of this simulator ({FORMAT})")
            return _read(file)
    except OSError as error:
        raise FileFormatError(f"{path} cannot be read as HDF5: {error}") from error


def _read(file: h5py.File) -> Truth:
    arrays = {name: file[name][()] for name in (*_MAPS, "csm", "noise_covariance")}
    rois = {name: np.asarray(values[()]).tolist() for name, values in file.get("rois", {}).items()}
    return Truth(
        geometry=_read_geometry(file),
        **arrays,
        masks={name: values[()] for name, values in file["masks"].items()},
        extras={name: values[()] for name, values in file.get("extras", {}).items()},
        rois={name: SphereRoi((a, b, c), radius) for name, (a, b, c, radius) in rois.items()},
        beats={name: values[()] for name, values in file.get("beats", {}).items()},
        numbers={name: _plain(values[()]) for name, values in file.get("numbers", {}).items()},
    )


def _read_geometry(file: h5py.File) -> Geometry:
    fields = {name: tuple(file.attrs[name].tolist()) for name in Geometry.__dataclass_fields__}
    return Geometry(**fields)


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, bytes):
        return value.decode()
    return value.item() if np.ndim(value) == 0 else value


def _beats(scan: Scan) -> dict[str, Any]:
    beats = scan.schedule.beats
    middle = np.array([beat.line_descents.mean() for beat in beats])
    ends = np.array([_first_and_last(b, m) for b, m in zip(beats, middle, strict=True)])
    case = scan.case
    shift = np.outer(middle, (0.0, -case.tracking_factor_ap, -case.tracking_factor))
    return {
        "time": np.array([beat.r_peak for beat in beats]),
        "rr": np.array([beat.rr for beat in beats]),
        "descent_before": ends[:, 0],
        "descent_after": ends[:, 1],
        "contraction": np.array([beat.line_contractions.mean() for beat in beats]),
        "heart_shift": shift,
        "accepted": np.array([beat.accepted for beat in beats]),
        "reason": np.array([beat.reason.encode() for beat in beats]),
        "ectopic": np.array([beat.is_ectopic for beat in beats]),
    }


def _first_and_last(beat: Heartbeat, middle: float) -> tuple[float, float]:
    """Descents at the navigators; of its lines' middle where there is none."""
    first, last = (*beat.descents.tolist(), middle, middle)[:2]
    return first, last


def _numbers(scan: Scan) -> dict[str, Any]:
    case = scan.case
    rv_lv_difference, delta_saturation = ventricular_difference(case)
    return {
        "case": case.model_dump_json(),
        "phantom": case.phantom,
        "seed": case.seed,
        "h1_frequency": case.h1_frequency,
        "b0_direction": np.asarray(case.b0_direction),
        "TE": np.asarray(case.TE),
        "shim": scan.imaging.shim,
        "state_descents": np.array([pose.descent for pose in scan.schedule.states.poses]),
        "state_contractions": np.array([pose.contraction for pose in scan.schedule.states.poses]),
        "spiked": scan.spiked,
        "efficiency": scan.schedule.summary()["efficiency"],
        "duration": scan.schedule.duration,
        "rv_lv_difference": rv_lv_difference,
        "rv_lv_difference_without_shunt": case.rv_lv_difference,
        "hematocrit": case.hematocrit,
        "delta_saturation": delta_saturation,
        **_saturations(case),
    }


def _saturations(case: Case) -> dict[str, float]:
    """Oxygen saturation of each chamber's and vessel's blood: ``saturation_RV`` and so on."""
    found = chamber_saturations(case) if case.phantom == "chest" else {}
    return {f"saturation_{label}": saturation for label, saturation in found.items()}
