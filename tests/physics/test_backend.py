"""The same figures from every array library."""

import numpy as np
import pytest
from tests.kinds import KINDS, OTHER_KINDS, as_kind, assert_kind

from chistream.physics import backend
from chistream.physics.dipole import field_of
from chistream.physics.fourier import ArrayTransform, plan_transform
from chistream.physics.gradients import (
    adjoint_differences,
    diffuse,
    forward_differences,
    roughness,
    squared_length,
)
from chistream.physics.padding import Padding
from chistream.physics.solvers import conjugate_gradients
from chistream.physics.volumes import check_field, check_weights

VOXEL = (5.0, 2.0, 1.5)
SHAPES = [(4, 5, 6), (5, 6, 7)]


@pytest.mark.parametrize("kind", KINDS)
def test_values_go_to_a_library_and_come_back(kind: str) -> None:
    like = as_kind(kind, np.ones(2, np.float32))
    there = backend.matched(np.arange(3.0), like, "float32")
    assert_kind(kind, there)
    back = backend.to_numpy(there)
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, [0.0, 1.0, 2.0])
    assert backend.matched(there, like) is there
    assert backend.to_numpy(backend.matched(there, like, "float64")).dtype == np.float64
    assert_kind(kind, backend.zeros_like(like, (2, 3), "float64"))


@pytest.mark.parametrize("kind", KINDS)
def test_reductions_are_those_of_numpy(kind: str) -> None:
    values = np.random.default_rng(1).standard_normal((3, 4, 5))
    array = as_kind(kind, values)
    assert backend.dot(array, 2 * array) == pytest.approx(2 * np.sum(values**2))
    assert backend.norm(array) == pytest.approx(np.linalg.norm(values))
    assert backend.total(array) == pytest.approx(values.sum())
    assert backend.mean(array) == pytest.approx(values.mean())
    assert backend.deviation(array) == pytest.approx(values.std())
    for fraction in (0.0, 0.3, 0.5, 1.0):
        assert backend.quantile(array, fraction) == pytest.approx(np.quantile(values, fraction))


def test_two_libraries_at_once_are_refused() -> None:
    with pytest.raises(TypeError, match="Multiple namespaces"):
        backend.namespace(np.ones(2), as_kind("strict", np.ones(2)))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_a_library_transforms_as_fftw_does(kind: str, shape: tuple[int, int, int]) -> None:
    volume = np.random.default_rng(2).standard_normal(shape)
    here, there = plan_transform(volume), plan_transform(as_kind(kind, volume))
    assert isinstance(there, ArrayTransform)
    spectrum = there.forward(as_kind(kind, volume))
    np.testing.assert_allclose(backend.to_numpy(spectrum), here.forward(volume), atol=1e-12)
    np.testing.assert_allclose(backend.to_numpy(there.inverse(spectrum)), volume, atol=1e-12)
    assert plan_transform(volume, (2, 3, 4)).forward(np.ones((2, 3, 4))).shape == (2, 3, 3)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_a_library_models_the_field_as_numpy_does(kind: str, shape: tuple[int, int, int]) -> None:
    chi = np.random.default_rng(3).standard_normal(shape)
    field = field_of(as_kind(kind, chi), VOXEL, (1.0, 2.0, 0.5))
    assert_kind(kind, field)
    np.testing.assert_allclose(
        backend.to_numpy(field), field_of(chi, VOXEL, (1.0, 2.0, 0.5)), atol=1e-12
    )


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_a_library_differs_and_diffuses_as_numpy_does(kind: str) -> None:
    rng = np.random.default_rng(4)
    volume, slopes = rng.standard_normal((4, 5, 6)), rng.uniform(size=(3, 4, 5, 6))
    there, slopes_there = as_kind(kind, volume), as_kind(kind, slopes)
    pairs = [
        (forward_differences(there, VOXEL), forward_differences(volume, VOXEL)),
        (adjoint_differences(slopes_there, VOXEL), adjoint_differences(slopes, VOXEL)),
        (diffuse(there, slopes_there), diffuse(volume, slopes)),
        (squared_length(slopes_there), np.sum(slopes**2, axis=0)),
    ]
    for found, expected in pairs:
        assert_kind(kind, found)
        np.testing.assert_allclose(backend.to_numpy(found), expected, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_differences_have_their_adjoint_and_its_spectrum(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(5)
    volume, slopes = rng.standard_normal(shape), rng.standard_normal((3, *shape))
    left = np.vdot(forward_differences(volume, VOXEL), slopes)
    assert left == pytest.approx(np.vdot(volume, adjoint_differences(slopes, VOXEL)))
    twice = adjoint_differences(forward_differences(volume, VOXEL), VOXEL)
    spectrum = roughness(shape, VOXEL) * np.fft.rfftn(volume)
    np.testing.assert_allclose(np.fft.rfftn(twice), spectrum, atol=1e-10)


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_a_volume_is_padded_and_cropped_where_it_lies(kind: str) -> None:
    padding = Padding((3, 4, 5), (4, 6, 7))
    volume = np.arange(60.0).reshape(3, 4, 5)
    grid = padding.pad(as_kind(kind, volume))
    assert_kind(kind, grid)
    np.testing.assert_array_equal(backend.to_numpy(grid), padding.pad(volume))
    np.testing.assert_array_equal(backend.to_numpy(padding.crop(grid)), volume)
    inside = padding.pad(as_kind(kind, volume > 7))
    np.testing.assert_array_equal(backend.to_numpy(inside), padding.pad(volume > 7))


@pytest.mark.parametrize("kind", KINDS)
def test_conjugate_gradients_stay_in_their_library(kind: str) -> None:
    factor = np.random.default_rng(6).standard_normal((7, 7))
    matrix = factor @ factor.T + np.eye(7)
    system, right = as_kind(kind, matrix), as_kind(kind, np.arange(7.0))
    found = conjugate_gradients(
        lambda values: system @ values,
        right,
        tolerance=1e-10,
        max_iterations=50,
        start=as_kind(kind, np.ones(7)),
    )
    assert_kind(kind, found.values)
    solution = np.linalg.solve(matrix, np.arange(7.0))
    np.testing.assert_allclose(backend.to_numpy(found.values), solution, atol=1e-8)
    np.testing.assert_array_equal(backend.to_numpy(right), np.arange(7.0))


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_what_cannot_be_is_refused_in_every_library(kind: str) -> None:
    field, mask = np.zeros((2, 3, 4)), np.ones((2, 3, 4), dtype=bool)
    check_field("field", as_kind(kind, field), as_kind(kind, mask), VOXEL)
    check_weights(as_kind(kind, field + 1), as_kind(kind, field), as_kind(kind, mask))
    field[1, 1, 1] = np.nan
    with pytest.raises(ValueError, match="field is not finite in 1 of 24 voxels"):
        check_field("field", as_kind(kind, field), as_kind(kind, mask), VOXEL)
    with pytest.raises(ValueError, match="none of its 24 voxels"):
        check_field("field", as_kind(kind, field), as_kind(kind, ~mask), VOXEL)
    with pytest.raises(ValueError, match=r"mask \(2, 3, 3\) and field \(2, 3, 4\) differ"):
        check_field("field", as_kind(kind, field), as_kind(kind, mask[..., 1:]), VOXEL)
    with pytest.raises(ValueError, match="got nan to nan"):
        check_weights(as_kind(kind, field), as_kind(kind, field), as_kind(kind, mask))
