"""Waveforms from their text, and integrals of products against sums over fine steps."""

import numpy as np
import pytest

from chistream.arrays import RealArray
from chistream.physics.waveforms import PARAMETERS, Waveform, product_integrals, read_waveforms

LOBES = Waveform(
    (0.2e-3, 0.3e-3, 1.1e-3, 1.2e-3, 1.5e-3, 1.8e-3), (0.0, 8e-3, 8e-3, 0.0, -9e-3, 0.0)
)
STEP = Waveform((0.5e-3, 0.5e-3, 1.4e-3, 1.4e-3), (0.0, 5e-3, 5e-3, 0.0))
TIMES = (0.1e-3, 0.25e-3, 0.7e-3, 1.45e-3, 5e-3)


def test_a_waveform_survives_its_text() -> None:
    again = Waveform.from_text(LOBES.to_text() + ";")
    np.testing.assert_allclose(again.times, LOBES.times, atol=1e-10)
    np.testing.assert_allclose(again.strengths, LOBES.strengths, atol=1e-9)


@pytest.mark.parametrize("text", ["", "1 2 3", "1 one", "0 nan", "2 1; 1 1"])
def test_what_is_no_waveform_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"waveform|times"):
        Waveform.from_text(text)


def test_the_header_names_the_directions() -> None:
    found = read_waveforms({PARAMETERS["phase"]: STEP.to_text(), "other": 1.0})
    assert set(found) == {"phase"}
    assert found["phase"].strengths == STEP.strengths


def sampled(waveform: Waveform, t: RealArray) -> RealArray:
    """A gradient at the middles of fine steps; STEP jumps, which interp knows in this order."""
    return np.asarray(np.interp(t, waveform.times, waveform.strengths, left=0.0, right=0.0))


def test_integrals_of_products_are_those_of_a_fine_sum() -> None:
    found = product_integrals({"read": LOBES, "slice": STEP}, ("slice", "phase", "read"), TIMES)
    for row, end in zip(found, TIMES, strict=True):
        edges = np.linspace(0, end, 200_001)
        t = (edges[1:] + edges[:-1]) / 2
        gradients = np.array([sampled(STEP, t), 0 * t, sampled(LOBES, t)])
        np.testing.assert_allclose(row, gradients @ gradients.T * edges[1], rtol=1e-4, atol=1e-13)


def test_a_single_corner_is_no_gradient() -> None:
    assert not product_integrals({"read": Waveform((1e-3,), (1.0,))}, ("read",), (2e-3,)).any()
