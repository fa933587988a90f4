"""Damaged streams, headers and settings: how they are made, and what may come of them.

``recorded.bin`` holds one message of every kind, one behind the other, as a simulated scan of the
chest and the service that reconstructed its echoes sent them.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from chistream.config import parse_settings_text, parse_settings_xml
from chistream.errors import HeaderError, ProtocolError, SettingsError, UnexpectedMessage
from chistream.service.request import read_request
from chistream.stream.codec import MessageReader, encode
from chistream.stream.header import read_header
from chistream.stream.messages import ConfigText, Header, Message, Text
from chistream.stream.session import ServerSession

N_DICE = 16
"""Random numbers that make one case."""

RECORDED = Path(__file__).with_name("recorded.bin").read_bytes()


def _messages() -> list[Message]:
    reader = MessageReader()
    reader.feed(RECORDED)
    reader.feed_eof()
    return list(reader)


_MESSAGES = _messages()
KINDS_RECORDED = {type(message) for message in _MESSAGES}
_WIRE = [b"".join(bytes(piece) for piece in encode(message)) for message in _MESSAGES]

# Bytes that make lengths, ids and types of their own, and numbers at the edge of their fields.
_BYTES = bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 127, 128, 254, 255, 0xF0, 0xFE, 0x03])
_NUMBERS = (0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63)
_WIDTHS = (2, 4, 8)


def damaged_stream(dice: Sequence[int]) -> bytes:
    """Take one to four recorded messages, and overwrite, drop, double or cut off some bytes.

    Half of the hits are where heads are, so that lengths, ids and types are hit often.
    """
    first, n = dice[0] % len(_WIRE), 1 + dice[1] % 4
    chosen = _WIRE[first : first + n]
    content = bytearray(b"".join(chosen))
    starts = [sum(map(len, chosen[:k])) for k in range(len(chosen))]
    for k in range(dice[2] % 4):
        where, value = dice[3 + 2 * k], dice[4 + 2 * k]
        at = starts[where % len(starts)] + (where >> 8) % 400 if where & 128 else where >> 8
        _hit(content, at % len(content), value)
    return _restructured(bytes(content), dice[9:12])


def _hit(content: bytearray, at: int, value: int) -> None:
    match value % 4:
        case 0:
            content[at] = _BYTES[(value >> 8) % len(_BYTES)]
        case 1:
            content[at] = (value >> 8) % 256
        case 2:
            content[at] ^= 1 << (value >> 8) % 8
        case _:
            width = _WIDTHS[(value >> 8) % len(_WIDTHS)]
            number = _NUMBERS[(value >> 16) % len(_NUMBERS)] % 256**width
            content[at : at + width] = number.to_bytes(width, "little")


def _restructured(content: bytes, dice: Sequence[int]) -> bytes:
    cut, end = sorted(number % (len(content) + 1) for number in dice[:2])
    match dice[2] % 8:
        case 0:
            return content[:end]
        case 1:
            return content[:cut] + content[end:]
        case 2:
            return content[:end] + content[cut:]
        case 3:
            return content[:cut] + _WIRE[dice[2] // 8 % len(_WIRE)] + content[cut:]
        case _:
            return content


_PIECES = re.compile(r"""(<[^>]*>|"[^"]*"|[\w.+-]+|[{}\[\]:,])""")
_TOKENS = (
    *(
        "",
        " ",
        "\0",
        "\x01",
        "\ufffe",
        "\ud800",
        "&amp;",
        "&lt;",
        "&#0;",
        "&bomb;",
        "<",
        ">",
        "]]>",
    ),
    *("<!--", "<![CDATA[x]]>", "<?php x?>", "<!DOCTYPE a [<!ENTITY b 'x'>]>", "<a>", "</a>"),
    *("<encoding/>", "</encoding>", "<TE>1</TE>", '<property name="strength" value="x"/>', "<x/>"),
    *(
        "0",
        "-1",
        "1e999",
        "-1e999",
        "nan",
        "Infinity",
        "1,5",
        "0x10",
        "9" * 20,
        "9" * 400,
        "1e-320",
    ),
    *('""', '"x"', "null", "true", "[]", "{}", "[1,2]", '{"a":1}', '"' + "y" * 300 + '"', ":", ","),
    *('"hematocrit"', '"gating"', '"voxel_size"', '"series"', '"\\ud800"', '"\\u0000"', "\u202e"),
)


def _pieces(text: str) -> list[str]:
    return [piece for piece in _PIECES.split(text) if piece]


_HEADER = next(_pieces(m.xml) for m in _MESSAGES if isinstance(m, Header))
_JSON = next(_pieces(m.text) for m in _MESSAGES if isinstance(m, Text))
_XML = next(_pieces(m.text) for m in _MESSAGES if isinstance(m, ConfigText))


def damaged_text(whole: Sequence[str], dice: Sequence[int]) -> str:
    """Replace, drop, double, move or break some words and tags of a text."""
    pieces = list(whole)
    for k in range(1 + dice[0] % 3):
        at, other, how = dice[1 + 3 * k : 4 + 3 * k]
        at %= len(pieces)
        token = _TOKENS[other % len(_TOKENS)]
        match how % 7:
            case 0:
                pieces[at] = token
            case 1:
                pieces.insert(at, token)
            case 2:
                pieces[at] = ""
            case 3:
                pieces.insert(at, pieces[other % len(pieces)])
            case 4:
                span = pieces[at : at + other % 40]
                pieces[at:at] = span * (1 + how % 5)
            case 5:
                pieces[at : at + other % 40] = []
            case _:
                word = pieces[at]
                place = other % (len(word) + 1)
                pieces[at] = word[:place] + chr(how % 0x3000) + word[place + 1 :]
        pieces = pieces or [""]
    return "".join(pieces)


def try_stream(dice: Sequence[int]) -> str:
    """Read a damaged stream in two pieces, as a session would; say what became of it."""
    return read_stream(damaged_stream(dice), dice[13])


def read_stream(content: bytes, cut: int) -> str:
    """Read a stream in two pieces, as a session would; say what became of it."""
    cut %= len(content) + 1
    reader = MessageReader(buffer_bytes=1024)
    session = ServerSession()
    n_messages = 0
    try:
        for piece in (content[:cut], content[cut:]):
            reader.feed(piece)
            n_messages += _take_all(reader, session)
        reader.feed_eof()
        n_messages += _take_all(reader, session)
    except ProtocolError as error:
        return type(error).__name__
    assert n_messages <= len(content) // 2, "a message is shorter than its id"
    return "messages"


def _take_all(reader: MessageReader, session: ServerSession) -> int:
    n_messages = 0
    for message in reader:
        n_messages += 1
        try:
            session.receive(message)
        except UnexpectedMessage:
            continue
    return n_messages


def try_header(dice: Sequence[int]) -> str:
    """Read a damaged header; say what became of it."""
    return read_damaged_header(damaged_text(_HEADER, dice), dice[12])


def read_damaged_header(xml: str, form: int) -> str:
    """Read a header as text or as bytes; say what became of it."""
    try:
        scan = read_header(xml if form % 2 else xml.encode("utf-8", "replace"))
    except HeaderError:
        return "HeaderError"
    assert np.isfinite(scan.echo_times).all()
    assert all(size > 0 for one in scan.encodings for size in one.encoded.size)
    return "header"


def try_settings(dice: Sequence[int]) -> str:
    """Read damaged settings, JSON or XML; say what became of them."""
    whole = _JSON if dice[12] % 2 else _XML
    return read_damaged_settings(damaged_text(whole, dice), is_json=whole is _JSON)


def read_damaged_settings(text: str, *, is_json: bool) -> str:
    """Read settings in every way that they come; say what became of them."""
    try:
        (parse_settings_text if is_json else parse_settings_xml)(text)
        read_request(ConfigText(text))
    except SettingsError:
        return "SettingsError"
    return "settings"


class Kind(NamedTuple):
    """One kind of case: how often of a hundred, how it is tried, and how it is shown."""

    share: int
    attempt: Callable[[Sequence[int]], str]
    content: Callable[[Sequence[int]], object]


KINDS = {
    "stream": Kind(75, try_stream, lambda dice: (damaged_stream(dice), dice[13])),
    "header": Kind(5, try_header, lambda dice: (damaged_text(_HEADER, dice), dice[12])),
    "settings": Kind(
        20, try_settings, lambda dice: damaged_text(_JSON if dice[12] % 2 else _XML, dice)
    ),
}


class Outcome(NamedTuple):
    """What came of one case."""

    kind: str
    result: str
    seconds: float
    dice: tuple[int, ...]


def attempts(seed: int, n_cases: int) -> Iterator[Outcome]:
    """Try cases of all kinds in their shares.

    Parameters
    ----------
    seed
        The same seed makes the same cases.
    n_cases
        How many.

    Yields
    ------
    Outcome
        With the processor's time that the case took [s]. The result of a case that raised what
        nobody expects begins with ``!``.
    """
    rng = np.random.default_rng(seed)
    kinds = [name for name, kind in KINDS.items() for _ in range(kind.share)]
    for n, row in enumerate(rng.integers(0, 2**31, (n_cases, N_DICE)).tolist()):
        # A step that has no factor in common with 100 meets every kind in its share.
        name = kinds[n * 37 % len(kinds)]
        start = time.thread_time()
        try:
            result = KINDS[name].attempt(row)
        except Exception as error:  # noqa: BLE001  (what is looked for)
            result = f"!{type(error).__name__}: {error}"
        yield Outcome(name, result, time.thread_time() - start, tuple(row))
