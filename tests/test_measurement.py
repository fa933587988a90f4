"""Numbers, and what makes them doubtful."""

import numpy as np
import pytest

from chistream.acquisition.gating import GatingReport
from chistream.config import Settings
from chistream.measurement import Measurement, measure_scan
from chistream.physics.geometry import Geometry

UNGATED = GatingReport("ungated", "no navigators", 0, 0, None, 5.0, np.zeros(0), None, None, 0)
GATED = GatingReport(
    "navigator", "", 3, 2, 2 / 3, 5.0, np.array([0.0, np.nan, -4.6], np.float32), 0.0, None, 1
)
GOOD = Geometry((20, 30, 36), (5.0, 3.0, 3.0))
SETTINGS = Settings(rv_roi=(-20.0, 0.0, 0.0, 12.0), lv_roi=(20.0, 0.0, 0.0, 12.0), hematocrit=0.42)


def measure(
    geometry: Geometry = GOOD, settings: Settings = SETTINGS, gating: GatingReport = GATED
) -> Measurement:
    """A right side 0.25 ppm above the left, with a little noise, anywhere in the volume."""
    chi = np.random.default_rng(4).normal(0.1, 0.003, geometry.shape).astype(np.float32)
    chi[geometry.voxel_positions()[0] < 0] += np.float32(0.25)
    mask = np.ones(geometry.shape, dtype=bool)
    return measure_scan("cardiac_qsm", settings, geometry, gating, chi, mask)


def test_the_difference_is_measured_and_the_left_pool_is_zero() -> None:
    found = measure()
    assert found.results.delta_chi_ppb == pytest.approx(250, abs=1.0)
    assert found.results.delta_sao2 == pytest.approx(250 / (3187.5 * 0.42), rel=0.01)
    assert found.reference == "mean LV blood"
    assert found.chi[found.chambers["LV"]].mean() == pytest.approx(0.0, abs=1e-5)
    assert found.results.quality.light == "green"


@pytest.mark.parametrize(
    ("geometry", "settings", "words"),
    [
        (Geometry((12, 30, 36), (5.0, 3.0, 3.0)), SETTINGS, "slab is 60 mm thick"),
        (Geometry((20, 30, 36), (5.0, 6.5, 3.0)), SETTINGS, "voxels are 6.5 mm wide"),
        (
            GOOD,
            SETTINGS.model_copy(update={"rv_roi": (-20.0, 0.0, 0.0, 7.0)}),
            "RV region holds 1.",
        ),
    ],
)
def test_what_a_simulated_chest_cannot_recover_is_not_green(
    geometry: Geometry, settings: Settings, words: str
) -> None:
    quality = measure(geometry, settings).results.quality
    assert quality.light == "amber"
    assert any(words in reason for reason in quality.reasons)


@pytest.mark.parametrize(("change", "light"), [(-5.0, "green"), (-20.0, "amber"), (20.0, "amber")])
def test_a_difference_that_the_priors_decide_is_not_green(change: float, light: str) -> None:
    chi = np.random.default_rng(4).normal(0.1, 0.003, GOOD.shape).astype(np.float32)
    right = GOOD.voxel_positions()[0] < 0
    narrower = chi + np.float32(0.25 + change / 1e3) * right
    chi[right] += np.float32(0.25)
    mask = np.ones(GOOD.shape, dtype=bool)
    quality = measure_scan(
        "cardiac_qsm", SETTINGS, GOOD, GATED, chi, mask, narrower=narrower
    ).results.quality
    assert quality.light == light
    said = any("may be off by 40 ppb" in reason for reason in quality.reasons)
    assert said == (light == "amber")


def test_narrower_priors_are_no_matter_where_no_pools_are_measured() -> None:
    mask = np.ones(GOOD.shape, dtype=bool)
    chi = np.zeros(GOOD.shape, np.float32)
    found = measure_scan("qsm", Settings(), GOOD, UNGATED, chi, mask, narrower=chi)
    assert found.results.quality.light == "green"


def test_a_thin_slab_is_no_matter_where_no_pools_are_measured() -> None:
    found = measure(Geometry((4, 30, 36), (5.0, 3.0, 3.0)), Settings(), UNGATED)
    assert found.results.quality.light == "green"
    assert found.results.null_reasons["gating"] == "no navigators"


def test_displacements_travel_in_tenths_of_a_millimetre() -> None:
    gating = measure().results.gating
    assert gating is not None
    assert gating.displacements_mm == (0.0, None, -4.6)
    assert (gating.n_accepted, gating.n_rejected, gating.window_mm) == (2, 1, (-2.5, 2.5))


def test_a_map_that_is_not_finite_is_red() -> None:
    chi = np.full(GOOD.shape, np.nan, np.float32)
    mask = np.ones(GOOD.shape, dtype=bool)
    found = measure_scan("qsm", Settings(), GOOD, UNGATED, chi, mask)
    assert found.results.quality.light == "red"
