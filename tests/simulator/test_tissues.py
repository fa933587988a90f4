"""The patient's tissues: the table, blood and its saturation, iron, fat and infarct."""

import math

import pytest

from chistream.errors import SettingsError
from chistream_simulator.blood import (
    CALIBRATIONS,
    TABLE_HEMATOCRIT,
    blood_r2star,
    deoxygenated_chi,
    deoxygenation,
    oxygenated_chi,
)
from chistream_simulator.case import Case, load_preset
from chistream_simulator.circulation import (
    chamber_saturations,
    chamber_velocities,
    ventricular_difference,
)
from chistream_simulator.disease import iron_r2star
from chistream_simulator.options.patient import PatientOptions
from chistream_simulator.phantoms.phantom import tissue_values
from chistream_simulator.tissues import tissue_table

OF_THE_CHEST = (
    "air",
    "lung",
    "muscle",
    "bone",
    "cortical_bone",
    "fat",
    "liver",
    "spleen",
    "stomach",
    "myocardium",
    "infarct",
    "blood",
    "vessel_wall",
    "csf",
    "white_matter",
)


def test_every_tissue_has_a_source_and_those_of_the_chest_all_three_times() -> None:
    table = tissue_table()
    assert all(tissue.source for tissue in table.values())
    for name in OF_THE_CHEST:
        times = table[name].T2
        assert times is not None, name
        assert all(t2 <= t1 for t1, t2 in zip(table[name].T1, times, strict=True)), name


def test_rates_are_those_of_the_table_and_linear_in_between() -> None:
    liver = tissue_table()["liver"]
    assert liver.r2star(1.5) == pytest.approx(1 / 0.030)
    assert liver.r2star(3.0) == pytest.approx(1 / 0.020)
    assert liver.r2star(2.25) == pytest.approx((1 / 0.030 + 1 / 0.020) / 2)
    assert liver.r2star(0.1) > 0
    with pytest.raises(TypeError, match="saturation"):
        tissue_table()["blood"].r2star(3.0)


def test_signals_are_those_of_a_spoiled_gradient_echo() -> None:
    table = tissue_table()
    liver, lung = table["liver"], table["lung"]
    # Fully relaxed water gives the sine of the flip angle.
    assert table["water"].amplitudes(3.0, 50.0, 30.0) == pytest.approx((0.5, 0), rel=1e-6)
    # At the Ernst angle, cos = e1, the signal is the root of (1 - e1) / (1 + e1).
    e1 = math.exp(-0.015 / 0.812)
    ernst = 0.75 * math.sqrt((1 - e1) / (1 + e1))
    assert liver.amplitudes(3.0, 0.015, math.degrees(math.acos(e1)))[0] == pytest.approx(ernst)
    assert liver.amplitudes(3.0, 0.015, 15.0)[0] > 2 * lung.amplitudes(3.0, 0.015, 15.0)[0]


def test_the_fat_of_a_mixture_relaxes_as_fat_and_its_water_as_itself() -> None:
    table = tissue_table({"muscle": {"fat_fraction": 0.3}})
    muscle, fat = table["muscle"], table["fat"]
    water, lipid = muscle.amplitudes(3.0, 0.015, 15.0, fat)
    own_water, own_lipid = muscle.amplitudes(3.0, 0.015, 15.0)
    assert water == own_water
    assert own_lipid / own_water == pytest.approx(0.3 / 0.7)
    pure = tissue_table({"fat": {"fat_fraction": 1.0, "proton_density": 0.8}})["fat"]
    assert lipid == pytest.approx(0.3 * pure.amplitudes(3.0, 0.015, 15.0)[1])
    assert lipid > 2 * own_lipid


def test_every_value_of_the_table_can_be_set_by_name() -> None:
    case = load_preset(
        "demo", overrides={"tissues.spleen.chi": "0.1", "tissues.spleen.T2star": "[0.02, 0.01]"}
    )
    values = tissue_values(case.model_copy(update={"h1_frequency": 3 * 42.57638543e6}))
    assert values["spleen"]["chi"] == 0.1
    assert values["spleen"]["r2star"] == pytest.approx(100.0, rel=1e-4)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (
            {"liver.T1": "[0, 0]"},
            r"^tissues\.liver\.T1\.0: .* greater .* 0\.000001, got 0\n.*T1\.1: ",
        ),
        ({"liver.T1": "[1, inf]"}, r"^tissues\.liver\.T1\.1: Input should be a finite number"),
        ({"liver.T1": "1"}, r"^tissues\.liver\.T1: give two times, at 1\.5 T .*, got 1$"),
        ({"liver.T2": "[1, 1, 1]"}, r"^tissues\.liver\.T2: give two times"),
        ({"liver.T2star": "[1]"}, r"^tissues\.liver\.T2star: give two times, .* got \[1\]$"),
        ({"liver.T2star": "[-1, 1]"}, r"^tissues\.liver\.T2star\.0: .* greater .*, got -1$"),
        ({"liver.T2star": "from saturation"}, r"^tissues\.liver\.T2star: only blood .* \[0\.03"),
        ({"blood.T2star": "from iron"}, r"^tissues\.blood\.T2star: .*'from iron'$"),
        ({"fat.proton_density": "inf"}, r"^tissues\.fat\.proton_density: .* finite .* got inf$"),
        ({"fat.chi": "nan"}, r"^tissues\.fat\.chi: .* finite number"),
        ({"fat.t1": "[1, 1]"}, r"^tissues\.fat: there is no t1, only chi, T1, T2, T2star, "),
        ({"gel.chi": "0.1"}, r"^tissues\.gel: T1 is missing\ntissues\.gel: T2star is missing\n"),
    ],
)
def test_what_is_no_tissue_is_refused_with_its_name_and_field(
    overrides: dict[str, str], reason: str
) -> None:
    given = {f"tissues.{name}": value for name, value in overrides.items()}
    with pytest.raises(SettingsError, match=reason):
        load_preset("demo", overrides=given)


def test_blood_decays_as_it_is_told_or_else_by_its_saturation() -> None:
    told = tissue_values(Case(h1_frequency=127.73e6, tissues={"blood": {"T2star": [0.05, 0.025]}}))
    own = tissue_values(Case(h1_frequency=127.73e6))
    assert told["blood_RV"]["r2star"] == pytest.approx(40.0, rel=1e-3)
    assert told["blood_RV"]["r2star"] == told["blood_LV"]["r2star"]
    assert own["blood_RV"]["r2star"] == pytest.approx(blood_r2star(0.42, 0.7833, 3.0), rel=1e-3)


@pytest.mark.parametrize("hematocrit", [0.25, 0.42, 0.6])
def test_oxygenated_blood_has_the_susceptibility_of_its_red_cells(hematocrit: float) -> None:
    # -0.008 ppm cgs, Jain 2012; plasma as water.
    table = tissue_table()["blood"].chi
    cells = -0.10 * hematocrit
    assert oxygenated_chi(table, hematocrit) == pytest.approx(cells)
    assert oxygenated_chi(table, TABLE_HEMATOCRIT) == table
    values = tissue_values(Case(hematocrit=hematocrit, arterial_saturation=1.0))
    assert values["blood_LV"]["chi"] == pytest.approx(cells)
    assert values["blood_RV"]["chi"] == pytest.approx(cells + 0.25)


# 252 ppb at haematocrit 0.42, by the numbers of Wen, of Spees and of Jain.
@pytest.mark.parametrize(
    ("calibration", "percent"), [("wen2018", 18.82), ("spees2001", 17.68), ("jain2012", 17.49)]
)
def test_calibrations_of_blood_are_those_published(calibration: str, percent: float) -> None:
    drop = deoxygenation(252.0, 0.42, calibration)
    assert 100 * drop == pytest.approx(percent, abs=0.01)
    assert deoxygenated_chi(0.42, 1 - drop, calibration) == pytest.approx(0.252)
    assert set(CALIBRATIONS) == {"wen2018", "spees2001", "jain2012"}


def test_haem_obeys_curies_law_at_body_temperature() -> None:
    # 5.46 Bohr magnetons, 310.15 K: 151.04 ppb ml / umol of haem, four in each 64450 g.
    curie = 4 * math.pi * 0.12505 * 5.46**2 / 310.15 * 1000
    assert CALIBRATIONS["wen2018"] == pytest.approx(4 * 0.34 / 64450e-6 * curie, rel=2e-4)


def test_blood_decays_faster_the_less_oxygen_it_carries() -> None:
    rates = [blood_r2star(0.42, saturation, 3.0) for saturation in (1.0, 0.97, 0.78, 0.5)]
    assert rates == sorted(rates)
    assert 1 / rates[1] == pytest.approx(0.0475, abs=0.003)
    assert blood_r2star(0.42, 0.78, 1.5) < rates[2] / 2


@pytest.mark.parametrize("calibration", sorted(CALIBRATIONS))
@pytest.mark.parametrize("difference", [0.0, 250.0, 500.0])
def test_the_difference_between_the_ventricles_is_as_set(
    difference: float, calibration: str
) -> None:
    case = Case.model_validate(
        {"rv_lv_difference": difference, "blood_calibration": calibration, "hematocrit": 0.45}
    )
    values = tissue_values(case)
    found = values["blood_RV"]["chi"] - values["blood_LV"]["chi"]
    assert found == pytest.approx(difference / 1000, abs=1e-9)
    for venous, arterial in (("venous_blood", "arterial_blood"), ("blood_RA", "blood_aorta")):
        assert values[venous]["chi"] - values[arterial]["chi"] == pytest.approx(found)
    drop = values["blood_RV"]["r2star"] - values["blood_LV"]["r2star"]
    assert drop == pytest.approx(0.0, abs=1e-9) if difference == 0 else drop > 1


def test_without_a_shunt_the_two_venae_cavae_mix_to_what_the_ventricle_has() -> None:
    found = chamber_saturations(PatientOptions())
    # A third of the blood comes from above.
    assert found["SVC"] / 3 + 2 * found["IVC"] / 3 == pytest.approx(found["RV"])
    assert 0.02 < found["IVC"] - found["SVC"] < 0.1
    assert found["RA"] == found["RV"] == found["PA"]
    assert found["LA"] == found["LV"] == found["aorta"] == 0.97


@pytest.mark.parametrize(
    ("shunt", "behind"),
    [
        ("atrial", {"RA", "RV", "PA"}),
        ("ventricular", {"RV", "PA"}),
        ("ductal", {"PA"}),
        ("none", set()),
    ],
)
def test_a_shunt_steps_up_all_chambers_behind_it_and_no_other(shunt: str, behind: set[str]) -> None:
    without = chamber_saturations(PatientOptions(rv_lv_difference=300.0))
    options = {"rv_lv_difference": 300.0, "shunt": shunt, "shunt_step": 0.08}
    found = chamber_saturations(PatientOptions.model_validate(options))
    for label, saturation in found.items():
        step = 0.08 if label in behind else 0.0
        assert saturation == pytest.approx(without[label] + step), label


@pytest.mark.parametrize("calibration", sorted(CALIBRATIONS))
@pytest.mark.parametrize("shunt", ["none", "atrial", "ventricular", "ductal"])
def test_the_ventricles_differ_by_what_the_shunt_leaves(shunt: str, calibration: str) -> None:
    options = {"shunt": shunt, "shunt_step": 0.07, "blood_calibration": calibration}
    case = Case.model_validate({"rv_lv_difference": 237.3, "hematocrit": 0.39, **options})
    difference, drop = ventricular_difference(case)
    values, saturations = tissue_values(case), chamber_saturations(case)
    chi = values["blood_RV"]["chi"] - values["blood_LV"]["chi"]
    assert difference == pytest.approx(1000 * chi, abs=1e-6)
    assert drop == pytest.approx(saturations["LV"] - saturations["RV"], abs=1e-9)
    if shunt in ("none", "ductal"):
        assert (difference, drop) == (237.3, case.delta_saturation)
    else:
        assert difference < 170


def test_no_blood_is_better_oxygenated_than_arterial_nor_worse_than_not_at_all() -> None:
    rich = PatientOptions(rv_lv_difference=50.0, shunt="atrial", shunt_step=0.4)
    with pytest.raises(
        ValueError, match=r"shunt_step 0\.4 .* RA from 0\.933 .* set it to 0\.0373 or less"
    ):
        chamber_saturations(rich)
    most = PatientOptions(rv_lv_difference=50.0, shunt="atrial", shunt_step=0.0373)
    assert 0.9699 < chamber_saturations(most)["RV"] <= 0.97
    poor = chamber_saturations(
        PatientOptions(rv_lv_difference=480.0, hematocrit=0.2, arterial_saturation=0.8)
    )
    assert poor["SVC"] == 0.0 < poor["RV"]


def test_blood_flows_along_the_heart_in_it_and_along_the_body_outside() -> None:
    apex = (0.6, -0.64, -0.48)
    found = chamber_velocities(PatientOptions(blood_velocity=2.0), apex)
    speed = math.hypot(*found["LV"])
    assert speed == pytest.approx(0.10)
    assert found["LV"] == pytest.approx([speed * a for a in apex])
    assert found["SVC"][2] < 0 < found["IVC"][2]
    assert set(found) == set(chamber_saturations(PatientOptions()))
    still = chamber_velocities(PatientOptions(blood_velocity=0.0), apex)
    assert not any(any(velocity) for velocity in still.values())


def test_fresh_blood_is_brighter() -> None:
    dim, bright = (tissue_values(Case(inflow=inflow))["blood_LV"]["water"] for inflow in (0.0, 1.0))
    assert bright == pytest.approx(0.95 * math.sin(math.radians(15)))
    middle = tissue_values(Case(inflow=0.25))["blood_LV"]["water"]
    assert middle == pytest.approx(0.75 * dim + 0.25 * bright)


def test_iron_raises_susceptibility_and_r2star_together() -> None:
    # 7 mg of iron per g of dry liver: R2* = (7 + 0.16) / 0.02603 by Hernando at 1.5 T, baseline
    # included, and chi = 0.11 * 7.
    low, high = iron_r2star(0.77)
    assert low == pytest.approx(7 / 0.02603)
    assert 1.9 < high / low < 2.0
    for h1_frequency, rise in ((1.5 * 42.57638543e6, low), (3.0 * 42.57638543e6, high)):
        healthy, ill = (
            tissue_values(Case(h1_frequency=h1_frequency, liver_iron=chi, heart_iron=chi / 2))
            for chi in (0.0, 0.77)
        )
        for name, part in (("liver", 1.0), ("myocardium", 0.5)):
            assert ill[name]["chi"] - healthy[name]["chi"] == pytest.approx(0.77 * part)
            more = ill[name]["r2star"] - healthy[name]["r2star"]
            assert more == pytest.approx(rise * part, rel=1e-4)
        assert ill["spleen"] == healthy["spleen"]


def test_a_fatty_liver_is_a_mixture_of_liver_and_fat() -> None:
    values = tissue_values(Case(liver_fat=0.2))
    healthy = tissue_values(Case())
    assert values["liver"]["chi"] == pytest.approx(0.2 * values["fat"]["chi"])
    assert values["liver"]["water"] == pytest.approx(0.8 * healthy["liver"]["water"])
    assert healthy["liver"]["fat"] == 0
    assert 0.2 < values["liver"]["fat"] / (values["liver"]["fat"] + values["liver"]["water"]) < 0.5


@pytest.mark.parametrize("t2star", [0.010, 0.040])
def test_an_infarct_is_more_magnetic_whether_it_decays_faster_or_slower(t2star: float) -> None:
    values = tissue_values(Case(infarct_chi=0.2, infarct_t2star=t2star, heart_iron=0.1))
    heart, infarct = values["myocardium"], values["infarct"]
    assert infarct["chi"] - heart["chi"] == pytest.approx(0.2)
    assert infarct["r2star"] == pytest.approx(1 / t2star)
