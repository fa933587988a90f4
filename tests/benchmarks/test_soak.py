"""Scan after scan through one service: none is lost, nothing grows."""

from pathlib import Path

import pytest
from tests.benchmarks import soak
from tests.benchmarks.soak import Outcome


@pytest.mark.slow
def test_twenty_scans_leave_a_service_as_it_was(tiny_raw: Path, tmp_path: Path) -> None:
    sent = soak.scan_bytes(tiny_raw, "qsm", "")
    with soak.service(tmp_path, 4) as (address, pid):
        figures = soak.soak(address, sent, 20, 4, pid)
    assert (figures["sessions"], figures["lost"]) == (20, 0), figures
    assert figures["images"] > 10
    assert figures["growth_percent"]["supervisor_mb"] < 5
    assert figures["growth_percent"]["idle_worker_mb"] < 5
    first, last = figures["stages"]["after the first round"], figures["stages"]["at the end"]
    assert first["files"] == last["files"]


def test_a_scan_with_other_images_or_an_error_is_lost() -> None:
    good = Outcome("a", 3, 1.0, "")
    others = [Outcome("b", 3, 1.0, ""), Outcome("a", 3, 9.0, "no CLOSE")]
    figures = soak.figures_of([good, good, *others], 2, 10.0, {})
    assert figures["lost"] == 2
    assert figures["faults"] == ["no CLOSE", "other images"]
    assert figures["session_seconds"] == {"median": 1.0, "longest": 9.0}


def test_a_server_that_is_not_there_loses_every_scan() -> None:
    assert "refused" in soak.run_session(("127.0.0.1", 1), b"").fault
