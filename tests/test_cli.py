"""The command line as a person uses it."""

import json
import re
import sys
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

import chistream
from chistream import cli

runner = CliRunner()


def run(*arguments: object) -> str:
    result = runner.invoke(cli.app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def fail(*arguments: object) -> str:
    """Run `main` as the shell does; return what a person reads."""
    old, sys.argv = sys.argv, ["chistream", *map(str, arguments)]
    try:
        with pytest.raises(SystemExit) as ended:
            cli.main()
    finally:
        sys.argv = old
    assert ended.value.code not in (0, None)
    return str(ended.value.code)


def test_the_version_is_the_package_s() -> None:
    assert run("--version").strip() == f"chistream {chistream.__version__}"


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("demo",),
        ("simulate",),
        ("serve",),
        ("sessions",),
        ("replay",),
        ("reconstruct",),
        ("stream",),
        ("openrecon",),
        ("convert",),
        ("compare",),
        ("gadgetron",),
        ("gadgetron", "install"),
        ("gadgetron", "listen"),
    ],
)
def test_every_command_explains_itself(command: tuple[str, ...]) -> None:
    assert "Usage" in run(*command, "--help")


@pytest.mark.parametrize("command", ["reconstruct", "replay"])
def test_what_can_be_set_is_listed_where_it_is_set(command: str) -> None:
    listed = run(command, "--list-settings")
    assert "navigator_window = 5.0\n    Accepted range of diaphragm positions [mm]." in listed


def test_no_help_text_loses_a_unit_to_markup() -> None:
    # Square brackets are markup to the help's renderer: "[ms]" would not be shown.
    folder = Path(cli.__file__).parent
    for path in (folder / "cli.py", *(folder / "commands").glob("*.py")):
        assert re.findall(r'help="[^"]*\[[^"]*"', path.read_text()) == []


def test_presets_are_listed_for_people_and_as_json() -> None:
    assert "tiny" in run("simulate", "--list-presets")
    assert "demo" in json.loads(run("simulate", "--list-presets", "--json"))


def test_simulate_writes_raw_data_and_truth_with_the_values_set(tmp_path: Path) -> None:
    raw = tmp_path / "scan.h5"
    said = json.loads(
        run("simulate", raw, "--preset", "tiny", "--seed", 3, "--set", "n_coils=2", "--json")
    )
    assert said["raw"] == str(raw)
    with h5py.File(tmp_path / "scan.truth.h5") as truth:
        assert truth["csm"].shape[0] == 2
        assert truth["numbers/seed"][()] == 3


def test_simulate_turns_an_object_in_the_magnet(tmp_path: Path) -> None:
    said = json.loads(
        run("simulate", tmp_path / "ball.h5", "--preset", "tiny", "--orientations", 2, "--json")
    )
    assert said["raw"] == [str(tmp_path / f"ball-{i}.h5") for i in (1, 2)]
    assert (tmp_path / "ball-2.truth.h5").exists()


def test_simulate_needs_a_file_to_write() -> None:
    result = runner.invoke(cli.app, ["simulate"])
    assert result.exit_code == 2
    assert "name the file to write" in result.output


def test_measured_images_become_raw_data_of_the_same_voxels(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    shape = (10, 9, 8, 2)  # x, y, z, echo
    for name, values in (("mag", rng.random(shape)), ("phase", rng.uniform(-3, 3, shape))):
        image = nibabel.Nifti1Image(values.astype(np.float32), np.diag([2.0, 2.0, 3.0, 1.0]))
        nibabel.save(image, tmp_path / f"{name}.nii")
    raw = tmp_path / "scan.h5"
    run(
        "simulate", raw, tmp_path / "mag.nii", tmp_path / "phase.nii", "--from-images",
        "--te", "4,8", "--set", "field_strength=3", "--set", "phase_scale=radians",
    )  # fmt: skip
    run("reconstruct", raw, "-o", tmp_path / "out", "--chain", "echoes")
    found = nibabel.Nifti1Image.from_filename(tmp_path / "out" / "MAGNITUDE_echo-2.nii.gz")
    assert found.shape == (10, 9, 8)
    assert found.header.get_zooms() == pytest.approx((2.0, 2.0, 3.0), rel=1e-4)


def test_reconstruct_and_compare_agree_on_where_things_are(tiny_raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    text = run(
        "reconstruct", tiny_raw, "-o", out, "--chain", "qsm", "--format", "nifti,dicom,mrd,png",
        "--set", "inversion=tkd", "--set", "background=lbv",
    )  # fmt: skip
    assert "quality: green" in text
    names = {path.name for path in out.iterdir()}
    assert {"QSM.nii.gz", "QSM.png", "REPORT.png", "images.h5", "results.json", "dicom"} <= names
    assert "<html" in (out / "report.html").read_text()
    truth = tiny_raw.with_suffix(".truth.h5")
    table = run("compare", out / "images.h5", truth)
    assert "QSM" in table
    figures = json.loads(run("compare", out / "images.h5", truth, "--json"))
    assert 0 < figures["maps"]["QSM"]["nrmse"] < 100
    assert figures["constant_in_truth"] == ["R2STAR"]
    same = json.loads(run("compare", out / "QSM.nii.gz", out / "images.h5", "--json"))
    assert same["maps"]["QSM"]["nrmse"] == pytest.approx(0.0, abs=1e-3)


def test_several_raw_files_get_a_folder_each(tiny_raw: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.h5"
    other.write_bytes(tiny_raw.read_bytes())
    said = json.loads(
        run("reconstruct", tiny_raw, other, "-o", tmp_path, "--chain", "echoes", "--json")
    )
    assert [Path(scan["raw"]) for scan in said] == [tiny_raw, other]
    assert (tmp_path / "tiny" / "PHASE_echo-1.nii.gz").is_file()
    assert (tmp_path / "other" / "PHASE_echo-1.nii.gz").is_file()


def test_a_file_that_fails_keeps_what_was_made_and_does_not_stop_the_others(
    tiny_raw: Path, tmp_path: Path
) -> None:
    single = tmp_path / "single.h5"
    run("simulate", single, "--preset", "tiny", "--set", "TE=[0.004]")
    ran = runner.invoke(
        cli.app,
        [
            *("reconstruct", str(single), str(tmp_path / "absent.h5"), str(tiny_raw)),
            *("-o", str(tmp_path), "--chain", "qsm", "--set", "inversion=tkd"),
            *("--set", "background=lbv", "--json"),
        ],
    )
    assert ran.exit_code == 1
    first, second, third = json.loads(ran.stdout)
    assert "at least 2 echoes" in first["error"]
    assert "MAGNITUDE_echo-1.nii.gz" in {Path(name).name for name in first["files"]}
    assert "absent.h5" in second["error"]
    assert third["error"] is None
    assert third["results"]["quality"]["light"] == "green"


@pytest.mark.parametrize(
    "extra",
    [
        ["mag.nii", "phase.nii"],
        ["--te", "4,8"],
        ["mag.nii", "--from-images", "--orientations", "3"],
    ],
)
def test_images_with_options_that_do_not_go_with_them_are_not_ignored(
    extra: list[str], tmp_path: Path
) -> None:
    result = runner.invoke(cli.app, ["simulate", str(tmp_path / "x.h5"), *extra])
    assert result.exit_code == 2
    assert not (tmp_path / "x.h5").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("reconstruct", "RAW", "-o", "out", "--chain", "passthrough"), "makes no maps"),
        (("reconstruct", "RAW", "RAW", "-o", "out"), "share a folder"),
        (("reconstruct", "no.h5", "-o", "out"), "no.h5"),
        (("reconstruct", "RAW", "-o", "out", "--chain", "heart"), "there are cardiac_qsm"),
        (("reconstruct", "RAW", "-o", "out", "--set", "colour=red"), "no setting is called colour"),
        (("reconstruct", "RAW", "-o", "out", "--set", "colour"), "write key=value"),
        (("reconstruct", "RAW", "-o", "out", "--format", "jpeg"), "nifti, dicom, mrd, png"),
        (("reconstruct", "RAW", "-o", "out", "--group", "scan9"), "'dataset'"),
        (("simulate", "out.h5", "--preset", "hart"), "hart"),
        (("simulate", "out.h5", "--set", "n_coils=0"), "n_coils"),
        (("compare", "RAW", "RAW"), "QSM"),
        (("replay", "RAW", "-o", "out.h5", "--to", "127.0.0.1:1"), "127.0.0.1"),
    ],
)
def test_a_mistake_ends_in_a_sentence_and_no_traceback(
    arguments: tuple[str, ...],
    words: str,
    tiny_raw: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    fail(*(tiny_raw if argument == "RAW" else argument for argument in arguments))
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said


@pytest.mark.parametrize("command", [("serve",), ("gadgetron", "listen")])
def test_a_public_address_needs_to_be_meant(command: tuple[str, ...]) -> None:
    result = runner.invoke(cli.app, [*command, "--host", "0.0.0.0", "--port", "0"])  # noqa: S104
    assert result.exit_code == 2
    assert "--public" in result.output


def test_the_gadgetron_chains_can_be_installed(tmp_path: Path) -> None:
    run("gadgetron", "install", "--no-guard", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {
        "chistream_cardiac_qsm.xml",
        "chistream_qsm.xml",
    }
