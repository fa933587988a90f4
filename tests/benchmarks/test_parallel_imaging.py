"""The comparison runs, and its own methods do what they should."""

import importlib.util
import json
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_methods_are_compared_in_one_run() -> None:
    path = Path(__file__).with_name("parallel_imaging.py")
    spec = importlib.util.spec_from_file_location("parallel_imaging", path)
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    figures = benchmark.measure((16, 32, 24), 6)
    print(json.dumps(figures))  # noqa: T201
    assert figures["maps, adaptive"]["error"] < 2e-3
    assert figures["maps, ESPIRiT"]["error"] < 2e-3
    # R = 4 with six coils at an SNR of 100; folded voxels would be wrong by radians.
    assert figures["SENSE"]["error"] < 0.3
    assert figures["GRAPPA"]["error"] < 0.3
