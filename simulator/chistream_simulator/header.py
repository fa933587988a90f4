"""The XML header of a simulated scan, valid against ismrmrd.xsd."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from chistream.arrays import Size, Vector
from chistream_simulator.timing.lines import Limit

NAMESPACE = "http://www.ismrm.org/ISMRMRD"

Tree: TypeAlias = "Mapping[str, Tree | Sequence[Tree | str | float] | str | float]"
"""Elements by name, in the order of the schema; a sequence repeats its element."""

Profile: TypeAlias = Literal["converter", "plain"]
"""Who writes: siemens_to_ismrmrd, or a program that knows MRD and no vendor."""

CalibrationMode: TypeAlias = Literal["embedded", "interleaved", "separate", "external", "other"]

WAVEFORMS = {"ECG": "ecg", "RESP": "respiratory"}
"""What a plain writer tells of: the waveforms that there are."""

CONVERTER_WAVEFORMS = (
    ("ECG", "ecg", 4),
    ("PULS", "pulse", 1),
    ("RESP", "respiratory", 1),
    ("EXT1", "other", 1),
    ("EXT2", "other", 1),
)
"""Name, type and trigger channel of what siemens_to_ismrmrd tells of, whether it is there or not:
once as acquired and once as learnt, with ids 0 to 9."""

MAXWELL_COEFFICIENTS = 16
"""That the converter copies; all zero in a sequence that encodes no velocity."""

_NO_LIMIT = Limit(0, 0, 0)


@dataclass(frozen=True)
class ScanDescription:
    """What the header says.

    Parameters
    ----------
    protocol
        Name of the protocol.
    h1_frequency
        [Hz].
    B0
        Field strength [T].
    n_coils
        Receive channels.
    noise_bandwidth_ratio
        relativeReceiverNoiseBandwidth.
    encoded_size, recon_size
        Matrices ``(z, y, x)``.
    encoded_fov, recon_fov
        Fields of view ``(z, y, x)`` [mm].
    TE, TR, flip_angle
        Echo times [s], repetition time [s] and excitation angle [degrees]; the last two may be
        unknown (None).
    user_parameters
        Numbers and texts by name.
    waveforms
        Whether ECG and RESP accompany the readouts.
    limits
        Smallest, largest and central counters of encode steps ``(2, 1)``, that is (z, y), in the
        writer's own way; None: of the whole encoded matrix.
    acceleration
        Along ``(z, y)``.
    calibration
        How calibration lines are taken.
    calibration_lines
        Their number along ``(z, y)``, if they are embedded.
    echo_spacing
        Between echoes, if they are equally far apart [s].
    profile
        Who writes.
    """

    protocol: str
    h1_frequency: float
    B0: float
    n_coils: int
    noise_bandwidth_ratio: float
    encoded_size: Size
    recon_size: Size
    encoded_fov: Vector
    recon_fov: Vector
    TE: Sequence[float]
    TR: float | None = None
    flip_angle: float | None = None
    user_parameters: Mapping[str, int | float | str] = field(default_factory=dict)
    waveforms: bool = False
    limits: tuple[Limit, Limit] | None = None
    acceleration: tuple[int, int] = (1, 1)
    calibration: CalibrationMode = "other"
    calibration_lines: tuple[int, int] | None = None
    echo_spacing: float | None = None
    profile: Profile = "plain"

    @property
    def converted(self) -> bool:
        """Whether siemens_to_ismrmrd wrote it."""
        return self.profile == "converter"


def header_xml(scan: ScanDescription) -> str:
    """Write the header of a Cartesian 3D multi-echo scan.

    Parameters
    ----------
    scan
        What it says.

    Returns
    -------
    str
        XML text. Times are in milliseconds, as the schema has them.

    Notes
    -----
    The converter's header has limits of every counter but encode step 0, a sequence type, an
    interleaving dimension, lines of the embedded calibration and Maxwell coefficients among the
    user parameters, and ten waveforms.

    References
    ----------
    .. [1] IsmrmrdParameterMap_Siemens.xsl and main.cpp,
       https://github.com/ismrmrd/siemens_to_ismrmrd
    """
    tree: Tree = {
        "measurementInformation": {
            "measurementID": "1",
            "patientPosition": "HFS",
            "protocolName": scan.protocol,
        },
        "acquisitionSystemInformation": {
            "systemVendor": "ChiStream",
            "systemModel": "simulator",
            "systemFieldStrength_T": round(scan.B0, 6),
            "relativeReceiverNoiseBandwidth": scan.noise_bandwidth_ratio,
            "receiverChannels": scan.n_coils,
        },
        "experimentalConditions": {"H1resonanceFrequency_Hz": round(scan.h1_frequency)},
        "encoding": _encoding(scan),
        "sequenceParameters": _sequence(scan),
        "userParameters": _user_parameters({**scan.user_parameters, **_converters_own(scan)}),
        **({"waveformInformation": _waveforms(scan)} if scan.waveforms else {}),
    }
    root = Element("ismrmrdHeader", {"xmlns": NAMESPACE})
    _grow(root, tree)
    indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root, encoding="unicode")


def _encoding(scan: ScanDescription) -> Tree:
    return {
        "encodedSpace": _space(scan.encoded_size, scan.encoded_fov),
        "reconSpace": _space(scan.recon_size, scan.recon_fov),
        "encodingLimits": _limits(scan),
        "trajectory": "cartesian",
        "parallelImaging": _parallel_imaging(scan),
    }


def _limits(scan: ScanDescription) -> Tree:
    step_2, step_1 = scan.limits or (_whole(n) for n in scan.encoded_size[:2])
    contrast = Limit(0, len(scan.TE) - 1, 0)
    limits = {"kspace_encoding_step_1": step_1, "kspace_encoding_step_2": step_2}
    if scan.converted:
        limits |= {"average": _NO_LIMIT, "slice": _NO_LIMIT, "contrast": contrast}
        limits |= dict.fromkeys(("phase", "repetition", "set", "segment"), _NO_LIMIT)
    else:
        limits = {"kspace_encoding_step_0": _whole(scan.encoded_size[2]), **limits}
        limits["contrast"] = contrast
    return {
        name: {"minimum": limit.minimum, "maximum": limit.maximum, "center": limit.centre}
        for name, limit in limits.items()
    }


def _whole(n: int) -> Limit:
    return Limit(0, n - 1, n // 2)


def _parallel_imaging(scan: ScanDescription) -> Tree:
    z, y = scan.acceleration
    return {
        "accelerationFactor": {"kspace_encoding_step_1": y, "kspace_encoding_step_2": z},
        "calibrationMode": scan.calibration,
        # What the converter makes of a scan without calibration lines.
        **(
            {"interleavingDimension": "other"}
            if scan.converted and scan.calibration == "other"
            else {}
        ),
    }


def _space(size: Size, fov: Vector) -> Tree:
    axes = ("z", "y", "x")
    return {
        "matrixSize": dict(sorted(zip(axes, size, strict=True))),
        "fieldOfView_mm": dict(sorted(zip(axes, fov, strict=True))),
    }


def _sequence(scan: ScanDescription) -> Tree:
    return {
        **({} if scan.TR is None else {"TR": _milliseconds(scan.TR)}),
        "TE": [_milliseconds(t) for t in scan.TE],
        **({} if scan.flip_angle is None else {"flipAngle_deg": scan.flip_angle}),
        **({"sequence_type": "Flash"} if scan.converted else {}),
        **({} if scan.echo_spacing is None else {"echo_spacing": _milliseconds(scan.echo_spacing)}),
    }


def _milliseconds(seconds: float) -> float:
    return round(1e3 * seconds, 9)


def _user_parameters(values: Mapping[str, int | float | str]) -> Tree:
    groups: dict[str, list[Tree]] = {
        "userParameterLong": [],
        "userParameterDouble": [],
        "userParameterString": [],
    }
    for name, value in values.items():
        kind = {int: "Long", float: "Double", str: "String"}[type(value)]
        groups[f"userParameter{kind}"].append({"name": name, "value": value})
    return {name: entries for name, entries in groups.items() if entries}


def _converters_own(scan: ScanDescription) -> dict[str, int | float | str]:
    if not scan.converted:
        return {}
    own: dict[str, int | float | str] = {}
    if scan.calibration_lines is not None:
        own["EmbeddedRefLinesE2"], own["EmbeddedRefLinesE1"] = scan.calibration_lines
    return own | {f"MaxwellCoefficient_{i}": 0.0 for i in range(MAXWELL_COEFFICIENTS)}


def _waveforms(scan: ScanDescription) -> Sequence[Tree]:
    if scan.converted:
        # As acquired, and once more as learnt.
        return [_waveform(*entry) for entry in (*CONVERTER_WAVEFORMS, *CONVERTER_WAVEFORMS)]
    return [_waveform(name, kind, 1) for name, kind in WAVEFORMS.items()]


def _waveform(name: str, kind: str, trigger_channel: int) -> Tree:
    trigger: Tree = {"name": "TriggerChannel", "value": trigger_channel}
    return {
        "waveformName": name,
        "waveformType": kind,
        "userParameters": {"userParameterLong": trigger},
    }


def _grow(parent: Element, tree: Tree) -> None:
    for name, content in tree.items():
        items = content if isinstance(content, list) else [content]
        for item in items:
            child = SubElement(parent, name)
            if isinstance(item, Mapping):
                _grow(child, item)
            else:
                child.text = str(item)
