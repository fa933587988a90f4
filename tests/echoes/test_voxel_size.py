"""An object stays where it is in the patient, whatever the voxels are."""

import numpy as np
import pytest

from chistream.arrays import ComplexArray, Size, Vector
from chistream.echoes.coil_images import to_recon_grid
from chistream.physics.geometry import Geometry

SIDES: Vector = (60.0, 84.0, 96.0)
CENTRE: Vector = (2.3, -7.1, 5.9)
"""Of the object, from the position of the volume along its axes [mm]."""

READ: Vector = (0.0, 0.8, 0.6)
PHASE: Vector = (1.0, 0.0, 0.0)
SLICE: Vector = (0.0, 0.6, -0.8)


def geometry(shape: Size) -> Geometry:
    z, y, x = (side / n for side, n in zip(SIDES, shape, strict=True))
    return Geometry(shape, (z, y, x), (10.0, -20.0, 30.0), READ, PHASE, SLICE)


def blob(place: Geometry) -> ComplexArray:
    """Evaluate a Gaussian of 7 mm with a phase ramp, in closed form at the voxels of a grid."""
    offset = place.voxel_positions() - np.reshape(place.position, (3, 1, 1, 1))
    along = [np.tensordot(axis, offset, 1) - c for axis, c in zip(place.axes, CENTRE, strict=True)]
    distance = sum(part**2 for part in along)
    image: ComplexArray = np.exp(-0.5 * distance / 49 + 0.05j * along[2]).astype(np.complex64)
    return image


@pytest.mark.parametrize("shape", [(12, 28, 32), (13, 27, 33), (12, 27, 32)])
@pytest.mark.parametrize("wanted", [(1.9, 1.5, 1.4), (2.0, 2.0, 2.0), (5.0, 1.51, 3.0)])
def test_zero_filling_moves_nothing_by_any_part_of_a_voxel(shape: Size, wanted: Vector) -> None:
    coarse = geometry(shape)
    fine = coarse.interpolated(wanted)
    image = to_recon_grid(blob(coarse), fine.shape, coarse.shape)
    # What the coarse grid cannot hold of the Gaussian is 0.2 %; a tenth of a voxel would be 1.5 %.
    np.testing.assert_allclose(image, blob(fine), atol=4e-3)
