"""Grids made of other grids."""

import numpy as np
import pytest

from chistream.physics.geometry import Geometry
from chistream_simulator.grids import refined


@pytest.mark.parametrize("shape", [(5, 6, 7), (6, 5, 8)])
@pytest.mark.parametrize("factors", [(1, 2, 3), (2, 3, 2)])
def test_a_refined_grid_covers_the_same_box(
    shape: tuple[int, int, int], factors: tuple[int, int, int]
) -> None:
    coarse = Geometry(shape, (4.0, 3.0, 2.0), (1.0, 2.0, 3.0))
    fine = refined(coarse, factors)
    z, y, x = factors
    means = (
        fine.voxel_positions()
        .reshape(3, shape[0], z, shape[1], y, shape[2], x)
        .mean(axis=(2, 4, 6))
    )
    np.testing.assert_allclose(means, coarse.voxel_positions(), atol=1e-9)
