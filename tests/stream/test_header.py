"""Headers that scanners write are read; what is needed is never guessed."""

import re

import ismrmrd
import pytest

from chistream.errors import HeaderError
from chistream.stream.header import Limit, Space, read_header
from chistream.stream.header_tree import MAX_HEADER_BYTES

STRICT = """<?xml version="1.0" encoding="UTF-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
  <measurementInformation>
    <measurementID>45_1</measurementID>
    <patientPosition>HFS</patientPosition>
    <protocolName> heart qsm </protocolName>
  </measurementInformation>
  <acquisitionSystemInformation>
    <systemFieldStrength_T>2.89362</systemFieldStrength_T>
    <relativeReceiverNoiseBandwidth>0.793</relativeReceiverNoiseBandwidth>
    <receiverChannels>30</receiverChannels>
  </acquisitionSystemInformation>
  <experimentalConditions>
    <H1resonanceFrequency_Hz>123200000</H1resonanceFrequency_Hz>
  </experimentalConditions>
  <encoding>
    <encodedSpace>
      <matrixSize><x>256</x><y>96</y><z>20</z></matrixSize>
      <fieldOfView_mm><x>600</x><y>225.5</y><z>100</z></fieldOfView_mm>
    </encodedSpace>
    <reconSpace>
      <matrixSize><x>128</x><y>95</y><z>16</z></matrixSize>
      <fieldOfView_mm><x>300</x><y>225</y><z>80</z></fieldOfView_mm>
    </reconSpace>
    <encodingLimits>
      <kspace_encoding_step_1>
        <minimum>0</minimum><maximum>95</maximum><center>48</center>
      </kspace_encoding_step_1>
      <kspace_encoding_step_2>
        <minimum>0</minimum><maximum>19</maximum><center>10</center>
      </kspace_encoding_step_2>
      <contrast><minimum>0</minimum><maximum>2</maximum><center>0</center></contrast>
    </encodingLimits>
    <trajectory>cartesian</trajectory>
    <parallelImaging>
      <accelerationFactor>
        <kspace_encoding_step_1>2</kspace_encoding_step_1>
        <kspace_encoding_step_2>1</kspace_encoding_step_2>
      </accelerationFactor>
      <calibrationMode>embedded</calibrationMode>
    </parallelImaging>
  </encoding>
  <sequenceParameters>
    <TR>20.5</TR><TE>2.1</TE><TE>4.1</TE><TE>6.2</TE><flipAngle_deg>15</flipAngle_deg>
  </sequenceParameters>
  <userParameters>
    <userParameterLong><name>EmbeddedRefLinesE1</name><value>24</value></userParameterLong>
    <userParameterDouble><name>MaxwellCoefficient_0</name><value>0.5</value></userParameterDouble>
    <userParameterString><name>Note</name><value>12</value></userParameterString>
  </userParameters>
  <waveformInformation>
    <waveformName>ECG</waveformName><waveformType>ecg</waveformType>
    <userParameters/>
  </waveformInformation>
  <waveformInformation>
    <waveformName>RESP</waveformName><waveformType>respiratory</waveformType>
    <userParameters/>
  </waveformInformation>
</ismrmrdHeader>
"""


def without(pattern: str) -> str:
    """Return the header without what a pattern matches; it must match."""
    changed, n = re.subn(pattern, "", STRICT, flags=re.DOTALL)
    assert n
    return changed


def replaced(old: str, new: str) -> str:
    """Return the header with something else in a place that must exist."""
    assert old in STRICT
    return STRICT.replace(old, new)


def test_what_the_chain_needs_is_read() -> None:
    header = read_header(STRICT)
    assert header.h1_frequency == 123.2e6
    assert header.field_strength == pytest.approx(2.8936, abs=1e-3)
    assert header.stated_field_strength == 2.89362
    assert header.echo_times == pytest.approx((2.1e-3, 4.1e-3, 6.2e-3), rel=1e-12)
    assert header.repetition_times == pytest.approx((20.5e-3,), rel=1e-12)
    assert header.flip_angles == (15.0,)
    (encoding,) = header.encodings
    assert encoding.encoded == Space((20, 96, 256), (100.0, 225.5, 600.0))
    assert encoding.recon == Space((16, 95, 128), (80.0, 225.0, 300.0))
    assert encoding.limits == {
        "kspace_encoding_step_1": Limit(0, 95, 48),
        "kspace_encoding_step_2": Limit(0, 19, 10),
        "contrast": Limit(0, 2, 0),
    }
    assert encoding.trajectory == "cartesian"
    assert encoding.acceleration == (1, 2)
    assert encoding.calibration_mode == "embedded"
    assert header.n_channels == 30
    assert header.noise_bandwidth_ratio == 0.793
    assert header.patient_position == "HFS"
    assert header.protocol_name == "heart qsm"
    assert header.measurement_id == "45_1"
    assert header.waveform_names == ("ECG", "RESP")
    assert header.user_parameters == {
        "EmbeddedRefLinesE1": 24,
        "MaxwellCoefficient_0": 0.5,
        "Note": "12",
    }
    assert header.warnings == ()
    assert header.xml == STRICT


def test_the_header_used_here_obeys_the_schema() -> None:
    assert ismrmrd.xsd.CreateFromDocument(STRICT).encoding[0].encodedSpace.matrixSize.x == 256


IRREGULAR = {
    "no patient position": without("<patientPosition>.*?</patientPosition>"),
    "no measurement information": without("<measurementInformation>.*</measurementInformation>"),
    "no waveform parameters": without("<userParameters/>"),
    "no namespace": without(' xmlns="[^"]*"'),
    "another namespace": replaced("http://www.ismrm.org/ISMRMRD", "urn:other"),
    "a prefix": re.sub(r"<(/?)(\w)", r"<\1m:\2", STRICT).replace(
        'xmlns="http://www.ismrm.org/ISMRMRD"', 'xmlns:m="http://www.ismrm.org/ISMRMRD"'
    ),
    "unknown elements": replaced("<encoding>", "<secret><x>1</x></secret><encoding><new/>"),
    "a trailing NUL": STRICT + "\0",
    "rubbish after a NUL": STRICT + "\0\0<x",
    "white space around": "\n " + STRICT + "\n\n",
    "a byte order mark": "\ufeff" + STRICT,
    "white space behind a byte order mark": "\ufeff\r\n" + STRICT,
    "control characters": replaced("<TR>", "\x01\x02\ufffe<TR>"),
    "a frequency with an exponent": replaced("123200000", " 123.2e6\n"),
    "a trajectory outside the schema": replaced("cartesian", "propellor"),
    "comments and instructions": replaced("<TE>2.1", "<!-- first --><?x y?><TE>2.1"),
    "a declaration of another encoding": replaced('encoding="UTF-8"', 'encoding="ISO-8859-1"'),
}


@pytest.mark.parametrize("xml", IRREGULAR.values(), ids=IRREGULAR.keys())
def test_irregular_headers_yield_what_the_chain_needs(xml: str) -> None:
    for form in (xml, xml.encode()):
        header, regular = read_header(form), read_header(STRICT)
        assert header.encodings[0].encoded == regular.encodings[0].encoded
        assert header.encodings[0].limits == regular.encodings[0].limits
        assert header.echo_times == regular.echo_times
        assert header.h1_frequency == regular.h1_frequency
        assert header.warnings == ()


def test_only_what_is_needed_must_be_there() -> None:
    xml = STRICT
    for optional in (
        *("measurementInformation", "acquisitionSystemInformation", "encodingLimits"),
        *("parallelImaging", "userParameters", "waveformInformation", "trajectory"),
    ):
        xml = re.sub(f"<{optional}>.*?</{optional}>", "", xml, flags=re.DOTALL)
    header = read_header(re.sub("<TR>.*?</TR>|<flipAngle_deg>.*?</flipAngle_deg>", "", xml))
    assert header.stated_field_strength is None
    assert header.n_channels is None
    assert header.noise_bandwidth_ratio is None
    assert header.patient_position is None
    assert header.protocol_name is None
    assert header.measurement_id is None
    assert header.user_parameters == {}
    assert header.repetition_times == header.flip_angles == ()
    assert header.waveform_names == ()
    assert header.encodings[0].limits == {}
    assert header.encodings[0].trajectory is None
    assert header.encodings[0].acceleration == (1, 1)
    assert header.encodings[0].calibration_mode is None
    assert header.warnings == ()


BROKEN = {
    "no frequency": (
        without("<H1resonanceFrequency_Hz>.*?</H1resonanceFrequency_Hz>"),
        "no experimentalConditions/H1resonanceFrequency_Hz.*in Hz",
    ),
    "no conditions": (
        without("<experimentalConditions>.*</experimentalConditions>"),
        "no experimentalConditions",
    ),
    "empty frequency": (replaced("123200000", ""), "H1resonanceFrequency_Hz is ''"),
    "frequency zero": (replaced("123200000", "0"), "not a positive number"),
    "frequency NaN": (replaced("123200000", "NaN"), "not a positive number"),
    "frequency infinite": (replaced("123200000", "inf"), "not a positive number"),
    "frequency in MHz": (replaced("123200000", "123.2"), "in Hz"),
    "frequency in mHz": (replaced("123200000", "1232e8"), "in Hz"),
    "no encoding": (without("<encoding>.*</encoding>"), "no encoding"),
    "no recon space": (without("<reconSpace>.*</reconSpace>"), "no encoding/reconSpace"),
    "no matrix": (
        without("<matrixSize><x>256.*?</matrixSize>"),
        "no encoding/encodedSpace/matrixSize",
    ),
    "no x": (without("<x>256</x>"), "no encoding/encodedSpace/matrixSize/x"),
    "no field of view": (
        without("<fieldOfView_mm><x>300.*?</fieldOfView_mm>"),
        "no encoding/reconSpace/fieldOfView_mm.*in mm",
    ),
    "matrix zero": (replaced("<y>96</y>", "<y>0</y>"), "matrixSize/y is '0'"),
    "matrix negative": (replaced("<y>96</y>", "<y>-96</y>"), "matrixSize/y is '-96'"),
    "half a voxel": (replaced("<y>96</y>", "<y>96.5</y>"), "is 96.5, not a whole number"),
    "matrix too large": (replaced("<y>96</y>", "<y>70000</y>"), "up to 65535"),
    "field of view zero": (replaced("225.5", "0"), "fieldOfView_mm/y is '0'"),
    "field of view is text": (
        replaced("225.5", "wide"),
        "fieldOfView_mm/y is a text of 4 characters",
    ),
    "no echo times": (without("<TE>.*</TE>"), "no sequenceParameters/TE.*in ms"),
    "no sequence": (without("<sequenceParameters>.*</sequenceParameters>"), "TE"),
    "echo time zero": (replaced("<TE>2.1", "<TE>0"), "TE are 0, 4.1, 6.2"),
    "echo time negative": (replaced("<TE>2.1", "<TE>-1"), "TE are -1, 4.1, 6.2"),
    "echo time NaN": (replaced("<TE>2.1", "<TE>nan"), "TE are nan, 4.1, 6.2"),
    "echo time is text": (replaced("<TE>4.1", "<TE>long"), "TE are 2.1, long, 6.2"),
    "echo times equal": (replaced("<TE>4.1", "<TE>2.1"), "increase"),
    "echo times decrease": (replaced("<TE>6.2", "<TE>3"), "increase"),
    "echo times in s": (
        re.sub(r"<TE>(\d)", r"<TE>0.00\1", STRICT).replace("2.1<", "21<").replace(".1<", "1<"),
        "in ms",
    ),
    "echo times in us": (re.sub(r"<TE>(\d)\.(\d)", r"<TE>\g<1>\g<2>00", STRICT), "in ms"),
    "fewer echo times than contrasts": (
        without("<TE>6.2</TE>"),
        "2 sequenceParameters/TE but 3 contrasts",
    ),
    "empty": ("", "empty"),
    "only NUL": ("\0", "empty"),
    "no XML": ("hello", "no XML"),
    "cut off": (STRICT[:500], "no XML"),
    "another root": ("<siemens/>", "root is <siemens>"),
    "too large": (STRICT + " " * MAX_HEADER_BYTES, "at most"),
}


@pytest.mark.parametrize(("xml", "complaint"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_needed_is_never_invented(xml: str, complaint: str) -> None:
    with pytest.raises(HeaderError, match=complaint):
        read_header(xml)


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;&b;">]>',
        '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE a SYSTEM "http://127.0.0.1:1/a.dtd">',
        '<!DOCTYPE a PUBLIC "-//X//Y" "http://127.0.0.1:1/a.dtd">',
        "<!DOCTYPE a [<!ENTITY % b \"<!ENTITY c 'ha'>\"> %b;]>",
        "<!DOCTYPE a>",
    ],
)
def test_document_types_and_entities_are_refused(doctype: str) -> None:
    with pytest.raises(HeaderError, match=r"document type or entities, .*: refused$"):
        read_header(replaced("<ismrmrdHeader", doctype + "<ismrmrdHeader"))


def test_an_undefined_entity_is_no_xml() -> None:
    with pytest.raises(HeaderError, match="no XML"):
        read_header(replaced("heart qsm", "&bomb;"))


@pytest.mark.parametrize(
    ("bomb", "complaint"),
    [
        ("<a>" * 200_000 + "</a>" * 200_000, "nested deeper than 64"),
        ("<a/>" * 200_000, "more than 100000 elements"),
        ("<a " + " ".join(f'a{n}=""' for n in range(100_000)) + "/>", "a tag or a comment of more"),
    ],
)
def test_a_header_that_would_fill_the_memory_is_refused(bomb: str, complaint: str) -> None:
    with pytest.raises(HeaderError, match=complaint):
        read_header(replaced("<encoding>", f"{bomb}<encoding>"))


@pytest.mark.parametrize(
    "xml",
    [
        "<subjectInformation><patientName>Doe^Jane",
        "<subjectInformation><patientName>Doe^Jane</patientName></subjectInformation>",
        "Doe^Jane",
        "<ismrmrdHeader>&Doe;</ismrmrdHeader>",
    ],
)
def test_the_reason_why_a_header_cannot_be_read_does_not_quote_it(xml: str) -> None:
    with pytest.raises(HeaderError) as refused:
        read_header(xml)
    assert "Doe" not in str(refused.value)


def test_bytes_that_are_not_utf_8_are_read_as_latin_1_with_a_warning() -> None:
    header = read_header(replaced("heart qsm", "c\u00e9ur").encode("latin-1"))
    assert header.protocol_name == "c\u00e9ur"
    assert any("Latin-1" in warning for warning in header.warnings)


@pytest.mark.parametrize(
    ("old", "new", "warning"),
    [
        ("2.89362", "1.5", "states a field of 1.5 T.*2.894 T"),
        ("2.89362", "-3", "systemFieldStrength_T is -3; ignored"),
        ("2.89362", "three", "systemFieldStrength_T is no number: a text of 5 characters"),
        ("0.793", "0", "relativeReceiverNoiseBandwidth is 0; ignored"),
        ("<TE>6.2</TE>", "<TE>6.2</TE><TE>8.3</TE>", "4 echo times but 3 contrasts"),
        ("<maximum>95", "<maximum>a", "step_1/maximum is no number"),
        ("<maximum>95", "<maximum>-1", "kspace_encoding_step_1 makes no sense"),
        ("<center>48", "<center>96", "kspace_encoding_step_1 makes no sense"),
        ("<center>48</center>", "", "kspace_encoding_step_1 makes no sense"),
    ],
)
def test_what_is_odd_is_a_warning(old: str, new: str, warning: str) -> None:
    header = read_header(replaced(old, new))
    assert any(re.search(warning, found) for found in header.warnings), header.warnings
    assert header.field_strength == pytest.approx(2.8936, abs=1e-3)
    assert ("kspace_encoding_step_1" in header.encodings[0].limits) == ("step_1" not in warning)


@pytest.mark.parametrize("stated", ["3", "2.75", "2.9"])
def test_a_nominal_field_is_no_mistake(stated: str) -> None:
    header = read_header(replaced("2.89362", stated))
    assert header.warnings == ()
    assert header.stated_field_strength == float(stated)


def test_every_encoding_space_is_read() -> None:
    second = re.search("<encoding>.*</encoding>", STRICT, re.DOTALL)
    assert second is not None
    navigator = second[0].replace("256", "64").replace("cartesian", "RADIAL")
    xml = replaced("</encoding>", "</encoding>" + navigator)
    header = read_header(xml)
    assert [encoding.encoded.size[2] for encoding in header.encodings] == [256, 64]
    assert header.encodings[1].trajectory == "radial"


def test_a_broken_second_encoding_space_is_a_warning() -> None:
    header = read_header(replaced("</encoding>", "</encoding><encoding/>"))
    assert len(header.encodings) == 1
    assert "no encoding/encodedSpace" in header.warnings[0]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("Long", "123.2e6", 123_200_000),
        ("Long", "1.5", 1.5),
        ("Long", "abc", "abc"),
        ("Double", "2", 2.0),
        ("Double", "nan", "nan"),
        ("String", " a b ", "a b"),
        ("String", "", ""),
    ],
)
def test_user_parameters_are_numbers_if_they_can_be(
    kind: str, text: str, value: float | str
) -> None:
    tag = f"userParameter{kind}"
    parameter = f"<{tag}><name>own</name><value>{text}</value></{tag}>"
    header = read_header(replaced("<userParameters>", f"<userParameters>{parameter}"))
    assert header.user_parameters["own"] == value
    assert type(header.user_parameters["own"]) is type(value)


def test_a_parameter_without_a_name_is_passed_over() -> None:
    header = read_header(replaced("<name>Note</name>", ""))
    assert set(header.user_parameters) == {"EmbeddedRefLinesE1", "MaxwellCoefficient_0"}


def test_half_a_character_is_passed_over() -> None:
    assert read_header(replaced("heart qsm", "heart\udc80 qsm")).protocol_name == "heart qsm"
