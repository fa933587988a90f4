"""Differences, and the diffusion operator made of them."""

import numpy as np
import pytest

from chistream.arrays import Size, Vector
from chistream.physics.compiled import python_form
from chistream.physics.gradients import diffuse, diffuse_voxels, forward_differences

SHAPES: list[Size] = [(3, 4, 5), (4, 5, 6), (5, 3, 4)]
VOXEL: Vector = (5.0, 2.0, 1.5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_ramp_has_its_slope_in_millimetres(axis: int) -> None:
    position = np.indices((4, 5, 6))[axis] * VOXEL[axis]
    slopes = forward_differences(3.0 * position, VOXEL)
    within = slopes[axis].take(range(position.shape[axis] - 1), axis)
    np.testing.assert_allclose(within, 3.0)
    np.testing.assert_allclose(np.delete(slopes, axis, 0), 0.0)


def test_the_last_plane_looks_at_the_first() -> None:
    volume = np.random.default_rng(1).standard_normal((3, 4, 5))
    slopes = forward_differences(volume, VOXEL)
    np.testing.assert_allclose(slopes[0, -1], (volume[0] - volume[-1]) / 5.0)


@pytest.mark.parametrize("shape", SHAPES)
def test_diffusion_is_the_gradient_met_by_its_own_adjoint(shape: Size) -> None:
    rng = np.random.default_rng(2)
    first, second = rng.standard_normal((2, *shape))
    coupling = rng.uniform(size=(3, *shape))
    left = np.vdot(second, diffuse(first, coupling))
    unit = (1.0, 1.0, 1.0)
    right = np.vdot(forward_differences(second, unit), coupling * forward_differences(first, unit))
    np.testing.assert_allclose(left, right, rtol=1e-12)


def test_both_forms_of_the_kernel_agree() -> None:
    rng = np.random.default_rng(3)
    volume, coupling = rng.standard_normal((3, 4, 5)), rng.uniform(size=(3, 3, 4, 5))
    out = np.empty_like(volume)
    python_form(diffuse_voxels)(volume, coupling, out)
    np.testing.assert_array_equal(out, diffuse(volume, coupling))
