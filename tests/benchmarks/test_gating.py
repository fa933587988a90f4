"""The benchmark of gating runs on a small chest, and its bars hold."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_gating_is_nearly_as_good_as_a_heart_at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(__file__).with_name("gating.py")
    spec = importlib.util.spec_from_file_location("gating", path)
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, benchmark)
    spec.loader.exec_module(benchmark)
    for name in ("following", "PAWS", "no gate", "self-navigated", "belt"):
        monkeypatch.delitem(benchmark.SCANNERS, name)
    monkeypatch.setattr(benchmark, "_NAVIGATED", ("window",))
    figures = benchmark.measure_gating((16, 36, 40), seeds=[1])
    navigators = {
        "edge, SNR 10, coils 1": {"rms_mm": 0.3, "largest_mm": 1, "gross": 0, "unknown": 0}
    }
    print(json.dumps(figures))  # noqa: T201
    cases = figures["cases"]
    assert figures["efficiency"] == pytest.approx(0.4, abs=0.08)
    for scheme in benchmark.SCHEMES[1:]:
        case = cases[f"window, {scheme}, estimate"]
        assert case["nrmse_ratio"] <= 1.15
        assert case["factor"] == pytest.approx(benchmark.FACTOR, abs=0.1)
        assert case["nrmse_ratio"] < cases[f"window, {scheme}, off"]["nrmse_ratio"]
    ungated, soft = (cases[f"window, {s}, off"]["nrmse_ratio"] for s in ("none", "soft"))
    assert soft < 0.6 * ungated
    text = benchmark.markdown(figures, navigators)
    assert text.startswith("## Gating")
    assert "| edge | SNR 10 | coils 1 | 0.30 | 1.00 | 0 | 0 |" in text
