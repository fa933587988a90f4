"""The benchmark runs on a small chest, and what it measures is what it says."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_undersampling_is_measured_on_a_small_chest() -> None:
    path = Path(__file__).with_name("undersampling.py")
    spec = importlib.util.spec_from_file_location("undersampling", path)
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = benchmark  # dataclasses look their module up
    spec.loader.exec_module(benchmark)
    figures = benchmark.measure(matrix=[16, 36, 40], TE=[1.7e-3, 5.2e-3], n_coils=8)
    print(json.dumps(figures))  # noqa: T201
    for pattern in ("R = 2", "2 x 2 CAIPIRINHA"):
        # 24 replicas tell a median to a few parts in a hundred.
        assert figures[pattern]["noise"]["ratio"] == pytest.approx(1, abs=0.1)
    assert figures["R = 2"]["GRAPPA"]["heart [rad]"] < 0.2
    kept = figures["virtual coils, 2 x 2 CAIPIRINHA"]
    assert kept["energy 1"]["coils"] == 8
    assert kept["energy 0.99"]["coils"] < 8
    # Coils that hardly hold any energy tell what folds all the same.
    assert kept["energy 1"]["heart [rad]"] < kept["energy 0.99"]["heart [rad]"]
    missing = figures["7 % of the lines missing, SNR 30"]
    assert missing["SENSE"]["heart [rad]"] < missing["zeros"]["heart [rad]"]
    assert figures["partial Fourier 6/8 of y"]["zeros"]["heart [Hz]"] > 0
