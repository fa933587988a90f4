"""How far a result is from the truth of a simulation, or from another result."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.ndimage import binary_erosion

from chistream.arrays import Mask, RealArray
from chistream.errors import FileFormatError
from chistream.physics.constants import PPB_PER_PPM
from chistream.physics.geometry import Geometry
from chistream.raw_files import groups_in, read_raw_file
from chistream.series.images import decode_volumes
from chistream.series.volumes import SERIES
from chistream.stream.messages import Image
from chistream_simulator.metrics import MapErrors, compare_maps
from chistream_simulator.truth import FORMAT, SphereRoi, read_truth

_PLACE_TOLERANCE = 0.1
"""Maps whose voxels lie farther apart than this part of a voxel do not overlay."""

_COMPARED = ("QSM", "LOCAL_FIELD", "FIELD", "R2STAR")


@dataclass(frozen=True, eq=False)
class PlacedMap:
    """A map ``(z, y, x)`` in the unit of its series, its voxels with a value, its affine (RAS)."""

    values: RealArray
    valid: Mask
    affine: RealArray


@dataclass(frozen=True)
class PoolComparison:
    """Means of a blood pool in two susceptibility maps, each relative to its LV [ppb]."""

    result_ppb: float
    truth_ppb: float

    @property
    def error_ppb(self) -> float:
        """Result less truth [ppb]."""
        return self.result_ppb - self.truth_ppb


@dataclass(frozen=True)
class Comparison:
    """Errors by series, series that the truth says nothing about, blood pools by name."""

    maps: Mapping[str, MapErrors]
    constant: tuple[str, ...] = ()
    pools: Mapping[str, PoolComparison] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return all figures as plain JSON values."""
        return {
            "maps": {token: asdict(errors) for token, errors in self.maps.items()},
            "constant_in_truth": list(self.constant),
            "pools": {
                name: asdict(pool) | {"error_ppb": pool.error_ppb}
                for name, pool in self.pools.items()
            },
        }

    def summary(self) -> str:
        """Return the figures as a table for people."""
        lines = [
            f"{'series':12} {'NRMSE %':>8} {'detrended':>9} {'slope':>6} {'corr.':>6} "
            f"{'RMSE':>8} unit  voxels"
        ]
        for token, e in self.maps.items():
            lines.append(
                f"{token:12} {e.nrmse:8.1f} {e.detrended_nrmse:9.1f} {e.slope:6.3f} "
                f"{e.correlation:6.3f} {e.rmse:8.2f} {SERIES[token].unit:5} {e.n_voxels}"
            )
        lines += [f"{token:12} is one value in the truth: not compared" for token in self.constant]
        for name, pool in self.pools.items():
            lines.append(
                f"{name} - LV: {pool.result_ppb:.0f} ppb, truth {pool.truth_ppb:.0f} ppb, "
                f"error {pool.error_ppb:+.0f} ppb"
            )
        return "\n".join(lines)


def compare_files(result: Path, truth: Path) -> Comparison:
    """Compare all maps that two files share.

    Parameters
    ----------
    result
        Returned images (MRD, HDF5), or a susceptibility map in ppb (NIfTI).
    truth
        Truth file of a simulation, or another result.

    Returns
    -------
    Comparison
        Errors where both have values; blood pools if ``truth`` knows where they are. Against a
        truth file, voxels that touch air or lung are left out: they hold parts of both, and no
        one value is right for them.

    Raises
    ------
    FileFormatError
        If a file cannot be read, the two share no map, or their voxels lie elsewhere.
    """
    found = load_maps(result)
    if not _is_truth_file(truth):
        return _compare_shared(found, load_maps(truth), result, truth)
    known = read_truth(truth)
    affine, tissue = known.geometry.affine_ras, known.masks["signal"]
    signal = binary_erosion(tissue, np.ones((3, 3, 3)), border_value=1)
    ppb = np.float32(PPB_PER_PPM)
    maps = {
        "QSM": PlacedMap(known.chi * ppb, signal, affine),
        "LOCAL_FIELD": PlacedMap(known.local_field * ppb, signal, affine),
        "FIELD": PlacedMap(known.frequency, signal, affine),
        "R2STAR": PlacedMap(known.r2star, signal, affine),
    }
    compared = _compare_shared(found, maps, result, truth)
    pools = _compare_pools(found, maps["QSM"], known.rois, known.geometry)
    return replace(compared, pools=pools)


def load_maps(path: Path) -> dict[str, PlacedMap]:
    """Read the maps of a result.

    Parameters
    ----------
    path
        Returned images (MRD), or NIfTI named for its series (``QSM.nii.gz``; any other name is
        taken for a susceptibility map in ppb).

    Returns
    -------
    dict[str, PlacedMap]
        By token of the series.

    Raises
    ------
    FileFormatError
        If there is no map in it.
    """
    if path.name.endswith((".nii", ".nii.gz")):
        return _load_nifti(path)
    images = [
        message
        for group in groups_in(path)
        for message in read_raw_file(path, group, waveforms=False)
        if isinstance(message, Image)
    ]
    try:
        volumes = [volume for volume in decode_volumes(images) if volume.token in _COMPARED]
    except ValueError as error:
        raise FileFormatError(f"{path}: {error}") from None
    if not volumes:
        raise FileFormatError(f"{path} holds none of the series {', '.join(_COMPARED)}")
    return {
        volume.token: PlacedMap(volume.filled, volume.valid, volume.geometry.affine_ras)
        for volume in volumes
    }


def _is_truth_file(path: Path) -> bool:
    if not h5py.is_hdf5(path):
        return False
    with h5py.File(path, "r") as file:
        return bool(file.attrs.get("format") == FORMAT)


def _load_nifti(path: Path) -> dict[str, PlacedMap]:
    import nibabel

    image = nibabel.Nifti1Image.from_filename(path)
    values = np.asarray(image.dataobj, dtype=np.float32).T
    if values.ndim != 3:
        raise FileFormatError(f"{path} has shape {values.shape[::-1]}; one 3D map is compared")
    name = path.name.split(".")[0]
    token = name if name in _COMPARED else "QSM"
    return {token: PlacedMap(values, np.isfinite(values) & (values != 0), image.affine)}


def _compare_shared(
    found: Mapping[str, PlacedMap], known: Mapping[str, PlacedMap], result: Path, truth: Path
) -> Comparison:
    shared = [token for token in _COMPARED if token in found and token in known]
    if not shared:
        raise FileFormatError(f"{result} ({', '.join(found)}) and {truth} share no map")
    for token in shared:
        _require_same_place(found[token], known[token], result, truth)
    maps: dict[str, MapErrors] = {}
    constant = []
    for token in shared:
        one, other = found[token], known[token]
        both = one.valid & other.valid
        if both.any() and np.ptp(other.values[both]) > 0:
            maps[token] = compare_maps(one.values, other.values, both)
        else:
            constant.append(token)
    return Comparison(maps, tuple(constant))


def _require_same_place(one: PlacedMap, other: PlacedMap, result: Path, truth: Path) -> None:
    if one.values.shape != other.values.shape:
        raise FileFormatError(
            f"{result} has {one.values.shape} voxels (z, y, x) and {truth} {other.values.shape}"
        )
    corners = np.array([[*corner, 1.0] for corner in np.ndindex(2, 2, 2)])
    corners[:, :3] *= np.array(one.values.shape[::-1]) - 1
    apart = np.abs(corners @ (one.affine - other.affine).T).max()
    voxel = np.linalg.norm(one.affine[:3, :3], axis=0).min()
    if apart > _PLACE_TOLERANCE * voxel:
        raise FileFormatError(f"voxels of {result} and {truth} lie up to {apart:.2f} mm apart")


def _compare_pools(
    found: Mapping[str, PlacedMap],
    truth: PlacedMap,
    rois: Mapping[str, SphereRoi],
    geometry: Geometry,
) -> dict[str, PoolComparison]:
    if "QSM" not in found or "LV" not in rois:
        return {}
    positions = geometry.voxel_positions()
    means = {}
    for name, roi in rois.items():
        offset = positions - np.reshape(roi.centre, (3, 1, 1, 1))
        inside = np.sqrt((offset**2).sum(axis=0)) <= roi.radius
        inside &= found["QSM"].valid & truth.valid
        if inside.any():
            means[name] = (found["QSM"].values[inside].mean(), truth.values[inside].mean())
    if "LV" not in means:
        return {}
    left = means.pop("LV")
    return {
        name: PoolComparison(float(r - left[0]), float(t - left[1]))
        for name, (r, t) in means.items()
    }
