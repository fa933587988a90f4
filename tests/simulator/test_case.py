"""Presets and settings: what is accepted, and what a person is told when it is not."""

from pathlib import Path

import pytest

from chistream.errors import SettingsError
from chistream_simulator.case import (
    Case,
    describe_case,
    load_preset,
    preset_names,
    preset_text,
)
from chistream_simulator.commands import preset_summaries
from chistream_simulator.overrides import apply_overrides, checked


def test_all_presets_load_and_explain_themselves() -> None:
    names = preset_names()
    expected = {
        "brain-3t",
        "calibration-phantom",
        "cardiac-1p5t-nav",
        "cardiac-3t-bipolar",
        "cardiac-3t-nav",
        "cardiac-accelerated",
        "carotid-plaque",
        "cylinder",
        "demo",
        "liver-iron",
        "sphere",
        "tiny",
    }
    assert expected <= set(names)
    for name in names:
        assert load_preset(name).matrix
        assert len(preset_summaries()[name]) > 20


def test_a_seed_and_values_replace_those_of_a_preset() -> None:
    case = load_preset(
        "demo",
        seed=7,
        overrides={
            "snr": "inf",
            "TE": "[0.002, 0.004]",
            "tissues.liver.chi": "0.34",
            "shim": "none",
        },
    )
    assert (case.seed, case.snr, case.TE, case.shim) == (7, float("inf"), (0.002, 0.004), "none")
    assert case.tissues["liver"] == {"chi": 0.34}


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"snrr": "5"}, r"^no setting snrr; did you mean snr\?$"),
        ({"foo": "5"}, r"^no setting foo; did you mean fov\?$"),
        ({"te": "[0.002]"}, r"^no setting te; did you mean TE\?$"),
        ({"qqqqqqqq": "5"}, "^no setting qqqqqqqq; there are .*fov, .*phantom"),
        ({"fov": "5"}, r"^fov should be a list such as \[.*\], got 5 \(.*mm.*\)$"),
        ({"fov": "[1]"}, r"^fov should be a list such as \[.*\], got \[1\] \(.*mm.*\)$"),
        ({"matrix": "[1, 2, 3, 4]"}, r"^matrix should be a list such as .*got \[1, 2, 3, 4\]"),
        (
            {"missing_lines": "[[1]]"},
            r"^missing_lines should be a list, got \[\[1\]\] \(\(kz, ky\)",
        ),
        ({"tissues": "5"}, r"^tissues should be a table of values, got 5 \(.*tissues\.liver\.chi"),
        ({"snr": "-1"}, r"snr: Input should be greater than 0\.001, got -1"),
        ({"snr": "1e-200"}, r"snr: Input should be greater than 0\.001, got 1e-200"),
        ({"snr": "loud"}, "snr: .* got 'loud'"),
        ({"snr": "nan"}, "snr: Input should be greater than 0"),
        ({"fov": "[inf, 200, 300]"}, r"fov\.0: Input should be a finite number"),
        ({"position": "[0, nan, 0]"}, r"position\.1: Input should be a finite number"),
        ({"object_chi": "nan"}, "object_chi: Input should be a finite number"),
        ({"snr.x": "1"}, "snr is no table of values"),
        ({"phantom": "cube"}, "phantom: Input should be 'sphere', 'cylinder'"),
        ({"object_oversampling": "[1, 2, 2]"}, "object_oversampling .* must be >= 2"),
        ({"matrix": "[0, 72, 96]"}, "matrix .* must be 1..1024"),
        ({"fov": "[100, 0, 300]"}, "fov .* mm > 0"),
        ({"missing_lines": "[[24, 0]]"}, r"missing_lines \[\(24, 0\)\] lie outside"),
        (
            {"infarct_size": "9", "phantom": "head", "navigators": "none"},
            "infarct_size does nothing",
        ),
        ({"vial_radius": "9"}, "vial_radius does nothing to the phantom 'chest'"),
        ({"navigators": "none", "prospective_tracking": "0.6"}, "follows the navigators"),
        ({"TE": "[0.004, 0.002]"}, "TE must be positive and ascending"),
        ({"TE": "[]"}, "TE must be positive and ascending"),
        ({"TR": "0.01"}, "TR 0.01 s must be longer than the last TE"),
        ({"views_per_beat": "30"}, "do not fit into a short heartbeat"),
        ({"hematocrit": "0.15", "rv_lv_difference": "500"}, "lower than arterial_saturation"),
        ({"phantom": "sphere"}, "a sphere has no diaphragm"),
        ({"tissues.liver.chi": "'much'"}, r"tissues\.liver\.chi: .* got 'much'"),
        ({"tissues.pancreas.chi": "0.1"}, r"tissues\.pancreas: T1 is missing"),
        ({"shunt": "ductal", "shunt_step": "0.3"}, "shunt_step 0.3 would lift .* of PA from 0.783"),
    ],
)
def test_what_cannot_be_is_refused_with_its_name(overrides: dict[str, str], reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        load_preset("demo", overrides=overrides)


def test_an_unknown_preset_is_answered_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"no preset 'hart'; there are: .*cylinder"):
        preset_text("hart")


def test_a_copied_preset_is_a_preset_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "ours.toml"
    own.write_text(preset_text("tiny").replace("snr = 50.0", "snr = 12.5"))
    assert load_preset(str(own)).snr == 12.5
    own.write_text("snr: 5")
    with pytest.raises(SettingsError, match=r"ours\.toml is no TOML: "):
        load_preset(str(own))
    with pytest.raises(SettingsError, match=r"theirs\.toml cannot be read: .*No such file"):
        load_preset(str(tmp_path / "theirs.toml"))


def test_every_setting_is_described_with_a_default_that_can_be_set() -> None:
    described = describe_case()
    assert {name for name, _, _ in described} == set(Case.model_fields)
    assert all(len(text) >= 3 for _, _, text in described)
    for name, default, _ in described:
        if default != "none":
            assert checked(Case, apply_overrides({}, {name: default})).TE


def test_saturation_follows_from_susceptibility_and_haematocrit() -> None:
    # 252 ppb at haematocrit 0.452 are 17.5 %: controls of J Cardiovasc Magn Reson 2019;21:70.
    case = checked(Case, {"rv_lv_difference": 252.0, "hematocrit": 0.452})
    assert case.delta_saturation == pytest.approx(0.175, abs=5e-4)
    assert pytest.approx(2.894, abs=1e-3) == case.B0
