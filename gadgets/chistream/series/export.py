"""Returned images to files that other programs read."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from chistream.errors import SettingsError
from chistream.series.attributes import read_attributes
from chistream.series.dicom import Study, write_dicom
from chistream.series.images import RESULTS, decode_volumes
from chistream.series.nifti import write_nifti
from chistream.series.png import write_png
from chistream.series.volumes import Kind, Volume
from chistream.stream.files import MessageWriter
from chistream.stream.messages import Image

Format: TypeAlias = Literal["nifti", "dicom", "mrd", "png"]


def parse_formats(text: str) -> tuple[Format, ...]:
    """Split a list of formats.

    Parameters
    ----------
    text
        Names with commas between.

    Returns
    -------
    tuple[Format, ...]
        The formats, each once.

    Raises
    ------
    SettingsError
        If a name is none.

    Examples
    --------
    >>> parse_formats("nifti,dicom")
    ('nifti', 'dicom')
    """
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    known = get_args(Format)
    wrong = [name for name in names if name not in known]
    if wrong or not names:
        raise SettingsError(f"format {text!r}: name one or more of {', '.join(known)}")
    return tuple(name for name in known if name in names)


def export_images(
    images: Sequence[Image],
    folder: Path,
    formats: Iterable[Format],
    *,
    study: Study | None = None,
) -> list[Path]:
    """Write all series of a result, in physical units and placed in the patient.

    Parameters
    ----------
    images
        What a chain returned, of any number of series.
    folder
        Where to; made if it is not there.
    formats
        What to write: ``nifti`` (``TOKEN.nii.gz``, echoes ``TOKEN_echo-1.nii.gz``), ``dicom``
        (a folder ``dicom``), ``mrd`` (``images.h5``) and ``png`` (one picture a series).
    study
        What the DICOM files share.

    Returns
    -------
    list[Path]
        The files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    volumes = decode_volumes(images)
    written: list[Path] = []
    for name in formats:
        if name == "mrd":
            written.append(_write_mrd(images, folder / "images.h5"))
        else:
            written += [
                path for volume in volumes for path in _WRITERS[name](volume, folder, study)
            ]
    return written


def results_of(images: Iterable[Image]) -> str | None:
    """Find the JSON numbers that travel with the images.

    Parameters
    ----------
    images
        What a chain returned.

    Returns
    -------
    str | None
        The JSON of the first image that carries it; None if none does.
    """
    found = (read_attributes(image.attributes).get(RESULTS) for image in images)
    return next((values[0] for values in found if values), None)


def _write_mrd(images: Iterable[Image], path: Path) -> Path:
    path.unlink(missing_ok=True)
    with MessageWriter(path) as writer:
        for image in images:
            writer.write(image)
    return path


def _nifti(volume: Volume, folder: Path, _study: Study | None) -> list[Path]:
    if volume.series.kind is Kind.RGB:
        return []
    return [write_nifti(volume, folder / f"{_name(volume)}.nii.gz")]


def _dicom(volume: Volume, folder: Path, study: Study | None) -> list[Path]:
    return write_dicom(volume, folder / "dicom", study=study)


def _png(volume: Volume, folder: Path, _study: Study | None) -> list[Path]:
    return [write_png(volume, folder / f"{_name(volume)}.png")]


def _name(volume: Volume) -> str:
    return volume.token if volume.echo_time is None else f"{volume.token}_echo-{volume.echo + 1}"


_WRITERS: dict[str, Callable[[Volume, Path, Study | None], list[Path]]] = {
    "nifti": _nifti,
    "dicom": _dicom,
    "png": _png,
}
