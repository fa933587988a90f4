"""Texts from the wire, parsed within bounds: XML and JSON that may be made to do harm.

What is found wrong is said without quoting the text, which may hold the name of a patient.
"""

import json
from typing import Any, NoReturn
from xml.etree.ElementTree import Element, ParseError, TreeBuilder
from xml.parsers.expat import ErrorString

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

MAX_DEPTH = 64
"""Deepest nesting of elements that is read; MRD headers have seven levels."""

MAX_ELEMENTS = 100_000
"""Most elements that are read; headers of large protocols have a few thousand."""

_PIECE = 2**16
_LONGEST_TOKEN = 2**18


class Refused(ValueError):
    """A text that is not what it should be, or asks for more than it gets."""


class ForbiddenMarkup(Refused):
    """A document type or entities."""


class _BoundedTree(TreeBuilder):
    """Builds the tree, but no deeper and no larger than is of use."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0
        self._n_elements = 0
        self.n_events = 0

    def start(self, tag: Any, attrs: Any, /) -> Element:  # noqa: ANN401  (expat's own)
        self._depth += 1
        self._n_elements += 1
        self.n_events += 1
        if self._depth > MAX_DEPTH:
            raise Refused(f"its elements are nested deeper than {MAX_DEPTH}")
        if self._n_elements > MAX_ELEMENTS:
            raise Refused(f"it has more than {MAX_ELEMENTS} elements")
        return super().start(tag, attrs)

    def end(self, tag: Any, /) -> Element:  # noqa: ANN401  (expat's own)
        self._depth -= 1
        self.n_events += 1
        return super().end(tag)

    def data(self, data: Any, /) -> None:  # noqa: ANN401  (expat's own)
        self.n_events += 1
        super().data(data)


def parse_xml(text: str, max_characters: int) -> Element:
    """Parse XML in bounded time and memory.

    Parameters
    ----------
    text
        The XML.
    max_characters
        Longest text that is looked at.

    Returns
    -------
    Element
        The root.

    Raises
    ------
    ForbiddenMarkup
        If it has a document type or entities.
    Refused
        If it is too long, too deep, of too many elements, or no XML.

    Notes
    -----
    A tag of a quarter of a megabyte is refused as well: the thousands of attributes it would take
    are the one thing that expat builds before anybody can count it.

    Examples
    --------
    >>> parse_xml("<a><b/></a>", 100)[0].tag
    'b'
    >>> parse_xml("<a>" * 1000, 10_000)
    Traceback (most recent call last):
        ...
    chistream.untrusted.Refused: its elements are nested deeper than 64
    """
    _check_length(text, max_characters)
    tree = _BoundedTree()
    parser = DefusedXMLParser(target=tree, forbid_dtd=True)
    try:
        _feed(parser, tree, text)
        root: Element = parser.close()
    except UnicodeEncodeError:
        raise Refused("it is no XML: it holds half a character") from None
    except DefusedXmlException:
        raise ForbiddenMarkup("it has a document type or entities") from None
    except ParseError as error:
        line, column = error.position
        reason = f"{ErrorString(error.code)}, line {line}, column {column}"
        raise Refused(f"it is no XML: {reason}") from None
    return root


def parse_json(text: str, max_characters: int) -> Any:  # noqa: ANN401  (JSON is anything)
    """Parse JSON in bounded time and memory.

    Parameters
    ----------
    text
        The JSON.
    max_characters
        Longest text that is looked at.

    Returns
    -------
    Any
        What it says. NaN and infinity, which JSON does not have, are refused.

    Raises
    ------
    Refused
        If it is too long, too deep, or no JSON.

    Examples
    --------
    >>> parse_json('{"strength": 0.5}', 100)
    {'strength': 0.5}
    """
    _check_length(text, max_characters)
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Refused(f"it is no JSON: {error.msg}, {where}") from None
    except RecursionError:
        raise Refused("it is nested too deeply") from None
    except ValueError:
        raise Refused("it has a number that is none, or of thousands of digits") from None


def _check_length(text: str, max_characters: int) -> None:
    if len(text) > max_characters:
        raise Refused(f"it has {len(text)} characters; at most {max_characters} are read")


def _feed(parser: DefusedXMLParser, tree: _BoundedTree, text: str) -> None:
    n_quiet, n_events = 0, 0
    for at in range(0, len(text), _PIECE):
        parser.feed(text[at : at + _PIECE])
        n_quiet = n_quiet + _PIECE if tree.n_events == n_events else 0
        n_events = tree.n_events
        if n_quiet > _LONGEST_TOKEN:
            raise Refused(f"it has a tag or a comment of more than {_LONGEST_TOKEN} characters")


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError
