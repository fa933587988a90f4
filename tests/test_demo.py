"""The main job: simulate, serve, replay, reconstruct, report, compare; once, for real."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chistream import cli
from chistream.demo import DemoFailed, run_demo


@pytest.mark.slow
def test_the_demo_measures_the_blood_and_writes_what_it_says(tmp_path: Path) -> None:
    ran = CliRunner().invoke(cli.app, ["demo", "-o", str(tmp_path), "--json"])
    assert ran.exit_code == 0, ran.output
    said = json.loads(ran.stdout)
    assert all(Path(name).is_file() for name in said["files"])
    names = {Path(name).name for name in said["files"]}
    assert {"scan.h5", "images.h5", "QSM.nii.gz", "QSM.png", "report.html"} <= names
    # The first aim of the project: within 40 ppb of the simulated 250.
    assert said["results"]["delta_chi_ppb"] == pytest.approx(250, abs=40)
    assert said["comparison"]["pools"]["RV"]["truth_ppb"] == pytest.approx(250, abs=5)
    assert said["results"]["gating"]["efficiency"] < 0.9
    assert said["replay"]["succeeded"]


def test_a_server_that_dies_at_once_is_reported_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(DemoFailed, match=r"server\.log says why"):
        run_demo(tmp_path, preset="tiny")
