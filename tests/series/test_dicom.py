"""DICOM files as pydicom reads them."""

import datetime as dt
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.pixels.processing import apply_modality_lut

from chistream.physics.geometry import Geometry
from chistream.series.dicom import Study, write_dicom
from chistream.series.volumes import Volume

STUDY = Study(
    root=uuid.UUID(int=7),
    field_strength=2.89,
    taken=dt.datetime(2025, 1, 2, 3, 4, 5, tzinfo=dt.timezone.utc),
)


def read(volume: Volume, folder: Path, study: Study = STUDY) -> list[Any]:
    return [pydicom.dcmread(path) for path in write_dicom(volume, folder, study=study)]


def test_pixels_and_places_read_back(
    tmp_path: Path, geometry: Geometry, example: Callable[..., Volume]
) -> None:
    volume = example("QSM", geometry)
    files = read(volume, tmp_path)
    assert len(files) == geometry.shape[0]
    positions = geometry.voxel_positions()
    for z, file in enumerate(files):
        valid = volume.valid[z]
        np.testing.assert_array_equal(file.pixel_array != file.PixelPaddingValue, valid)
        physical = apply_modality_lut(file.pixel_array, file)
        assert file.RescaleSlope == 1 / 16
        np.testing.assert_allclose(physical[valid], volume.values[z][valid], rtol=0, atol=1 / 32)
        # The standard's own equation (PS3.3 C.7.6.2.1.1) from row and column to the patient.
        row, column = 4, 2
        across, down = np.reshape(np.array(file.ImageOrientationPatient, dtype=float), (2, 3))
        between_rows, between_columns = map(float, file.PixelSpacing)
        place = (
            np.array(file.ImagePositionPatient, dtype=float)
            + across * between_columns * column
            + down * between_rows * row
        )
        np.testing.assert_allclose(place, positions[:, z, row, column], atol=1e-6)
        assert file.SliceThickness == 3.0
        assert file.InstanceNumber == z + 1


def test_the_unit_is_coded_and_its_mapping_is_the_rescale(
    tmp_path: Path, example: Callable[..., Volume]
) -> None:
    (mapping,) = read(example("QSM"), tmp_path)[0].RealWorldValueMappingSequence
    (unit,) = mapping.MeasurementUnitsCodeSequence
    assert (unit.CodeValue, unit.CodingSchemeDesignator) == ("[ppb]", "UCUM")
    assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1 / 16, -2048.0)


def test_every_module_of_an_mr_image_is_there(
    tmp_path: Path, oblique: Geometry, example: Callable[..., Volume]
) -> None:
    file = read(
        Volume("MAGNITUDE", example("MAGNITUDE").values, oblique, echo_time=0.0025), tmp_path
    )[0]
    assert file.SOPClassUID == pydicom.uid.MRImageStorage
    assert file.SeriesNumber == 1
    assert file.SeriesDescription == "ChiStream MAGNITUDE [a.u.]"
    assert file.ImageType == ["DERIVED", "PRIMARY", "M", "MAGNITUDE"]
    assert "Not for diagnostic use" in file.ImageComments
    assert file.EchoTime == 2.5
    assert file.MagneticFieldStrength == 2.89
    assert (file.StudyDate, file.StudyTime) == ("20250102", "030405")
    # Type 1 and 2 of patient, study, series, frame of reference, plane, pixel and MR modules.
    for keyword in [
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyInstanceUID",
        "StudyDate",
        "StudyTime",
        "ReferringPhysicianName",
        "StudyID",
        "AccessionNumber",
        "Modality",
        "SeriesInstanceUID",
        "SeriesNumber",
        "PatientPosition",
        "FrameOfReferenceUID",
        "PositionReferenceIndicator",
        "Manufacturer",
        "InstanceNumber",
        "PixelSpacing",
        "ImageOrientationPatient",
        "ImagePositionPatient",
        "SliceThickness",
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "Rows",
        "Columns",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
        "PixelData",
        "ImageType",
        "ScanningSequence",
        "SequenceVariant",
        "ScanOptions",
        "MRAcquisitionType",
        "RepetitionTime",
        "EchoTime",
        "EchoTrainLength",
        "WindowCenter",
        "WindowWidth",
    ]:
        assert keyword in file, keyword


def test_uids_follow_from_the_root_and_hang_together(
    tmp_path: Path, example: Callable[..., Volume]
) -> None:
    chi = read(example("QSM"), tmp_path / "a")
    again = read(example("QSM"), tmp_path / "b")
    water = read(example("WATER"), tmp_path / "c")
    assert [file.SOPInstanceUID for file in chi] == [file.SOPInstanceUID for file in again]
    assert len({file.SOPInstanceUID for file in chi + water}) == 10
    assert len({file.SeriesInstanceUID for file in chi + water}) == 2
    for name in ("StudyInstanceUID", "FrameOfReferenceUID"):
        (only,) = {file[name].value for file in chi + water}
        assert only.startswith("2.25.")
        assert only.is_valid
    assert Study().uid() != Study().uid()


def test_nobody_is_named_unless_given(tmp_path: Path, example: Callable[..., Volume]) -> None:
    (anonymous, *_) = read(example("MASK"), tmp_path, Study())
    assert (anonymous.PatientName, anonymous.PatientID) == ("Anonymous^ChiStream", "ANONYMOUS")
    assert anonymous.StudyDate == ""
    assert "MagneticFieldStrength" not in anonymous
    assert "PixelPaddingValue" not in anonymous
    (named, *_) = read(example("MASK"), tmp_path, Study(patient_name="Müller^Ö", patient_id="7"))
    assert (named.PatientName, named.PatientID) == ("Müller^Ö", "7")


def test_files_are_named_for_series_echo_and_slice(
    tmp_path: Path, oblique: Geometry, example: Callable[..., Volume]
) -> None:
    volume = Volume("PHASE", example("PHASE").values, oblique, echo=2)
    paths = write_dicom(volume, tmp_path / "new" / "folder")
    assert [path.name for path in paths][:2] == ["PHASE_03_0001.dcm", "PHASE_03_0002.dcm"]
    file: Any = pydicom.dcmread(paths[0])
    assert (file.InstanceNumber, file.EchoNumbers) == (11, 3)
    assert file.ImageType[2] == "P"


def test_a_report_is_a_secondary_capture(tmp_path: Path, example: Callable[..., Volume]) -> None:
    page = example("REPORT")
    (file,) = read(page, tmp_path)
    assert file.SOPClassUID == pydicom.uid.SecondaryCaptureImageStorage
    assert file.SeriesNumber == 90
    assert file.StudyInstanceUID == STUDY.uid()
    assert file.PatientID == "ANONYMOUS"
    assert "Not for diagnostic use" in file.ImageComments
    np.testing.assert_array_equal(file.pixel_array, np.moveaxis(page.values, 0, -1))
