"""The XML header of a simulated scan, valid against ismrmrd.xsd."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from chistream.arrays import Size, Vector

NAMESPACE = "http://www.ismrm.org/ISMRMRD"

Tree: TypeAlias = "Mapping[str, Tree | Sequence[Tree | str | float] | str | float]"
"""Elements by name, in the order of the schema; a sequence repeats its element."""

WAVEFORMS = {"ECG": "ecg", "RESP": "respiratory"}


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
        "userParameters": _user_parameters(scan.user_parameters),
        **({"waveformInformation": _waveforms()} if scan.waveforms else {}),
    }
    root = Element("ismrmrdHeader", {"xmlns": NAMESPACE})
    _grow(root, tree)
    indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root, encoding="unicode")


def _encoding(scan: ScanDescription) -> Tree:
    nz, ny, nx = scan.encoded_size
    return {
        "encodedSpace": _space(scan.encoded_size, scan.encoded_fov),
        "reconSpace": _space(scan.recon_size, scan.recon_fov),
        "encodingLimits": {
            "kspace_encoding_step_0": _limit(nx),
            "kspace_encoding_step_1": _limit(ny),
            "kspace_encoding_step_2": _limit(nz),
            "contrast": {**_limit(len(scan.TE)), "center": 0},
        },
        "trajectory": "cartesian",
        "parallelImaging": {
            "accelerationFactor": {"kspace_encoding_step_1": 1, "kspace_encoding_step_2": 1},
            "calibrationMode": "other",
        },
    }


def _space(size: Size, fov: Vector) -> Tree:
    axes = ("z", "y", "x")
    return {
        "matrixSize": dict(sorted(zip(axes, size, strict=True))),
        "fieldOfView_mm": dict(sorted(zip(axes, fov, strict=True))),
    }


def _limit(n: int) -> dict[str, int]:
    return {"minimum": 0, "maximum": n - 1, "center": n // 2}


def _sequence(scan: ScanDescription) -> Tree:
    return {
        **({} if scan.TR is None else {"TR": _milliseconds(scan.TR)}),
        "TE": [_milliseconds(t) for t in scan.TE],
        **({} if scan.flip_angle is None else {"flipAngle_deg": scan.flip_angle}),
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


def _waveforms() -> Sequence[Tree]:
    return [
        {
            "waveformName": name,
            "waveformType": kind,
            "userParameters": {"userParameterLong": {"name": "TriggerChannel", "value": 1}},
        }
        for name, kind in WAVEFORMS.items()
    ]


def _grow(parent: Element, tree: Tree) -> None:
    for name, content in tree.items():
        items = content if isinstance(content, list) else [content]
        for item in items:
            child = SubElement(parent, name)
            if isinstance(item, Mapping):
                _grow(child, item)
            else:
                child.text = str(item)
