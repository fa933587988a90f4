"""The settings of a reconstruction: one schema for the console, Gadgetron, files and the shell.

Names are the same everywhere. They are compared without case, underscores and hyphens, since
OpenRecon allows only letters and digits: ``rvRoi``, ``rv_roi`` and ``--set rv-roi=...`` are one.
"""

import json
import reprlib
from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element

from pydantic import ValidationError

from chistream.errors import SettingsError
from chistream.schema import Settings
from chistream.untrusted import Refused, parse_json, parse_xml

__all__ = [
    "Settings",
    "describe_settings",
    "known_settings_only",
    "parse_assignments",
    "parse_configuration",
    "parse_settings",
    "parse_settings_text",
    "parse_settings_xml",
]

MAX_SETTINGS_CHARACTERS = 65_536
_MAX_NAME, _MAX_UNKNOWN = 40, 20  # of names without meaning: they are shown to a person
MAX_CONFIGURATION_CHARACTERS = 2**20
"""Longest XML that is read: Gadgetron sends the whole stream that a node is part of."""


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
    unknown = tuple(name[:_MAX_NAME] for name in values if _plain(name) not in names)[:_MAX_UNKNOWN]
    try:
        return Settings(**known), unknown
    except ValidationError as error:
        details = error.errors()
        refused = ", ".join(sorted({str(one["loc"][0]) for one in details if one["loc"]}))
        for_the_log = f"settings refused: {refused or 'all together'}"
        raise SettingsError("; ".join(map(_sentence, details)), for_the_log) from None


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
    if len(text) <= MAX_SETTINGS_CHARACTERS and not text.strip():
        return Settings(), ()
    try:
        content = parse_json(text, MAX_SETTINGS_CHARACTERS)
    except Refused as error:
        raise SettingsError(f"the settings' text cannot be read: {error}") from None
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
        If the text is no XML, declares entities, is too large, or a value is refused.
    """
    root = parse_configuration(xml)
    return parse_settings(
        {_named(node, "name"): _named(node, "value") for node in _properties(root)}
    )


def parse_configuration(xml: str) -> Element:
    """Parse the XML that a client configures us with.

    Parameters
    ----------
    xml
        The text.

    Returns
    -------
    Element
        Its root.

    Raises
    ------
    SettingsError
        If it is no XML, has a document type or entities, or is too large.
    """
    try:
        return parse_xml(xml, MAX_CONFIGURATION_CHARACTERS)
    except Refused as error:
        raise SettingsError(f"configuration is no readable XML: {error}") from None


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
    return f"{name} = {reprlib.repr(error['input'])}: {error['msg']}{meaning}"
