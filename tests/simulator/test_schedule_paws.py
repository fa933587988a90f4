"""PAWS: bins of position, and the window that they find."""

import time
from typing import Any

import numpy as np
import pytest

from chistream_simulator.case import Case
from chistream_simulator.timing.gating import ACCEPTED
from chistream_simulator.timing.paws import PawsGate
from chistream_simulator.timing.schedule import Schedule, plan_scan

PAWS: dict[str, Any] = {"matrix": (6, 40, 48), "gating": "paws", "breathing_amplitude": 12.0}
STEADY = np.array([0.0, 0.0])


def plan(**changes: Any) -> Schedule:  # noqa: ANN401
    return plan_scan(Case(**{**PAWS, **changes}))


def feed(gate: PawsGate, positions: list[float]) -> list[int]:
    """Let a gate take steady heartbeats at some positions; return the groups it chose."""
    groups = []
    for position in positions:
        groups.append(gate.choose(position))
        assert gate.judge(groups[-1], position + STEADY, 0.9) == ACCEPTED
    return groups


def test_neighbouring_bins_start_at_opposite_ends() -> None:
    gate = PawsGate(Case(**PAWS), n_groups=10)
    # Bins are 2.5 mm wide, around the first position.
    assert feed(gate, [1.0, 1.0, 3.5, 3.5, -1.5, 6.0, 2.2, 0.0]) == [0, 1, 9, 8, 9, 0, 2, 3]


def test_three_bins_start_at_the_ends_and_in_the_middle() -> None:
    gate = PawsGate(Case(**{**PAWS, "paws_bins": 3, "gating_window": 6.0}), n_groups=9)
    assert feed(gate, [0.0, 2.0, 4.0, 2.0, 2.0, 0.0, 4.0]) == [0, 4, 8, 3, 5, 1, 7]


def test_one_bin_is_a_window_that_finds_itself() -> None:
    gate = PawsGate(Case(**{**PAWS, "paws_bins": 1}), n_groups=3)
    assert feed(gate, [5.0, 5.0, -5.0, 5.5]) == [0, 1, 0, 2]
    assert gate.done
    assert gate.verdicts([0, 1, 0, 2], [ACCEPTED] * 4) == ["", "", "window", ""]


def test_the_first_neighbours_with_all_lines_end_the_scan() -> None:
    gate = PawsGate(Case(**PAWS), n_groups=4)
    chosen = feed(gate, [0.0, 2.5, 5.0, 2.5, 0.0])
    assert chosen == [0, 3, 0, 2, 1]
    assert gate.done
    assert gate.n_done == 4
    final = gate.verdicts(chosen, [ACCEPTED] * 5)
    assert final == ["", "", "window", "", ""]


def test_a_bin_works_for_the_fullest_window_around_it() -> None:
    gate = PawsGate(Case(**{**PAWS, "paws_bins": 3, "gating_window": 6.0}), n_groups=5)
    # The middle bin would take group 1 again, if it worked for the window above.
    assert feed(gate, [0.0, 0.0, 2.0, 2.0]) == [0, 1, 2, 3]


@pytest.mark.parametrize("bins", [2, 3])
def test_what_the_window_has_twice_is_kept_once(bins: int) -> None:
    rng = np.random.default_rng(bins)
    case, n_repeated = Case(**{**PAWS, "paws_bins": bins}), 0
    for _ in range(200):
        gate = PawsGate(case, n_groups=9)
        chosen: list[int] = []
        while not gate.done:
            chosen += feed(gate, [float(rng.normal(0, 8))])
        final = gate.verdicts(chosen, [ACCEPTED] * len(chosen))
        kept = [g for g, reason in zip(chosen, final, strict=True) if reason == ACCEPTED]
        assert sorted(kept) == list(range(9))
        n_repeated += final.count("repeated")
    assert (n_repeated > 0) == (bins > 2)


def test_a_restless_heartbeat_is_taken_again() -> None:
    gate = PawsGate(Case(**PAWS), n_groups=3)
    group = gate.choose(0.0)
    assert gate.judge(group, np.array([0.0, 2.5]), 0.9) == "change"
    assert gate.choose(0.0) == group


def test_calibration_is_taken_once_wherever_the_patient_is() -> None:
    gate = PawsGate(Case(**PAWS), n_groups=5, n_first=2)
    assert feed(gate, [0.0, 9.0, 0.0, 0.0]) == [0, 1, 2, 3]
    assert gate.n_done == 4
    assert feed(gate, [2.5]) == [4]
    assert gate.done
    assert set(gate.verdicts([0, 1, 2, 3, 4], [ACCEPTED] * 5)) == {ACCEPTED}


@pytest.mark.parametrize("bins", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(3))
def test_a_scan_ends_with_each_line_once_within_neighbouring_bins(bins: int, seed: int) -> None:
    schedule = plan(paws_bins=bins, seed=seed)
    kept = [beat for beat in schedule.beats if beat.accepted]
    lines = np.concatenate([beat.lines for beat in kept])
    assert len(lines) == len(np.unique(lines, axis=0)) == 6 * 40
    before = np.array([beat.descents[0] for beat in kept])
    assert np.ptp(before) <= 5.0
    assert max(np.ptp(beat.descents) for beat in kept) <= 2.0
    assert {b.reason for b in schedule.beats} <= {"", "window", "change", "repeated"}
    if bins == 2:
        assert "repeated" not in {b.reason for b in schedule.beats}


def test_the_reference_is_where_the_patient_happens_to_be_first() -> None:
    schedule = plan(breathing_drift=2.0)
    assert len({(z, y) for b in schedule.beats if b.accepted for z, y in b.lines.tolist()}) == 240


def test_a_separate_calibration_comes_first() -> None:
    schedule = plan(acceleration=(1, 2), calibration="separate", calibration_lines=(6, 10))
    assert [set(b.purposes.tolist()) for b in schedule.beats if b.accepted][:6] == [{2}] * 6
    assert sum(len(b.lines) for b in schedule.beats if b.accepted) == 60 + 120


def test_planning_a_thousand_heartbeats_takes_less_than_a_second() -> None:
    case = Case(
        gating="paws", matrix=(24, 144, 128), views_per_beat=6, breathing_amplitude=14.0, seed=1
    )
    plan_scan(case)
    start = time.process_time()
    schedule = plan_scan(case)
    assert len(schedule.beats) > 800
    assert time.process_time() - start < 1.0 * len(schedule.beats) / 1000
