"""The comparison with public tools runs with what is installed, and says what is not."""

from pathlib import Path

import pytest
from tests.benchmarks.peers import tools
from tests.benchmarks.peers.cases import closed_form
from tests.benchmarks.peers.compare import markdown, measure


@pytest.mark.slow
def test_own_methods_and_absent_tools_stand_in_one_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = closed_form((12, 32, 24), 6)
    method, absent = "chistream SENSE", "mrpro SENSE"
    monkeypatch.setattr(
        tools, "reason_missing", lambda name: "not here" if name == absent else None
    )
    results = measure({"body": case}, [method, absent], tmp_path)
    figures = results["cases"]["body"]
    assert figures[absent] == {"skipped": "not here"}
    # R = 4 with six coils at an SNR of 100; folded voxels would be wrong by radians.
    assert figures[method]["inter-echo phase, RMS [rad]"] < 0.3
    assert "mrpro SENSE | ('skipped', 'not here')" in markdown(results)
    assert (tmp_path / "peers.json").exists()


def test_tools_that_are_not_installed_give_the_reason() -> None:
    assert tools.reason_missing("chistream SENSE") is None
    assert tools.reason_missing("nosuchtool SENSE") == (
        "nosuchtool is not installed (pip install nosuchtool)"
    )
    assert tools.version("nosuchtool") is None
