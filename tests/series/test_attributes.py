"""Meta attributes against the reader that scanners' peers use."""

import math
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ismrmrd import Meta

from chistream.series.attributes import read_attributes, write_attributes

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(name=texts, value=texts)
def test_any_text_makes_well_formed_xml_of_the_right_root(name: str, value: str) -> None:
    root = ET.fromstring(write_attributes({name: value}).encode("utf-8"))  # noqa: S314
    assert root.tag == "ismrmrdMeta"
    assert len(root.findall("meta/value")) == 1


@pytest.mark.parametrize("text", ["a & b < c > d", "Größe µ 心", "'\"", "a]]>b", "\U0001f9e0"])
def test_the_ismrmrd_package_reads_what_was_written(text: str) -> None:
    meta = Meta.deserialize(write_attributes({"ImageComments": text, "n": 3, "d": ["1", "2"]}))
    assert meta == {"ImageComments": text, "n": "3", "d": ["1", "2"]}


def test_what_the_ismrmrd_package_writes_is_read() -> None:
    meta = Meta({"RescaleSlope": 2.0, "ImageType": ["A", "B"], "note": "x < y"})
    assert read_attributes(meta.serialize()) == {
        "RescaleSlope": ["2.0"],
        "ImageType": ["A", "B"],
        "note": ["x < y"],
    }


@pytest.mark.parametrize("bad", ["\0", "\x1b", "\ud800", "\ufffe"])
def test_what_xml_cannot_hold_becomes_a_space(bad: str) -> None:
    assert read_attributes(write_attributes({"a": f"1{bad}2"})) == {"a": ["1 2"]}


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_floats_read_back_exactly(value: float) -> None:
    (text,) = read_attributes(write_attributes({"RescaleSlope": value}))["RescaleSlope"]
    assert float(text) == value
    assert math.copysign(1, float(text)) == math.copysign(1, value)


def test_nothing_reads_as_nothing_and_a_counted_nul_is_cut() -> None:
    assert read_attributes("") == read_attributes("\0") == {}
    assert read_attributes(write_attributes({"a": "b"}) + "\0") == {"a": ["b"]}


def test_a_name_that_comes_twice_has_all_its_values() -> None:
    xml = (
        "<ismrmrdMeta><meta><name>a</name><value>1</value></meta>"
        "<meta><name>a</name><value/></meta></ismrmrdMeta>"
    )
    assert read_attributes(xml) == {"a": ["1", ""]}


@pytest.mark.parametrize(
    ("xml", "message"), [("DataRole=Image", "no XML"), ("<meta/>", "root 'meta'")]
)
def test_what_is_no_attribute_text_is_refused(xml: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_attributes(xml)
