"""Measured multi-echo images: NIfTI magnitude and phase, or complex arrays (.npz, .mat)."""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import numpy as np

from chistream.arrays import ComplexArray, RealArray, Vector
from chistream.errors import FileFormatError, SettingsError
from chistream.physics.geometry import Geometry

PhaseScale: TypeAlias = Literal["radians", "range", "signed-4096", "unsigned-4096"]


@dataclass(frozen=True, eq=False)
class MeasuredImages:
    """What a file says about measured images; what it does not say is empty.

    Parameters
    ----------
    echoes
        Complex images ``(echoes, z, y, x)`` or ``(echoes, coils, z, y, x)``, as measured.
    TE
        Echo times [s].
    field_strength
        [T]; 0 if unknown.
    geometry
        Where they lie; None if unknown.
    phase_sign
        -1 if the file says that the phase of a positive frequency falls with the echo time.
    """

    echoes: ComplexArray
    TE: tuple[float, ...] = ()
    field_strength: float = 0.0
    geometry: Geometry | None = None
    phase_sign: Literal[1, -1] = 1


def read_images(
    paths: Sequence[Path], *, phase_scale: PhaseScale = "radians", array: str = ""
) -> MeasuredImages:
    """Read measured images, by the kind of file.

    Parameters
    ----------
    paths
        Magnitude and phase as NIfTI, or one ``.npz`` or ``.mat`` file with complex images.
    phase_scale
        What the numbers of a NIfTI phase mean: ``radians``; ``signed-4096``, where +-4096 is
        +-pi; ``unsigned-4096``, where 0 is -pi and 4096 is +pi; ``range``, where the file's
        smallest and largest values are -pi and +pi.
    array
        Name of the array in a ``.npz`` file with several.

    Returns
    -------
    MeasuredImages
        The images and what the files say about them.

    Raises
    ------
    SettingsError
        If the files do not fit the options.
    FileFormatError
        If a file is not what its name promises.
    """
    endings = ["".join(path.suffixes[-2:]).lower() for path in paths]
    if len(paths) == 2 and all(e.endswith((".nii", ".nii.gz")) for e in endings):
        return read_nifti(paths[0], paths[1], phase_scale)
    if len(paths) == 1 and endings[0].endswith(".npz"):
        return read_npz(paths[0], array)
    if len(paths) == 1 and endings[0].endswith(".mat"):
        return read_mat(paths[0])
    names = ", ".join(path.name for path in paths) or "nothing"
    raise SettingsError(
        f"give MAGNITUDE and PHASE as NIfTI (.nii, .nii.gz), or one .npz or .mat file; got {names}"
    )


def read_nifti(magnitude: Path, phase: Path, phase_scale: PhaseScale) -> MeasuredImages:
    """Read magnitude and phase ``(x, y, z, echo)`` from two NIfTI files; see `read_images`."""
    values, affines = zip(*map(_load_nifti, (magnitude, phase)), strict=True)
    if values[0].shape != values[1].shape or values[0].ndim not in {3, 4}:
        raise SettingsError(
            f"magnitude {values[0].shape} and phase {values[1].shape} must both be (x, y, z, echo)"
        )
    if not np.allclose(affines[0], affines[1], atol=1e-3):
        raise SettingsError(f"{magnitude.name} and {phase.name} lie in different places")
    complex_images = values[0] * np.exp(1j * to_radians(values[1], phase_scale))
    echoes = _echo_first(complex_images.reshape((*complex_images.shape, 1)[:4]))
    return MeasuredImages(echoes, geometry=_geometry_of(affines[0], echoes))


def read_npz(path: Path, array: str = "") -> MeasuredImages:
    """Read complex images ``(echoes, [coils,] z, y, x)`` from a NumPy archive.

    Parameters
    ----------
    path
        The file. Beside the images it may hold ``TE`` [s], ``field_strength`` [T] and
        ``voxel_size`` ``(z, y, x)`` [mm].
    array
        Name of the images; not needed if only one array is complex.

    Returns
    -------
    MeasuredImages
        The images and what the file says about them.

    Raises
    ------
    FileFormatError
        If the file is no archive of arrays.
    SettingsError
        If it holds no such array, or several complex ones and none is named.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            values = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise FileFormatError(f"{path.name} is no NumPy archive of arrays: {error}") from error
    names = [array] if array else [n for n, v in values.items() if np.iscomplexobj(v)]
    if len(names) != 1 or names[0] not in values:
        raise SettingsError(
            f"{path.name} holds {', '.join(values)}: name the complex images with array=..."
        )
    echoes = _checked(values[names[0]], path)
    return MeasuredImages(
        echoes.astype(np.complex64),
        TE=_times(values.get("TE", ())),
        field_strength=float(values.get("field_strength", 0.0)),
        geometry=_axial(echoes, values["voxel_size"]) if "voxel_size" in values else None,
    )


def read_mat(path: Path) -> MeasuredImages:
    """Read the water-fat challenge's MATLAB layout, ``imDataParams``.

    Parameters
    ----------
    path
        A MATLAB file (version 7 or older): ``images`` ``(x, y, z, [coil,] echo)``, ``TE`` [s],
        ``FieldStrength`` [T], ``PrecessionIsClockwise``.

    Returns
    -------
    MeasuredImages
        The images as measured. With clockwise precession, `phase_sign` is -1: fat then turns the
        way that a positive frequency turns elsewhere.

    Raises
    ------
    FileFormatError
        If the file has another layout.
    """
    import scipy.io
    from scipy.io.matlab import MatReadError

    try:
        fields = scipy.io.loadmat(path)["imDataParams"][0, 0]
        images = np.asarray(fields["images"])
    except (MatReadError, OSError, ValueError, NotImplementedError, LookupError) as error:
        raise FileFormatError(
            f"{path.name} has no imDataParams.images of MATLAB 7 or older: {error}"
        ) from error
    if images.ndim == 5 and images.shape[3] == 1:
        images = images[:, :, :, 0]  # one coil: images that were combined already
    known = {name: np.ravel(fields[name]) for name in fields.dtype.names if name != "images"}
    clockwise = known.get("PrecessionIsClockwise", np.zeros(1))[0] > 0
    return MeasuredImages(
        _checked(_echo_first(images), path),
        TE=_times(known.get("TE", ())),
        field_strength=float(known.get("FieldStrength", np.zeros(1))[0]),
        phase_sign=-1 if clockwise else 1,
    )


def to_radians(phase: RealArray, scale: PhaseScale) -> RealArray:
    """Convert the numbers of a phase image to radians.

    Parameters
    ----------
    phase
        Any shape.
    scale
        What the numbers mean, see `read_images`.

    Returns
    -------
    RealArray
        Phase [rad].

    Raises
    ------
    SettingsError
        If the numbers cannot be what the scale says.

    Examples
    --------
    >>> to_radians(np.array([0.0, 2048.0, 4096.0]), "unsigned-4096").round(4).tolist()
    [-3.1416, 0.0, 3.1416]
    """
    low, high = float(phase.min()), float(phase.max())
    expected = {
        "radians": (-7.0, 7.0, 0.5),
        "signed-4096": (-4096.0, 4096.0, 100.0),
        "unsigned-4096": (0.0, 4096.0, 100.0),
        "range": (-np.inf, np.inf, 0.0),
    }
    least, most, spread = expected[scale]
    if not (least <= low < high <= most and high - low > spread):
        raise SettingsError(
            f"phase_scale {scale!r} does not fit a phase of {low:g} .. {high:g}; there are: "
            f"{', '.join(expected)}"
        )
    convert: Mapping[str, Callable[[RealArray], RealArray]] = {
        "radians": lambda p: p,
        "signed-4096": lambda p: p * (np.pi / 4096),
        "unsigned-4096": lambda p: (2 * p - 4096) * (np.pi / 4096),
        "range": lambda p: (p - low) * (2 * np.pi / (high - low)) - np.pi,
    }
    return convert[scale](phase)


def _load_nifti(path: Path) -> tuple[RealArray, RealArray]:
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    try:
        file = cast("nibabel.Nifti1Image", nibabel.load(path))  # the name ends in .nii
        return np.asarray(file.dataobj, np.float64), np.asarray(file.affine, np.float64)
    except (ImageFileError, OSError) as error:
        raise FileFormatError(f"{path.name} is no NIfTI file: {error}") from error


def _echo_first(images: ComplexArray) -> ComplexArray:
    """Turn ``(x, y, z, [coil,] echo)`` into ``(echo, [coil,] z, y, x)``."""
    return np.ascontiguousarray(images.transpose(), np.complex64)


def _checked(images: ComplexArray, path: Path) -> ComplexArray:
    if images.ndim not in {4, 5} or not np.iscomplexobj(images):
        raise SettingsError(
            f"{path.name}: images {images.shape} {images.dtype} are no complex echoes of a volume"
        )
    return images


def _times(values: Any) -> tuple[float, ...]:  # noqa: ANN401
    return tuple(float(value) for value in np.ravel(values))


def _axial(echoes: ComplexArray, voxel_size: RealArray) -> Geometry:
    z, y, x = (float(v) for v in np.ravel(voxel_size))
    nz, ny, nx = echoes.shape[-3:]
    return Geometry((nz, ny, nx), (z, y, x))


def _geometry_of(affine_ras: RealArray, echoes: ComplexArray) -> Geometry:
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine_ras
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    axes = affine[:3, :3] / sizes
    nz, ny, nx = echoes.shape[-3:]
    position = affine[:3, :3] @ (nx // 2, ny // 2, nz // 2) + affine[:3, 3]
    read, phase, slice_ = (_vector(axes[:, i]) for i in range(3))
    return Geometry((nz, ny, nx), _vector(sizes[::-1]), _vector(position), read, phase, slice_)


def _vector(values: RealArray) -> Vector:
    return float(values[0]), float(values[1]), float(values[2])
