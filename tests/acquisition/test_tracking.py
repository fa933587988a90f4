"""Lines shifted back, against an object that was shifted in closed form."""

import numpy as np
import pytest

from chistream.acquisition.lines import Line
from chistream.acquisition.tracking import (
    CentralLines,
    HeartMotion,
    SlabAxes,
    estimate_motion,
    shift_back,
)
from chistream.arrays import ComplexArray, RealArray, Size, Vector

SPACING: Vector = (5.0, 3.0, 4.0)
OBLIQUE: Vector = (0.8, -0.36, 0.48)


def hybrid_of(
    size: Size, displacement: RealArray, superior: Vector, *, coils: int = 2
) -> ComplexArray:
    """A Gaussian's lines ``(1, coils, z, y, x)``, each with the object displaced [mm] along S."""
    nx = size[2]
    kz, ky = (
        (np.arange(n) - n // 2) / (n * step) for n, step in zip(size[:2], SPACING, strict=False)
    )
    x = (np.arange(nx) - nx // 2) * SPACING[2]
    dz, dy, dx = (displacement * s for s in superior)
    envelope = np.exp(-2 * (np.pi * 12) ** 2 * (kz[:, None] ** 2 + ky**2))
    phase = np.exp(-2j * np.pi * (kz[:, None] * dz + ky * dy))
    along_x = np.exp(-((x - dx[..., None]) ** 2) / (2 * 12.0**2))
    lines = (envelope * phase)[..., None] * along_x
    gains = np.exp(1j * np.arange(coils))[:, None, None, None]
    hybrid: ComplexArray = (gains * lines)[None].astype(np.complex64)
    return hybrid


@pytest.mark.parametrize("size", [(9, 12, 40), (12, 11, 41)])
@pytest.mark.parametrize("superior", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), OBLIQUE])
def test_shifted_lines_are_those_of_the_object_at_rest(size: Size, superior: Vector) -> None:
    positions = np.random.default_rng(1).uniform(-6, 6, size[:2])
    found = hybrid_of(size, 0.5 * positions, superior)
    shift_back(found, positions[None], HeartMotion(0.5), SlabAxes(superior, SPACING))
    expected = hybrid_of(size, np.zeros(size[:2]), superior)
    # What is left out along x: a shift of at most a twentieth of a voxel.
    np.testing.assert_allclose(found, expected, atol=0.012)


def test_lines_are_shifted_back_across_the_body_as_well() -> None:
    size, aside = (9, 12, 40), (0.1, -0.05, 0.15)
    positions = np.random.default_rng(1).uniform(-6, 6, size[:2])
    per_mm = 0.5 * np.array(OBLIQUE) + aside
    found = hybrid_of(size, positions, (per_mm[0], per_mm[1], per_mm[2]))
    shift_back(found, positions[None], HeartMotion(0.5, aside), SlabAxes(OBLIQUE, SPACING))
    expected = hybrid_of(size, np.zeros(size[:2]), OBLIQUE)
    np.testing.assert_allclose(found, expected, atol=0.012)


def test_lines_at_rest_stay_as_they_are() -> None:
    lines = hybrid_of((5, 6, 8), np.zeros((5, 6)), OBLIQUE)
    found = lines.copy()
    shift_back(found, np.full((1, 5, 6), 0.04), HeartMotion(1.0), SlabAxes(OBLIQUE, SPACING))
    np.testing.assert_array_equal(found, lines)


def central(per_mm: Vector, size: Size, *, far: float = -7.0) -> CentralLines:
    """Two measurements of each central line, of an object that moves for each mm."""
    lines = CentralLines((size[0] // 2, size[1] // 2))
    rng = np.random.default_rng(2)
    for time in (0.0, 1.0):
        positions = time * far + rng.uniform(-0.3, 0.3, size[:2])
        hybrid = hybrid_of(size, positions, per_mm, coils=6)
        # A smooth ball has little of the detail that is compared; chests have more.
        noise = rng.standard_normal((2, *hybrid.shape[1:])) * 0.003
        values = hybrid[0] + noise[0] + 1j * noise[1]
        for z, y in np.ndindex(*size[:2]):
            lines.see(Line(0, z, y), time, float(positions[z, y]), values[:, z, y])
    return lines


@pytest.mark.parametrize("superior", [(1.0, 0.0, 0.0), (0.0, 0.6, 0.8), OBLIQUE])
@pytest.mark.parametrize("factor", [-0.6, 0.0, 0.45, 0.9])
def test_the_factor_is_found(factor: float, superior: Vector) -> None:
    size = (16, 30, 36)
    lines = central(along(superior, factor), size)
    found = estimate_motion(lines, size[:2], SlabAxes(superior, SPACING))
    assert found is not None
    # Parts of 30 mm divide this ball of 12 mm, and their ties to one another cost up to 0.04.
    assert found.factor == pytest.approx(factor, abs=0.05)
    np.testing.assert_allclose(found.aside, 0.0, atol=0.03)


@pytest.mark.parametrize("amount", [0.2, -0.1])
def test_the_way_across_the_body_is_found(amount: float) -> None:
    size, across = (16, 30, 36), np.cross(OBLIQUE, (0.0, 0.0, 1.0))
    aside = amount * across / np.linalg.norm(across)
    z, y, x = (0.45 * np.array(OBLIQUE) + aside).tolist()
    found = estimate_motion(central((z, y, x), size), size[:2], SlabAxes(OBLIQUE, SPACING))
    assert found is not None
    assert found.factor == pytest.approx(0.45, abs=0.05)
    # Measured 0.034, of a ball that is hardly larger than the parts; 0.02 on simulated chests.
    np.testing.assert_allclose(found.aside, aside, atol=0.05)


def along(direction: Vector, length: float) -> Vector:
    z, y, x = (length * part for part in direction)
    return z, y, x


@pytest.mark.parametrize("order", [1, -1])
def test_the_ends_of_central_lines_of_the_first_echo_are_kept(order: int) -> None:
    lines = CentralLines((10, 30))
    for time, position in [(0, 0.0), (1, -9.0), (2, 0.0), (3, -4.0)][::order]:
        lines.see(Line(0, 10, 30), time, position, np.full((1, 4), time, np.complex64))
    values = np.ones((1, 4), np.complex64)
    lines.see(Line(1, 10, 30), 0.0, 0.0, values)
    lines.see(Line(0, 1, 30), 0.0, 0.0, values)
    lines.see(Line(0, 10, 51), 0.0, 0.0, values)
    lines.see(Line(0, 10, 31), 0.0, np.nan, values)
    assert list(lines.ends) == [Line(0, 10, 30)]
    high, low = lines.ends[Line(0, 10, 30)]
    assert (high.position, high.time, high.values[0, 0]) == (0.0, 2, 2)
    assert (low.position, low.time, low.values[0, 0]) == (-9.0, 1, 1)


@pytest.mark.parametrize(
    ("superior", "far", "factor"),
    [((1.0, 0.0, 0.0), -1.0, 0.5), ((0.2, 0.2, 0.2), -7.0, 0.5), ((1.0, 0.0, 0.0), -7.0, 2.0)],
    ids=["too still", "no axis along S", "out of range"],
)
def test_what_cannot_be_estimated_is_not(superior: Vector, far: float, factor: float) -> None:
    size = (16, 30, 36)
    lines = central(along(superior, factor), size, far=far)
    assert estimate_motion(lines, size[:2], SlabAxes(superior, SPACING)) is None
