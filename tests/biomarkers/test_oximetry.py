"""The review's equation against its worked numbers, and everything that must not pass silently."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import constants

from chistream.biomarkers import oximetry
from chistream.biomarkers.oximetry import (
    CALIBRATIONS,
    DEOXYHEME_SUSCEPTIBILITY,
    CalibrationName,
    hemoglobin_concentration,
    saturation_difference,
)


def percent(delta_chi_ppb: float, hematocrit: float, name: CalibrationName = "wen2018") -> float:
    delta = saturation_difference(delta_chi_ppb, hematocrit, name).delta_sao2
    assert delta is not None
    return 100 * delta


@pytest.mark.parametrize(
    ("delta_chi_ppb", "hematocrit", "expected", "tolerance"),
    [(90.0, 0.42, 6.72, 0.01), (252.0, 0.452, 17.5, 0.05), (291.5, 0.4214, 21.7, 0.05)],
)
def test_the_published_numbers_come_out(
    delta_chi_ppb: float, hematocrit: float, expected: float, tolerance: float
) -> None:
    assert percent(delta_chi_ppb, hematocrit) == pytest.approx(expected, abs=tolerance)


def test_the_misprinted_molar_mass_would_be_ten_times_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oximetry, "HEMOGLOBIN_MOLAR_MASS", 6444e-6)
    misprinted = 4 * hemoglobin_concentration(0.42) * DEOXYHEME_SUSCEPTIBILITY
    assert not math.isclose(100 * 90.0 / misprinted, 6.72, abs_tol=0.01)
    assert 100 * 90.0 / misprinted == pytest.approx(0.672, abs=0.001)


def test_the_constants_are_in_si_and_for_body_temperature() -> None:
    # Curie's law for high-spin haem, 5.46 Bohr magnetons, 310.15 K; the exact prefactor.
    per_mole = (
        constants.mu_0
        * constants.N_A
        * (5.46 * constants.value("Bohr magneton")) ** 2
        / (3 * constants.k * 310.15)
    )  # m^3/mol
    curie = per_mole * 1e6 / 1e6 * 1e9  # cm^3/mol = ml/mol, per umol, in ppb
    assert pytest.approx(curie, rel=1e-3) == DEOXYHEME_SUSCEPTIBILITY


@pytest.mark.parametrize(
    ("name", "expected"), [("wen2018", 3187.5), ("spees2001", 3392.9), ("jain2012", 3430.6)]
)
def test_each_calibration_has_its_published_value_and_source(
    name: CalibrationName, expected: float
) -> None:
    assert CALIBRATIONS[name].red_cell_ppb == pytest.approx(expected, abs=0.1)
    assert "doi:10." in CALIBRATIONS[name].source
    assert percent(expected * 0.4, 0.4, name) == pytest.approx(100, abs=0.01)


def test_without_a_hematocrit_there_is_no_saturation_but_a_reason() -> None:
    result = saturation_difference(250.0, None, delta_chi_se_ppb=10.0, arterial_saturation=0.97)
    assert result.delta_sao2 is None
    assert result.delta_sao2_se is None
    assert result.svo2 is None
    assert result.delta_chi_ppb == 250.0
    for name in ("hematocrit", "delta_sao2", "delta_sao2_se", "svo2", "svo2_se"):
        assert "haematocrit" in result.null_reasons[name]


def test_without_a_difference_the_reason_is_another() -> None:
    result = saturation_difference(None, 0.42)
    assert result.delta_sao2 is None
    assert "difference" in result.null_reasons["delta_sao2"]
    assert "hematocrit" not in result.null_reasons


def test_reasons_cover_exactly_what_is_null() -> None:
    result = saturation_difference(250.0, 0.42, arterial_saturation=0.97)
    nulls = {name for name, value in vars(result).items() if value is None}
    assert set(result.null_reasons) == nulls == {"delta_chi_se_ppb", "delta_sao2_se", "svo2_se"}


@pytest.mark.parametrize("hematocrit", [42.0, 1.01, 0.0, -0.42, math.nan, math.inf])
def test_a_hematocrit_that_is_no_fraction_is_refused_by_its_value(hematocrit: float) -> None:
    with pytest.raises(ValueError, match=r"as a fraction, 0\.42") as refusal:
        saturation_difference(250.0, hematocrit)
    assert str(hematocrit) in str(refusal.value)


def test_an_arterial_saturation_in_percent_is_refused() -> None:
    with pytest.raises(ValueError, match=r"arterial_saturation 97\.0 .* as a fraction, 0\.98"):
        saturation_difference(250.0, 0.42, arterial_saturation=97.0)


@pytest.mark.parametrize("delta_chi_ppb", [math.nan, math.inf])
def test_a_difference_that_is_no_number_is_refused(delta_chi_ppb: float) -> None:
    with pytest.raises(ValueError, match="delta_chi_ppb must be a finite number"):
        saturation_difference(delta_chi_ppb, 0.42)


def test_an_error_is_never_negative() -> None:
    with pytest.raises(ValueError, match=r"hematocrit_se .* got -0\.01"):
        saturation_difference(250.0, 0.42, hematocrit_se=-0.01)


def test_an_unknown_calibration_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'weisskoff' is none of wen2018, spees2001, jain2012"):
        saturation_difference(250.0, 0.42, "weisskoff")  # type: ignore[arg-type]


@pytest.mark.parametrize(("hematocrit", "warned"), [(0.14, 1), (0.15, 0), (0.65, 0), (0.66, 1)])
def test_an_unlikely_hematocrit_is_used_and_flagged(hematocrit: float, warned: int) -> None:
    result = saturation_difference(90.0, hematocrit)
    assert result.delta_sao2 is not None
    assert len(result.flags) == warned
    assert all(f"{hematocrit:g}" in flag for flag in result.flags)


def test_a_negative_difference_stays_negative_and_is_flagged() -> None:
    result = saturation_difference(-90.0, 0.42, arterial_saturation=0.97)
    assert result.delta_sao2 == pytest.approx(-0.0672, abs=1e-4)
    assert result.svo2 == pytest.approx(1.0372, abs=1e-4)
    assert [flag for flag in result.flags if "negative" in flag]
    assert [flag for flag in result.flags if "exceeds 100 %" in flag]


def test_more_than_sixty_percent_is_kept_and_flagged() -> None:
    result = saturation_difference(0.9 * 1338.75, 0.42, arterial_saturation=0.97)
    assert result.delta_sao2 == pytest.approx(0.9, abs=1e-4)
    assert result.svo2 == pytest.approx(0.07, abs=1e-4)
    assert [flag for flag in result.flags if "exceeds 60 %" in flag]
    assert [flag for flag in result.flags if "below 20 %" in flag]


def test_a_plausible_measurement_has_no_flag() -> None:
    result = saturation_difference(250.0, 0.42, arterial_saturation=0.97)
    assert result.flags == ()
    assert result.svo2 == pytest.approx(0.97 - 250 / 1338.75, abs=1e-4)


@given(
    delta_chi_ppb=st.floats(-500, 1000),
    hematocrit=st.floats(0.2, 0.6),
    name=st.sampled_from(list(CALIBRATIONS)),
)
def test_the_difference_is_proportional_in_chi_and_inverse_in_hematocrit(
    delta_chi_ppb: float, hematocrit: float, name: CalibrationName
) -> None:
    one = percent(delta_chi_ppb, hematocrit, name)
    assert percent(2 * delta_chi_ppb, hematocrit, name) == pytest.approx(2 * one)
    assert percent(delta_chi_ppb, hematocrit / 2, name) == pytest.approx(2 * one)


def test_errors_propagate_as_a_monte_carlo_says() -> None:
    result = saturation_difference(
        252.0,
        0.42,
        "jain2012",
        delta_chi_se_ppb=13.4,
        hematocrit_se=0.02,
        arterial_saturation=0.97,
        arterial_saturation_se=0.01,
    )
    rng = np.random.default_rng(20220818)
    n = 400_000
    red_cell = 0.273e3 * 4 * np.pi * (1 + 0.006 / 0.273 * rng.standard_normal(n))
    drawn = (252.0 + 13.4 * rng.standard_normal(n)) / (
        red_cell * (0.42 + 0.02 * rng.standard_normal(n))
    )
    venous = 0.97 + 0.01 * rng.standard_normal(n) - drawn
    # 2 %: what first order leaves out at a relative haematocrit error of 5 %.
    assert result.delta_sao2_se == pytest.approx(drawn.std(), rel=0.02)
    assert result.svo2_se == pytest.approx(venous.std(), rel=0.02)
    assert result.se_covers == (
        "noise of the map",
        "haematocrit",
        "calibration",
        "arterial saturation",
    )


def test_a_zero_difference_keeps_the_error_of_the_map() -> None:
    result = saturation_difference(0.0, 0.42, delta_chi_se_ppb=13.3875, hematocrit_se=0.02)
    assert result.delta_sao2 == 0.0
    assert result.delta_sao2_se == pytest.approx(0.01, abs=1e-5)
    assert result.se_covers == ("noise of the map", "haematocrit")


def test_an_error_without_the_map_s_own_is_not_claimed() -> None:
    result = saturation_difference(250.0, 0.42, hematocrit_se=0.02)
    assert result.delta_sao2_se is None
    assert result.se_covers == ()
    assert "standard error" in result.null_reasons["delta_sao2_se"]
