"""Phases of single echoes: found as they were put in, what the field explains left alone."""

import numpy as np
import pytest
from tests.echoes.phantoms import body, complex_noise, grid

from chistream.arrays import ComplexArray, RealArray, Size
from chistream.echoes.bipolar import PolarityOffset
from chistream.echoes.eddy_currents import correct_eddy_currents

SHAPE: Size = (6, 20, 17)
TE = (0.0015, 0.004, 0.0062, 0.0085, 0.0115)


def train() -> ComplexArray:
    z, y, x = grid(SHAPE)
    turns = np.multiply.outer(TE, 30 * x - 20 * y * z)
    echoes: ComplexArray = body(SHAPE) * np.exp(1j * (0.3 + x + 2 * np.pi * turns))
    return (echoes + 0.01 * complex_noise((len(TE), *SHAPE), 3)).astype(np.complex64)


def orthogonal(phases: RealArray) -> RealArray:
    known = np.linalg.qr(np.column_stack([np.ones(len(TE)), TE]))[0]
    rest: RealArray = phases - known @ (known.T @ phases)
    return rest


def test_linear_phases_of_single_echoes_are_removed() -> None:
    rng = np.random.default_rng(4)
    true = orthogonal(rng.uniform(-1, 1, (len(TE), 4)) * (0.2, 0.01, 0.01, 0.01))
    echoes = train()
    disturbed = echoes.copy()
    for echo, (constant, z, y, x) in enumerate(true.tolist()):
        disturbed[echo] *= np.exp(1j * PolarityOffset(constant, (z, y, x)).over(echoes))
    corrected, phases = correct_eddy_currents(disturbed, TE)
    np.testing.assert_allclose(phases, true, atol=3e-3)
    np.testing.assert_allclose(corrected[:, body(SHAPE)], echoes[:, body(SHAPE)], atol=0.03)
    np.testing.assert_allclose(orthogonal(phases), phases, atol=1e-12)


def test_a_pattern_of_polarities_is_left_to_its_own_correction() -> None:
    polarities = (False, True, False, True, False)
    signs = np.where(polarities, -1, 1)
    _, phases = correct_eddy_currents(train(), TE, polarities)
    np.testing.assert_allclose(signs @ phases, 0, atol=1e-9)


@pytest.mark.parametrize("n", [1, 2])
def test_two_echoes_tell_nothing(n: int) -> None:
    echoes = train()[:n]
    corrected, phases = correct_eddy_currents(echoes, TE[:n])
    assert corrected is echoes
    assert not phases.any()
