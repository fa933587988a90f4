"""The settings of a reconstruction: one schema for the console, Gadgetron, files and the shell.

Names are the same everywhere. They are compared without case, underscores and hyphens, since
OpenRecon allows only letters and digits: ``rvRoi``, ``rv_roi`` and ``--set rv-roi=...`` are one.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException, ElementTree
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from chistream.errors import SettingsError

Roi: TypeAlias = tuple[float, float, float, float]
"""A sphere in patient coordinates: centre L, P, S and radius [mm]."""

MAX_SETTINGS_CHARACTERS = 65_536

_HEAD_FIELD = r"(user_int|user_float|idx_user)\[[0-7]\]|flag\[([1-9]|[1-5]\d|6[0-4])\]"
"""A number in the head of a readout."""


def _split(value: object) -> object:
    """Take ``"a, b c"`` for a list; consoles have no list type."""
    if isinstance(value, str):
        return [part for part in re.split(r"[,;\s]+", value.strip()) if part]
    return value


def _none_if_empty(value: object) -> object:
    """Take an empty text field for a value that is not given."""
    return None if isinstance(value, str) and value.strip().lower() in {"", "none"} else value


def _split_or_none(value: object) -> object:
    return _split(_none_if_empty(value))


def _sphere(value: Roi | None) -> Roi | None:
    """Refuse a sphere that is nowhere or has no inside."""
    if value is not None and not (all(map(math.isfinite, value)) and value[3] > 0):
        raise ValueError("a sphere needs a finite centre and a radius > 0")
    return value


def _upper(value: object) -> object:
    parts = _split(value)
    return [str(part).upper() for part in parts] if isinstance(parts, list | tuple) else parts


def _integer(value: object) -> object:
    """Take ``"-1"`` for -1; a Literal does not convert by itself."""
    return int(value) if isinstance(value, str) and re.fullmatch(r"\s*[+-]?1\s*", value) else value


Sign: TypeAlias = Annotated[Literal[1, -1], BeforeValidator(_integer)]
OptionalFloat: TypeAlias = Annotated[float | None, BeforeValidator(_none_if_empty)]
OptionalRoi: TypeAlias = Annotated[
    Roi | None, BeforeValidator(_split_or_none), AfterValidator(_sphere)
]
Gating: TypeAlias = Literal[
    "auto", "navigator", "none", "window", "drift", "smallest", "two_bin", "soft"
]
ExtraSeries: TypeAlias = Literal["PHASE", "LOCAL_FIELD", "FIELD", "MASK"]


class Settings(BaseModel):
    """What a user can choose, with the defaults the product stands for."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    # acquisition
    phase_sign: Sign = Field(
        1, description="1: phase grows with the field; -1: the scanner does the opposite."
    )
    centre_source: Literal["auto", "user", "header"] = Field(
        "auto", description="Where the k-space centre is read: idx.user[5]/[6], header limits."
    )
    gating: Gating = Field(
        "auto",
        description="Which heartbeats count: none (all), window, drift (following), smallest "
        "complete window, two_bin, soft weights; navigator: the best of them; auto: the chain's "
        "own (cardiac_qsm gates).",
    )
    navigator_window: float = Field(
        5.0, gt=0, le=100, description="Accepted range of diaphragm positions [mm]."
    )
    navigator_fov: float = Field(
        256.0, gt=0, le=2000, description="Length of the navigator column [mm]."
    )
    navigator_estimator: Literal["correlation", "template", "edge"] = Field(
        "correlation", description="How navigator profiles are compared."
    )
    navigator_source: str = Field(
        "auto",
        pattern=rf"^(auto|profile|respiration|{_HEAD_FIELD})$",
        description="Where positions come from: profile, respiration, user_int[0], user_float[0], "
        "idx_user[0], flag[57]; auto: profiles, else the belt.",
    )
    navigator_unit: float = Field(
        0.1,
        ge=-100,
        le=100,
        description="Displacement towards the head for each unit of a reported position [mm].",
    )
    accept_source: str = Field(
        "none",
        pattern=rf"^(none|{_HEAD_FIELD})$",
        description="Where the scanner's verdict is, if it gated: user_int[1], flag[57], ...",
    )
    rr_tolerance: float = Field(
        0.25, ge=0, lt=0.5, description="Largest deviation of RR intervals, relative; 0: any."
    )
    tracking: Literal["off", "fixed", "estimate"] = Field(
        "estimate",
        description="Shift lines back by the heart's displacement; estimate: its factor.",
    )
    tracking_factor: float = Field(
        0.6, ge=-2, le=2, description="Displacement of the heart for that of the diaphragm."
    )
    prospective_tracking: float = Field(
        0.0, ge=-2, le=2, description="Part of it by which the sequence already moved the slab."
    )
    max_missing: float = Field(
        0.1, ge=0, le=1, description="Largest part of k-space that may be missing."
    )
    coil_compression: Literal["gcc", "svd", "off"] = Field(
        "gcc",
        description="Virtual coils: others at each x (gcc), the same all over (svd), or all coils.",
    )
    coil_energy: float = Field(
        0.999, gt=0, le=1, description="Part of the signal's energy that virtual coils keep."
    )
    # echoes
    parallel_imaging: Literal["auto", "grappa", "sense", "none"] = Field(
        "auto",
        description="Lines left out: grappa (auto, if accelerated), sense (auto, if lost), zeros.",
    )
    sensitivities: Literal["adaptive", "espirit"] = Field(
        "adaptive", description="How coils are learnt: voxel by voxel (Walsh), or by ESPIRiT."
    )
    partial_fourier: Literal["pocs", "zero"] = Field(
        "zero", description="Beyond the k-space covered: from smooth phase (POCS), or zeros."
    )
    bipolar: Literal["auto", "none"] = Field(
        "auto", description="Phase between echoes of opposite readout; auto: found and removed."
    )
    # field
    field: Literal["auto", "water_fat", "water"] = Field(
        "auto",
        description="What the echoes hold: water_fat separates fat, water alone; auto: water_fat "
        "in cardiac_qsm from 3 echoes on, else water.",
    )
    fat_spectrum: Literal["hamilton6", "hamilton9", "ren9", "single"] = Field(
        "hamilton6", description="Peaks of fat, by their publication; single: -3.4 ppm alone."
    )
    temperature: float = Field(
        37.0, ge=0, le=60, description="Of the object [degrees Celsius]; moves water against fat."
    )
    water_fat_start: Literal["global", "in_phase"] = Field(
        "global",
        description="Start of the separation: all fields in the whole image; in_phase: faster, "
        "unwraps echoes between which fat turns by whole cycles.",
    )
    fat_shift: Literal["fixed", "fitted"] = Field(
        "fixed", description="Distance of fat from water: as published, or fitted to the echoes."
    )
    # field to susceptibility
    background: Literal["auto", "pdf", "lbv"] = Field(
        "auto", description="Background removal before a local-field inversion; auto: pdf."
    )
    inversion: Literal["auto", "total_field", "medi", "tikhonov", "tkd"] = Field(
        "auto",
        description="Dipole inversion; auto: total_field in cardiac_qsm, medi in qsm.",
    )
    strength: OptionalFloat = Field(
        None, gt=0, description="Regularisation of the inversion; empty: the method's default."
    )
    # biomarkers
    lv_roi: OptionalRoi = Field(
        None, description="Left-ventricular blood: sphere L, P, S, radius [mm]."
    )
    rv_roi: OptionalRoi = Field(
        None, description="Right-ventricular blood: sphere L, P, S, radius [mm]."
    )
    hematocrit: OptionalFloat = Field(
        None, gt=0, le=1, description="Haematocrit as a fraction, e.g. 0.42."
    )
    hematocrit_se: float = Field(0.02, ge=0, le=0.5, description="Its standard error.")
    arterial_saturation: OptionalFloat = Field(
        None, gt=0, le=1, description="Arterial oxygen saturation as a fraction, e.g. 0.97."
    )
    calibration: Literal["wen2018", "spees2001", "jain2012"] = Field(
        "wen2018", description="Susceptibility of deoxygenated blood, by its publication."
    )
    # series
    profile: Literal["scanner", "research"] = Field(
        "scanner", description="scanner: 12-bit slices; research: float32 volumes."
    )
    series: Annotated[tuple[ExtraSeries, ...], BeforeValidator(_upper)] = Field(
        (), description="Further series to return: PHASE, FIELD, LOCAL_FIELD, MASK."
    )


def parse_settings(values: Mapping[str, Any]) -> tuple[Settings, tuple[str, ...]]:
    """Check settings given by name.

    Parameters
    ----------
    values
        Values by name; all may be strings.

    Returns
    -------
    tuple[Settings, tuple[str, ...]]
        The settings and the names that no setting has.

    Raises
    ------
    SettingsError
        If a value is not one the setting can take, with the name, the value and what is allowed.

    Examples
    --------
    >>> settings, unknown = parse_settings({"NavigatorWindow": "4.5", "colour": "red"})
    >>> settings.navigator_window, unknown
    (4.5, ('colour',))
    """
    names = {_plain(name): name for name in Settings.model_fields}
    known = {names[_plain(name)]: v for name, v in values.items() if _plain(name) in names}
    unknown = tuple(name for name in values if _plain(name) not in names)
    try:
        return Settings(**known), unknown
    except ValidationError as error:
        raise SettingsError("; ".join(map(_sentence, error.errors()))) from None


def parse_settings_text(text: str) -> tuple[Settings, tuple[str, ...]]:
    """Read the JSON text that a console sends after the header.

    Parameters
    ----------
    text
        ``{"parameters": {"name": value, ...}}``, or the inner object alone; may be empty.

    Returns
    -------
    tuple[Settings, tuple[str, ...]]
        The settings and the names that no setting has.

    Raises
    ------
    SettingsError
        If the text is no such JSON, or a value is refused.
    """
    if len(text) > MAX_SETTINGS_CHARACTERS:
        raise SettingsError(
            f"settings of {len(text)} characters; at most {MAX_SETTINGS_CHARACTERS} are read"
        )
    if not text.strip():
        return Settings(), ()
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"settings are no JSON: {error}") from None
    values = content.get("parameters", content) if isinstance(content, dict) else content
    if not isinstance(values, dict):
        raise SettingsError('settings must be JSON like {"parameters": {"hematocrit": 0.42}}')
    return parse_settings(values)


def parse_settings_xml(xml: str) -> tuple[Settings, tuple[str, ...]]:
    """Read the ``<property name="..." value="..."/>`` elements of a Gadgetron configuration.

    Parameters
    ----------
    xml
        The ``<configuration>`` element of the external node; properties at any depth, the value
        as attribute or as element.

    Returns
    -------
    tuple[Settings, tuple[str, ...]]
        The settings and the names that no setting has.

    Raises
    ------
    SettingsError
        If the text is no XML, declares entities, or a value is refused.
    """
    try:
        root: Element = ElementTree.fromstring(xml)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise SettingsError(f"configuration is no readable XML: {error}") from None
    return parse_settings(
        {_named(node, "name"): _named(node, "value") for node in _properties(root)}
    )


def parse_assignments(assignments: list[str]) -> dict[str, str]:
    """Split ``key=value`` texts of the command line.

    Parameters
    ----------
    assignments
        Texts like ``hematocrit=0.42``.

    Returns
    -------
    dict[str, str]
        Values by name; of a repeated name the last one.

    Raises
    ------
    SettingsError
        If a text has no ``=`` or no name.

    Examples
    --------
    >>> parse_assignments(["hematocrit=0.42", "series=FIELD,MASK"])
    {'hematocrit': '0.42', 'series': 'FIELD,MASK'}
    """
    pairs = [text.partition("=") for text in assignments]
    for name, equals, _ in pairs:
        if not (name.strip() and equals):
            raise SettingsError(f"{name!r} is no setting: write key=value, e.g. hematocrit=0.42")
    return {name.strip(): value.strip() for name, _, value in pairs}


def known_settings_only(parsed: tuple[Settings, tuple[str, ...]]) -> Settings:
    """Refuse unknown names, for callers whose user can correct them at once.

    Parameters
    ----------
    parsed
        What `parse_settings` returned.

    Returns
    -------
    Settings
        The settings.

    Raises
    ------
    SettingsError
        If there were unknown names; the message lists the known ones.
    """
    settings, unknown = parsed
    if unknown:
        known = ", ".join(Settings.model_fields)
        raise SettingsError(f"no setting is called {', '.join(unknown)}; there are {known}")
    return settings


def describe_settings() -> list[tuple[str, str, str]]:
    """List every setting as (name, default, description), for tables and help."""
    return [
        (name, json.dumps(field.default), field.description or "")
        for name, field in Settings.model_fields.items()
    ]


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").strip().lower()


def _properties(root: Element) -> list[Element]:
    return [node for node in root.iter() if node.tag.rpartition("}")[2] == "property"]


def _named(node: Element, name: str) -> str:
    children = {child.tag.rpartition("}")[2]: child.text or "" for child in node}
    return node.get(name) or children.get(name, "")


def _sentence(error: Any) -> str:  # noqa: ANN401  (pydantic's ErrorDetails)
    name = ".".join(str(part) for part in error["loc"])
    field = Settings.model_fields.get(str(error["loc"][0])) if error["loc"] else None
    meaning = f" ({field.description})" if field else ""
    return f"{name} = {error['input']!r}: {error['msg']}{meaning}"
