"""The JSON that travels: nothing missing without a reason, no number without its light."""

import json
import math
from typing import Any

import pytest
from pydantic import ValidationError

from chistream.biomarkers.oximetry import saturation_difference
from chistream.biomarkers.pools import Pool
from chistream.biomarkers.results import ChiStreamResults, Gating, Quality, collect_results

RIGHT = Pool("RV", 240.0, 20.0, 3.0, 90, 44.4, 9.0)
LEFT = Pool("LV", -10.0, 20.0, 4.0, 50, 25.0, 5.0)
GATING = Gating(
    method="navigator", efficiency=0.5, window_mm=(-2.5, 2.5), n_accepted=100, n_rejected=100
)
GREEN = Quality(light="green")


def complete(**changes: Any) -> ChiStreamResults:  # noqa: ANN401
    arguments: dict[str, Any] = {
        "version": "0.1.0",
        "chain": "cardiac_qsm",
        "quality": GREEN,
        "oximetry": saturation_difference(
            250.0, 0.42, delta_chi_se_ppb=5.0, arterial_saturation=0.97
        ),
        "pools": [RIGHT, LEFT],
        "reference": "LV",
        "gating": GATING,
        "timing": {"inversion": 4.2},
        **changes,
    }
    return collect_results(**arguments)


def test_the_keys_are_those_that_clients_know() -> None:
    sent = json.loads(complete().to_json())
    assert sent.keys() >= {
        "version",
        "chain",
        "reference",
        "delta_chi_ppb",
        "delta_chi_se_ppb",
        "hematocrit",
        "calibration",
        "delta_sao2",
        "svo2",
        "chambers",
        "gating",
        "quality",
        "timing",
        "null_reasons",
    }
    assert sent["quality"] == {"light": "green", "reasons": []}
    assert sent["chambers"]["RV"]["mean_ppb"] == 240.0
    assert sent["calibration"] == "wen2018"
    assert sent["null_reasons"] == {}


def test_there_and_back() -> None:
    results = complete()
    assert ChiStreamResults.from_json(results.to_json()) == results


def test_a_heartbeat_without_a_navigator_is_null_among_the_displacements() -> None:
    gating = Gating(**(GATING.model_dump() | {"displacements_mm": (0.5, None, -1.2)}))
    sent = json.loads(complete(gating=gating).to_json())
    assert sent["gating"]["displacements_mm"] == [0.5, None, -1.2]
    with pytest.raises(ValidationError, match="finite"):
        Gating(**(GATING.model_dump() | {"displacements_mm": (math.nan,)}))


def test_without_a_hematocrit_the_reason_travels() -> None:
    oximetry = saturation_difference(250.0, None, delta_chi_se_ppb=5.0)
    sent = json.loads(complete(oximetry=oximetry).to_json())
    assert sent["delta_chi_ppb"] == 250.0
    assert sent["delta_sao2"] is None
    assert "haematocrit" in sent["null_reasons"]["delta_sao2"]


def test_a_chain_without_blood_pools_says_so_in_every_null() -> None:
    results = complete(chain="qsm", oximetry=None, reference=None, gating=None)
    sent = json.loads(results.to_json())
    nulls = {name for name, value in sent.items() if value is None} - {"calibration_source"}
    assert nulls == sent["null_reasons"].keys()
    assert sent["null_reasons"]["delta_chi_ppb"] == "The chain qsm measured no blood pools."
    assert sent["null_reasons"]["gating"] == "The scan has no navigator."


def test_the_caller_s_reason_goes_before_the_general_one() -> None:
    reason = "ROI 'RV' holds 3 voxels with signal and needs 10."
    results = complete(oximetry=None, null_reasons={"delta_chi_ppb": reason, "chain": "unused"})
    assert results.null_reasons["delta_chi_ppb"] == reason
    assert "chain" not in results.null_reasons


def test_a_null_without_a_reason_is_no_result() -> None:
    fields = complete().model_dump() | {"svo2": None}
    with pytest.raises(ValidationError, match="null without a reason: svo2"):
        ChiStreamResults(**fields)


def test_a_reason_for_a_number_is_no_result() -> None:
    fields = complete().model_dump() | {"null_reasons": {"svo2": "None was given."}}
    with pytest.raises(ValidationError, match="a reason for what is not null: svo2"):
        ChiStreamResults(**fields)


def test_a_number_without_its_light_is_no_result() -> None:
    fields = complete().model_dump()
    del fields["quality"]
    with pytest.raises(ValidationError, match="quality"):
        ChiStreamResults(**fields)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_never_reaches_the_json(value: float) -> None:
    fields = complete().model_dump()
    for changes in ({"delta_chi_ppb": value}, {"timing": {"fit": value}}):
        with pytest.raises(ValidationError, match="finite"):
            ChiStreamResults(**(fields | changes))


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        ChiStreamResults.from_json(complete().to_json().replace('"svo2"', '"svo3"', 1))


@pytest.mark.parametrize("light", ["amber", "red"])
def test_a_light_that_warns_says_why(light: str) -> None:
    with pytest.raises(ValidationError, match=f"{light} needs a reason"):
        Quality.model_validate({"light": light})


def test_flags_of_the_oximetry_turn_green_into_amber() -> None:
    results = complete(oximetry=saturation_difference(-90.0, 0.42))
    assert results.quality.light == "amber"
    assert "negative" in results.quality.reasons[0]


def test_flags_do_not_lighten_red() -> None:
    red = Quality(light="red", reasons=("The inversion did not converge.",))
    results = complete(quality=red, oximetry=saturation_difference(-90.0, 0.42))
    assert results.quality.light == "red"
    assert len(results.quality.reasons) == 2


def test_the_worst_light_wins_and_reasons_are_said_once() -> None:
    amber = Quality(light="amber", reasons=("No noise scan.",))
    assert Quality.worst([]) == GREEN
    assert Quality.worst([amber, GREEN, amber]) == amber
