"""The OpenRecon package: what the scanner takes, and what the console's values become."""

import base64
import datetime as dt
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from chistream import openrecon
from chistream.config import parse_settings_text
from chistream.errors import FileFormatError, SettingsError
from chistream.openrecon import (
    MAX_PARAMETERS,
    OFFERED,
    Product,
    openrecon_label,
    parameter_id,
    write_package,
)
from chistream.schema import Settings
from chistream.service.request import read_request
from chistream.stream.messages import ConfigFile

SCHEMA = json.loads(Path(__file__).with_name("openrecon_label.schema.json").read_text())
LABEL = openrecon_label(manufacture_date=dt.date(2025, 1, 31))
PARAMETERS: dict[str, dict[str, Any]] = {item["id"]: item for item in LABEL["parameters"]}


def valid(label: dict[str, Any]) -> bool:
    return bool(jsonschema.Draft7Validator(SCHEMA).is_valid(label))


def test_the_label_is_what_the_schema_allows() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.Draft7Validator(SCHEMA).validate(LABEL)


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": [*LABEL["parameters"], {**LABEL["parameters"][0], "id": "one"}]},
        {"parameters": [{**LABEL["parameters"][0], "id": "with_underscore"}]},
        {"parameters": [{**PARAMETERS["navigatorWindow"], "default": 0.25}]},
        {"parameters": [{**PARAMETERS["navigatorWindow"], "unit": {"en": "metre"}}]},
        {"general": {**LABEL["general"], "version": "1"}},
        {"reconstruction": {**LABEL["reconstruction"], "injector": "map"}},
    ],
)
def test_the_schema_of_the_tests_can_refuse(change: dict[str, Any]) -> None:
    assert not valid({**LABEL, **change})


def test_the_console_offers_no_more_than_it_can_show() -> None:
    assert len(LABEL["parameters"]) == len(OFFERED) + 1 <= MAX_PARAMETERS
    assert set(OFFERED) <= set(Settings.model_fields)


def test_defaults_of_the_console_are_those_of_the_settings() -> None:
    values = {item["id"]: item["default"] for item in LABEL["parameters"]}
    settings, unknown = parse_settings_text(json.dumps({"version": "1.0", "parameters": values}))
    assert settings == Settings()
    assert unknown == ("chain",)


@pytest.mark.parametrize("setting", OFFERED)
def test_every_value_of_the_console_is_understood_as_a_text(setting: str) -> None:
    item = PARAMETERS[parameter_id(setting)]
    values = [item["default"], *(choice["id"] for choice in item.get("values", []))]
    values += [item[name] for name in ("minimum", "maximum") if name in item]
    for value in values:
        text = json.dumps({"parameters": {item["id"]: str(value)}})
        settings, unknown = parse_settings_text(text)
        assert not unknown
        found = getattr(settings, setting)
        assert str(found) == str(value) or found in (None, ())


def test_choices_are_all_that_the_setting_can_be() -> None:
    assert [value["id"] for value in PARAMETERS["phaseSign"]["values"]] == ["1", "-1"]
    assert "nltv" in [value["id"] for value in PARAMETERS["inversion"]["values"]]
    assert PARAMETERS["navigatorWindow"]["unit"] == {"en": "mm"}
    assert PARAMETERS["navigatorWindow"]["minimum"] == 0.1
    assert PARAMETERS["navigatorWindow"]["maximum"] == 100.0


@pytest.mark.parametrize("key", ["chain", "config"])
def test_the_chain_is_chosen_among_the_parameters(key: str) -> None:
    request = read_request(ConfigFile("openrecon")).updated(
        json.dumps({"version": "1.0", "parameters": {key: "qsm", "hematocrit": "0.4"}})
    )
    assert request.chain == "qsm"
    assert request.settings.hematocrit == 0.4
    assert not request.unknown


@pytest.mark.parametrize(
    "text", ["", '{"parameters": {"config": "openrecon"}}', '{"parameters": {}}']
)
def test_the_configuration_s_name_stays_where_no_chain_is_chosen(text: str) -> None:
    assert read_request(ConfigFile("openrecon")).updated(text).chain == "openrecon"
    assert read_request(ConfigFile("echoes")).updated(text).chain == "echoes"


# -- the package ----------------------------------------------------------------------------------


def container_image(path: Path) -> Path:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("manifest.json"), io.BytesIO())
    return path


@pytest.mark.slow
def test_the_package_holds_image_and_manual_under_one_name(tmp_path: Path) -> None:
    image = container_image(tmp_path / "image.tar")
    product = Product("Some Vendor", "Heart QSM", "1.2.3")
    written = write_package(tmp_path / "out", product, image=image)
    base = "OpenRecon_SomeVendor_HeartQSM_V1.2.3"
    assert [path.name for path in written] == [
        "OpenReconLabel.json",
        "OpenReconLabel.base64",
        f"{base}.pdf",
        f"{base}.zip",
    ]
    with zipfile.ZipFile(written[-1]) as package:
        assert package.namelist() == [f"{base}.tar", f"{base}.pdf"]
        assert {item.compress_type for item in package.infolist()} == {zipfile.ZIP_DEFLATED}
        assert package.read(f"{base}.tar") == image.read_bytes()
        assert package.read(f"{base}.pdf").startswith(b"%PDF")
    label = json.loads(written[0].read_text())
    assert valid(label)
    assert json.loads(base64.b64decode(written[1].read_text())) == label
    assert product.tag == "openrecon_somevendor_heartqsm:v1.2.3"


def test_without_an_image_there_is_no_zip(tmp_path: Path) -> None:
    assert [path.suffix for path in write_package(tmp_path)] == [".json", ".base64", ".pdf"]
    again = (tmp_path / f"{Product().base_name}.pdf").read_bytes()
    write_package(tmp_path)
    assert (tmp_path / f"{Product().base_name}.pdf").read_bytes() == again


def test_an_image_in_its_place_is_not_copied_onto_itself(tmp_path: Path) -> None:
    image = container_image(tmp_path / f"{Product().base_name}.tar")
    assert write_package(tmp_path, image=image)[-1].suffix == ".zip"


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "image.tar"
    image.write_text("hello")
    with pytest.raises(FileFormatError, match="docker save"):
        write_package(tmp_path, image=image)


@pytest.mark.parametrize("values", [{"vendor": "a/b"}, {"name": ""}, {"version": "1"}])
def test_names_that_make_no_file_are_refused(values: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        Product(**values)  # type: ignore[arg-type]


def test_a_setting_without_a_least_value_gets_one_of_its_own() -> None:
    assert openrecon._range(Settings.model_fields["rr_tolerance"]) == {"minimum": 0, "maximum": 0.4}
