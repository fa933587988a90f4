"""Meta attributes of an image as ``<ismrmrdMeta>`` XML, there and back."""

import re
import xml.etree.ElementTree as ET  # writes only; reading goes through defusedxml
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from chistream.untrusted import Refused, parse_xml

AttributeValue: TypeAlias = str | int | float | Sequence[str | int | float]
"""One value or several; floats are written so that they read back exactly."""

_MAX_CHARACTERS = 2**24
# What XML 1.0 cannot hold, escaped or not: most control characters, lone surrogates, U+FFFE/F.
_UNWRITABLE = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_attributes(attributes: Mapping[str, AttributeValue]) -> str:
    """Write meta attributes as the XML text that goes with an image.

    Parameters
    ----------
    attributes
        Values by name; a sequence becomes several ``<value>`` elements.

    Returns
    -------
    str
        Well-formed XML with the root ``ismrmrdMeta``, to be encoded as UTF-8. Characters that XML
        cannot hold become a space.

    Examples
    --------
    >>> read_attributes(write_attributes({"ImageComments": "chi < 0 & R2* > 0"}))
    {'ImageComments': ['chi < 0 & R2* > 0']}
    """
    root = ET.Element("ismrmrdMeta")
    for name, value in attributes.items():
        meta = ET.SubElement(root, "meta")
        ET.SubElement(meta, "name").text = _writable(name)
        for item in [value] if isinstance(value, str | int | float) else value:
            ET.SubElement(meta, "value").text = _writable(str(item))
    xml: bytes = ET.tostring(root, encoding="UTF-8", xml_declaration=True)
    return xml.decode("utf-8")


def read_attributes(xml: str) -> dict[str, list[str]]:
    """Read meta attributes, as any MRD peer writes them.

    Parameters
    ----------
    xml
        The XML text; empty is no attributes, a trailing NUL is cut.

    Returns
    -------
    dict[str, list[str]]
        Values by name, repeated names joined.

    Raises
    ------
    ValueError
        If the text is no XML, or its root is not ``ismrmrdMeta``.
    """
    text = xml.partition("\0")[0]
    attributes: dict[str, list[str]] = {}
    if not text.strip():
        return attributes
    try:
        root = parse_xml(text, _MAX_CHARACTERS)
    except Refused as error:
        raise ValueError(f"the image's attributes cannot be read: {error}") from None
    if root.tag != "ismrmrdMeta":
        raise ValueError(f"the image's attributes have the root {root.tag!r}, not 'ismrmrdMeta'")
    for meta in root.iter("meta"):
        values = [value.text or "" for value in meta.iter("value")]
        attributes.setdefault(meta.findtext("name", ""), []).extend(values)
    return attributes


def _writable(text: str) -> str:
    return _UNWRITABLE.sub(" ", text)
