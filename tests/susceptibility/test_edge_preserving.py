"""MEDI and total-field inversion, and the solver that they share."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from chistream.arrays import Mask, RealArray, Size, Vector
from chistream.physics.dipole import field_of
from chistream.physics.padding import Padding
from chistream.susceptibility.inversion import FieldData
from chistream.susceptibility.medi import invert_medi
from chistream.susceptibility.objective import Grid, Objective, Prior, face_costs
from chistream.susceptibility.total_field import invert_total_field

ALONG_Z: Vector = (1.0, 0.0, 0.0)
TILTED: Vector = (1.0, -2.0, 0.5)
VOXEL: Vector = (3.0, 2.0, 2.0)
SHAPE: Size = (14, 20, 22)
FAST: dict[str, Any] = {"margin": (9.0, 6.0, 6.0)}


def block(value: float = 0.3) -> RealArray:
    chi = np.zeros(SHAPE)
    chi[5:9, 6:11, 7:13] = value
    return chi


def body() -> Mask:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[1:13, 2:18, 2:20] = True
    return mask


def local_field(chi: RealArray, b0_direction: Vector = TILTED) -> RealArray:
    padding = Padding(SHAPE, (28, 40, 44))
    return padding.crop(field_of(padding.pad(chi, "float64"), VOXEL, b0_direction))


def contrast(chi: RealArray) -> float:
    return float(chi[block() > 0].mean() - chi[body() & (block() == 0)].mean())


@pytest.mark.parametrize("b0_direction", [ALONG_Z, TILTED])
def test_medi_finds_a_block_and_its_edges(b0_direction: Vector) -> None:
    found = invert_medi(
        local_field(block(), b0_direction),
        body(),
        VOXEL,
        b0_direction=b0_direction,
        magnitude=1.0 + block(),
        **FAST,
    )
    assert found.converged
    assert found.chi.dtype == np.float32
    assert contrast(found.chi) == pytest.approx(0.3, abs=0.015)
    assert found.chi[block() > 0].std() < 0.02


def test_the_wrong_direction_of_b0_spoils_the_map() -> None:
    found = invert_medi(
        local_field(block(), ALONG_Z), body(), VOXEL, b0_direction=(0.5, 0.8, 0.0), **FAST
    )
    assert contrast(found.chi) < 0.2


def test_the_total_field_of_a_body_in_air_gives_the_same_block() -> None:
    chi = np.where(body(), block(), 9.4)
    found = invert_total_field(
        local_field(chi - 9.4), body(), VOXEL, b0_direction=TILTED, magnitude=1.0 + block(), **FAST
    )
    assert contrast(found.chi) == pytest.approx(0.3, abs=0.04)


def test_the_map_has_zero_mean_and_a_constant_field_means_nothing() -> None:
    field = local_field(block())
    first = invert_medi(field, body(), VOXEL, b0_direction=TILTED, **FAST).chi
    second = invert_medi(field + 5.0, body(), VOXEL, b0_direction=TILTED, **FAST).chi
    assert abs(first[body()].mean()) < 1e-6
    np.testing.assert_array_equal(first[~body()], 0.0)
    np.testing.assert_allclose(first, second, atol=5e-3)


def test_a_stronger_penalty_never_lowers_the_misfit() -> None:
    noise = 0.02 * np.random.default_rng(1).standard_normal(SHAPE)
    misfits = [
        invert_medi(
            local_field(block()) + noise,
            body(),
            VOXEL,
            b0_direction=TILTED,
            strength=strength,
            **FAST,
        ).residual
        for strength in (1.0, 10.0, 100.0, 1000.0)
    ]
    assert misfits == sorted(misfits)
    assert misfits[-1] > 1.2 * misfits[0]


def test_a_voxel_without_weight_is_not_believed() -> None:
    field, weights = local_field(block()), np.full(SHAPE, 200.0)
    field[10, 14, 15], weights[10, 14, 15] = 30.0, 0.0
    found = invert_medi(field, body(), VOXEL, b0_direction=TILTED, weights=weights, **FAST)
    clean = invert_medi(
        local_field(block()), body(), VOXEL, b0_direction=TILTED, weights=weights, **FAST
    )
    np.testing.assert_allclose(found.chi, clean.chi, atol=2e-3)


def test_merit_takes_the_weight_of_what_no_susceptibility_explains() -> None:
    field = local_field(block())
    field[10, 14, 15] += 3.0
    errors = [
        np.abs(
            invert_medi(field, body(), VOXEL, b0_direction=TILTED, merit=merit, **FAST).chi
            - block()
        )[body()].max()
        for merit in (False, True)
    ]
    assert errors[1] < 0.5 * errors[0]


def test_compared_as_phases_a_wrap_that_was_left_does_no_harm() -> None:
    phase_per_ppm = 8.0  # an echo at 10 ms at 3 T
    field = local_field(block())
    field[9:12, 13:16, 14:17] += 2 * np.pi / phase_per_ppm
    errors = [
        np.abs(
            invert_medi(
                field,
                body(),
                VOXEL,
                b0_direction=TILTED,
                phase_per_ppm=phase,
                strength=30.0,
                **FAST,
            ).chi
            - block()
        )[body()].max()
        for phase in (None, phase_per_ppm)
    ]
    assert errors[1] < 0.6 * errors[0]


def test_without_enough_sweeps_it_says_so() -> None:
    found = invert_medi(
        local_field(block()), body(), VOXEL, max_sweeps=1, sweep_iterations=3, **FAST
    )
    assert not found.converged
    assert found.n_iterations <= 9
    assert found.strength == 2.0


def test_a_mask_too_thin_for_a_coarser_grid_is_solved_on_its_own() -> None:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[7, 10, :] = True
    found = invert_medi(local_field(block()), mask, VOXEL, b0_direction=TILTED, **FAST)
    assert np.isfinite(found.chi).all()


def test_voxels_off_by_a_period_of_the_echoes_drop_out() -> None:
    wrapped = local_field(block())
    wrapped[9:12, 13:16, 14:17] += 2.3
    options: dict[str, Any] = {"b0_direction": TILTED, "max_sweeps": 3, **FAST}
    clean = contrast(invert_total_field(local_field(block()), body(), VOXEL, **options).chi)
    errors = [
        abs(
            contrast(invert_total_field(wrapped, body(), VOXEL, outlier_limit=limit, **options).chi)
            - clean
        )
        for limit in (None, 5.0)
    ]
    assert errors[1] < 0.3 * errors[0]


def test_outliers_lose_the_weight_that_geman_and_mcclure_give_them() -> None:
    shape: Size = (4, 6, 6)
    mask = np.ones(shape, dtype=bool)
    field = np.zeros(shape)
    field[1, 2, 3], field[2, 3, 4] = 0.3, -0.1  # 6 and 2 standard deviations
    prior = Prior(0.0, 0.0, 1.0, 1.0, 0.0, 0.05)
    grid = Grid.of(FieldData(field, mask, VOXEL, TILTED), Padding(shape, shape), 0.05)
    zero = np.zeros(shape, np.float32)
    bounded = Objective(grid, TILTED, prior)
    bounded.bound_outliers(zero, 3.0)
    trust = np.full(shape, 400.0, np.float32)
    trust[1, 2, 3], trust[2, 3, 4] = 400 / (1 + 36 / 9) ** 2, 400 / (1 + 4 / 9) ** 2
    weighted = Objective(replace(grid, trust=trust), TILTED, prior)
    found, expected = (
        objective.sweep(zero, phase_per_ppm=None, max_iterations=50).values
        for objective in (bounded, weighted)
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.abs(expected).max() > 1e-3


@pytest.mark.parametrize("steepest", [math.inf, 0.02])
def test_a_sweep_solves_the_quadratic_problem_it_claims(steepest: float) -> None:
    """The gradient of the objective at a map, by finite differences, vanishes after sweeps."""
    rng = np.random.default_rng(3)
    shape: Size = (4, 6, 6)
    mask = np.zeros(shape, dtype=bool)
    mask[1:3, 1:5, 1:5] = True
    field = 0.1 * rng.standard_normal(shape)
    weights = rng.uniform(20.0, 90.0, shape)
    prior = Prior(4.0, 2.0, 0.05, 0.2, 0.0, 0.01, steepest=steepest)
    data = FieldData(field, mask, VOXEL, TILTED, None, weights)
    objective = Objective(Grid.of(data, Padding(shape, shape), 0.01), TILTED, prior)
    objective.level_off()
    chi = np.zeros(shape, np.float32)
    for _ in range(60):
        chi = objective.sweep(chi, phase_per_ppm=None, max_iterations=200).values

    def cost(values: RealArray) -> float:
        left = (field - field_of(values, VOXEL, TILTED))[mask]
        trust = (1.0 / (weights**-2 + 0.01**2))[mask]
        left = left - np.sum(trust * left) / np.sum(trust)
        total = 0.5 * np.sum(trust * left**2)
        total += 0.5 * np.sum((values / np.where(mask, 0.05, 0.2)) ** 2)
        slopes = [(np.roll(values, -1, a) - values) / VOXEL[a] for a in range(3)]
        for inside, strength, flat, a in (
            (mask, 4.0, 1e-3, steepest),
            (~mask, 2.0, 1e-2, math.inf),
        ):
            used = [s * (inside & np.roll(inside, -1, a)) for a, s in enumerate(slopes)]
            length = np.sqrt(np.sum(np.square(used), axis=0) + flat**2)
            if a < math.inf:
                length = a * np.log1p(length / a)
            total += strength * float(np.sum(length[inside]))
        return float(total)

    here = cost(chi.astype(float))
    for _ in range(20):
        step = rng.standard_normal(shape)
        assert cost(chi + 0.003 * step) > here - 1e-3
        assert cost(chi - 0.003 * step) > here - 1e-3


def test_a_slope_at_an_edge_costs_its_share() -> None:
    magnitude = 1.0 + block()
    data = FieldData(np.zeros(SHAPE), body(), VOXEL, TILTED, magnitude)
    grid = Grid.of(data, Padding(SHAPE, SHAPE), 0.01)
    free, shared, plain = (
        face_costs(grid, Prior(4.0, 0.0, 1.0, 1.0, fraction, 0.01, edge_share=share))
        for fraction, share in ((0.1, 0.0), (0.1, 0.25), (0.0, 0.0))
    )
    at_edge = (free == 0) & (plain > 0)
    assert at_edge.any()
    np.testing.assert_allclose(shared[at_edge], 0.25 * plain[at_edge], rtol=1e-6)
    np.testing.assert_array_equal(shared[~at_edge], plain[~at_edge])


def test_narrower_priors_draw_the_map_to_zero() -> None:
    image = 1.0 + block()
    options: dict[str, Any] = {"b0_direction": TILTED, "magnitude": image, "max_sweeps": 3, **FAST}
    field = local_field(block())
    wide = invert_total_field(field, body(), VOXEL, width_inside=0.2, **options)
    assert wide.narrower is None
    found = invert_total_field(field, body(), VOXEL, width_inside=0.2, narrower=True, **options)
    np.testing.assert_array_equal(found.chi, wide.chi)
    assert found.narrower is not None
    assert found.narrower[body()].mean() == pytest.approx(0.0, abs=1e-6)
    assert contrast(found.narrower) < contrast(found.chi) - 1e-3


@pytest.mark.parametrize("steepest", [0.0, -1.0])
def test_a_slope_that_is_none_is_refused(steepest: float) -> None:
    with pytest.raises(ValueError, match=rf"steepest must be positive, got {steepest}"):
        invert_total_field(np.zeros(SHAPE), body(), VOXEL, steepest=steepest)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_beyond_all_or_nothing_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=rf"edge_share must lie in \[0, 1\], got {share}"):
        invert_total_field(np.zeros(SHAPE), body(), VOXEL, edge_share=share)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strength": -1.0}, "strength must not be negative, got -1.0"),
        ({"width": 0.0}, "width_inside 0.0, width_outside 0.0 and model_error 0.01"),
        ({"model_error": 0.0}, r"model_error 0\.0 must be positive"),
        ({"edge_fraction": 1.0}, r"edge_fraction must lie in \[0, 1\), got 1"),
        ({"b0_direction": (0.0, 0.0, 0.0)}, "b0_direction must not be zero"),
        ({"magnitude": np.zeros((2, 3, 4))}, r"magnitude \(2, 3, 4\) and field"),
        ({"weights": np.zeros(SHAPE)}, "not all zero in the mask"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        invert_medi(np.zeros(SHAPE), body(), VOXEL, **change)
