"""The XML header of both profiles, as strict readers and ours see it."""

from dataclasses import replace
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest
from ismrmrd import xsd

from chistream.stream.header import read_header
from chistream_simulator.header import ScanDescription, header_xml
from chistream_simulator.timing.lines import Limit

SCAN = ScanDescription(
    protocol="simulated_chest",
    h1_frequency=123.2e6,
    B0=2.8936,
    n_coils=16,
    noise_bandwidth_ratio=0.793,
    encoded_size=(24, 144, 512),
    recon_size=(24, 144, 256),
    encoded_fov=(120.0, 270.0, 720.0),
    recon_fov=(120.0, 270.0, 360.0),
    TE=(1.7e-3, 4.0e-3, 6.3e-3),
    TR=15e-3,
    flip_angle=15.0,
    user_parameters={"NavigatorFieldOfView_mm": 256.0, "Orientation": "axial"},
    waveforms=True,
)
CONVERTED = replace(
    SCAN,
    profile="converter",
    limits=(Limit(0, 18, 7), Limit(0, 107, 72)),
    acceleration=(1, 2),
    calibration="embedded",
    calibration_lines=(24, 32),
    echo_spacing=2.3e-3,
)
SEQUENCES = {
    "ismrmrdHeader": (
        "measurementInformation",
        "acquisitionSystemInformation",
        "experimentalConditions",
        "encoding",
        "sequenceParameters",
        "userParameters",
        "waveformInformation",
    ),
    "measurementInformation": ("measurementID", "patientPosition", "protocolName"),
    "acquisitionSystemInformation": (
        "systemVendor",
        "systemModel",
        "systemFieldStrength_T",
        "relativeReceiverNoiseBandwidth",
        "receiverChannels",
    ),
    "matrixSize": ("x", "y", "z"),
    "fieldOfView_mm": ("x", "y", "z"),
    "sequenceParameters": ("TR", "TE", "flipAngle_deg", "sequence_type", "echo_spacing"),
    "parallelImaging": ("accelerationFactor", "calibrationMode", "interleavingDimension"),
    "userParameters": ("userParameterLong", "userParameterDouble", "userParameterString"),
    "waveformInformation": ("waveformName", "waveformType", "userParameters"),
}
"""Order of the schema's sequences (xs:sequence), of which each may leave some out."""


def document_of(scan: ScanDescription) -> Any:  # noqa: ANN401
    return xsd.CreateFromDocument(header_xml(scan))


def limits_of(scan: ScanDescription) -> dict[str, tuple[int, int, int]]:
    found = vars(document_of(scan).encoding[0].encodingLimits)
    return {
        name: (limit.minimum, limit.maximum, limit.center) for name, limit in found.items() if limit
    }


@pytest.mark.parametrize("scan", [SCAN, CONVERTED, replace(SCAN, profile="converter")])
def test_elements_stand_in_the_schemas_order(scan: ScanDescription) -> None:
    for element in fromstring(header_xml(scan)).iter():  # noqa: S314
        order = SEQUENCES.get(element.tag.split("}")[1])
        if order:
            places = [order.index(child.tag.split("}")[1]) for child in element]
            assert places == sorted(places), element.tag


def test_a_plain_writer_limits_every_encode_step_to_the_matrix() -> None:
    assert limits_of(SCAN) == {
        "kspace_encoding_step_0": (0, 511, 256),
        "kspace_encoding_step_1": (0, 143, 72),
        "kspace_encoding_step_2": (0, 23, 12),
        "contrast": (0, 2, 0),
    }
    partial = replace(SCAN, limits=(Limit(5, 23, 12), Limit(36, 143, 72)))
    assert limits_of(partial)["kspace_encoding_step_1"] == (36, 143, 72)
    assert limits_of(partial)["kspace_encoding_step_2"] == (5, 23, 12)


def test_the_converter_limits_all_counters_but_the_readout() -> None:
    nothing = dict.fromkeys(("average", "slice", "phase", "repetition", "set", "segment"), (0,) * 3)
    assert limits_of(CONVERTED) == {
        "kspace_encoding_step_1": (0, 107, 72),
        "kspace_encoding_step_2": (0, 18, 7),
        "contrast": (0, 2, 0),
        **nothing,
    }


def test_both_tell_sizes_times_and_system() -> None:
    for scan in (SCAN, CONVERTED):
        document = document_of(scan)
        encoding = document.encoding[0]
        size, fov = encoding.encodedSpace.matrixSize, encoding.encodedSpace.fieldOfView_mm
        assert (size.x, size.y, size.z) == (512, 144, 24)
        assert (fov.x, fov.y, fov.z) == (720, 270, 120)
        assert encoding.reconSpace.matrixSize.x == 256
        assert encoding.reconSpace.fieldOfView_mm.x == 360
        assert encoding.trajectory.value == "cartesian"
        sequence = document.sequenceParameters
        assert sequence.TE == [1.7, 4.0, 6.3]
        assert (sequence.TR, sequence.flipAngle_deg) == ([15.0], [15.0])
        assert document.acquisitionSystemInformation.receiverChannels == 16
        assert read_header(header_xml(scan)).h1_frequency == 123.2e6


def test_parallel_imaging_is_told() -> None:
    parallel = document_of(CONVERTED).encoding[0].parallelImaging
    factors = parallel.accelerationFactor
    assert (factors.kspace_encoding_step_1, factors.kspace_encoding_step_2) == (2, 1)
    assert parallel.calibrationMode.value == "embedded"
    assert parallel.interleavingDimension is None
    none = document_of(replace(SCAN, profile="converter")).encoding[0].parallelImaging
    assert (none.calibrationMode.value, none.interleavingDimension.value) == ("other", "other")
    assert document_of(SCAN).encoding[0].parallelImaging.interleavingDimension is None


def test_the_converter_has_parameters_of_its_own() -> None:
    user = document_of(CONVERTED).userParameters
    longs = {p.name: p.value for p in user.userParameterLong}
    assert longs == {"EmbeddedRefLinesE1": 32, "EmbeddedRefLinesE2": 24}
    doubles = {p.name: p.value for p in user.userParameterDouble}
    maxwell = {f"MaxwellCoefficient_{i}": 0.0 for i in range(16)}
    assert doubles == {"NavigatorFieldOfView_mm": 256.0, **maxwell}
    assert document_of(CONVERTED).sequenceParameters.sequence_type == "Flash"
    assert document_of(CONVERTED).sequenceParameters.echo_spacing == [2.3]

    user = document_of(SCAN).userParameters
    assert [p.name for p in user.userParameterDouble] == ["NavigatorFieldOfView_mm"]
    assert [(p.name, p.value) for p in user.userParameterString] == [("Orientation", "axial")]
    assert not document_of(SCAN).sequenceParameters.echo_spacing


def test_the_converter_tells_of_ten_waveforms_and_a_plain_writer_of_those_there_are() -> None:
    def told(scan: ScanDescription) -> list[tuple[str, str, int]]:
        return [
            (w.waveformName, w.waveformType.value, w.userParameters.userParameterLong[0].value)
            for w in document_of(scan).waveformInformation
        ]

    assert told(SCAN) == [("ECG", "ecg", 1), ("RESP", "respiratory", 1)]
    converted = told(CONVERTED)
    assert len(converted) == 10
    assert converted[:3] == [("ECG", "ecg", 4), ("PULS", "pulse", 1), ("RESP", "respiratory", 1)]
    assert converted[5:] == converted[:5]
    assert read_header(header_xml(CONVERTED)).waveform_names[2] == "RESP"
    assert not told(replace(CONVERTED, waveforms=False))


def test_what_is_not_known_is_not_told() -> None:
    document = document_of(replace(SCAN, TR=None, flip_angle=None))
    assert not document.sequenceParameters.TR
    assert not document.sequenceParameters.flipAngle_deg
