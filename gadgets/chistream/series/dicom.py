"""Volumes as DICOM files: MR images slice by slice, the report as a secondary capture."""

import datetime as dt
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from highdicom.sc import SCImage
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage
from pydicom.valuerep import DSfloat

from chistream import __version__
from chistream.series.images import image_comments
from chistream.series.scaling import StoredVolume, quantise
from chistream.series.volumes import Kind, Volume

_BITS = 16
_MANUFACTURER = "ChiStream"

# Units of the Unified Code for Units of Measure, as the value mapping spells them.
_UCUM = {
    "ppb": ("[ppb]", "part per billion"),
    "Hz": ("Hz", "hertz"),
    "1/s": ("/s", "per second"),
    "rad": ("rad", "radian"),
    "%": ("%", "percent"),
    "a.u.": ("1", "no units"),
    "label": ("1", "no units"),
}


@dataclass(frozen=True)
class Study:
    """What the files of one scan have in common; the default identifies nobody.

    Parameters
    ----------
    root
        From which every UID of the study is derived: the same root, the same UIDs.
    patient_name, patient_id, birth_date, sex
        Of the patient; a placeholder unless given.
    description
        Of the study.
    taken
        Date and time of the scan; None leaves them empty.
    field_strength
        B0 [T]; None leaves it out.
    patient_position
        As DICOM codes it: HFS, FFS, ...; empty if not known.
    """

    root: uuid.UUID = field(default_factory=uuid.uuid4)
    patient_name: str = "Anonymous^ChiStream"
    patient_id: str = "ANONYMOUS"
    birth_date: str = ""
    sex: str = ""
    description: str = ""
    taken: dt.datetime | None = None
    field_strength: float | None = None
    patient_position: str = ""

    def uid(self, *parts: object) -> UID:
        """Derive a UID of the form 2.25.* for a part of the study.

        Parameters
        ----------
        *parts
            What names the part; none is the study itself.

        Returns
        -------
        UID
            The same one whenever the root and the parts are the same.
        """
        return UID(f"2.25.{uuid.uuid5(self.root, '/'.join(map(str, parts))).int}")


def write_dicom(volume: Volume, folder: Path | str, *, study: Study | None = None) -> list[Path]:
    """Write a volume as DICOM files.

    Parameters
    ----------
    volume
        What to write.
    folder
        Where to; made if it is not there.
    study
        What the files share; pass the same one for every volume of a scan.

    Returns
    -------
    list[Path]
        One MR Image Storage file a slice, or one Secondary Capture of a report page, named
        ``TOKEN_echo_slice.dcm``.

    Notes
    -----
    Pixels are 16-bit unsigned integers with rescale slope and intercept; a real-world value mapping
    repeats them with the unit's code. Outside the mask they have the padding value 0. Arbitrary
    units have no rescale: their stored numbers are the unit.
    """
    common = study or Study()
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    if volume.series.kind is Kind.RGB:
        datasets = [_page(volume, common)]
    else:
        stored = quantise(volume, _BITS)
        datasets = [_slice(volume, stored, common, z) for z in range(volume.geometry.shape[0])]
    paths = []
    for index, dataset in enumerate(datasets):
        path = target / f"{volume.token}_{volume.echo + 1:02d}_{index + 1:04d}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _slice(volume: Volume, stored: StoredVolume, study: Study, index: int) -> Dataset:
    dataset = Dataset()
    _add_study(dataset, study)
    _add_series(dataset, volume, study)
    _add_plane(dataset, volume, study, index)
    _add_pixels(dataset, volume, stored, index)
    dataset.SOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = study.uid(volume.token, volume.echo, index)
    dataset.InstanceNumber = volume.echo * volume.geometry.shape[0] + index + 1
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def _add_study(dataset: Dataset, study: Study) -> None:
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = study.patient_name
    dataset.PatientID = study.patient_id
    dataset.PatientBirthDate = study.birth_date
    dataset.PatientSex = study.sex
    dataset.StudyInstanceUID = study.uid()
    dataset.StudyID = ""
    dataset.StudyDescription = study.description
    dataset.StudyDate = dataset.ContentDate = f"{study.taken:%Y%m%d}" if study.taken else ""
    dataset.StudyTime = dataset.ContentTime = f"{study.taken:%H%M%S}" if study.taken else ""
    dataset.AccessionNumber = ""
    dataset.ReferringPhysicianName = ""


def _add_series(dataset: Dataset, volume: Volume, study: Study) -> None:
    series = volume.series
    dataset.Modality = "MR"
    dataset.SeriesInstanceUID = study.uid(series.token)
    dataset.SeriesNumber = series.index
    dataset.SeriesDescription = f"ChiStream {series.token} [{series.unit}]"
    dataset.Manufacturer = _MANUFACTURER
    dataset.ManufacturerModelName = _MANUFACTURER
    dataset.SoftwareVersions = __version__
    dataset.ImageType = ["DERIVED", "PRIMARY", series.component, series.token]
    dataset.ImageComments = image_comments(volume)
    dataset.ScanningSequence = "GR"
    dataset.SequenceVariant = "NONE"
    dataset.ScanOptions = ""
    dataset.MRAcquisitionType = "3D"
    dataset.RepetitionTime = ""
    dataset.EchoTime = "" if volume.echo_time is None else _decimals(1000 * volume.echo_time)[0]
    dataset.EchoNumbers = volume.echo + 1
    dataset.EchoTrainLength = ""
    dataset.PatientPosition = study.patient_position
    if study.field_strength is not None:
        dataset.MagneticFieldStrength = _decimals(study.field_strength)[0]


def _add_plane(dataset: Dataset, volume: Volume, study: Study, index: int) -> None:
    geometry = volume.geometry
    first_pixel = (geometry.affine_lps @ [0, 0, index, 1])[:3]
    dz, dy, dx = geometry.voxel_size
    along = np.dot(geometry.slice_position(index), geometry.slice_dir)
    dataset.FrameOfReferenceUID = study.uid("frame of reference")
    dataset.PositionReferenceIndicator = ""
    dataset.ImagePositionPatient = _decimals(*first_pixel)
    dataset.ImageOrientationPatient = _decimals(*geometry.read_dir, *geometry.phase_dir)
    dataset.PixelSpacing = _decimals(dy, dx)  # between rows first
    dataset.SliceThickness, dataset.SpacingBetweenSlices = _decimals(dz, dz)
    dataset.SliceLocation = _decimals(along)[0]


def _add_pixels(dataset: Dataset, volume: Volume, stored: StoredVolume, index: int) -> None:
    pixels = stored.pixels[index]
    low, high = (bound / stored.scale for bound in volume.display_range)
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = _BITS
    dataset.HighBit = _BITS - 1
    dataset.PixelRepresentation = 0
    if stored.padded:
        dataset.PixelPaddingValue = 0
    dataset.RescaleSlope, dataset.RescaleIntercept = _decimals(stored.slope, stored.intercept)
    dataset.RescaleType = "US"
    dataset.WindowCenter, dataset.WindowWidth = _decimals((low + high) / 2, max(high - low, 1))
    dataset.LossyImageCompression = "00"
    dataset.RealWorldValueMappingSequence = [_value_mapping(volume, stored)]
    dataset.PixelData = pixels.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"


def _value_mapping(volume: Volume, stored: StoredVolume) -> Dataset:
    code, meaning = _UCUM[volume.series.unit]
    unit = Dataset()
    unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = code, "UCUM", meaning
    mapping = Dataset()
    mapping.LUTExplanation = f"ChiStream {volume.token}"
    mapping.LUTLabel = volume.token
    mapping.MeasurementUnitsCodeSequence = [unit]
    mapping.RealWorldValueFirstValueMapped = int(stored.padded)
    mapping.RealWorldValueLastValueMapped = (1 << _BITS) - 1
    mapping.RealWorldValueSlope = stored.slope
    mapping.RealWorldValueIntercept = stored.intercept
    return mapping


def _page(volume: Volume, study: Study) -> Dataset:
    page: Dataset = SCImage(
        pixel_array=np.ascontiguousarray(np.moveaxis(volume.values, 0, -1)),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),
        study_instance_uid=study.uid(),
        series_instance_uid=study.uid(volume.token),
        sop_instance_uid=study.uid(volume.token, volume.echo, 0),
        series_number=volume.series.index,
        instance_number=1,
        manufacturer=_MANUFACTURER,
    )
    _add_study(page, study)
    page.Modality = "MR"
    page.SeriesDescription = f"ChiStream {volume.token}"
    page.SoftwareVersions = __version__
    page.ImageComments = image_comments(volume)
    page.BurnedInAnnotation = "NO"
    return page


def _decimals(*values: float) -> list[DSfloat]:
    # The decimal string of 16 characters that is nearest to the value.
    return [DSfloat(float(value), auto_format=True) for value in values]
