"""The benchmark of gating runs on a small chest, and its bars hold."""

import json
from types import ModuleType
from typing import Any

import pytest


@pytest.mark.slow
def test_gating_is_nearly_as_good_as_a_heart_at_rest(
    gating_benchmark: ModuleType,
    chest_at_rest: Any,  # noqa: ANN401
    breathing_chest: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    benchmark = gating_benchmark
    for name in ("following", "PAWS", "no gate", "self-navigated", "belt"):
        monkeypatch.delitem(benchmark.SCANNERS, name)
    monkeypatch.setattr(benchmark, "_NAVIGATED", ("window",))
    # One simulation for all tests: what the scanner tells of itself is not looked at here.
    monkeypatch.setattr(chest_at_rest, "breathing", lambda: breathing_chest)
    figures = benchmark.measure_gating((16, 36, 40), [1], lambda _size, _seed: chest_at_rest)
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
    for n in benchmark.BINS:
        case = cases[f"window, soft and {n} bins, estimate"]
        assert case["nrmse_ratio"] < cases["window, soft, estimate"]["nrmse_ratio"]
    ungated, soft = (cases[f"window, {s}, off"]["nrmse_ratio"] for s in ("none", "soft"))
    assert soft < 0.6 * ungated
    text = benchmark.markdown(figures, navigators)
    assert text.startswith("## Gating")
    assert "| edge | SNR 10 | coils 1 | 0.30 | 1.00 | 0 | 0 |" in text
