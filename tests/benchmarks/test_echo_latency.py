"""The streaming stage keeps pace with the scanner, within its memory."""

import importlib.util
import json
from pathlib import Path

import pytest

from chistream_simulator.commands import simulate


@pytest.mark.slow
def test_a_small_scan_streams_faster_than_it_is_measured(tmp_path: Path) -> None:
    path = Path(__file__).with_name("echo_latency.py")
    spec = importlib.util.spec_from_file_location("echo_latency", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    raw = simulate(tmp_path / "scan.h5", "tiny", overrides={"n_coils": "12"})
    figures = module.measure(raw)
    print(json.dumps(figures))  # noqa: T201
    assert figures["virtual_coils"] < figures["coils"] == 12
    assert figures["echoes_processor_s"] < 1.5
    assert figures["memory_mib"] < figures["memory_limit_mib"]
