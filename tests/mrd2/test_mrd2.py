"""MRD version 2: there and back, and what its own package reads and writes."""

import datetime as dt
import io
from pathlib import Path

import ismrmrd
import numpy as np
import pytest

mrd = pytest.importorskip("mrd", reason="mrd-python is not installed")

from chistream.errors import FileFormatError, HeaderError  # noqa: E402
from chistream.mrd2.files import read_mrd2_file, write_mrd2  # noqa: E402
from chistream.mrd2.headers import from_xml, to_xml  # noqa: E402
from chistream.offline import reconstruct_files  # noqa: E402
from chistream.raw_files import read_raw_file  # noqa: E402
from chistream.stream.files import read_messages  # noqa: E402
from chistream.stream.header import read_header  # noqa: E402
from chistream.stream.messages import (  # noqa: E402
    ACQUISITION_HEAD,
    IMAGE_HEAD,
    PIXEL_DTYPES,
    WAVEFORM_HEAD,
    Acquisitions,
    DataType,
    Header,
    Image,
    Message,
    Text,
    Waveform,
    new_head,
)

XML = """<?xml version="1.0" encoding="UTF-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><version>1</version>
<subjectInformation><patientName>Doe^J</patientName><patientWeight_kg>70.5</patientWeight_kg>
<patientHeight_m>1.8</patientHeight_m><patientID>7</patientID><patientBirthdate>1970-01-31</patientBirthdate>
<patientGender>O</patientGender></subjectInformation>
<studyInformation><studyDate>2024-02-29</studyDate><studyTime>13:59:01.25</studyTime><studyID>s1</studyID>
<accessionNumber>42</accessionNumber><referringPhysicianName>R</referringPhysicianName>
<studyDescription>heart</studyDescription><studyInstanceUID>1.2.3</studyInstanceUID>
<bodyPartExamined>CHEST</bodyPartExamined></studyInformation>
<measurementInformation><measurementID>m1</measurementID><seriesDate>2024-02-29</seriesDate>
<seriesTime>14:00:00</seriesTime><patientPosition>FFDL</patientPosition>
<relativeTablePosition><x>1</x><y>2</y><z>-3.5</z></relativeTablePosition>
<initialSeriesNumber>3</initialSeriesNumber><protocolName>P</protocolName><sequenceName>gre</sequenceName>
<seriesDescription>d</seriesDescription>
<measurementDependency><dependencyType>Noise</dependencyType><measurementID>m0</measurementID></measurementDependency>
<seriesInstanceUIDRoot>1.2</seriesInstanceUIDRoot><frameOfReferenceUID>1.4</frameOfReferenceUID>
<referencedImageSequence><referencedSOPInstanceUID>1.5</referencedSOPInstanceUID></referencedImageSequence>
</measurementInformation>
<acquisitionSystemInformation><systemVendor>V</systemVendor><systemModel>M</systemModel>
<systemFieldStrength_T>2.89362</systemFieldStrength_T>
<relativeReceiverNoiseBandwidth>0.793</relativeReceiverNoiseBandwidth><receiverChannels>2</receiverChannels>
<coilLabel><coilNumber>1</coilNumber><coilName>A</coilName></coilLabel>
<institutionName>I</institutionName><stationName>S</stationName><deviceID>D</deviceID>
<deviceSerialNumber>99</deviceSerialNumber></acquisitionSystemInformation>
<experimentalConditions><H1resonanceFrequency_Hz>123200001</H1resonanceFrequency_Hz></experimentalConditions>
<encoding><encodedSpace><matrixSize><x>8</x><y>4</y><z>2</z></matrixSize>
<fieldOfView_mm><x>80.1</x><y>40</y><z>20</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>4</x><y>4</y><z>2</z></matrixSize>
<fieldOfView_mm><x>40.05</x><y>40</y><z>20</z></fieldOfView_mm></reconSpace>
<encodingLimits><kspace_encoding_step_0><minimum>0</minimum><maximum>7</maximum><center>4</center></kspace_encoding_step_0>
<kspace_encoding_step_1><minimum>0</minimum><maximum>3</maximum><center>2</center></kspace_encoding_step_1>
<user_5><minimum>0</minimum><maximum>9</maximum><center>5</center></user_5></encodingLimits>
<trajectory>goldenangle</trajectory>
<trajectoryDescription><identifier>t</identifier>
<userParameterLong><name>l</name><value>-5</value></userParameterLong>
<userParameterDouble><name>d</name><value>0.1234567890123</value></userParameterDouble>
<comment>c</comment></trajectoryDescription>
<parallelImaging><accelerationFactor><kspace_encoding_step_1>2</kspace_encoding_step_1>
<kspace_encoding_step_2>1</kspace_encoding_step_2></accelerationFactor>
<calibrationMode>embedded</calibrationMode><interleavingDimension>phase</interleavingDimension>
<multiband><spacing><dZ>1.5</dZ><dZ>2.5</dZ></spacing><deltaKz>0.5</deltaKz><multiband_factor>2</multiband_factor>
<calibration>separable2D</calibration><calibration_encoding>1</calibration_encoding></multiband></parallelImaging>
<echoTrainLength>3</echoTrainLength></encoding>
<sequenceParameters><TR>21.3</TR><TE>4.1</TE><TE>8.2</TE><TI>100</TI><flipAngle_deg>12</flipAngle_deg>
<sequence_type>Flash</sequence_type><echo_spacing>4.1</echo_spacing>
<diffusionDimension>contrast</diffusionDimension>
<diffusion><gradientDirection><rl>1</rl><ap>0</ap><fh>0.5</fh></gradientDirection><bvalue>1000</bvalue></diffusion>
<diffusionScheme>s</diffusionScheme></sequenceParameters>
<userParameters><userParameterLong><name>EmbeddedRefLinesE1</name><value>24</value></userParameterLong>
<userParameterDouble><name>MaxwellCoefficient_0</name><value>1.0000000000001e-7</value></userParameterDouble>
<userParameterString><name>note</name><value>a &lt; b</value></userParameterString>
<userParameterBase64><name>b</name><value>QUJD</value></userParameterBase64></userParameters>
<waveformInformation><waveformName>ECG</waveformName><waveformType>ecg</waveformType>
<userParameters><userParameterLong><name>TriggerChannel</name><value>4</value></userParameterLong></userParameters>
</waveformInformation></ismrmrdHeader>"""


META = "<meta><name>a</name><value>1</value><value>x</value></meta>"


def run(n: int = 3, dimensions: int = 0) -> Acquisitions:
    rng = np.random.default_rng(n)
    heads = rng.integers(0, 99, (n, ACQUISITION_HEAD.itemsize), np.uint8).view(ACQUISITION_HEAD)
    heads = heads.reshape(n).copy()
    heads["version"], heads["flags"] = 1, (1 << 18) | (1 << 57)
    heads["number_of_samples"], heads["trajectory_dimensions"] = 7, dimensions
    heads["active_channels"] = heads["available_channels"] = 2
    samples = rng.standard_normal((n, 2, 7, 2)).astype(np.float32).view(np.complex64)[..., 0]
    return Acquisitions(heads, samples, rng.standard_normal((n, 7, dimensions)).astype(np.float32))


def waveform() -> Waveform:
    head = new_head(
        WAVEFORM_HEAD,
        channels=2,
        number_of_samples=5,
        waveform_id=3,
        time_stamp=77,
        sample_time_us=2500,
        scan_counter=9,
        measurement_uid=4,
        flags=5,
        version=1,
    )
    return Waveform(head, np.arange(10, dtype=np.uint32).reshape(2, 5))


def image(data_type: DataType) -> Image:
    rng = np.random.default_rng(int(data_type))
    head = rng.integers(0, 60, IMAGE_HEAD.itemsize, np.uint8).view(IMAGE_HEAD)[0].copy()
    head["version"], head["data_type"], head["channels"] = 1, data_type, 2
    head["matrix_size"], head["image_type"] = (5, 4, 3), 6
    pixels = rng.integers(0, 99, (2, 3, 4, 5)).astype(PIXEL_DTYPES[data_type])
    return Image(
        head,
        "<ismrmrdMeta><meta><name>a</name><value>1</value><value>x</value></meta></ismrmrdMeta>",
        pixels,
    )


def there_and_back(path: Path, *messages: Message) -> list[Message]:
    write_mrd2(str(path), messages)
    return list(read_raw_file(path))


# -- the header ---------------------------------------------------------------------------------


def test_a_header_comes_back_as_ismrmrd_s_own_parser_sees_it() -> None:
    before = ismrmrd.xsd.CreateFromDocument(XML.encode())
    after = ismrmrd.xsd.CreateFromDocument(to_xml(from_xml(XML)).encode())
    assert after == before


def test_a_header_of_version_2_has_everything_in_its_place() -> None:
    header = from_xml(XML)
    assert header.subject_information.patient_birthdate == dt.date(1970, 1, 31)
    assert header.subject_information.patient_gender == mrd.PatientGender.O
    assert header.study_information.study_time == mrd.Time.from_components(13, 59, 1, 250_000_000)
    assert header.measurement_information.patient_position == mrd.PatientPosition.F_FDL
    assert header.experimental_conditions.h1resonance_frequency_hz == 123200001
    (encoding,) = header.encoding
    assert encoding.encoding_limits.user_5.maximum == 9
    assert encoding.parallel_imaging.multiband.calibration == mrd.Calibration.SEPARABLE_2D
    assert header.sequence_parameters.t_e == [4.1, 8.2]
    assert header.user_parameters.user_parameter_double[0].value == 1.0000000000001e-7


def test_single_precision_does_not_show_in_the_text(tmp_path: Path) -> None:
    (header,) = there_and_back(tmp_path / "a", Header(XML))
    assert isinstance(header, Header)
    assert "<TE>4.1</TE>" in header.xml
    assert "<value>1.0000000000001e-07</value>" in header.xml
    assert read_header(header.xml).echo_times == read_header(XML).echo_times


def test_a_header_from_the_field_loses_only_what_makes_no_sense() -> None:
    changes = {
        "<patientPosition>FFDL</patientPosition>": "",
        "1970-01-31": "long ago",
        "123200001": "123.2e6",
        ">goldenangle<": ">propellor<",
        "<waveformType>ecg</waveformType>": "",
        "<version>1</version>": "<hat/>",
        "<calibration>separable2D</calibration>": "",
    }
    xml = XML
    for old, new in changes.items():
        xml = xml.replace(old, new)
    header = from_xml(xml)
    assert header.subject_information.patient_birthdate is None
    assert header.measurement_information.patient_position == mrd.PatientPosition.H_FS
    assert header.experimental_conditions.h1resonance_frequency_hz == 123200000
    assert header.encoding[0].trajectory == mrd.Trajectory.OTHER
    assert header.waveform_information[0].waveform_type == mrd.WaveformType.OTHER
    assert header.encoding[0].parallel_imaging.multiband.calibration == mrd.Calibration.OTHER


def test_no_acceleration_has_no_name_in_version_1() -> None:
    header = from_xml(XML)
    header.encoding[0].parallel_imaging.calibration_mode = mrd.CalibrationMode.NOACCELERATION
    assert "<calibrationMode>other</calibrationMode>" in to_xml(header)


def test_what_is_no_header_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HeaderError):
        write_mrd2(str(tmp_path / "a"), [Header("hello")])


# -- the data -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dimensions", [0, 3])
def test_readouts_come_back(tmp_path: Path, dimensions: int) -> None:
    sent = run(3, dimensions)
    _, *back = there_and_back(tmp_path / "a", Header(XML), sent)
    heads = np.concatenate([m.heads for m in back if isinstance(m, Acquisitions)])
    assert heads.tobytes() == sent.heads.tobytes()
    for i, message in enumerate(back):
        assert isinstance(message, Acquisitions)
        np.testing.assert_array_equal(message.samples[0], sent.samples[i])
        np.testing.assert_array_equal(message.trajectories[0], sent.trajectories[i])


def test_waveforms_come_back(tmp_path: Path) -> None:
    assert there_and_back(tmp_path / "a", Header(XML), waveform())[1:] == [waveform()]


@pytest.mark.parametrize("data_type", list(DataType))
def test_images_come_back(tmp_path: Path, data_type: DataType) -> None:
    sent = image(data_type)
    (back,) = there_and_back(tmp_path / "a", sent)
    assert isinstance(back, Image)
    np.testing.assert_array_equal(back.pixels, sent.pixels)
    assert back.pixels.dtype == sent.pixels.dtype
    head = sent.head.copy()
    head["attribute_string_len"] = len(back.attributes)
    assert back.head.tobytes() == head.tobytes()
    assert META in back.attributes


def test_only_what_is_wanted_is_given(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_mrd2(str(path), [Header(XML), run(), Text("hi"), waveform(), image(DataType.FLOAT)])
    kept = {type(m) for m in read_mrd2_file(path, waveforms=False, images=False)}
    assert kept == {Header, Acquisitions}
    assert len(list(read_mrd2_file(path))) == 6


def test_what_other_tools_leave_out_is_zero(tmp_path: Path) -> None:
    path = tmp_path / "a"
    item = mrd.Acquisition(data=np.ones((2, 5), np.complex64))
    array = mrd.StreamItem.ArrayComplexFloat(np.zeros((2, 2), np.complex64))
    with mrd.BinaryMrdWriter(str(path)) as writer:
        writer.write_header(None)
        writer.write_data([array, mrd.StreamItem.Acquisition(item)])
    (message,) = read_raw_file(path)
    assert isinstance(message, Acquisitions)
    assert message.heads["idx"]["contrast"].tolist() == [0]
    assert not message.heads["channel_mask"].any()


def test_numbers_that_version_1_cannot_hold_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    item = mrd.Acquisition(data=np.ones((2, 5), np.complex64))
    item.head.idx.contrast = 2**20
    with mrd.BinaryMrdWriter(str(path)) as writer:
        writer.write_header(None)
        writer.write_data([mrd.StreamItem.Acquisition(item)])
    with pytest.raises(FileFormatError, match="contrast 1048576"):
        list(read_raw_file(path))


@pytest.mark.parametrize("kept", [5, 300, -1, -40])
def test_a_file_that_was_cut_is_refused(tmp_path: Path, kept: int) -> None:
    path, content = tmp_path / "a", io.BytesIO()
    write_mrd2(content, [Header(XML), run()])
    path.write_bytes(content.getvalue()[:kept])
    with pytest.raises(FileFormatError, match="version 2"):
        list(read_raw_file(path))


@pytest.mark.slow
def test_a_scan_of_version_2_gives_the_maps_of_version_1(tiny_raw: Path, tmp_path: Path) -> None:
    raw = tmp_path / "tiny.mrd2"
    write_mrd2(str(raw), read_messages(tiny_raw))
    for path, folder in ((raw, "two"), (tiny_raw, "one")):
        (result,) = reconstruct_files([path], tmp_path / folder, formats=("mrd",), chain="echoes")
        assert result.error is None
    one, two = (list(read_messages(tmp_path / name / "images.h5")) for name in ("one", "two"))
    assert len(one) == len(two) > 0
    for first, second in zip(one, two, strict=True):
        assert isinstance(first, Image)
        assert isinstance(second, Image)
        np.testing.assert_array_equal(first.pixels, second.pixels)
