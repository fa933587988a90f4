"""The tree of an XML header, read by names alone and never trusted.

Namespaces, unknown elements, their order and their attributes are looked over: scanners and
converters differ in all of them. What would make the parser itself do work that the text does not
show (a document type, entities, references to other files) is refused.
"""

import math
import re
from xml.etree.ElementTree import Element

from chistream.errors import HeaderError
from chistream.untrusted import ForbiddenMarkup, Refused, parse_xml

MAX_HEADER_BYTES = 2**24
"""Largest header that is parsed [characters or bytes]."""

ROOT = "ismrmrdHeader"

# Some scanners' private text blocks hold control characters, which XML does not allow.
_NOT_XML = re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


_NEARLY_A_NUMBER = re.compile(r"(?i)[-+0-9.,e ]{0,24}|[-+]?(nan|inf|infinity)")


class Branch:
    """An element of the header and what lies below it.

    Parameters
    ----------
    element
        The element.
    path
        Names from the root to it, for messages.
    warnings
        Where to put what is odd but does not matter enough to stop.
    """

    def __init__(self, element: Element, path: str, warnings: list[str]) -> None:
        self._element = element
        self._path = path
        self.warnings = warnings

    @property
    def element(self) -> Element:
        """The element itself."""
        return self._element

    def path_to(self, name: str) -> str:
        """Name an element below this one, for a message."""
        return f"{self._path}/{name}" if self._path else name

    def branches(self, name: str) -> list["Branch"]:
        """Return all elements of this name right below."""
        return [
            Branch(element, self.path_to(name), self.warnings)
            for element in self._element
            if element.tag.rpartition("}")[2] == name
        ]

    def branch(self, *names: str) -> "Branch | None":
        """Follow names downwards, the first of each; None where one is missing."""
        found = self
        for name in names:
            below = found.branches(name)
            if not below:
                return None
            found = below[0]
        return found

    def branch_or_empty(self, *names: str) -> "Branch":
        """Follow names downwards; where one is missing, return an element with nothing below."""
        path = self.path_to("/".join(names))
        return self.branch(*names) or Branch(Element(names[-1]), path, self.warnings)

    def needed(self, name: str, remedy: str) -> "Branch":
        """Return the element of this name right below.

        Raises
        ------
        HeaderError
            If there is none, with what to do.
        """
        found = self.branch(name)
        if found is None:
            raise HeaderError(f"the header has no {self.path_to(name)}: {remedy}")
        return found

    def text(self, *names: str) -> str | None:
        """Return the text of an element below, without white space; None if there is none."""
        found = self.branch(*names)
        return found.own_text() if found else None

    def own_text(self) -> str | None:
        """Return the text of this element, without white space; None if there is none."""
        return (self._element.text or "").strip() or None

    def number(self, *names: str) -> float | None:
        """Return the number in an element below; None, with a warning, if it is no number."""
        text = self.text(*names)
        if text is None:
            return None
        value = number_in(text)
        if value is None:
            self.warn(f"{self.path_to('/'.join(names))} is no number: {_shown(text)}; ignored")
        return value

    def positive(self, name: str, remedy: str) -> float:
        """Return the number > 0 in an element right below.

        Raises
        ------
        HeaderError
            If it is missing, no number, or not positive, with what to do.
        """
        text = self.needed(name, remedy).own_text() or ""
        value = number_in(text)
        if value is None or value <= 0:
            raise HeaderError(
                f"the header's {self.path_to(name)} is {_shown(text)}, not a positive number: "
                f"{remedy}"
            )
        return value

    def warn(self, warning: str) -> None:
        """Take note of something odd."""
        self.warnings.append(warning)


def number_in(text: str) -> float | None:
    """Return the finite number that a text is, or None.

    Parameters
    ----------
    text
        Such as ``"4.1"`` or ``"123.2e6"``, where the schema has an integer too.

    Returns
    -------
    float or None
        The number; None for NaN and infinity as well.

    Examples
    --------
    >>> number_in("123.2e6"), number_in("NaN"), number_in("1,5")
    (123200000.0, None, None)
    """
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _shown(text: str) -> str:
    """Quote what looks like a number gone wrong; what else it is may be about a person."""
    return repr(text) if _NEARLY_A_NUMBER.fullmatch(text) else f"a text of {len(text)} characters"


def parse_header(xml: str | bytes) -> Branch:
    """Parse the text of a header.

    Parameters
    ----------
    xml
        The text; may begin with a byte order mark, end in NUL, be of any namespace or of none, and
        hold control characters. Bytes that are not UTF-8 are taken as Latin-1.

    Returns
    -------
    Branch
        The root.

    Raises
    ------
    HeaderError
        If it is too large, too deep, no XML, no MRD header, or has a document type or entities.
    """
    if len(xml) > MAX_HEADER_BYTES:
        raise HeaderError(f"the header takes {len(xml)} of at most {MAX_HEADER_BYTES} bytes")
    warnings: list[str] = []
    text = xml if isinstance(xml, str) else _decoded(xml, warnings)
    text = _NOT_XML.sub("", text.split("\0", 1)[0].lstrip("\ufeff").strip())
    if not text:
        raise HeaderError("the header is empty: send the XML header of the scan before its data")
    try:
        root = parse_xml(text, MAX_HEADER_BYTES)
    except ForbiddenMarkup:
        raise HeaderError(
            "the header has a document type or entities, which no scan needs: refused"
        ) from None
    except Refused as error:
        raise HeaderError(f"the header cannot be read: {error}") from None
    name = root.tag.rpartition("}")[2]
    if name != ROOT:
        raise HeaderError(
            f"the header's root is <{name[:40]}>, not <{ROOT}>: this is no MRD header"
        )
    return Branch(root, "", warnings)


def _decoded(xml: bytes, warnings: list[str]) -> str:
    try:
        return xml.decode()
    except UnicodeDecodeError:
        warnings.append("the header is not UTF-8; read as Latin-1, so names may look odd")
        return xml.decode("latin-1")
