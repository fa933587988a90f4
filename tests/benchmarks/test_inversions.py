"""The benchmark of the inversions runs, and its order of methods is what physics says."""

import json

import pytest
from tests.benchmarks.inversions import main


@pytest.mark.slow
def test_known_edges_and_weights_beat_division(capsys: pytest.CaptureFixture[str]) -> None:
    rows = main(["tiny", "--noise", "2", "--methods", "tkd", "wtv, magnitude", "medi"])
    assert [row["method"] for row in json.loads(capsys.readouterr().out)] == [
        "tkd",
        "wtv, magnitude",
        "medi",
    ]
    division, variation, medi = rows
    assert variation.nrmse < 0.9 * division.nrmse
    assert medi.converged
    assert all(row.xsim <= 1 and row.hfen > 0 and row.seconds > 0 for row in rows)
