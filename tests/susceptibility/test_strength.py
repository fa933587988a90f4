"""The choice of the regularisation."""

from functools import partial

import numpy as np
import pytest
from tests.kinds import OTHER_KINDS, as_kind, assert_kind

from chistream.arrays import Mask, RealArray, Vector
from chistream.errors import ReconstructionError
from chistream.physics.dipole import field_of
from chistream.susceptibility.direct import invert_tikhonov
from chistream.susceptibility.inversion import Inversion
from chistream.susceptibility.strength import choose_by_discrepancy, choose_by_l_curve

VOXEL: Vector = (2.0, 1.0, 1.5)
SHAPE = (18, 20, 22)
MASK: Mask = np.ones(SHAPE, dtype=bool)
STRENGTHS = [float(s) for s in np.geomspace(1e-5, 1.0, 11)]


def truth() -> RealArray:
    chi = np.zeros(SHAPE)
    chi[6:12, 7:13, 8:15] = 0.2
    centred: RealArray = chi - chi.mean()
    return centred


def noisy_field(sd: float) -> RealArray:
    return field_of(truth(), VOXEL) + sd * np.random.default_rng(1).standard_normal(SHAPE)


def inverted(field: RealArray, strength: float, mask: Mask = MASK) -> Inversion:
    return invert_tikhonov(
        field, mask, VOXEL, strength=strength, regulariser="gradient", margin=(0.0, 0.0, 0.0)
    )


def test_more_noise_moves_the_corner_to_more_regularisation() -> None:
    fields = [noisy_field(sd) for sd in (0.001, 0.002)]
    chosen = [choose_by_l_curve(partial(inverted, field), STRENGTHS, VOXEL) for field in fields]
    strengths = [choice.inversion.strength for choice in chosen]
    assert STRENGTHS[0] < strengths[0] < strengths[1] < STRENGTHS[-1]
    assert np.all(np.diff(chosen[0].residuals) > 0)
    assert np.all(np.diff(chosen[0].roughnesses) < 0)


def test_the_corner_is_near_the_best_map() -> None:
    field = noisy_field(0.002)
    errors = [np.linalg.norm(inverted(field, s).chi - truth()) for s in STRENGTHS]
    choice = choose_by_l_curve(lambda s: inverted(field, s), STRENGTHS, VOXEL)
    # The corner is known to regularise too little; the ends of the range miss by 4 to 5 times.
    assert np.linalg.norm(choice.inversion.chi - truth()) < 1.8 * min(errors)
    assert min(errors[0], errors[-1]) > 3.5 * min(errors)


def test_discrepancy_leaves_the_noise_unexplained() -> None:
    field = noisy_field(0.01)
    noise = 0.01 * np.sqrt(field.size) / np.linalg.norm(field)
    choice = choose_by_discrepancy(
        lambda s: inverted(field, s), STRENGTHS, VOXEL, noise_residual=noise
    )
    assert choice.inversion.residual == pytest.approx(noise, rel=0.05)
    assert choice.inversion.strength not in STRENGTHS


def test_a_curve_without_a_corner_is_refused() -> None:
    field = noisy_field(0.02)
    with pytest.raises(ReconstructionError, match="has no corner"):
        choose_by_l_curve(partial(inverted, field), STRENGTHS, VOXEL)


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_the_choice_is_the_same_in_every_library(kind: str) -> None:
    field = noisy_field(0.002)
    there = as_kind(kind, field), as_kind(kind, MASK)
    found = choose_by_l_curve(lambda s: inverted(there[0], s, there[1]), STRENGTHS[::2], VOXEL)
    here = choose_by_l_curve(lambda s: inverted(field, s), STRENGTHS[::2], VOXEL)
    assert_kind(kind, found.inversion.chi)
    assert found.inversion.strength == pytest.approx(here.inversion.strength)


def test_what_cannot_be_chosen_is_refused() -> None:
    field = noisy_field(0.01)
    with pytest.raises(ValueError, match="needs 5 different strengths"):
        choose_by_l_curve(lambda s: inverted(field, s), [1.0, 1.0, 2.0, 3.0, 4.0], VOXEL)
    with pytest.raises(ValueError, match="needs 2 different strengths > 0"):
        choose_by_discrepancy(lambda s: inverted(field, s), [0.0, 1.0], VOXEL, noise_residual=0.1)
    with pytest.raises(ValueError, match="noise_residual must be positive, got 0"):
        choose_by_discrepancy(lambda s: inverted(field, s), [0.1, 1.0], VOXEL, noise_residual=0.0)
