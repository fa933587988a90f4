"""The reader keeps pace with a scanner, with room to spare."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
from tests.benchmarks import ingest_service

FLOOR = 15_000
"""Readouts per second of processor time: the time on the clock says as much about what else a
machine of CI is doing. A quiet machine does several times that on the clock too."""


@pytest.fixture(scope="module")
def ingest() -> ModuleType:
    path = Path(__file__).with_name("ingest.py")
    spec = importlib.util.spec_from_file_location("ingest", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_readouts_come_fast_through_a_loopback_socket(ingest: ModuleType) -> None:
    figures = ingest.measure(n_readouts=20_000, repeats=2)
    print(json.dumps(figures))  # noqa: T201
    assert figures["readouts_per_processor_second"] > FLOOR


@pytest.mark.slow
def test_a_service_is_measured_with_what_it_keeps(tmp_path: Path) -> None:
    with ingest_service.service(tmp_path) as (host, port):
        rate = ingest_service.measure(host, port, "null", 600, 2)
    assert rate > 0
    (raw,) = (tmp_path / "spool" / "raw").glob("*.mrd")
    assert raw.stat().st_size > 600 * 8 * 2 * ingest_service.N_SAMPLES


def test_the_scan_that_is_sent_is_gated() -> None:
    heads = ingest_service.heads(5000, 4)
    assert (heads["flags"] == ingest_service.NAVIGATOR).sum() == 100
    assert len(b"".join(piece for block in ingest_service.scan(70, 4) for piece in block)) == (
        70 * (342 + 8 * 4 * ingest_service.N_SAMPLES)
    )
