"""The comparison with public tools runs with what is installed, and says what is not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.benchmarks.peers import tools
from tests.benchmarks.peers.cases import Replicas, closed_form, load, save
from tests.benchmarks.peers.compare import (
    figures_of_echoes,
    figures_of_maps,
    markdown,
    measure,
    measure_here,
)
from threadpoolctl import threadpool_limits


@pytest.fixture(scope="module")
def body() -> Replicas:
    return closed_form((12, 32, 24), 6)


@pytest.mark.slow
def test_own_methods_and_absent_tools_stand_in_one_table(
    body: Replicas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, absent = "chistream SENSE", "mrpro SENSE"
    monkeypatch.setattr(
        tools, "reason_missing", lambda name: "not here" if name == absent else None
    )
    results = measure({"body": body}, [method, absent], tmp_path)
    figures = results["cases"]["body"]
    assert figures[absent] == {"skipped": "not here"}
    assert figures[method]["inter-echo phase, RMS [rad]"] < 0.3
    assert figures[method]["processor [s]"] > 0
    assert "| mrpro SENSE | skipped: not here |" in markdown(results)
    assert (tmp_path / "peers.json").exists()


@pytest.mark.slow
def test_own_methods_do_what_they_should(body: Replicas, tmp_path: Path) -> None:
    path = tmp_path / "case.npz"
    save(body, path)
    with threadpool_limits(1):  # as in the processes of `measure`
        for method in ("chistream adaptive (Walsh)", "chistream ESPIRiT"):
            assert measure_here(path, method)["1 - cosine, median"] < 2e-3
        grappa = measure_here(path, "chistream GRAPPA")
    # R = 4 with six coils at an SNR of 100; folded voxels would be wrong by radians.
    assert grappa["inter-echo phase, RMS [rad]"] < 0.3
    # A fourth of the lines has twice the noise at least, or less where noise is regularised.
    assert grappa["noise / full sampling"] > 1.5


def test_perfect_maps_and_echoes_have_no_error(body: Replicas) -> None:
    case = body[0]
    maps = figures_of_maps(case.true_maps, case)
    assert maps["1 - cosine, 99 %"] < 1e-6
    assert maps["SNR lost"] == pytest.approx(0, abs=1e-6)
    clean = figures_of_echoes(case.clean, case.clean, body)
    assert clean["NRMSE"] == 0
    assert clean["inter-echo phase, RMS [rad]"] == pytest.approx(0, abs=1e-6)


def test_errors_that_replicas_share_are_told_from_noise(body: Replicas) -> None:
    turned = body[0].clean.copy()
    turned[1] *= np.exp(0.1j)
    rng = np.random.default_rng(2)
    one, other = (
        turned * np.exp(0.1j * rng.standard_normal(turned.shape)).astype(np.complex64)
        for _ in range(2)
    )
    figures = figures_of_echoes(one, other, body)
    assert figures["of it without noise [rad]"] == pytest.approx(0.1, abs=0.02)
    # Two echoes of 0.1 rad each, and 0.1 rad of both.
    assert figures["inter-echo phase, RMS [rad]"] == pytest.approx(np.sqrt(3) * 0.1, abs=0.02)


def test_a_case_comes_back_as_it_was_saved(body: Replicas, tmp_path: Path) -> None:
    save(body, tmp_path / "case.npz")
    for before, after in zip(body, load(tmp_path / "case.npz"), strict=True):
        for name, part in vars(replace(before)).items():
            np.testing.assert_array_equal(getattr(after, name), part)


def test_tools_that_are_not_installed_give_the_reason() -> None:
    assert tools.reason_missing("chistream SENSE") is None
    assert tools.reason_missing("nosuchtool SENSE") == (
        "nosuchtool is not installed (pip install nosuchtool)"
    )
    assert tools.version("nosuchtool") is None
