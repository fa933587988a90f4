"""The figures of the corrections can be made, and say what they should on small chests."""

import importlib.util
import json
from pathlib import Path

import pytest


@pytest.mark.slow
def test_corrections_leave_less_than_there_was() -> None:
    path = Path(__file__).with_name("corrections.py")
    spec = importlib.util.spec_from_file_location("corrections", path)
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    size = (8, 32, 36)
    figures = {"concomitant": benchmark.concomitant(size), "spikes": benchmark.spikes(size)}
    figures["flow"] = benchmark.flow((8, 40, 44))
    print(json.dumps(figures))  # noqa: T201
    assert figures["concomitant"]["after_hz"] < 0.5 * figures["concomitant"]["before_hz"]
    assert figures["spikes"]["false_alarms"] == 0
    assert figures["spikes"]["found"] >= 0.99
    flow = figures["flow"]
    # A jet of 2 m/s is found where it is: measured 0.118 against 0.049 rad, half of it flagged.
    assert flow["jet_jet_suspect"] > 0.3
    assert flow["still_jet_suspect"] < 0.1
    assert flow["jet_jet_residual_rad"] > 2 * flow["still_jet_residual_rad"]
