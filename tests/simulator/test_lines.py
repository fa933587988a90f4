"""Lines of k-space: which, what for, in what order, in which heartbeats."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chistream.errors import SettingsError
from chistream_simulator.case import Case
from chistream_simulator.overrides import checked
from chistream_simulator.timing.lines import Limit, LinePlan, Purpose, plan_lines
from chistream_simulator.timing.orders import group_lines, line_order, relative_radius

ORDERS = ("linear", "centric", "spiral", "random")
SIZES = [(9, 20), (8, 21), (7, 13), (24, 144)]


def case_of(size: tuple[int, int] = (9, 20), **changes: Any) -> Case:  # noqa: ANN401
    return Case(phantom="sphere", navigators="none", matrix=(*size, 24), **changes)


def places(plan: LinePlan, *purposes: Purpose) -> set[tuple[int, int]]:
    chosen = np.isin(plan.purposes, purposes) if purposes else np.ones(len(plan.lines), bool)
    return {(int(z), int(y)) for z, y in plan.lines[chosen]}


def test_a_full_scan_takes_each_line_once_along_ky_then_kz() -> None:
    plan = plan_lines(case_of())
    assert plan.lines.tolist() == [[z, y] for z in range(9) for y in range(20)]
    assert set(plan.purposes.tolist()) == {Purpose.IMAGING}
    assert plan.centre == (4, 10)


def test_missing_lines_are_missing() -> None:
    plan = plan_lines(case_of(missing_lines=((0, 3), (8, 19))))
    assert places(plan) == {(z, y) for z in range(9) for y in range(20)} - {(0, 3), (8, 19)}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("part", [0.51, 0.625, 0.75, 0.875])
def test_partial_fourier_drops_the_start_and_keeps_the_centre(
    size: tuple[int, int], part: float
) -> None:
    plan = plan_lines(case_of(size, partial_fourier=(1.0, part)))
    n = size[1]
    kept = sorted({y for _, y in places(plan)})
    assert kept == list(range(kept[0], n))
    assert len(kept) == pytest.approx(part * n, abs=0.51) or kept[0] == n // 2
    assert plan.centre in places(plan)

    step_2, step_1 = plan.limits(from_first=True)
    assert step_1 == Limit(0, len(kept) - 1, n // 2 - kept[0])
    assert step_2 == Limit(0, size[0] - 1, size[0] // 2)
    assert plan.limits(from_first=False)[1] == Limit(kept[0], n - 1, n // 2)
    # The stylesheet's centre of step 1 is that of the whole grid, of step 2 the true one.
    assert plan.converter_limits() == (step_2, Limit(0, len(kept) - 1, n // 2))

    centre = np.array(plan.centre)
    assert plan.counters(centre, from_first=True).tolist() == [step_2.centre, step_1.centre]
    assert plan.counters(centre, from_first=False).tolist() == [size[0] // 2, n // 2]


def test_partial_fourier_along_z_moves_the_centre_partition() -> None:
    plan = plan_lines(case_of((24, 21), partial_fourier=(0.75, 1.0)))
    assert plan.converter_limits()[0] == Limit(0, 17, 6)
    assert {z for z, _ in places(plan)} == set(range(6, 24))


@pytest.mark.parametrize("size", SIZES)
def test_an_ellipse_leaves_the_corners_out(size: tuple[int, int]) -> None:
    taken = places(plan_lines(case_of(size, elliptical=True)))
    z, y = size
    assert (0, 0) not in taken
    assert {(z // 2, 0), (z // 2, y - 1), (z - 1, y // 2), (z // 2, y // 2)} <= taken
    assert len(taken) == pytest.approx(np.pi / 4 * z * y, rel=0.1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("steps", [(1, 2), (2, 1), (2, 2), (3, 2), (2, 3)])
def test_acceleration_takes_every_nth_line_and_the_centre(
    size: tuple[int, int], steps: tuple[int, int]
) -> None:
    plan = plan_lines(case_of(size, acceleration=steps, calibration="none"))
    offsets = plan.lines - plan.centre
    assert not (offsets % steps).any()
    assert plan.centre in places(plan)
    along = [len(range(n // 2 % step, n, step)) for n, step in zip(size, steps, strict=True)]
    assert len(plan.lines) == along[0] * along[1]
    assert set(plan.purposes.tolist()) == {Purpose.IMAGING}


@pytest.mark.parametrize(("steps", "shift"), [((1, 2), 1), ((2, 2), 1), ((2, 3), 1), ((2, 3), 2)])
def test_caipirinha_moves_the_pattern_from_partition_to_partition(
    steps: tuple[int, int], shift: int
) -> None:
    size = (12, 18)
    taken = places(
        plan_lines(case_of(size, acceleration=steps, caipirinha_shift=shift, calibration="none"))
    )
    assert len(taken) == size[0] * size[1] // (steps[0] * steps[1])
    # The lattice of Breuer 2006: it holds the centre, and is periodic by (R_z, shift), (0, R_y).
    assert (6, 9) in taken
    for z, y in taken:
        for dz, dy in ((steps[0], shift), (0, steps[1])):
            assert not (z + dz < size[0] and y + dy < size[1]) or (z + dz, y + dy) in taken


def test_an_integrated_calibration_fills_the_centre() -> None:
    plan = plan_lines(case_of((9, 20), acceleration=(1, 2), calibration_lines=(3, 6)))
    block = {(z, y) for z in (3, 4, 5) for y in range(7, 13)}
    grid = {(z, y) for z in range(9) for y in range(0, 20, 2)}
    assert places(plan, Purpose.CALIBRATION_AND_IMAGING) == block & grid
    assert places(plan, Purpose.CALIBRATION) == block - grid
    assert places(plan, Purpose.IMAGING) == grid - block
    assert len(plan.lines) == len(block | grid)


def test_a_separate_calibration_comes_before_and_takes_its_lines_once_more() -> None:
    case = case_of(
        (9, 20),
        acceleration=(1, 2),
        calibration="separate",
        calibration_lines=(3, 6),
        views_per_beat=7,
    )
    plan = plan_lines(case)
    block = {(z, y) for z in (3, 4, 5) for y in range(7, 13)}
    assert places(plan, Purpose.CALIBRATION) == block
    assert places(plan, Purpose.IMAGING) == {(z, y) for z in range(9) for y in range(0, 20, 2)}
    groups = group_lines(plan, case, np.random.default_rng(1))
    kinds = [set(plan.purposes[group].tolist()) for group in groups]
    assert kinds == [{Purpose.CALIBRATION}] * 3 + [{Purpose.IMAGING}] * 13


def test_calibration_is_no_more_than_the_lines_there_are() -> None:
    changes: dict[str, Any] = {"acceleration": (1, 2), "partial_fourier": (1.0, 0.6)}
    plan = plan_lines(case_of((5, 20), calibration_lines=(24, 24), **changes))
    assert places(plan) == {(z, y) for z in range(5) for y in range(8, 20)}
    # Nothing to calibrate for.
    full = plan_lines(case_of((5, 20), calibration="separate"))
    assert places(full, Purpose.CALIBRATION) == set()


@given(
    size=st.tuples(st.integers(1, 12), st.integers(1, 30)),
    views=st.integers(1, 17),
    order=st.sampled_from(ORDERS),
    steps=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    calibration=st.sampled_from(["none", "integrated", "separate"]),
    seed=st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_groups_hold_each_line_of_the_plan_once(
    size: tuple[int, int],
    views: int,
    order: str,
    steps: tuple[int, int],
    calibration: str,
    seed: int,
) -> None:
    case = case_of(
        size,
        views_per_beat=views,
        trigger_delay=0.0,
        line_order=order,
        acceleration=steps,
        calibration=calibration,
        calibration_lines=(2, 5),
    )
    plan = plan_lines(case)
    groups = group_lines(plan, case, np.random.default_rng(seed))
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(plan.lines)))
    assert all(1 <= len(group) <= views for group in groups)
    assert sum(len(group) < views for group in groups) <= 2


def ordered(size: tuple[int, int], order: str, seed: int = 0) -> tuple[Any, Any]:
    grid = np.argwhere(np.ones(size, bool)) - np.array(size) // 2
    offsets = grid[line_order(grid, size, order, np.random.default_rng(seed))]
    return offsets, relative_radius(offsets, size)


@pytest.mark.parametrize("size", SIZES)
def test_a_centric_order_takes_the_centre_first_and_ky_outwards(size: tuple[int, int]) -> None:
    offsets, _ = ordered(size, "centric")
    assert offsets[0].tolist() == [0, 0]
    assert (np.diff(np.abs(offsets[:, 1])) >= 0).all()
    for ky in (0, -1, 3):
        along = np.abs(offsets[offsets[:, 1] == ky, 0])
        assert (np.diff(along) >= 0).all()
    # Positive before negative, so that neighbours alternate.
    assert offsets[:3, 0].tolist() == [0, 1, -1]


@pytest.mark.parametrize("size", SIZES)
def test_a_spiral_runs_outwards_ring_by_ring_and_round_each_ring(size: tuple[int, int]) -> None:
    offsets, radius = ordered(size, "spiral")
    assert offsets[0].tolist() == [0, 0]
    rings = np.ceil(radius * max(size) / 2 - 1e-9)
    assert (np.diff(rings) >= 0).all()
    for ring in (2, 4):
        z, y = offsets[rings == ring].T / np.array(size)[:, None]
        assert (np.diff(np.arctan2(z, y)) >= 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_a_random_order_covers_the_centre_more_densely_in_every_prefix(seed: int) -> None:
    offsets, radius = ordered((24, 144), "random", seed)
    inner = radius < 0.5
    assert len(np.unique(offsets, axis=0)) == 24 * 144
    for part in (0.05, 0.2, 0.5, 0.8):
        first = slice(0, int(part * len(radius)))
        dense, thin = inner[first].sum() / inner.sum(), (~inner)[first].sum() / (~inner).sum()
        assert dense > 1.2 * thin or part > 0.6
        assert dense > thin
    assert np.corrcoef(np.arange(len(radius)), radius)[0, 1] < 0.8  # at random, not sorted


def test_a_random_heartbeat_takes_its_lines_in_small_steps() -> None:
    case = case_of((9, 20), line_order="random", views_per_beat=6)
    plan = plan_lines(case)
    for group in group_lines(plan, case, np.random.default_rng(3)):
        assert (np.diff(plan.lines[group][:, 1]) >= 0).all()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"partial_fourier": (0.5, 1.0)}, r"partial_fourier \(0.5, 1.0\) must be in"),
        ({"partial_fourier": (1.0, 1.1)}, "partial_fourier"),
        ({"acceleration": (1, 4)}, r"acceleration \(1, 4\) must be 1, 2 or 3"),
        ({"acceleration": (0, 1)}, "acceleration"),
        ({"caipirinha_shift": 1}, "caipirinha_shift 1 must be less than the acceleration 1"),
        ({"calibration_lines": (0, 4)}, "calibration_lines"),
    ],
)
def test_patterns_that_cannot_be_are_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        checked(Case, changes)
