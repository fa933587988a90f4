"""The forward model against closed forms, against a plain model on one grid, and on its limits."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.ndimage import map_coordinates
from scipy.special import j0, k0
from tests.benchmarks.forward_model import (
    CENTRE,
    CHEST,
    DIRECTIONS,
    GRIDS,
    HIGH,
    LOW,
    OBJECTS,
    Grid,
    clear_of,
    errors,
    painted,
    split_field,
    surroundings_change,
)

from chistream.arrays import RealArray, Size, Vector
from chistream.physics.geometry import Geometry
from chistream_simulator.magnetics.closed_forms import sphere_field, unit_vector
from chistream_simulator.magnetics.forward import REACH, WIDTH, SplitField
from chistream_simulator.magnetics.grids import with_margin
from chistream_simulator.magnetics.interpolation import ORDER, Resampling
from chistream_simulator.magnetics.spectra import Band, DipoleFilter, _truncation
from chistream_simulator.phantoms.scene import block_points
from chistream_simulator.phantoms.shapes import Ellipsoid, Point

OBLIQUE = (0.5, 0.4)
SMALL = Grid((12, 25, 31), (2.5, 1.4, 1.1), OBLIQUE)
TILTED = DIRECTIONS["59 deg"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "grid", "tilt"),
    [
        ("sphere", "1.5 iso, even", "along L"),
        ("sphere", "2.5 x 0.94 x 0.7, oblique", "along S"),
        ("sphere", "3 x 1 x 1, oblique 45", "59 deg"),
        ("cylinder", "1.5 iso, odd, oblique", "along S"),
        ("cylinder", "2.5 x 0.94 x 0.7, oblique", "59 deg"),
        ("ellipsoid", "1.5 iso, even", "30 deg"),
        ("ellipsoid", "2.5 x 0.94 x 0.7", "along S"),
        ("ellipsoid", "2.5 x 0.94 x 0.7, oblique", "59 deg"),
    ],
)
def test_the_field_is_that_of_the_closed_form(name: str, grid: str, tilt: str) -> None:
    found = errors(name, GRIDS[grid], DIRECTIONS[tilt])
    # Two voxels off the surface, of the peak. The rest is the partial volumes' staircase.
    assert found.worst < 0.01
    assert found.rms < 0.0015


@pytest.mark.slow
@pytest.mark.parametrize("size", [(160, 162, 168), (165, 161, 175)])
def test_three_bands_give_what_one_large_fine_grid_gives(size: Size) -> None:
    body = (
        (Ellipsoid((4.0, 0.0, -3.0), (36.0, 30.0, 34.0)), -9.0),
        (Ellipsoid((-12.0, 3.0, 2.0), (10.0, 15.0, 18.0)), -4.0),
    )
    target = Grid((9, 22, 21), (3.0, 1.2, 1.4), OBLIQUE).geometry((-4.0, 1.0, -1.0))
    found = split_field(body, SplitField(target, LOW, HIGH), 4)
    large = Geometry(size, (1.5, 1.5, 1.5))
    one_level = map_coordinates(
        plain_field(painted(body, large, 4), large.voxel_size),
        (target.voxel_positions()[::-1] / 1.5) + np.reshape([n // 2 for n in size], (3, 1, 1, 1)),
    )
    away = np.all([clear_of(shape, target, 6.0) for shape, _ in body], axis=0)
    assert 1000 < away.sum() < 0.8 * away.size
    difference = (found - one_level)[away]
    # The large grid's periods shift it as a whole: the mean of chi makes no field there.
    difference -= difference.mean()
    assert np.abs(difference).max() < 0.01 * np.ptp(one_level)
    assert difference.std() < 0.002 * np.ptp(one_level)


def plain_field(chi: RealArray, voxel_size: Vector) -> RealArray:
    """Field of a periodic map with B0 along z, as every textbook has it."""
    lines = [np.fft.fftfreq(n, d) for n, d in zip(chi.shape, voxel_size, strict=True)]
    z, y, x = np.meshgrid(*lines, indexing="ij", sparse=True)
    square = z**2 + y**2 + x**2
    square[0, 0, 0] = np.inf
    field: RealArray = np.fft.ifftn((1 / 3 - z**2 / square) * np.fft.fftn(chi)).real
    return field


@pytest.mark.slow
def test_no_repetition_of_a_chest_is_felt() -> None:
    # On the same lattice (a multiple of 24 mm more on each side), so that nothing else differs.
    change = surroundings_change(TILTED, step=4.0, extra=312.0)
    assert change < 1e-3  # ppm


@pytest.mark.parametrize("b0_direction", [DIRECTIONS["along S"], TILTED])
def test_a_trunk_without_end_is_endless(b0_direction: Point) -> None:
    # Painted 120 mm long, it has to act as if it had no ends: the mean field tells it.
    trunk = OBJECTS["cylinder"]
    target = SMALL.geometry(CENTRE)
    split = SplitField(target, LOW, (45.0, 45.0, 75.0), b0_direction=b0_direction)
    found = split_field([(trunk, 1.0)], split, 4)
    inside = trunk.signed_distance(block_points(target)) < -5.0
    expected = (3 * unit_vector(b0_direction)[2] ** 2 - 1) / 6
    np.testing.assert_allclose(found[inside], expected, atol=0.004)


@pytest.mark.parametrize(
    ("distance", "tolerance"), [(35.0, 0.008), (50.0, 0.005), (70.0, 0.0025), (180.0, 0.003)]
)
def test_a_source_outside_the_target_acts_on_it(distance: float, tolerance: float) -> None:
    direction = unit_vector((0.8, 0.3, -0.6))
    target = SMALL.geometry((-60.0, 0.0, 0.0))
    left, posterior, superior = target.position + distance * direction
    ball = Ellipsoid((left, posterior, superior), (14.0, 14.0, 14.0))
    low, high = ((left + side, posterior + side, superior + side) for side in (-20.0, 20.0))
    found = split_field([(ball, 9.0)], SplitField(target, low, high, b0_direction=TILTED))
    expected = sphere_field(block_points(target), ball.centre, 14.0, 9.0, b0_direction=TILTED)
    away = clear_of(ball, target, 5.0)
    error = np.abs(found - expected)[away].max() / np.abs(expected)[away].max()
    assert error < tolerance


@pytest.mark.parametrize("shape", [(7, 8, 9), (8, 9, 10), (6, 4, 12)])
@pytest.mark.parametrize("band", [Band(), Band(0.0, 3.0), Band(0.5, 4.0, 7)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_field_in_a_mirror_is_that_of_b0_in_the_mirror(
    shape: Size, band: Band, axis: int
) -> None:
    # On an even axis k and -k share the Nyquist sample, which must not take sides.
    b, point = unit_vector((0.5, -0.7, 0.51)), np.zeros((1, *shape), np.float32)
    point[0, 0, 0, 0] = 1.0
    mirrored = np.where(np.arange(3) == axis, -b, b)
    field, other = (
        DipoleFilter(shape, (2.0, 1.5, 1.0), direction, band).field(point)
        for direction in (b, mirrored)
    )
    reflection = np.roll(np.flip(other, axis), 1, axis)
    assert np.abs(field).max() > 1e-3
    np.testing.assert_allclose(reflection, field, atol=1e-6)


@pytest.mark.parametrize(("q", "kappa"), [(0.7, 0.3), (4.0, 1.5), (9.0, 0.05), (3.0, 6.0)])
def test_a_potential_cut_off_at_a_radius_has_the_transform_of_its_integral(
    q: float, kappa: float
) -> None:
    across, along = np.full((1, 1), q / 5) / (2 * np.pi), np.full((1, 1), kappa / 5) / (2 * np.pi)
    integral = quad(lambda r: r * k0(kappa * r) * j0(q * r), 0, 1)[0]
    found = _truncation(along, across, radius=5.0)
    np.testing.assert_allclose(found, (q**2 + kappa**2) * integral, rtol=1e-5)


def test_the_potential_of_endless_lines_is_cut_off_where_it_vanishes() -> None:
    across = np.full((1, 1), 4.0 / 5) / (2 * np.pi)
    integral = quad(lambda r: -r * np.log(r) * j0(4.0 * r), 0, 1)[0]
    found = _truncation(np.zeros((1, 1)), across, radius=5.0)
    np.testing.assert_allclose(found, 16.0 * integral, rtol=1e-5)


def test_a_coarse_target_gets_the_field_at_its_points() -> None:
    ball = Ellipsoid((1.0, 2.0, 3.0), (20.0, 20.0, 20.0))
    target = Grid((7, 10, 9), (10.0, 9.0, 8.0), OBLIQUE).geometry((0.0, 0.0, 0.0))
    found = split_field([(ball, 1.0)], SplitField(target, LOW, HIGH))
    expected = sphere_field(block_points(target), ball.centre, 20.0, 1.0)
    away = clear_of(ball, target, 18.0)
    np.testing.assert_allclose(found[away], expected[away], atol=0.01)


def test_a_single_row_of_voxels_is_a_target() -> None:
    ball = Ellipsoid((0.0, 0.0, 0.0), (12.0, 12.0, 12.0))
    row = Geometry((1, 1, 24), (1.5, 1.5, 1.5), (20.0, 0.0, 22.0))
    found = split_field([(ball, 1.0)], SplitField(row, LOW, HIGH))
    expected = sphere_field(block_points(row), ball.centre, 12.0, 1.0)
    assert found.shape == (1, 1, 24)
    np.testing.assert_allclose(found, expected, atol=0.001)


@pytest.fixture(scope="module")
def tilted() -> tuple[SplitField, RealArray, RealArray]:
    """A split field, and noise-like bodies that it is to take."""
    split = SplitField(SMALL.geometry(), LOW, HIGH, b0_direction=TILTED)
    rng = np.random.default_rng(1)
    body, slab = (
        rng.standard_normal(grid.shape).astype(np.float32)
        for grid in (split.body_geometry, split.slab_geometry)
    )
    return split, body, slab


def test_an_isotropic_medium_is_a_special_tensor(
    tilted: tuple[SplitField, RealArray, RealArray],
) -> None:
    split, body, slab = tilted
    along_b = unit_vector(TILTED)[:, None, None, None]
    np.testing.assert_allclose(
        split.field(body * along_b, slab * along_b), split.field(body, slab), atol=1e-5
    )


def test_a_constant_adds_nothing(tilted: tuple[SplitField, RealArray, RealArray]) -> None:
    split, body, slab = tilted
    np.testing.assert_allclose(split.field(body + 9, slab + 9), split.field(body, slab), atol=2e-5)
    vectors = np.stack([body] * 3), np.stack([slab] * 3)
    constant = np.array([1.0, 2.0, -3.0])[:, None, None, None]
    np.testing.assert_allclose(
        split.field(vectors[0] + constant, vectors[1] + constant),
        split.field(*vectors),
        atol=2e-5,
    )


@pytest.mark.parametrize("b0_direction", [DIRECTIONS["along S"], TILTED])
def test_a_ball_of_any_magnetisation_is_its_dipole(b0_direction: Point) -> None:
    magnetisation, b = np.array([0.5, 0.8, -0.4]), unit_vector(b0_direction)
    ball = Ellipsoid(CENTRE, (14.0, 14.0, 14.0))
    target = Grid((20, 37, 48), (2.5, 1.2, 0.9), OBLIQUE).geometry()
    split = SplitField(target, LOW, HIGH, b0_direction=b0_direction)
    body, slab = (
        magnetisation[:, None, None, None] * painted([(ball, 1.0)], grid)
        for grid in (split.body_geometry, split.slab_geometry)
    )
    offset = np.stack(
        [
            np.broadcast_to(p - c, target.shape)
            for p, c in zip(block_points(target), CENTRE, strict=True)
        ],
        axis=-1,
    )
    r = np.linalg.norm(offset, axis=-1)
    towards = (offset @ b) * (offset @ magnetisation) / r**2
    outside = (14.0 / r) ** 3 / 3 * (3 * towards - b @ magnetisation)
    expected = np.where(r > 14.0, outside, 0.0)
    away = np.abs(r - 14.0) > 5.0
    np.testing.assert_allclose(split.field(body, slab)[away], expected[away], atol=0.007)


@pytest.mark.parametrize("size", [(4, 5, 6), (5, 6, 7)])
def test_the_target_lies_in_the_slab_voxel_by_voxel(size: Size) -> None:
    target = Grid(size, (2.5, 1.4, 1.1), OBLIQUE).geometry()
    split = SplitField(target, LOW, HIGH)
    places = split.slab_geometry.voxel_positions()[(slice(None), *split.inner)]
    np.testing.assert_allclose(places, target.voxel_positions(), atol=1e-9)
    for part, n, d in zip(split.inner, split.slab_geometry.shape, target.voxel_size, strict=True):
        assert min(part.start, n - part.stop) * d >= REACH * WIDTH * 3.0


def test_a_margin_of_nothing_is_the_grid_itself() -> None:
    target = Grid((4, 5, 6), (2.0, 3.0, 4.0), OBLIQUE).geometry()
    geometry, inner = with_margin(target, 0.0)
    assert geometry == target
    assert inner == (slice(0, 4), slice(0, 5), slice(0, 6))


def test_the_body_grid_holds_the_box_and_a_voxel_around_it() -> None:
    low, high = (-50.0, -40.0, -30.0), (51.0, 60.0, 37.0)
    body = SplitField(SMALL.geometry(), low, high, coarse_step=2.5).body_geometry
    assert body.voxel_size == (2.5, 2.5, 2.5)
    places = body.voxel_positions()
    for c in range(3):
        assert places[c].min() <= low[c] - 1.25
        assert places[c].max() >= high[c] + 1.25


def test_interpolation_of_a_wave_is_exact_to_the_splines_error() -> None:
    source = Geometry((30, 32, 36), (3.0, 3.0, 3.0), (1.0, 2.0, 3.0))
    target = Grid((9, 40, 61), (2.5, 0.9, 0.7), OBLIQUE).geometry()
    turns = np.array([2 / 36, -3 / 32, 3 / 30])  # along L, P and S, per voxel

    def wave(geometry: Geometry) -> RealArray:
        places = geometry.voxel_positions() - np.reshape(source.position, (3, 1, 1, 1))
        return np.asarray(np.cos(2 * np.pi * np.tensordot(turns / 3.0, places, 1)))

    coefficients = (wave(source) / np.prod(np.sinc(turns)) ** (ORDER + 1)).astype(np.float32)
    found = Resampling(source, target, 3.0)(coefficients)
    np.testing.assert_allclose(found, wave(target), atol=1e-4)


def test_maps_that_do_not_fit_are_refused(tilted: tuple[SplitField, RealArray, RealArray]) -> None:
    split, body, slab = tilted
    with pytest.raises(ValueError, match="does not fit a grid of"):
        split.field(body[1:], slab)
    with pytest.raises(ValueError, match="does not fit a grid of"):
        split.field(body, slab[:, :-1])
    with pytest.raises(ValueError, match="differ in kind"):
        split.field(body, np.stack([slab] * 3))


def test_a_body_longer_than_its_period_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a period of 80\.0 mm is too short for a body of 99"):
        SplitField(SMALL.geometry(), LOW, HIGH, period=80.0)


def test_the_chest_of_the_benchmark_lies_in_air() -> None:
    chi = painted(CHEST, Geometry((1, 30, 40), (10.0, 10.0, 10.0)), 2)
    assert chi[0, 0, 0] == 0.0
    assert chi.min() == pytest.approx(-9.4)
