"""Where a lattice ends, kernels with sources on one side find what those determine."""

from dataclasses import replace

import numpy as np
import pytest
from tests.echoes.phantoms import complex_noise, grid, hybrid_of, lattice

from chistream.arrays import ComplexArray, Mask
from chistream.echoes.grappa import learn_grappa
from chistream.echoes.grappa_ends import served_lines
from chistream.echoes.grappa_filling import apply_grappa

SHAPE = (16, 30, 12)
TURNS = (-1, 0, 1)


def shifted_lines() -> ComplexArray:
    """Coils each of which is one wave along z or y: their lines are those of the next coil."""
    z, y, _ = (p * (n // 2) / n for p, n in zip(grid(SHAPE), SHAPE, strict=True))
    waves = np.array([np.exp(2j * np.pi * (a * z + b * y)) for a in TURNS for b in TURNS])
    return hybrid_of(complex_noise((3, *SHAPE), 3), waves.astype(np.complex64))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("side", [0, -1])
def test_the_outermost_line_is_found_from_one_side(axis: int, side: int) -> None:
    hybrid = shifted_lines()
    # Both axes are even: odd lines leave out the first, even ones the last.
    places: Mask = np.indices(SHAPE[:2])[axis] % 2 == side + 1
    learnt = learn_grappa(hybrid[:, :, 2:13, 4:25], places, strength=1e-9)
    sampled = np.stack([places] * len(hybrid))
    errors = []
    for weights in (learnt, replace(learnt, ends=())):
        filled = hybrid * places[:, :, None]
        apply_grappa(filled, sampled, np.ones_like(places), weights)
        # Coils whose outermost line is not beyond k-space; away from the other axis' ends.
        turn = -1 if side else 1
        is_inside = [(a, b)[axis] != turn for a in TURNS for b in TURNS]
        found, true = (
            np.moveaxis(one[:, is_inside], 2 + axis, 0)[side][:, :, 4:-4]
            for one in (filled, hybrid)
        )
        errors.append(np.linalg.norm(found - true) / np.linalg.norm(true))
    assert errors[0] < 2e-3
    assert errors[1] > 0.1


@pytest.mark.parametrize(("steps", "shift"), [((1, 2), 0), ((2, 1), 0), ((2, 2), 1), ((1, 3), 0)])
def test_every_missing_line_has_one_kernel(steps: tuple[int, int], shift: int) -> None:
    places = lattice(SHAPE[:2], steps, shift)
    learnt = learn_grappa(complex_noise((2, 3, 9, 15, 4), 1), places)
    served = served_lines(learnt, places)
    number = sum(one.lines.astype(int) for one in served)
    np.testing.assert_array_equal(number, ~places)
    inside: Mask = np.any([one.lines for one in served if not one.is_end], axis=0)
    np.testing.assert_array_equal(inside[4:-4, 5:-5], ~places[4:-4, 5:-5])


def test_lines_of_the_lattice_that_did_not_come_are_an_end_as_well() -> None:
    places = lattice(SHAPE[:2], (1, 2))
    learnt = learn_grappa(complex_noise((2, 3, 9, 15, 4), 1), places)
    sampled = places.copy()
    sampled[:, 20:] = False
    last = int(np.flatnonzero(sampled.any(axis=0))[-1])
    ends = [one for one in served_lines(learnt, sampled) if one.is_end]
    upper = np.any([one.lines[:, last + 1] for one in ends], axis=0)
    assert upper.all()
    assert not any(one.lines[:, last - 1].any() for one in ends)
