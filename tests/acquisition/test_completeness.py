"""What is missing is named; too much of it is refused; corners of an ellipse are not missing."""

import numpy as np
import pytest

from chistream.acquisition.completeness import find_missing
from chistream.acquisition.lines import Line
from chistream.acquisition.plan import EncodingPlan
from chistream.arrays import Mask
from chistream.errors import ReconstructionError

SIZE = (12, 15, 4)
CENTRE = (6, 7)


def plan_of(limits: tuple[tuple[int, int], tuple[int, int]] | None = None) -> EncodingPlan:
    return EncodingPlan(SIZE, SIZE, 2, limits=limits)


def ellipse() -> Mask:
    z, y = np.mgrid[:12, :15]
    inside: Mask = ((z - 6) / 6) ** 2 + ((y - 7) / 7) ** 2 <= 1
    return np.stack([inside, inside])


def test_a_complete_scan_misses_nothing() -> None:
    missing = find_missing(np.ones((2, 12, 15), bool), plan_of(), CENTRE, 0.0)
    assert (missing.lines, missing.fraction, missing.warnings) == ((), 0.0, ())


def test_missing_lines_are_named_by_their_counters() -> None:
    sampled = np.ones((2, 12, 15), bool)
    sampled[1, 3, 4] = sampled[0, 11, 14] = False
    missing = find_missing(sampled, plan_of(), CENTRE, 0.1)
    assert missing.lines == (Line(0, 11, 14), Line(1, 3, 4))
    assert missing.fraction == pytest.approx(2 / 360)
    assert missing.warnings == ("2 of 360 lines (0.6%) are missing.",)


def test_too_many_missing_lines_are_refused_with_their_number() -> None:
    sampled = np.ones((2, 12, 15), bool)
    sampled[:, :2] = False
    with pytest.raises(ReconstructionError, match=r"60 of 360 lines \(16.7%\) are missing"):
        find_missing(sampled, plan_of(), CENTRE, 0.1)
    assert len(find_missing(sampled, plan_of(), CENTRE, 0.17).lines) == 60


def test_lines_beyond_the_limits_are_not_expected() -> None:
    sampled = np.zeros((2, 12, 15), bool)
    sampled[:, :9, 2:] = True
    missing = find_missing(sampled, plan_of(((0, 8), (2, 14))), CENTRE, 0.0)
    assert not missing.lines


def test_without_limits_the_lines_that_fit_around_the_centre_are_expected() -> None:
    # Partial Fourier: counters 0..11 around a centre at 4 of 15 lines; k from -4 to 7.
    sampled = np.zeros((2, 12, 15), bool)
    sampled[:, :, :12] = True
    assert not find_missing(sampled, plan_of(), (6, 4), 0.0).lines


def test_the_corners_of_an_elliptical_scan_are_not_missing() -> None:
    sampled = ellipse()
    missing = find_missing(sampled, plan_of(), CENTRE, 0.0)
    assert not missing.lines
    assert "corners of k-space" in missing.warnings[0]
    sampled[0, 6, 7] = False
    assert find_missing(sampled, plan_of(), CENTRE, 0.1).lines == (Line(0, 6, 7),)


def test_one_corner_line_makes_all_corners_expected() -> None:
    sampled = ellipse()
    sampled[0, 0, 0] = True
    with pytest.raises(ReconstructionError, match="are missing"):
        find_missing(sampled, plan_of(), CENTRE, 0.1)


def test_few_partitions_have_no_ellipse() -> None:
    sampled = np.ones((1, 3, 15), bool)
    sampled[0, 0, 0] = sampled[0, 0, 14] = sampled[0, 2, 0] = sampled[0, 2, 14] = False
    plan = EncodingPlan((3, 15, 4), (3, 15, 4), 1)
    assert len(find_missing(sampled, plan, (1, 7), 0.1).lines) == 4


def lattice(steps: tuple[int, int], shift: int, origin: tuple[int, int], along: int = 1) -> Mask:
    """Every so many lines of SIZE through an origin, moving along one axis from row to row."""
    z, y = np.indices(SIZE[:2])
    z, y = z - origin[0], y - origin[1]
    if along == 0:
        taken: Mask = (y % steps[1] == 0) & ((z - shift * (y // steps[1])) % steps[0] == 0)
    else:
        taken = (z % steps[0] == 0) & ((y - shift * (z // steps[0])) % steps[1] == 0)
    return taken


@pytest.mark.parametrize(
    ("steps", "shift", "along"),
    [
        ((1, 2), 0, 1),
        ((2, 1), 0, 1),
        ((2, 2), 1, 1),
        ((1, 3), 1, 1),
        ((3, 2), 0, 1),
        ((3, 1), 2, 0),
    ],
)
@pytest.mark.parametrize("origin", [CENTRE, (7, 8)])
def test_the_lattice_of_an_accelerated_scan_is_found(
    steps: tuple[int, int], shift: int, along: int, origin: tuple[int, int]
) -> None:
    true = lattice(steps, shift, origin, along)
    taken = true.copy()
    taken[4:8, 5:10] = True  # calibration
    plan = EncodingPlan(SIZE, SIZE, 2, acceleration=steps)
    missing = find_missing(np.stack([taken, taken]), plan, CENTRE, 0.0)
    np.testing.assert_array_equal(missing.lattice, true)
    assert not missing.lines
    assert missing.region.all()


def test_lines_of_a_lattice_are_missed_within_the_limits() -> None:
    true = lattice((2, 2), 1, CENTRE)
    taken = np.stack([true, true])
    taken[:, :2] = False
    taken[1, 6, 7] = False
    plan = EncodingPlan(SIZE, SIZE, 2, limits=((2, 11), (0, 14)), acceleration=(2, 2))
    missing = find_missing(taken, plan, CENTRE, 0.1)
    assert missing.lines == (Line(1, 6, 7),)
    assert not missing.region[:2].any()
    assert missing.region[2:].all()


def test_another_acceleration_than_the_headers_is_refused() -> None:
    taken = np.stack([lattice((2, 2), 1, CENTRE)] * 2)
    with pytest.raises(ReconstructionError, match=r"than the header's \(1, 1\)"):
        find_missing(taken, plan_of(), CENTRE, 0.1)


def test_an_elliptical_scan_may_be_accelerated() -> None:
    true = lattice((1, 2), 0, CENTRE)
    plan = EncodingPlan(SIZE, SIZE, 2, acceleration=(1, 2))
    missing = find_missing(ellipse() & true, plan, CENTRE, 0.0)
    np.testing.assert_array_equal(missing.lattice, true)
    np.testing.assert_array_equal(missing.region, ellipse()[0])
    assert "corners of k-space" in missing.warnings[0]
