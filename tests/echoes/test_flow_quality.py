"""The residual of phase linearity: what noise leaves, and what flow and fat do."""

import numpy as np
import pytest
from tests.echoes.phantoms import complex_noise, grid

from chistream.arrays import ComplexArray, Size
from chistream.echoes.flow_quality import measure_phase_linearity
from chistream.physics.fat import FatSpectrum

SHAPE: Size = (7, 20, 19)
TE = (0.0012, 0.0025, 0.0037, 0.0049, 0.0061, 0.0074)
FAT = FatSpectrum((-3.8, -3.4, -2.6, 0.6), (0.09, 0.7, 0.15, 0.06)).precession(TE, 127.7e6)


def train(share_of_fat: float = 0.0) -> ComplexArray:
    z, y, x = grid(SHAPE)
    t = np.array(TE)[:, None, None, None]
    peaks = 1 + share_of_fat * (FAT[:, None, None, None] - 1)
    signal = 50 * np.exp(-30 * t) * peaks * np.exp(1j * (x + 2 * np.pi * t * (80 * y - 30 * z)))
    echoes: ComplexArray = (signal + complex_noise((len(TE), *SHAPE), 5)).astype(np.complex64)
    return echoes


@pytest.mark.parametrize("fat", [None, FAT])
def test_noise_alone_has_a_chi_square_of_one(fat: ComplexArray | None) -> None:
    found = measure_phase_linearity(train(), TE, 1.0, fat=fat)
    assert found is not None
    assert found.degrees_of_freedom == (4 if fat is None else 3)
    assert found.chi_square.mean() == pytest.approx(1.0, abs=0.05)
    assert found.suspect.mean() < 3e-3


def test_flow_between_polarities_is_flagged_where_it_is() -> None:
    echoes, flowing = train(), np.zeros(SHAPE, bool)
    flowing[3:5, 5:12, 4:9] = True
    echoes[1::2, flowing] *= np.exp(0.3j)
    found = measure_phase_linearity(echoes, TE, 1.0, fat=FAT)
    assert found is not None
    assert found.suspect[flowing].mean() > 0.95
    assert found.suspect[~flowing].mean() < 3e-3
    # Fat that turns by half a cycle from echo to echo looks like half of it.
    plain = measure_phase_linearity(echoes, TE, 1.0)
    assert plain is not None
    assert np.median(plain.residual[flowing]) == pytest.approx(0.13, abs=0.03)
    assert 0.05 < np.median(found.residual[flowing]) < np.median(plain.residual[flowing])


def test_a_little_fat_is_no_flow() -> None:
    plain = measure_phase_linearity(train(0.15), TE, 1.0)
    aware = measure_phase_linearity(train(0.15), TE, 1.0, fat=FAT)
    assert plain is not None
    assert aware is not None
    assert aware.chi_square.mean() < 0.5 * plain.chi_square.mean()
    assert aware.chi_square.mean() < 1.3


def test_where_there_is_no_signal_nothing_is_said() -> None:
    echoes = train()
    echoes[:, 0] = 0
    found = measure_phase_linearity(echoes, TE, 1.0)
    assert found is not None
    assert not found.residual[0].any()
    assert not found.suspect[0].any()


def test_two_echoes_have_no_residual() -> None:
    assert measure_phase_linearity(train()[:2], TE[:2], 1.0) is None
    assert measure_phase_linearity(train()[:3], TE[:3], 1.0, fat=FAT[:3]) is None


def test_numbers_must_fit() -> None:
    with pytest.raises(ValueError, match="6 echoes, 5 TE"):
        measure_phase_linearity(train(), TE[:5], 1.0)
