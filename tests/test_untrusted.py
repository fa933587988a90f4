"""Texts that are made to do harm cost next to nothing."""

import time
import tracemalloc

import pytest

from chistream.untrusted import ForbiddenMarkup, Refused, parse_json, parse_xml

MILLION = 1_000_000
ATTRIBUTES = " ".join(f'a{n}=""' for n in range(MILLION // 13))
BOMBS = {
    "deep": ("<a>" * MILLION, "nested deeper"),
    "wide": ("<r>" + "<a/>" * MILLION, "more than 100000 elements"),
    "attributes": (f"<a {ATTRIBUTES}/>", "a tag or a comment"),
    "one attribute": ("<a b='" + "x" * MILLION + "'/>", "a tag or a comment"),
    "comment": ("<a><!--" + "x" * MILLION + "--></a>", "a tag or a comment"),
    "laughs": ('<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;">]><a>&c;</a>', "document type"),
    "another file": (
        '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        "document",
    ),
    "unknown entity": ("<a>&secret;</a>", "no XML: undefined entity, line 1, column 3"),
    "half a character": ("<a>\ud800</a>", "half a character"),
    "cut off": ("<a><b>", "no XML"),
    "empty": ("", "no XML"),
    "too long": ("<a>" + " " * (5 * MILLION) + "</a>", "5000007 characters; at most"),
}


@pytest.mark.parametrize(("text", "complaint"), BOMBS.values(), ids=BOMBS.keys())
def test_xml_that_would_cost_time_or_memory_is_refused_before_it_does(
    text: str, complaint: str
) -> None:
    start = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(Refused, match=complaint) as refused:
            parse_xml(text, 4 * MILLION + 10)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "secret" not in str(refused.value)
    assert time.process_time() - start < 5.0
    assert peak < 64 * MILLION


def test_forbidden_markup_can_be_told_from_a_slip() -> None:
    with pytest.raises(ForbiddenMarkup):
        parse_xml("<!DOCTYPE a><a/>", 100)


def test_xml_in_many_pieces_is_read_as_one() -> None:
    root = parse_xml("<a>" + "<b c='1'>text</b>" * 20_000 + "</a>", MILLION)
    assert len(root) == 20_000
    assert {(b.text, b.get("c")) for b in root} == {("text", "1")}


def test_long_texts_between_tags_are_read() -> None:
    assert parse_xml("<a>" + "x" * MILLION + "</a>", 2 * MILLION).text == "x" * MILLION


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[" * 100_000, "nested too deeply|no JSON"),
        ('{"a":' * 100_000, "nested too deeply|no JSON"),
        ('{"a": ' + "9" * 10_000 + "}", "thousands of digits"),
        ('{"a": NaN}', "a number that is none"),
        ('{"a": -Infinity}', "a number that is none"),
        ('{"secret": ', "no JSON: Expecting value, line 1, column 12"),
        ("", "no JSON"),
        ("[" + " " * 200_000 + "]", "200002 characters"),
    ],
)
def test_json_that_makes_no_sense_is_refused_without_being_quoted(
    text: str, complaint: str
) -> None:
    with pytest.raises(Refused, match=complaint) as refused:
        parse_json(text, 200_000 if "characters" in complaint else 2 * MILLION)
    assert "secret" not in str(refused.value)


def test_json_keeps_its_values() -> None:
    assert parse_json('{"a": [1, 2.5, "x", null, true]}', 100) == {"a": [1, 2.5, "x", None, True]}
