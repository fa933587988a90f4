"""One object turned in the magnet: its field, its files, and what they let a person compute."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chistream.arrays import RealArray, Vector
from chistream.errors import SettingsError
from chistream.physics.geometry import Geometry
from chistream_simulator.case import Case, load_preset
from chistream_simulator.options.slab import turn_matrix
from chistream_simulator.orientations import (
    cosmos_orientations,
    head_orientations,
    parse_orientations,
    simulate_orientations,
    tensor_orientations,
    turn_to,
)
from chistream_simulator.overrides import checked
from chistream_simulator.phantoms.library import make_phantom
from chistream_simulator.phantoms.phantom import Phantom
from chistream_simulator.phantoms.shapes import point
from chistream_simulator.truth import read_truth

TURN = (40.0, -20.0, 65.0)
STRAIGHT = (0.0, 0.0, 0.0)


def phantom_of(name: str, orientation: Vector, **values: Any) -> Phantom:  # noqa: ANN401
    given: dict[str, Any] = {
        "phantom": name,
        "orientation": orientation,
        "breathing_amplitude": 0.0,
        "navigators": "none",
        **values,
    }
    return make_phantom(checked(Case, given))


def b0_in_object(turn: Vector) -> RealArray:
    return np.asarray(turn_matrix(turn)[2])


def frequencies(grid: Geometry) -> RealArray:
    """k ``(3, z, y, x)`` in the order L, P, S [1/mm]; the grid lies along the patient's axes."""
    axes = [np.fft.fftfreq(n, d) for n, d in zip(grid.shape, grid.voxel_size, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return np.stack([x, y, z])


@pytest.mark.parametrize("n", [2, 3, 4, 7])
def test_cosmos_turns_about_one_axis_in_equal_steps(n: int) -> None:
    directions = np.array([b0_in_object(turn) for turn in cosmos_orientations(n)])
    np.testing.assert_allclose(directions[:, 0], 0.0, atol=1e-12)
    cosines = np.sum(directions[1:] * directions[:-1], axis=1)
    np.testing.assert_allclose(cosines, np.cos(np.pi / n), atol=1e-12)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_a_head_tilts_no_farther_than_it_can(n: int) -> None:
    directions = np.array([b0_in_object(turn) for turn in head_orientations(n, 25.0)])
    np.testing.assert_allclose(directions[0], (0.0, 0.0, 1.0), atol=1e-12)
    np.testing.assert_allclose(directions[1:, 2], np.cos(np.deg2rad(25.0)), atol=1e-12)
    assert len(np.unique(directions.round(6), axis=0)) == n


@pytest.mark.parametrize(("n", "nearest"), [(6, 63.43), (10, 41.81), (7, 30.0), (12, 20.0)])
def test_tensor_orientations_keep_apart(n: int, nearest: float) -> None:
    directions = np.array([b0_in_object(turn) for turn in tensor_orientations(n)])
    assert directions.shape == (n, 3)
    cosines = np.abs(directions @ directions.T)[~np.eye(n, dtype=bool)]
    angle = np.rad2deg(np.arccos(cosines.max()))
    # The angles between the axes of icosahedron and dodecahedron; at least so far on a spiral.
    assert angle == pytest.approx(nearest, abs=0.01) if n in (6, 10) else angle > nearest
    # Six unknowns of a tensor: the squares and products of the directions must span them.
    left, posterior, superior = directions.T
    products = [left * posterior, left * superior, posterior * superior]
    design = np.stack([left**2, posterior**2, superior**2, *products])
    assert np.linalg.cond(design) < 5


def test_a_turn_brings_b0_where_it_was_asked() -> None:
    for direction in np.random.default_rng(7).standard_normal((20, 3)):
        found = b0_in_object(turn_to(direction))
        np.testing.assert_allclose(found, direction / np.linalg.norm(direction), atol=1e-9)


@pytest.mark.parametrize(
    ("text", "count"), [("3", 3), ("cosmos:4", 4), ("head:5", 5), ("tensor:6", 6)]
)
def test_a_person_asks_for_a_number_or_a_kind(text: str, count: int) -> None:
    assert len(parse_orientations(text)) == count


@pytest.mark.parametrize("text", ["", "1", "three", "cube:3", "tensor:", "head:0"])
def test_what_is_no_set_of_orientations_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="such as 3, cosmos:3, head:5 or tensor:6"):
        parse_orientations(text)


@pytest.mark.parametrize("name", ["ellipsoid", "fibres"])
def test_turning_the_object_is_turning_b0(name: str) -> None:
    matrix = turn_matrix(TURN)
    centre = (4.0, -3.0, 2.0)
    in_object = Geometry((11, 14, 13), (3.0, 2.5, 2.0), centre)
    read, phase, slice_ = (point(matrix[:, i]) for i in range(3))
    in_magnet = Geometry((11, 14, 13), (3.0, 2.5, 2.0), centre, read, phase, slice_)
    common: dict[str, Any] = {
        "position": centre,
        "fibre_pattern": "uniform",
        "fibre_chi_parallel": 1.0,
        "fibre_chi_perpendicular": -0.5,
        "bath_radius": 30.0,
    }
    axis = (0.0, 0.0, 1.0)
    turned = phantom_of(name, TURN, fibre_axis=axis, **common)
    straight = phantom_of(
        name, STRAIGHT, object_turn=TURN, fibre_axis=point(matrix @ axis), **common
    )
    field = straight.field(in_magnet)
    difference = np.abs(turned.field(in_object) - field)
    # Rounding decides where a voxel's centre lies on the surface itself, where the field jumps;
    # painted, voxels are cut otherwise.
    assert np.quantile(difference, 0.995) < (1e-5 if name == "ellipsoid" else 0.03)
    assert np.ptp(field) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize(
    "grid",
    [
        Geometry((48, 52, 54), (2.0, 2.0, 2.0)),
        Geometry((45, 53, 49), (2.2, 2.0, 2.1)),
    ],
)
def test_three_orientations_determine_susceptibility(grid: Geometry) -> None:
    values: dict[str, Any] = {"object_axes": (20.0, 13.0, 9.0), "object_chi": 0.8}
    k = frequencies(grid)
    squared = np.maximum(np.sum(k**2, axis=0), 1e-12)
    above, below = np.zeros(grid.shape, complex), np.zeros(grid.shape)
    for turn in cosmos_orientations(3):
        field = phantom_of("ellipsoid", turn, **values).field(grid)
        kernel = 1 / 3 - np.einsum("c,czyx->zyx", b0_in_object(turn), k) ** 2 / squared
        above += kernel * np.fft.fftn(field)
        below += kernel**2
    assert below.min() > 0.05  # no cone is left on which nothing is known
    chi = np.fft.ifftn(above / below).real
    scene = phantom_of("ellipsoid", STRAIGHT, **values).scene(grid)
    truth = scene.quantities["chi"]
    water = scene.where("bath") & (truth == 0)
    chi -= np.median(chi[water])
    inside = truth == truth.max()
    assert np.median(chi[inside]) == pytest.approx(0.8, rel=0.02)
    slope = np.polyfit(truth.ravel(), chi.ravel(), 1)[0]
    assert slope == pytest.approx(1.0, abs=0.04)
    assert np.abs(chi[water]).mean() < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("anisotropy", [1.0, -1.0])
def test_six_orientations_tell_along_from_across(anisotropy: float) -> None:
    grid = Geometry((31, 32, 33), (2.0, 2.0, 2.0))
    axis = np.array([0.6, 0.0, 0.8])
    values: dict[str, Any] = {
        "fibre_pattern": "uniform",
        "fibre_axis": point(axis),
        "fibre_chi_parallel": 0.5 * anisotropy,
        "fibre_chi_perpendicular": -0.5 * anisotropy,
        "object_radius": 14.0,
        "bath_radius": 30.0,
    }
    k = frequencies(grid).reshape(3, -1)
    outwards = k / np.maximum(np.linalg.norm(k, axis=0), 1e-12)
    turns = tensor_orientations(6)
    spectra = [np.fft.fftn(phantom_of("fibres", turn, **values).field(grid)) for turn in turns]
    # The field is b (1/3 - k k) chi b: linear in the six components of chi, for each k.
    rows = np.empty((k.shape[1], 6, 6))
    for i, turn in enumerate(turns):
        b = b0_in_object(turn)
        front = b[:, None] / 3 - (b @ outwards) * outwards
        for j, (p, q) in enumerate([(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]):
            both = front[p] * b[q] + (front[q] * b[p] if p != q else 0)
            rows[:, i, j] = both
    known = np.stack([s.ravel() for s in spectra], axis=1)[:, :, None]
    rows[0], known[0] = np.eye(6), 0.0  # the mean is not known
    solved = np.moveaxis(np.linalg.solve(rows, known)[:, :, 0], 1, 0).reshape(6, *grid.shape)
    parts = np.fft.ifftn(solved, axes=(1, 2, 3)).real
    scene = phantom_of("fibres", STRAIGHT, **values).scene(grid)
    ball = scene.where("fibres")
    ll, lp, ls, pp, ps, ss = (part[ball].mean() - part[~ball].mean() for part in parts)
    tensor = np.array([[ll, lp, ls], [lp, pp, ps], [ls, ps, ss]])
    across = np.cross(axis, (0.0, 1.0, 0.0))
    along_less_across = axis @ tensor @ axis - across @ tensor @ across
    assert along_less_across == pytest.approx(anisotropy, rel=0.1)
    direction = np.linalg.eigh(anisotropy * tensor)[1][:, 2]
    assert abs(direction @ axis) > 0.995


@pytest.mark.slow
def test_files_of_all_orientations_lie_on_one_grid(tmp_path: Path) -> None:
    turns = cosmos_orientations(3)
    told: list[str] = []
    paths = simulate_orientations(
        tmp_path / "ball.h5",
        "tiny",
        turns,
        seed=40,
        overrides={"rotation": "[10, 20, 0]", "snr": "inf"},
        progress=lambda what, _: told.append(what),
    )
    assert [p.name for p in paths] == ["ball-1.h5", "ball-2.h5", "ball-3.h5"]
    assert told
    truths = [read_truth(p.with_suffix(".truth.h5")) for p in paths]
    case = load_preset("tiny", overrides={"rotation": "[10, 20, 0]"})
    axes = turn_matrix(case.rotation)
    for truth, turn in zip(truths, turns, strict=True):
        assert truth.geometry.shape == case.matrix
        # B0 along the grid's axes z, y, x: the slab keeps its place in the object.
        expected = (b0_in_object(turn) @ axes)[::-1]
        np.testing.assert_allclose(truth.geometry.b0_direction, expected, atol=1e-9)
        np.testing.assert_array_equal(truth.chi, truths[0].chi)
    for truth, number in zip(truths[1:], (41, 42), strict=True):
        assert np.abs(truth.total_field - truths[0].total_field).max() > 0.05
        assert truth.numbers["seed"] == number
