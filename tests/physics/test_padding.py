"""Room around a volume."""

import numpy as np
import pytest

from chistream.arrays import Size
from chistream.physics.padding import Padding


@pytest.mark.parametrize("inner", [(3, 4, 5), (4, 5, 6)])
@pytest.mark.parametrize("outer", [(7, 8, 9), (8, 9, 10), (4, 5, 6)])
def test_what_goes_in_comes_out_and_the_rest_is_zero(inner: Size, outer: Size) -> None:
    volume = np.random.default_rng(1).standard_normal(inner).astype(np.float32)
    padding = Padding(inner, outer)
    grid = padding.pad(volume)
    np.testing.assert_array_equal(padding.crop(grid), volume)
    assert np.count_nonzero(grid) == volume.size


def test_the_margin_is_in_millimetres_and_on_both_sides() -> None:
    padding = Padding.of_margin((20, 30, 37), (5.0, 2.0, 1.0), (15.0, 3.0, 0.0))
    assert padding.outer[0] >= 26
    assert padding.outer[1] >= 34
    assert padding.outer[2] == 37
    assert padding.window[0].start >= 3
    assert padding.outer[0] - padding.window[0].stop >= 3


def test_a_crop_is_a_copy() -> None:
    padding = Padding((2, 2, 2), (4, 4, 4))
    grid = padding.pad(np.ones((2, 2, 2)))
    padding.crop(grid)[...] = 5.0
    assert grid.max() == 1.0


def test_a_grid_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a grid of \(4, 4, 4\) does not hold"):
        Padding((4, 5, 4), (4, 4, 4))
