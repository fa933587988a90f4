"""Comparing files: the same voxels, the same unit, the same zero."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from chistream.errors import FileFormatError
from chistream.physics.geometry import Geometry
from chistream.series.images import encode_images
from chistream.series.volumes import Volume
from chistream.stream.files import MessageWriter
from chistream_simulator.comparison import compare_files, load_maps
from chistream_simulator.truth import SphereRoi, Truth, write_truth

GEOMETRY = Geometry((7, 9, 10), (4.0, 2.0, 3.0), (5.0, -6.0, 7.0))


def make_truth(chi: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Truth:
    flat = np.ones(GEOMETRY.shape, np.float32)
    return Truth(
        geometry=GEOMETRY,
        chi=chi,
        total_field=flat,
        frequency=chi * 100,
        local_field=flat,
        r2star=flat,
        amplitude=flat,
        fat_fraction=0 * flat,
        phase_offset=flat,
        masks={"signal": np.ones(GEOMETRY.shape, dtype=bool)},
        csm=np.ones((1, *GEOMETRY.shape), np.complex64),
        noise_covariance=np.eye(1, dtype=np.complex64),
        rois={
            "LV": SphereRoi((-1.0, -6.0, 7.0), 4.0),
            "RV": SphereRoi((11.0, -6.0, 7.0), 4.0),
        },
    )


@pytest.fixture
def chi() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    chi = np.random.default_rng(3).normal(0, 0.01, GEOMETRY.shape).astype(np.float32)
    chi[GEOMETRY.voxel_positions()[0] > 5] += 0.25
    return chi


def write(path: Path, *volumes: Volume) -> Path:
    with MessageWriter(path) as writer:
        for volume in volumes:
            for image in encode_images(volume, "research"):
                writer.write(image)
    return path


def test_pools_are_compared_relative_to_their_left_ventricle(
    chi: np.ndarray[tuple[int, ...], np.dtype[np.float32]], tmp_path: Path
) -> None:
    write_truth(tmp_path / "t.truth.h5", make_truth(chi))
    result = write(tmp_path / "r.h5", Volume("QSM", 0.8e3 * chi + 70, GEOMETRY))
    found = compare_files(result, tmp_path / "t.truth.h5")
    assert found.maps["QSM"].slope == pytest.approx(0.8, abs=1e-4)
    pool = found.pools["RV"]
    assert pool.truth_ppb == pytest.approx(250, abs=20)
    assert pool.error_ppb == pytest.approx(-0.2 * pool.truth_ppb, rel=1e-3)
    assert "RV - LV" in found.summary()


def test_a_map_that_lies_elsewhere_is_refused(
    chi: np.ndarray[tuple[int, ...], np.dtype[np.float32]], tmp_path: Path
) -> None:
    write_truth(tmp_path / "t.truth.h5", make_truth(chi))
    moved = Geometry((7, 9, 10), (4.0, 2.0, 3.0), (5.0, -6.0, 9.0))
    result = write(tmp_path / "r.h5", Volume("QSM", chi, moved))
    with pytest.raises(FileFormatError, match=r"lie up to 2\.00 mm apart"):
        compare_files(result, tmp_path / "t.truth.h5")
    smaller = Geometry((7, 9, 9), (4.0, 2.0, 3.0))
    result = write(tmp_path / "s.h5", Volume("QSM", chi[..., 1:], smaller))
    with pytest.raises(FileFormatError, match=r"\(7, 9, 9\) voxels"):
        compare_files(result, tmp_path / "t.truth.h5")


def test_files_that_share_no_map_are_refused(
    chi: np.ndarray[tuple[int, ...], np.dtype[np.float32]], tmp_path: Path
) -> None:
    one = write(tmp_path / "a.h5", Volume("QSM", chi, GEOMETRY))
    other = write(tmp_path / "b.h5", Volume("FIELD", chi, GEOMETRY))
    with pytest.raises(FileFormatError, match="share no map"):
        compare_files(one, other)
    magnitude = write(tmp_path / "c.h5", Volume("MAGNITUDE", np.abs(chi), GEOMETRY))
    with pytest.raises(FileFormatError, match="none of the series QSM"):
        load_maps(magnitude)


def test_without_pools_in_the_result_or_the_truth_there_is_nothing_to_say(
    chi: np.ndarray[tuple[int, ...], np.dtype[np.float32]], tmp_path: Path
) -> None:
    write_truth(tmp_path / "t.truth.h5", make_truth(chi))
    field = write(tmp_path / "f.h5", Volume("FIELD", chi * 100, GEOMETRY))
    assert compare_files(field, tmp_path / "t.truth.h5").pools == {}
    away = GEOMETRY.voxel_positions()[0] > 5
    half = write(tmp_path / "h.h5", Volume("QSM", chi * 1e3, GEOMETRY, away))
    assert compare_files(half, tmp_path / "t.truth.h5").pools == {}


def test_a_nifti_of_several_volumes_is_refused(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((3, 4, 5, 2), np.float32), np.eye(4))
    nibabel.save(image, tmp_path / "chi.nii.gz")
    with pytest.raises(FileFormatError, match="one 3D map"):
        load_maps(tmp_path / "chi.nii.gz")


def test_images_of_another_program_are_refused_with_the_reason(tmp_path: Path) -> None:
    volume = Volume("QSM", np.zeros(GEOMETRY.shape), GEOMETRY)
    (image,) = encode_images(volume, "research")
    with MessageWriter(tmp_path / "r.h5") as writer:
        writer.write(type(image)(image.head, "<ismrmrdMeta/>", image.pixels))
    with pytest.raises(FileFormatError, match="ImageType"):
        load_maps(tmp_path / "r.h5")
