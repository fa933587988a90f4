"""The centre of k-space, from the readouts or from the header."""

import numpy as np
import pytest

from chistream.acquisition.centre import CentreFinder, shift_lines_to_centre, shift_to_centre
from chistream.acquisition.plan import CentreSource, EncodingPlan
from chistream.acquisition.readouts import Readout
from chistream.errors import ReconstructionError

SAMPLES = np.zeros((1, 4), np.complex64)


def finder_of(
    lines: range, users: list[int], partitions: range = range(5), user_partition: int = 0
) -> CentreFinder:
    finder = CentreFinder()
    for i, line in enumerate(lines):
        for partition in partitions:
            user = (0, 0, 0, 0, 0, users[i % len(users)], user_partition, 0)
            finder.see(Readout(SAMPLES, encode_step_1=line, encode_step_2=partition, user=user))
    return finder


def plan_of(centre: tuple[int, int] | None) -> EncodingPlan:
    return EncodingPlan((5, 12, 4), (5, 12, 4), 1, centre_header=centre)


@pytest.mark.parametrize(
    ("source", "users", "header", "found"),
    [
        ("auto", [4], (2, 6), 4),
        ("auto", [0], (2, 3), 3),
        ("auto", [4, 5], (2, 3), 3),
        ("auto", [4], (2, 4), 4),
        ("auto", [0], None, 6),
        ("header", [4], (2, 3), 3),
        ("user", [4], (2, 3), 4),
    ],
)
def test_the_source_decides_and_auto_prefers_readouts_that_agree(
    source: CentreSource, users: list[int], header: tuple[int, int] | None, found: int
) -> None:
    finder = finder_of(range(9), users, user_partition=2)
    centre, warnings = finder.decide(plan_of(header), source)
    assert centre == (2, found)
    disagrees = source == "auto" and users == [4] and header == (2, 6)
    assert bool(warnings) == disagrees


def test_a_centre_that_does_not_fit_the_lines_gives_way_to_the_headers() -> None:
    centre, warnings = finder_of(range(12), [9]).decide(plan_of((2, 6)), "auto")
    assert centre == (2, 6)
    assert warnings == ("The readouts put the centre line at 9, the header at 6: 6 was used.",)


@pytest.mark.parametrize("users", [[0], [3, 4]])
def test_readouts_that_must_state_the_centre_and_do_not_are_refused(users: list[int]) -> None:
    with pytest.raises(ReconstructionError, match=r"no single centre line \(user\[5\]"):
        finder_of(range(9), users, user_partition=2).decide(plan_of(None), "user")


def test_a_single_partition_needs_no_centre() -> None:
    plan = EncodingPlan((1, 12, 4), (1, 12, 4), 1)
    finder = finder_of(range(12), [6], partitions=range(1))
    assert finder.decide(plan, "user")[0] == (0, 6)


def test_lines_that_no_centre_fits_are_refused_with_their_values() -> None:
    with pytest.raises(ReconstructionError, match=r"lines 0 to 11 do not fit 12 .* 9 or 3"):
        finder_of(range(12), [9]).decide(plan_of((2, 3)), "auto")


@pytest.mark.parametrize("centre", [(1, 2), (2, 2), (1, 3), (3, 4), (3, 2), (1, 5)])
@pytest.mark.parametrize("size", [(5, 6, 2), (4, 7, 3)])
def test_the_centre_moves_to_the_middle(
    size: tuple[int, int, int], centre: tuple[int, int]
) -> None:
    # All lines that stay on the grid hold samples of their own.
    nz, ny, _ = size
    shift = (nz // 2 - centre[0], ny // 2 - centre[1])
    z, y = (np.arange(n) + moved for n, moved in zip((nz, ny), shift, strict=True))
    stays = np.outer((z >= 0) & (z < nz), (y >= 0) & (y < ny))
    samples = np.random.default_rng(1).standard_normal((2, *size)).astype(np.complex64)
    volume = samples * stays[:, :, None]
    wanted = np.roll(volume, shift, axis=(1, 2))
    shift_to_centre(volume, centre)
    np.testing.assert_array_equal(volume, wanted)
    np.testing.assert_array_equal(
        shift_lines_to_centre(stays, centre), (wanted != 0).any(axis=(0, 3))
    )
