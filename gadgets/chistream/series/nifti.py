"""Volumes as NIfTI files."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from chistream.series.volumes import Kind, Volume

_SCANNER_ANATOMICAL = 1  # sform/qform code: coordinates of the scanner


def write_nifti(volume: Volume, path: Path | str) -> Path:
    """Write a volume in physical units, placed in the patient.

    Parameters
    ----------
    volume
        What to write; not a report page.
    path
        File to write, ``.nii`` or ``.nii.gz``.

    Returns
    -------
    Path
        The file written: float32 (labels: uint16) in the order (x, y, z), millimetres, both
        affines from voxel to (R, A, S), and zero where there is no value.

    Raises
    ------
    ValueError
        If the volume is a picture.
    """
    if volume.series.kind is Kind.RGB:
        raise ValueError(f"{volume.token} is a picture and has no NIfTI form")
    values = volume.filled
    if volume.series.kind is Kind.LABEL:
        values = values.astype(np.uint16)
    affine = volume.geometry.affine_ras
    image: Any = nibabel.Nifti1Image(values.transpose(2, 1, 0), affine)
    image.set_sform(affine, code=_SCANNER_ANATOMICAL)
    image.set_qform(affine, code=_SCANNER_ANATOMICAL)
    image.header.set_xyzt_units("mm", "sec")
    low, high = volume.display_range
    image.header["cal_min"], image.header["cal_max"] = low, high
    image.header["descrip"] = f"ChiStream {volume.token} [{volume.series.unit}]".encode()[:79]
    target = Path(path)
    nibabel.save(image, target)
    return target
