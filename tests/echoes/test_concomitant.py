"""Concomitant phase against closed forms and the simulator's field; said where it is unknown."""

import numpy as np
import pytest

from chistream.echoes.concomitant import NOT_DESCRIBED, concomitant_phases, correct_concomitant
from chistream.physics.constants import GAMMA_BAR
from chistream.physics.geometry import Geometry
from chistream.physics.waveforms import PARAMETERS, Waveform
from chistream_simulator.case import Case
from chistream_simulator.echo_phases import EchoPhases
from chistream_simulator.phantoms.scene import block_points

TE = (2e-3, 5e-3)
CONSTANT = Waveform((0.0, 6e-3), (8.16e-3, 8.16e-3))
AXIAL = Geometry((5, 4, 7), (50.0, 2.0, 2.0))
OBLIQUE = Geometry(
    (6, 9, 10),
    (5.0, 2.0, 3.0),
    (10.0, -20.0, 60.0),
    (0.6, 0.0, 0.8),
    (0.0, 1.0, 0.0),
    (-0.8, 0.0, 0.6),
)


def test_a_transverse_readout_has_the_field_of_the_textbook() -> None:
    phases = concomitant_phases({"read": CONSTANT}, TE, AXIAL, 1.5)
    hertz = phases / (2 * np.pi * np.array(TE)[:, None, None, None])
    assert hertz[:, 4, 2, 3] == pytest.approx(9.45, abs=0.05)  # 100 mm from the isocentre
    assert hertz[:, 3, 2, 3] == pytest.approx(9.45 / 4, abs=0.02)
    assert not phases[:, 2].any()


def test_gradients_of_different_axes_have_cross_terms() -> None:
    read, through = 6e-3, -4e-3
    waveforms = {
        "read": Waveform((0.0, 6e-3), (read, read)),
        "slice": Waveform((0.0, 6e-3), (through, through)),
    }
    phases = concomitant_phases(waveforms, TE, OBLIQUE, 3.0)
    gradient = read * np.array(OBLIQUE.read_dir) + through * np.array(OBLIQUE.slice_dir)
    gx, gy, gz = gradient
    x, y, z = 1e-3 * OBLIQUE.voxel_positions()
    field = ((gx * z - gz * x / 2) ** 2 + (gy * z - gz * y / 2) ** 2) / 6.0
    for time, phase in zip(TE, phases, strict=True):
        np.testing.assert_allclose(phase, 2 * np.pi * GAMMA_BAR * field * time, rtol=1e-4)


@pytest.mark.parametrize("readout", ["flyback", "bipolar"])
def test_the_phase_is_that_of_the_simulated_train(readout: str) -> None:
    case = Case(TE=(3e-3, 5.6e-3, 8.2e-3), readout=readout, concomitant=True)
    simulated = EchoPhases(case, OBLIQUE)
    times, strengths = (tuple(part.tolist()) for part in simulated.train.waveform)
    waveform = Waveform.from_text(Waveform(times, strengths).to_text())
    phases = concomitant_phases({"read": waveform}, case.TE, OBLIQUE, case.B0)
    for echo, phase in enumerate(phases):
        expected = simulated.phase(echo, block_points(OBLIQUE))
        np.testing.assert_allclose(phase, expected, rtol=1e-4, atol=1e-5)


def test_what_the_header_describes_is_removed() -> None:
    phases = concomitant_phases({"read": CONSTANT}, TE, OBLIQUE, 1.5)
    echoes = (2 * np.exp(1j * (0.3 + phases))).astype(np.complex64)
    parameters = {PARAMETERS["read"]: CONSTANT.to_text()}
    corrected, warnings = correct_concomitant(echoes, TE, parameters, OBLIQUE, 1.5)
    assert warnings == ()
    assert corrected.dtype == np.complex64
    np.testing.assert_allclose(corrected, 2 * np.exp(0.3j), atol=1e-5)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [({}, NOT_DESCRIBED), ({PARAMETERS["read"]: "fast"}, "'fast' is no waveform")],
)
def test_what_it_does_not_describe_is_said(parameters: dict[str, str], said: str) -> None:
    echoes = np.ones((2, *OBLIQUE.shape), np.complex64)
    corrected, (warning,) = correct_concomitant(echoes, TE, parameters, OBLIQUE, 1.5)
    assert corrected is echoes
    assert said in warning


def test_numbers_must_fit() -> None:
    echoes = np.ones((2, *OBLIQUE.shape), np.complex64)
    with pytest.raises(ValueError, match="do not fit"):
        correct_concomitant(echoes, TE[:1], {}, OBLIQUE, 1.5)
