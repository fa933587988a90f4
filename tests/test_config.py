"""One schema, whatever way the settings arrive."""

import json

import pytest

from chistream.config import (
    MAX_SETTINGS_CHARACTERS,
    Settings,
    describe_settings,
    known_settings_only,
    parse_assignments,
    parse_settings,
    parse_settings_text,
    parse_settings_xml,
)
from chistream.errors import SettingsError


def test_the_console_may_send_every_value_as_text() -> None:
    text = json.dumps(
        {
            "version": "1.1.0",
            "parameters": {
                "hematocrit": "0.42",
                "phaseSign": "-1",
                "lvRoi": "1, -2 3;4.5",
                "series": "field, mask",
                "rvRoi": "",
            },
        }
    )
    settings, unknown = parse_settings_text(text)
    assert unknown == ()
    assert settings.hematocrit == 0.42
    assert settings.phase_sign == -1
    assert settings.lv_roi == (1.0, -2.0, 3.0, 4.5)
    assert settings.rv_roi is None
    assert settings.series == ("FIELD", "MASK")


def test_no_text_means_the_defaults() -> None:
    assert parse_settings_text("  ") == (Settings(), ())


@pytest.mark.parametrize("text", ["{", "[1, 2]", '"openrecon"', '{"parameters": 3}', "[" * 9000])
def test_a_text_that_is_no_settings_object_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="settings"):
        parse_settings_text(text)


def test_of_names_without_meaning_a_few_are_shown_and_their_beginning() -> None:
    _, unknown = parse_settings({f"{'x' * 1000}{n}": 1 for n in range(1000)})
    assert unknown == ("x" * 40,) * 20


def test_a_huge_text_is_refused_unread() -> None:
    with pytest.raises(SettingsError, match="65537 characters"):
        parse_settings_text(" " * (MAX_SETTINGS_CHARACTERS + 1))


def test_a_refused_value_is_named_with_what_is_allowed() -> None:
    with pytest.raises(SettingsError, match=r"navigator_window = '-3'.*greater than 0"):
        parse_settings({"navigator_window": "-3"})


def test_a_haematocrit_in_percent_is_refused_with_the_unit_it_needs() -> None:
    with pytest.raises(SettingsError, match=r"hematocrit = '42'.*as a fraction, e.g. 0.42"):
        parse_settings({"hematocrit": "42"})


@pytest.mark.parametrize("sphere", ["0,0,0,-5", "nan,0,0,5", "0,0,0,inf"])
def test_a_sphere_that_is_nowhere_or_empty_is_refused(sphere: str) -> None:
    with pytest.raises(SettingsError, match=r"lv_roi.*finite centre and a radius > 0"):
        parse_settings({"lv_roi": sphere})


def test_unknown_names_are_handed_back_and_refused_where_the_user_can_mend_them() -> None:
    parsed = parse_settings({"colour": "red"})
    assert parsed == (Settings(), ("colour",))
    with pytest.raises(SettingsError, match=r"called colour; there are phase_sign"):
        known_settings_only(parsed)
    assert known_settings_only(parse_settings({})) == Settings()


def test_gadgetron_properties_are_read_as_attributes_and_as_elements() -> None:
    xml = """<configuration>
      <property name="hematocrit" value="0.4"/>
      <property><name>gating</name><value>none</value></property>
    </configuration>"""
    settings, unknown = parse_settings_xml(xml)
    assert (settings.hematocrit, settings.gating, unknown) == (0.4, "none", ())


@pytest.mark.parametrize(
    "xml", ["<configuration>", '<!DOCTYPE a [<!ENTITY b "c">]><configuration>&b;</configuration>']
)
def test_broken_xml_and_entities_are_refused(xml: str) -> None:
    with pytest.raises(SettingsError, match="XML"):
        parse_settings_xml(xml)


@pytest.mark.parametrize("text", ["hematocrit", "=0.4"])
def test_an_assignment_needs_a_name_and_an_equals_sign(text: str) -> None:
    with pytest.raises(SettingsError, match="write key=value"):
        parse_assignments([text])


def test_every_setting_is_described() -> None:
    rows = describe_settings()
    assert [name for name, _, _ in rows] == list(Settings.model_fields)
    assert all(description.endswith(".") for _, _, description in rows)
