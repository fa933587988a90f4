"""POCS finds what symmetry determines, keeps what was measured, and forces no phase."""

import numpy as np
import pytest
from tests.echoes.phantoms import body, complex_noise, covered_part, grid

from chistream.arrays import ComplexArray, Mask, Size
from chistream.echoes.partial_fourier import complete_kspace
from chistream.physics.fourier import to_kspace

SHAPES = [(9, 24, 16), (10, 25, 15)]
AXES = (-3, -2, -1)


def support_of(shape: Size, kept: tuple[float, float, float]) -> Mask:
    """Leave out the start of each axis, as scanners do."""
    ranges = [np.arange(n) >= n - round(part * n) for n, part in zip(shape, kept, strict=True)]
    support: Mask = np.logical_and.reduce(np.meshgrid(*ranges, indexing="ij"))
    return support


def smooth_phase(shape: Size) -> ComplexArray:
    z, y, x = grid(shape)
    structure = 1 + 0.5 * np.random.default_rng(1).uniform(size=shape)
    phase = 0.4 + 0.8 * y + 0.5 * x * y + 0.3 * z
    image: ComplexArray = (body(shape) * structure * np.exp(1j * phase)).astype(np.complex64)
    return image


def relative(one: ComplexArray, other: ComplexArray) -> float:
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kept", [(1, 0.75, 1), (0.75, 1, 1), (1, 1, 0.75)])
def test_a_smooth_phase_lets_one_axis_be_completed(
    shape: Size, kept: tuple[float, float, float]
) -> None:
    image, support = smooth_phase(shape), support_of(shape, kept)
    zero_filled = covered_part(image, support)
    found = complete_kspace(zero_filled[None], support)[0]
    # What is left is how well the low resolution tells the phase.
    assert relative(found, image) < 0.45 * relative(zero_filled, image)
    assert found.dtype == np.complex64


def test_two_axes_are_completed_but_for_their_corners() -> None:
    shape = SHAPES[0]
    support = support_of(shape, (0.75, 0.75, 1))
    image = smooth_phase(shape)
    possible = covered_part(image, support | support[::-1, ::-1])
    zero_filled = covered_part(image, support)
    found = complete_kspace(zero_filled[None], support)[0]
    assert relative(found, image) < 0.8 * relative(zero_filled, image)
    assert relative(found, image) < 2 * relative(possible, image)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_was_measured_stays(shape: Size) -> None:
    support = support_of(shape, (0.75, 0.7, 1))
    image = covered_part(complex_noise((2, *shape), 4), support)
    found = complete_kspace(image, support)
    before, after = to_kspace(image, AXES), to_kspace(found, AXES)
    np.testing.assert_allclose(after[:, support], before[:, support], atol=1e-5)
    assert np.abs(after[:, ~support]).max() > 0.1


def test_each_echo_has_its_own_phase() -> None:
    shape = SHAPES[0]
    support = support_of(shape, (1, 0.75, 1))
    image = covered_part(smooth_phase(shape), support)
    turned = np.exp(np.array([0, 2.1j, -0.7j]))[:, None, None, None].astype(np.complex64)
    found = complete_kspace(image * turned, support)
    np.testing.assert_allclose(found, found[:1] * turned, atol=1e-4)


def test_more_iterations_come_closer_and_convergence_ends_them() -> None:
    shape = SHAPES[1]
    support = support_of(shape, (1, 0.75, 1))
    image = smooth_phase(shape)
    start = covered_part(image, support)[None]
    errors = [
        relative(complete_kspace(start, support, max_iterations=n)[0], image) for n in (0, 1, 5)
    ]
    assert errors == sorted(errors, reverse=True)
    loose = complete_kspace(start, support, tolerance=1.0)
    np.testing.assert_array_equal(loose, complete_kspace(start, support, max_iterations=1))


def test_full_coverage_changes_nothing() -> None:
    image = complex_noise((2, *SHAPES[0]), 4)
    found = complete_kspace(image, np.ones(SHAPES[0], bool))
    np.testing.assert_array_equal(found, image)
    assert found is not image


def test_shapes_and_centre_are_checked() -> None:
    image = complex_noise((1, *SHAPES[0]), 4)
    with pytest.raises(ValueError, match="of the support"):
        complete_kspace(image, np.ones(SHAPES[1], bool))
    with pytest.raises(ValueError, match="centre of k-space was not covered"):
        complete_kspace(image, np.zeros(SHAPES[0], bool))
