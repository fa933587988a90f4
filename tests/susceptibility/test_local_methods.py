"""The iterative inversions of local fields, each with every array library."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from tests.kinds import KINDS, OTHER_KINDS, as_kind, assert_kind

from chistream.arrays import Mask, RealArray, Size, Vector
from chistream.physics.backend import to_numpy
from chistream.physics.dipole import field_of
from chistream.physics.padding import Padding
from chistream.physics.solvers import least_squares
from chistream.susceptibility.cones import invert_heidi, invert_rts
from chistream.susceptibility.descent import invert_ndi
from chistream.susceptibility.direct import invert_tikhonov, invert_tkd, invert_tsvd
from chistream.susceptibility.inversion import FieldData, Inversion
from chistream.susceptibility.local_problem import LocalProblem, free_faces
from chistream.susceptibility.medi import invert_medi
from chistream.susceptibility.streaking import invert_ilsqr
from chistream.susceptibility.total_field import invert_total_field
from chistream.susceptibility.total_variation import invert_fansi, invert_tv, shrunk

Method = Callable[..., Inversion]

ALONG_Z: Vector = (1.0, 0.0, 0.0)
TILTED: Vector = (1.0, -2.0, 0.5)
VOXEL: Vector = (3.0, 2.0, 2.0)
MARGIN: Vector = (9.0, 6.0, 6.0)

FANSI: dict[str, Method] = {
    "wtv": invert_fansi,
    "nltv": partial(invert_fansi, phase_per_ppm=8.0),
}
WEIGHTED: dict[str, Method] = {
    **FANSI,
    "ndi": invert_ndi,
    "rts": invert_rts,
    "ilsqr": invert_ilsqr,
    "heidi": invert_heidi,
}
ITERATIVE: dict[str, Method] = {"tv": invert_tv, **WEIGHTED}
EDGES: dict[str, Method] = {"tv": invert_tv, **FANSI, "heidi": invert_heidi}
ALL: dict[str, Method] = {
    **ITERATIVE,
    "medi": partial(invert_medi, phase_per_ppm=8.0, merit=True),
    "total_field": partial(invert_total_field, max_sweeps=3, sweep_iterations=20),
    "tkd": invert_tkd,
    "tsvd": invert_tsvd,
    "tikhonov": partial(invert_tikhonov, regulariser="gradient"),
}


def block(shape: Size, value: float = 0.3) -> RealArray:
    chi = np.zeros(shape)
    chi[5:9, 6:11, 7:13] = value
    return chi


def body(shape: Size) -> Mask:
    mask = np.zeros(shape, dtype=bool)
    mask[1:-1, 2:-2, 2:-2] = True
    return mask


def local_field(chi: RealArray, b0_direction: Vector = TILTED) -> RealArray:
    padding = Padding((chi.shape[0], chi.shape[1], chi.shape[2]), (28, 40, 44))
    return padding.crop(field_of(padding.pad(chi, "float64"), VOXEL, b0_direction))


def contrast(chi: RealArray) -> float:
    shape = (chi.shape[0], chi.shape[1], chi.shape[2])
    inside = block(shape) > 0
    return float(chi[inside].mean() - chi[body(shape) & ~inside].mean())


@pytest.mark.parametrize(
    ("shape", "b0_direction"),
    [((14, 20, 22), ALONG_Z), ((13, 19, 21), TILTED)],
    ids=["even", "odd_and_tilted"],
)
@pytest.mark.parametrize("method", ITERATIVE)
def test_a_block_keeps_its_susceptibility(method: str, b0_direction: Vector, shape: Size) -> None:
    field = np.where(body(shape), local_field(block(shape), b0_direction), np.nan)
    found = ITERATIVE[method](field, body(shape), VOXEL, b0_direction=b0_direction, margin=MARGIN)
    assert found.method == method
    assert found.chi.dtype == np.float32
    assert abs(found.chi[body(shape)].mean()) < 1e-6
    np.testing.assert_array_equal(found.chi[~body(shape)], 0.0)
    tolerance = 0.045 if method in {"wtv", "nltv"} else 0.09
    assert contrast(found.chi) == pytest.approx(0.3, abs=tolerance)


@pytest.mark.parametrize("method", ITERATIVE)
def test_the_wrong_direction_of_b0_explains_less(method: str) -> None:
    shape = (14, 20, 22)
    field = local_field(block(shape), ALONG_Z)
    right, wrong = (
        ITERATIVE[method](field, body(shape), VOXEL, b0_direction=b, margin=MARGIN)
        for b in (ALONG_Z, (0.5, 0.8, 0.0))
    )
    truth = block(shape) - block(shape)[body(shape)].mean()
    errors = [np.linalg.norm((f.chi - truth)[body(shape)]) for f in (right, wrong)]
    assert errors[1] > 1.4 * errors[0]


@pytest.mark.parametrize("method", WEIGHTED)
def test_a_voxel_without_weight_is_not_believed(method: str) -> None:
    shape = (14, 20, 22)
    field, weights = local_field(block(shape)), np.full(shape, 70.0)
    spoiled = field.copy()
    spoiled[10, 14, 15], weights[10, 14, 15] = 0.3, 0.0
    given: dict[str, Any] = {"b0_direction": TILTED, "weights": weights, "margin": MARGIN}
    found = WEIGHTED[method](spoiled, body(shape), VOXEL, **given)
    clean = WEIGHTED[method](field, body(shape), VOXEL, **given)
    # The edges of iLSQR and HEIDI come from the field itself, weights or not.
    atol = 0.06 if method in {"ilsqr", "heidi"} else 1e-6
    np.testing.assert_allclose(found.chi, clean.chi, atol=atol)
    blind = WEIGHTED[method](spoiled, body(shape), VOXEL, **{**given, "weights": None})
    assert np.abs(blind.chi - clean.chi).max() > max(2 * np.abs(found.chi - clean.chi).max(), 0.05)


@pytest.mark.parametrize("method", EDGES)
def test_edges_of_the_magnitude_are_free(method: str) -> None:
    shape = (14, 20, 22)
    noise = 0.01 * np.random.default_rng(1).standard_normal(shape)
    strength = {} if method == "heidi" else {"strength": 5e-3}
    errors = []
    for magnitude in (None, 1.0 + block(shape)):
        found = EDGES[method](
            local_field(block(shape)) + noise,
            body(shape),
            VOXEL,
            b0_direction=TILTED,
            magnitude=magnitude,
            edge_fraction=0.1,
            margin=MARGIN,
            **strength,
        )
        errors.append(abs(contrast(found.chi) - 0.3))
    assert errors[1] < errors[0]


@pytest.mark.parametrize("method", ["nltv", "ndi"])
def test_phases_that_wrap_do_no_harm(method: str) -> None:
    shape, phase_per_ppm = (14, 20, 22), 8.0
    field = local_field(block(shape))
    wrapped = field.copy()
    wrapped[10, 14, 15] += 2 * np.pi / phase_per_ppm
    given: dict[str, Any] = {"b0_direction": TILTED, "margin": MARGIN, "max_iterations": 300}
    invert = ITERATIVE[method] if method == "ndi" else partial(FANSI[method], strength=5e-3)
    found = invert(wrapped, body(shape), VOXEL, **given).chi
    clean = invert(field, body(shape), VOXEL, **given).chi
    linear = invert_fansi(wrapped, body(shape), VOXEL, strength=5e-3, **given).chi
    assert np.abs(found - clean).max() < 0.3 * np.abs(linear - clean).max()


@pytest.mark.parametrize("method", ["tv", "wtv", "nltv", "ndi"])
def test_a_stronger_penalty_never_lowers_the_misfit(method: str) -> None:
    shape = (14, 20, 22)
    noise = 0.01 * np.random.default_rng(1).standard_normal(shape)
    strengths = (1e-4, 1e-3, 1e-2) if method != "ndi" else (1e-5, 1e-2, 1e-1)
    misfits = [
        ITERATIVE[method](
            local_field(block(shape)) + noise,
            body(shape),
            VOXEL,
            b0_direction=TILTED,
            strength=strength,
            margin=MARGIN,
        ).residual
        for strength in strengths
    ]
    assert misfits == sorted(misfits)
    assert misfits[-1] > 1.2 * misfits[0]


def test_weighted_variation_minimises_its_objective() -> None:
    shape: Size = (5, 6, 6)
    rng = np.random.default_rng(3)
    mask = np.zeros(shape, dtype=bool)
    mask[1:4, 1:5, 1:5] = True
    field, weights = 0.1 * rng.standard_normal(shape), rng.uniform(0.3, 1.0, shape)
    strength = 2e-3
    found = invert_fansi(
        field,
        mask,
        VOXEL,
        b0_direction=TILTED,
        weights=weights,
        strength=strength,
        margin=(0.0, 0.0, 0.0),
        tolerance=0.0,
        max_iterations=3000,
    )
    assert (found.n_iterations, found.converged) == (3000, False)
    data = FieldData(field, mask, VOXEL, TILTED, None, weights)
    problem = LocalProblem(data, (0.0, 0.0, 0.0))
    faces = free_faces(problem.inside)

    def cost(chi: RealArray) -> float:
        left = problem.weights * (field_of(chi, VOXEL, TILTED) - problem.field)
        slopes = [(np.roll(chi, -1, a) - chi) / VOXEL[a] for a in range(3)]
        return float(0.5 * np.sum(left**2) + strength * np.sum(np.abs(faces * np.array(slopes))))

    # The map outside the mask is not reported: minimise over it from what is.
    full = _whole_map(problem, weights, strength)
    np.testing.assert_allclose(found.chi[mask], (full - full[mask].mean())[mask], atol=1e-2)
    here = cost(full)
    for _ in range(30):
        step = rng.standard_normal(shape)
        assert cost(full + 1e-3 * step) > here - 1e-6
        assert cost(full - 1e-3 * step) > here - 1e-6


def _whole_map(problem: LocalProblem, weights: RealArray, strength: float) -> RealArray:
    """The same minimum by another way: a smoothed objective and reweighted least squares."""
    n = problem.field.size
    faces = free_faces(problem.inside).astype(float)
    columns = np.eye(n).reshape(n, *problem.field.shape)
    model = np.array([(problem.weights * field_of(c, VOXEL, TILTED)).ravel() for c in columns]).T
    slopes = np.array(
        [
            np.concatenate([(np.roll(c, -1, a) - c).ravel() / VOXEL[a] for a in range(3)])
            for c in columns
        ]
    ).T * faces.reshape(-1, 1)
    target = (problem.weights * problem.field).ravel()
    chi = np.zeros(n)
    assert weights.size == n
    for _ in range(300):
        cost = strength / np.sqrt((slopes @ chi) ** 2 + 1e-12)
        system = model.T @ model + slopes.T @ (cost[:, None] * slopes) + 1e-9 * np.eye(n)
        chi = np.linalg.solve(system, model.T @ target)
    return chi.reshape(problem.field.shape)


@pytest.mark.parametrize("kind", OTHER_KINDS)
@pytest.mark.parametrize("method", ALL)
def test_every_library_finds_the_same(method: str, kind: str) -> None:
    shape = (13, 20, 22)
    noise = 0.005 * np.random.default_rng(1).standard_normal(shape)
    field = local_field(block(shape)) + noise
    given: dict[str, Any] = {}
    if method in {*EDGES, "medi", "total_field"}:
        given["magnitude"] = 1.0 + block(shape) + noise
    if method in {*WEIGHTED, "medi", "total_field"}:
        given["weights"] = np.full(shape, 200.0)
    fixed: dict[str, Any] = {"b0_direction": TILTED, "margin": MARGIN}
    here = ALL[method](field, body(shape), VOXEL, **given, **fixed)
    there = ALL[method](
        as_kind(kind, field),
        as_kind(kind, body(shape)),
        VOXEL,
        **{name: as_kind(kind, volume) for name, volume in given.items()},
        **fixed,
    )
    assert_kind(kind, there.chi)
    assert there.n_iterations == here.n_iterations
    assert there.residual == pytest.approx(here.residual, rel=1e-4)
    difference = np.linalg.norm(to_numpy(there.chi) - here.chi)
    assert difference < 1e-4 * np.linalg.norm(here.chi)


@pytest.mark.parametrize("kind", KINDS)
def test_least_squares_are_those_of_the_direct_solution(kind: str) -> None:
    rng = np.random.default_rng(4)
    matrix, right = rng.standard_normal((9, 5)), rng.standard_normal(9)
    tall, wide, target = (as_kind(kind, array) for array in (matrix, matrix.T, right))
    found = least_squares(
        lambda x: tall @ x, lambda y: wide @ y, target, tolerance=1e-10, max_iterations=50
    )
    assert_kind(kind, found.values)
    direct = np.linalg.lstsq(matrix, right)[0]
    np.testing.assert_allclose(to_numpy(found.values), direct, atol=1e-8)
    assert found.converged
    ended = least_squares(
        lambda x: tall @ x, lambda y: wide @ y, target, tolerance=0.0, max_iterations=2
    )
    assert (ended.n_iterations, ended.converged) == (2, False)
    gradient = matrix.T @ (right - matrix @ to_numpy(ended.values))
    size = np.linalg.norm(matrix.T @ right)
    assert ended.residual == pytest.approx(np.linalg.norm(gradient) / size)


def test_nothing_to_explain_gives_nothing() -> None:
    found = least_squares(np.eye(3).dot, np.eye(3).dot, np.zeros(3), tolerance=0, max_iterations=5)
    assert (found.n_iterations, found.residual, found.converged) == (0, 0.0, True)
    np.testing.assert_array_equal(found.values, 0.0)


def test_values_split_into_what_exceeds_and_what_remains() -> None:
    exceeding, remaining = shrunk(np.array([-3.0, -0.5, 0.0, 2.0]), 1.0)
    np.testing.assert_array_equal(exceeding, [-2.0, 0.0, 0.0, 1.0])
    np.testing.assert_array_equal(remaining, [-1.0, -0.5, 0.0, 1.0])


def test_weights_count_relative_to_the_largest_common_one() -> None:
    shape = (13, 19, 21)
    weights = np.full(shape, 20.0)
    weights[4, 4, 4], weights[5, 5, 5] = 1e6, 5.0
    data = FieldData(local_field(block(shape)), body(shape), VOXEL, TILTED, None, weights)
    problem = LocalProblem(data, (0.0, 0.0, 0.0))
    assert problem.weights[4, 4, 4] == problem.weights[6, 6, 6] == 1.0
    assert problem.weights[5, 5, 5] == 0.25
    assert problem.weights[0, 0, 0] == 0.0
    rare = np.zeros(shape)
    rare[6, 6, 6] = 3.0
    sparse = FieldData(local_field(block(shape)), body(shape), VOXEL, TILTED, None, rare)
    assert LocalProblem(sparse).weights.max() == 1.0


@pytest.mark.parametrize(
    ("method", "change", "message"),
    [
        ("tv", {"strength": 0.0}, "strength must be positive, got 0"),
        ("wtv", {"edge_fraction": 1.0}, r"edge_fraction must lie in \[0, 1\), got 1"),
        ("wtv", {"phase_per_ppm": -1.0}, "phase_per_ppm must be positive, got -1"),
        ("nltv", {"max_iterations": 0}, "max_iterations 0 must be 1 or more"),
        ("nltv", {"tolerance": -1.0}, "tolerance -1.0 must not be negative"),
        ("ndi", {"strength": -1.0}, "strength -1.0 must not be negative"),
        ("rts", {"strength": 0.7}, r"strength must lie in \(0, 2/3\), got 0.7"),
        ("heidi", {"strength": 0.0}, r"strength must lie in \(0, 2/3\), got 0.0"),
        ("ilsqr", {"strength": float("nan")}, r"strength must lie in \(0, 2/3\), got nan"),
    ],
)
def test_what_cannot_be_is_refused(method: str, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ITERATIVE[method](np.zeros((5, 6, 7)), np.ones((5, 6, 7), dtype=bool), VOXEL, **change)
