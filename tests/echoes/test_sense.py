"""CG-SENSE against objects it must find, normal equations, and the theory of its noise."""

import numpy as np
import pytest
from tests.echoes.phantoms import (
    body,
    complex_noise,
    hybrid_of,
    lattice,
    object_echoes,
    smooth_coils,
)

from chistream.arrays import ComplexArray, Mask, RealArray, Size, size_of
from chistream.echoes.combination import combine_coils
from chistream.echoes.sense import solve_sense
from chistream.physics.fourier import to_image, to_kspace

SHAPE = (12, 18, 7)
PATTERNS = [((1, 2), 0), ((2, 1), 0), ((2, 2), 0), ((2, 2), 1), ((1, 3), 0)]


def every_echo(pattern: Mask, n_echoes: int = 3) -> Mask:
    return np.broadcast_to(pattern, (n_echoes, *pattern.shape))


@pytest.mark.parametrize(("steps", "shift"), PATTERNS)
def test_what_the_coils_tell_apart_is_found(steps: tuple[int, int], shift: int) -> None:
    echoes, csm = object_echoes(SHAPE), smooth_coils(10, SHAPE)
    sampled = every_echo(lattice(SHAPE[:2], steps, shift))
    hybrid = hybrid_of(echoes, csm) * sampled[:, None, ..., None]
    found = solve_sense(hybrid, sampled, csm, strength=0, tolerance=1e-6, max_iterations=300)
    assert np.abs(found - echoes).max() < 2e-3 * np.abs(echoes).max()
    assert found.dtype == np.complex64


@pytest.mark.parametrize("shape", [(5, 8, 3), (6, 7, 4), (1, 9, 2)])
def test_full_sampling_is_the_plain_combination(shape: Size) -> None:
    csm = smooth_coils(3, shape)
    hybrid = complex_noise((2, 3, *shape), 5)
    found = solve_sense(hybrid, np.ones((2, *shape[:2]), bool), csm, strength=0)
    expected = combine_coils(to_image(hybrid, (-3, -2)), csm)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_solution_fulfils_the_normal_equations_of_any_pattern() -> None:
    shape, n_coils, strength = (6, 9, 5), 4, 0.05
    rng = np.random.default_rng(8)
    sampled = rng.uniform(size=(2, 6, 9)) > 0.4  # another pattern in each echo
    csm = smooth_coils(n_coils, shape)
    hybrid = complex_noise((2, n_coils, *shape), 9) * sampled[:, None, ..., None]
    found = solve_sense(hybrid, sampled, csm, strength=strength, tolerance=1e-6, max_iterations=200)

    def back(lines: ComplexArray) -> ComplexArray:
        images = to_image(lines * sampled[:, None, ..., None], (-3, -2))
        combined: ComplexArray = np.einsum("czyx,eczyx->ezyx", csm.conj(), images)
        return combined

    left = back(to_kspace(found[:, None] * csm, (-3, -2))) + strength * found
    np.testing.assert_allclose(left, back(hybrid), atol=1e-4)


def geometry_factor(csm: ComplexArray, pattern: Mask) -> RealArray:
    """Noise of the exact solution for a full pattern, relative to full sampling ``(z, y, x)``."""
    noise = np.zeros(csm.shape[1:])
    nz, ny, nx = size_of(csm)
    waves = [
        np.exp(-2j * np.pi * np.outer(np.arange(n) - n // 2, np.arange(n) - n // 2) / n)
        / np.sqrt(n)
        for n in (nz, ny)
    ]
    encoding = np.einsum("kz,ly->klzy", *waves)[pattern].reshape(pattern.sum(), -1)
    for x in range(nx):
        maps = csm[..., x].reshape(len(csm), -1).astype(complex)
        normal = sum((encoding * s).conj().T @ (encoding * s) for s in maps)
        noise[..., x] = np.sqrt(np.diag(np.linalg.inv(normal)).real).reshape(nz, ny)
    return noise


@pytest.mark.parametrize(("steps", "shift"), [((1, 2), 0), ((2, 2), 1)])
def test_noise_grows_as_the_geometry_of_the_coils_has_it(
    steps: tuple[int, int], shift: int
) -> None:
    shape, n_coils, n_replicas = (8, 12, 3), 8, 400
    csm = smooth_coils(n_coils, shape)
    pattern = lattice(shape[:2], steps, shift)
    noise = complex_noise((n_replicas, n_coils, *shape), 10) * pattern[:, :, None]
    found = solve_sense(noise, every_echo(pattern, n_replicas), csm)
    measured = found.std(axis=0)
    expected = geometry_factor(csm, pattern)
    inside = body(shape)
    # 400 replicas know a deviation to 2.5 % in one voxel; regularisation takes a little away.
    ratio = measured[inside] / expected[inside]
    assert 0.95 < np.median(ratio) < 1.02
    assert 0.85 < ratio.min() <= ratio.max() < 1.1


def test_where_there_are_no_sensitivities_there_is_nothing() -> None:
    csm = smooth_coils(4, SHAPE)
    csm[:, :, :5] = 0
    sampled = every_echo(lattice(SHAPE[:2], (1, 2)), 1)
    found = solve_sense(complex_noise((1, 4, *SHAPE), 2), sampled, csm)
    assert not found[:, :, :5].any()
    assert found[:, :, 5:].all()


def test_an_empty_k_space_is_an_empty_image() -> None:
    csm = smooth_coils(2, SHAPE)
    nothing = np.zeros((1, 2, *SHAPE), np.complex64)
    assert not solve_sense(nothing, np.zeros((1, *SHAPE[:2]), bool), csm).any()


def test_shapes_and_strength_are_checked() -> None:
    csm = smooth_coils(2, SHAPE)
    hybrid = np.zeros((1, 2, *SHAPE), np.complex64)
    with pytest.raises(ValueError, match="of one size"):
        solve_sense(hybrid, np.ones((2, *SHAPE[:2]), bool), csm)
    with pytest.raises(ValueError, match="must not be negative"):
        solve_sense(hybrid, np.ones((1, *SHAPE[:2]), bool), csm, strength=-1)
