"""The largest complete block in the middle of k-space."""

import numpy as np
import pytest
from tests.echoes.phantoms import centre_block, complex_noise, lattice

from chistream.echoes.calibration import calibration_block, low_resolution


@pytest.mark.parametrize("size", [(12, 20), (11, 21)])
@pytest.mark.parametrize("lines", [(6, 8), (5, 9), (4, 13)])
def test_the_fully_sampled_centre_is_found(size: tuple[int, int], lines: tuple[int, int]) -> None:
    pattern = lattice(size, (2, 3)) | centre_block(size, lines)
    hybrid = complex_noise((2, 3, *size, 4), 1)
    block = calibration_block(hybrid, np.stack([pattern, pattern]))
    assert block is not None
    nz, ny = block.shape[2:4]
    # The lattice may add a line at an end; what is there is complete and about the centre.
    assert nz >= lines[0]
    assert ny >= lines[1]
    middle = hybrid[:, :, size[0] // 2, size[1] // 2]
    np.testing.assert_array_equal(block[:, :, nz // 2, ny // 2], middle)
    assert centre_block(size, (nz, ny))[~pattern].sum() == 0


def test_a_line_that_one_echo_lacks_is_not_in_the_block() -> None:
    sampled = np.ones((2, 9, 11), bool)
    sampled[1, 4, 8] = False
    block = calibration_block(np.zeros((2, 1, 9, 11, 3), np.complex64), sampled)
    assert block is not None
    assert block.shape[2:4] in {(9, 6), (9, 5)}


def test_everything_is_the_block_of_a_complete_scan_however_thin() -> None:
    hybrid = complex_noise((1, 2, 1, 7, 3), 1)
    block = calibration_block(hybrid, np.ones((1, 1, 7), bool))
    np.testing.assert_array_equal(block, hybrid)


@pytest.mark.parametrize("lines", [(3, 12), (12, 3), (0, 0)])
def test_too_few_lines_are_no_block(lines: tuple[int, int]) -> None:
    pattern = lattice((16, 16), (4, 4)) | centre_block((16, 16), lines)
    assert calibration_block(np.zeros((1, 1, 16, 16, 2), np.complex64), pattern[None]) is None


def test_low_resolution_keeps_the_centre_and_fades_to_the_edges() -> None:
    block = np.ones((1, 1, 4, 5, 2), np.complex64)
    grid = low_resolution(block, (9, 12))
    assert grid.shape == (1, 1, 9, 12, 2)
    assert (grid[0, 0, 4, 6] == 1).all()
    profile = np.abs(grid[0, 0, 4, :, 0])
    assert np.flatnonzero(profile).tolist() == [4, 5, 6, 7, 8]
    assert (np.diff(profile[6:9]) < 0).all()


def test_a_block_as_large_as_the_grid_is_not_tapered() -> None:
    block = complex_noise((1, 2, 4, 7, 2), 3)
    np.testing.assert_array_equal(low_resolution(block, (4, 7)), block)
