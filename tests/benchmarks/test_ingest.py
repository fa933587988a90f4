"""The reader keeps pace with a scanner, with room to spare."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

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
