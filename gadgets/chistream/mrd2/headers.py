"""The header of MRD version 2, an object, to the XML of version 1 and back.

Both say the same under almost the same names, so that the one is walked by the other's types: what
version 2 calls ``field_of_view_mm`` is ``fieldOfView_mm``.
"""

import datetime as dt
import re
import typing
from enum import Enum
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

import mrd
import numpy as np

from chistream.stream.header_tree import ROOT, parse_header

NAMESPACE = "http://www.ismrm.org/ISMRMRD"

_NAMES = {
    "device_id": "deviceID",
    "echo_spacing": "echo_spacing",
    "field_of_view_mm": "fieldOfView_mm",
    "flip_angle_deg": "flipAngle_deg",
    "frame_of_reference_uid": "frameOfReferenceUID",
    "h1resonance_frequency_hz": "H1resonanceFrequency_Hz",
    "measurement_id": "measurementID",
    "multiband_factor": "multiband_factor",
    "calibration_encoding": "calibration_encoding",
    "patient_height_m": "patientHeight_m",
    "patient_id": "patientID",
    "patient_weight_kg": "patientWeight_kg",
    "referenced_sop_instance_uid": "referencedSOPInstanceUID",
    "sequence_type": "sequence_type",
    "series_instance_uid_root": "seriesInstanceUIDRoot",
    "study_id": "studyID",
    "study_instance_uid": "studyInstanceUID",
    "system_field_strength_t": "systemFieldStrength_T",
    "t_e": "TE",
    "t_i": "TI",
    "t_r": "TR",
}
"""Names of version 1 that are not the camel case of version 2's."""

_KEPT = re.compile(r"(kspace_encoding_step|user)_\d")
_CAPITALS = (mrd.PatientPosition, mrd.PatientGender)
_CALIBRATIONS = {"SEPARABLE_2D": "separable2D", "FULL_3D": "full3D"}


def to_xml(header: mrd.Header) -> str:
    """Write a header of version 2 as XML.

    Parameters
    ----------
    header
        The header.

    Returns
    -------
    str
        The header of version 1, that says all of it.
    """
    root = Element(ROOT, {"xmlns": NAMESPACE})
    _write(header, root)
    text: str = tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'


def from_xml(xml: str) -> mrd.Header:
    """Read XML into a header of version 2.

    Parameters
    ----------
    xml
        A header of version 1. Need not obey the schema: what version 2 has no place for, or what
        makes no sense, is left out.

    Returns
    -------
    mrd.Header
        The header.

    Raises
    ------
    HeaderError
        If it is no XML, or no MRD header.
    """
    header: mrd.Header = _built(mrd.Header, parse_header(xml).element)
    return header


def _write(source: object, parent: Element) -> None:
    for name, value in vars(source).items():
        for item in value if isinstance(value, list) else [value]:
            if item is not None:
                _write_item(item, SubElement(parent, _xml_name(name)))


def _write_item(item: object, element: Element) -> None:
    match item:
        case mrd.CalibrationMode.NOACCELERATION:
            element.text = "other"
        case Enum():
            element.text = _enum_text(item)
        case float():
            # Kept in single precision; the shortest text that reads back as that is what was meant.
            element.text = str(np.float32(item))
        case int() | str():
            element.text = str(item)
        case dt.date():
            element.text = item.isoformat()
        case mrd.Time():
            element.text = _time_text(item)
        case _:
            _write(item, element)
            _restore_doubles(item, element)


def _restore_doubles(item: object, element: Element) -> None:
    if isinstance(item, mrd.UserParameterDoubleType):
        value = next(child for child in element if child.tag == "value")
        value.text = repr(float(item.value))


def _enum_text(item: Enum) -> str:
    if isinstance(item, _CAPITALS):
        return str(item.name).replace("_", "")
    return _CALIBRATIONS.get(item.name, str(item.name).lower())


def _time_text(time: mrd.Time) -> str:
    seconds, fraction = divmod(int(time.numpy_value.astype(int)), 10**9)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{clock}.{fraction:09}".rstrip("0") if fraction else clock


def _xml_name(name: str) -> str:
    if _KEPT.fullmatch(name):
        return name
    first, *rest = name.split("_")
    return _NAMES.get(name) or first + "".join(part.capitalize() for part in rest)


def _built(kind: Any, element: Element) -> Any:  # noqa: ANN401  (whatever the type says)
    hints = typing.get_type_hints(kind)
    found: dict[str, list[Element]] = {}
    for child in element:
        found.setdefault(child.tag.rpartition("}")[2], []).append(child)
    values = {
        name: _values(hint, found[_xml_name(name)])
        for name, hint in hints.items()
        if _xml_name(name) in found
    }
    given = {name: value for name, value in values.items() if value is not None}
    return kind(**{**_defaults(kind), **given})


def _defaults(kind: Any) -> dict[str, Any]:  # noqa: ANN401
    """Fill what version 2 demands and headers in the field leave out."""
    if kind is mrd.MeasurementInformationType:
        return {"patient_position": mrd.PatientPosition.H_FS}
    if kind is mrd.EncodingType:
        return {"trajectory": mrd.Trajectory.CARTESIAN}
    if kind is mrd.WaveformInformationType:
        return {"waveform_type": mrd.WaveformType.OTHER}
    if kind is mrd.MultibandType:
        return {"calibration": mrd.Calibration.OTHER}
    return {}


def _values(hint: Any, elements: list[Element]) -> Any:  # noqa: ANN401
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is list:
        read = [_value(arguments[0], element) for element in elements]
        return [value for value in read if value is not None]
    return _value(arguments[0] if arguments else hint, elements[0])


def _value(kind: Any, element: Element) -> Any:  # noqa: ANN401
    text = (element.text or "").strip()
    try:
        if kind is str:
            return text
        if kind is int:
            return round(float(text))
        if kind is float:
            return float(text)
        if kind is dt.date:
            return dt.date.fromisoformat(text)
        if kind is mrd.Time:
            return _time_of(text)
        if issubclass(kind, Enum):
            return _enum_of(kind, text)
    except (ValueError, OverflowError):
        return None
    return _built(kind, element)


def _enum_of(kind: type[Enum], text: str) -> Enum | None:
    plain = text.replace("_", "").upper()
    named = {item.name.replace("_", ""): item for item in kind}
    return named.get(plain, named.get("OTHER"))


def _time_of(text: str) -> mrd.Time:
    clock, _, fraction = text.partition(".")
    hour, minute, second = (int(part) for part in clock.split(":"))
    digits = re.match(r"\d{0,9}", fraction)
    nanoseconds = int((digits.group() if digits else "").ljust(9, "0"))
    return mrd.Time.from_components(hour, minute, second, nanoseconds)
