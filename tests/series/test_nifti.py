"""NIfTI files as nibabel reads them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from chistream.physics.geometry import Geometry
from chistream.series.nifti import write_nifti
from chistream.series.volumes import Volume


def test_a_voxel_is_where_the_geometry_says(
    tmp_path: Path, geometry: Geometry, example: Callable[..., Volume]
) -> None:
    volume = example("QSM", geometry)
    image: Any = nibabel.load(write_nifti(volume, tmp_path / "chi.nii.gz"))
    positions = geometry.voxel_positions()
    values = np.asarray(image.dataobj)
    for z, y, x in [(0, 0, 0), (geometry.shape[0] - 1, 4, 2), (geometry.shape[0] // 2, 1, 5)]:
        left, posterior, superior = positions[:, z, y, x]
        world = image.affine @ [x, y, z, 1]
        np.testing.assert_allclose(world[:3], [-left, -posterior, superior], atol=1e-4)
        assert values[x, y, z] == volume.filled[z, y, x]


def test_the_header_says_unit_space_and_series(
    tmp_path: Path, example: Callable[..., Volume]
) -> None:
    volume = example("R2STAR")
    image: Any = nibabel.load(write_nifti(volume, tmp_path / "r2star.nii"))
    assert image.get_data_dtype() == np.float32
    assert image.header.get_xyzt_units() == ("mm", "sec")
    assert int(image.header["sform_code"]) == int(image.header["qform_code"]) == 1
    np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-4)
    assert image.header["descrip"].item() == b"ChiStream R2STAR [1/s]"
    np.testing.assert_allclose(image.header.get_zooms(), (1.5, 2.0, 3.0))


def test_labels_stay_whole(tmp_path: Path, example: Callable[..., Volume]) -> None:
    volume = example("CHAMBERS")
    image: Any = nibabel.load(write_nifti(volume, tmp_path / "chambers.nii"))
    assert image.get_data_dtype() == np.uint16
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, volume.values)


def test_a_page_has_no_nifti(tmp_path: Path, example: Callable[..., Volume]) -> None:
    with pytest.raises(ValueError, match="REPORT is a picture"):
        write_nifti(example("REPORT"), tmp_path / "page.nii")
