"""The offset between readout polarities: found as it was put in, and removed."""

import numpy as np
import pytest
from tests.echoes.phantoms import body, complex_noise, grid

from chistream.arrays import ComplexArray, RealArray, Size, Vector
from chistream.echoes.bipolar import PolarityOffset, correct_polarity

SHAPES = [(6, 20, 17), (5, 13, 24)]
N_ECHOES = 6
TE = tuple(0.0012 * (1 + echo) for echo in range(N_ECHOES))
BIPOLAR = tuple(echo % 2 == 1 for echo in range(N_ECHOES))
HZ_PER_RAD = 11.7 * 1.17 / 1.2
"""Slope of six echoes at 1.2 ms that an offset of 1 rad between odd and even ones makes [Hz]."""


def train(shape: Size, *, fat: float = 0.0) -> ComplexArray:
    """Echoes of water, and of fat in a rim, in a field; decaying."""
    z, y, x = grid(shape)
    t = np.array(TE)[:, None, None, None]
    rim = body(shape) & (y**2 + x**2 > 0.45)
    water = body(shape) * (1 - 0.7 * fat * rim) * np.exp(-30 * t)
    # Two peaks: a train of a single one has no phase but a linear one, too.
    peaks = 0.7 * np.exp(-2j * np.pi * 420 * t) + 0.3 * np.exp(-2j * np.pi * 330 * t)
    signal = water + 2 * fat * rim * peaks
    echoes: ComplexArray = signal * np.exp(1j * (0.3 + x + 2 * np.pi * t * (60 * x - 40 * y * z)))
    return echoes.astype(np.complex64)


def disturbed(echoes: ComplexArray, phase: RealArray) -> ComplexArray:
    """Half of the phase on forward echoes, minus half of it on reversed ones."""
    signs = np.where(BIPOLAR, -0.5, 0.5)[:, None, None, None]
    turned: ComplexArray = (echoes * np.exp(1j * signs * phase)).astype(np.complex64)
    return turned


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("constant", "slope"),
    [(0.4, (0.01, -0.02, 0.03)), (-1.2, (0.0, 0.0, 0.2)), (0.0, (0.1, 0.15, -0.12))],
)
def test_a_linear_offset_is_found_and_removed(shape: Size, constant: float, slope: Vector) -> None:
    true = PolarityOffset(constant, slope)
    echoes = train(shape)
    found, offset = correct_polarity(disturbed(echoes, true.over(echoes)), TE, BIPOLAR)
    assert offset is not None
    assert offset.constant == pytest.approx(constant, abs=1e-3)
    assert offset.slope == pytest.approx(slope, abs=1e-4)
    np.testing.assert_allclose(found, echoes, atol=5e-3)
    assert found.dtype == np.complex64


def test_fat_and_noise_leave_less_than_a_third_of_a_hertz() -> None:
    shape = (8, 40, 36)
    true = PolarityOffset(0.4, (0.006, 0.003, 0.02))
    echoes = train(shape, fat=1.0) + 0.04 * complex_noise((N_ECHOES, *shape), 6)
    _, offset = correct_polarity(disturbed(echoes, true.over(echoes)), TE, BIPOLAR)
    assert offset is not None
    error = (offset.over(echoes) - true.over(echoes))[body(shape)]
    assert np.sqrt(np.mean(error**2)) * HZ_PER_RAD < 0.3


def test_an_offset_is_evaluated_about_the_middle_of_odd_and_even_axes() -> None:
    over = PolarityOffset(1.0, (0.1, 0.2, 0.3)).over(np.zeros((2, 4, 5, 6), np.complex64))
    assert over.shape == (4, 5, 6)
    assert over[2, 2, 3] == pytest.approx(1.0)
    assert over[3, 4, 0] == pytest.approx(1.0 + 0.1 + 0.4 - 0.9)


def test_the_roles_of_the_polarities_may_be_exchanged() -> None:
    echoes = train(SHAPES[0])
    phase = PolarityOffset(0.5, (0.0, 0.0, 0.05)).over(echoes)
    other = tuple(not backwards for backwards in BIPOLAR)
    _, offset = correct_polarity(disturbed(echoes, -phase), TE, other)
    assert offset is not None
    assert offset.constant == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(
    ("TE", "polarities"),
    [
        (TE, (False,) * N_ECHOES),
        (TE[:2], BIPOLAR[:2]),
        (TE[:3], (False, False, True)),
    ],
)
def test_trains_that_tell_no_offset_stay_as_they_are(
    TE: tuple[float, ...], polarities: tuple[bool, ...]
) -> None:
    echoes = train(SHAPES[0])[: len(TE)]
    found, offset = correct_polarity(echoes, TE, polarities)
    assert offset is None
    assert found is echoes


def test_a_volume_of_one_partition_has_no_slope_along_it() -> None:
    shape = (1, 20, 17)
    echoes = train(shape)
    true = PolarityOffset(0.4, (0.0, 0.02, 0.03))
    _, offset = correct_polarity(disturbed(echoes, true.over(echoes)), TE, BIPOLAR)
    assert offset is not None
    assert offset.slope == pytest.approx(true.slope, abs=1e-4)


def test_echoes_at_unequal_distances_tell_it_too() -> None:
    shape = (6, 20, 17)
    times = np.array([0.0012, 0.0024, 0.0039, 0.0051])
    z, y, x = grid(shape)
    turns = times[:, None, None, None] * (60 * x - 40 * y * z)
    echoes = (body(shape) * np.exp(1j * (0.3 + x + 2 * np.pi * turns))).astype(np.complex64)
    true = PolarityOffset(0.4, (0.01, -0.02, 0.03))
    signs = np.array([-0.5, 0.5, -0.5, 0.5])[:, None, None, None]
    backwards = (True, False, True, False)
    disturbed_echoes = (echoes * np.exp(1j * signs * true.over(echoes))).astype(np.complex64)
    found, offset = correct_polarity(disturbed_echoes, tuple(times), backwards)
    assert offset is not None
    assert offset.constant == pytest.approx(0.4, abs=1e-3)
    np.testing.assert_allclose(found, echoes, atol=5e-3)


def field_at(place: RealArray) -> RealArray:
    """A frequency that is periodic over the field of view [Hz]."""
    field: RealArray = 100 * np.cos(2 * np.pi * place) + 60
    return field


def test_the_displacement_of_a_steep_field_is_no_offset() -> None:
    """What lies off resonance is seen at x - f / b; in reversed echoes at x + f / b."""
    shape, bandwidth = (4, 20, 64), 2000.0
    x = np.arange(shape[2]) - shape[2] // 2
    envelope = np.exp(-0.5 * (np.arange(shape[1])[:, None] / 30) ** 2)
    echoes = np.empty((N_ECHOES, *shape), np.complex64)
    for echo, (time, backwards) in enumerate(zip(TE, BIPOLAR, strict=True)):
        point = x.astype(float)
        for _ in range(20):  # the point that is seen at x
            point = x + (-1 if backwards else 1) * field_at(point / shape[2]) / bandwidth
        turns = time * field_at(point / shape[2]) + point / shape[2]
        turned = np.exp(2j * np.pi * turns)
        echoes[echo] = envelope * turned
    _, plain = correct_polarity(echoes, TE, BIPOLAR)
    _, undone = correct_polarity(echoes, TE, BIPOLAR, bandwidth=bandwidth)
    assert plain is not None
    assert undone is not None
    assert abs(plain.constant) > 2e-3
    assert abs(undone.constant) < 0.2 * abs(plain.constant)


def test_numbers_of_echoes_must_fit() -> None:
    with pytest.raises(ValueError, match="6 echoes, 6 TE and 5 polarities"):
        correct_polarity(train(SHAPES[0]), TE, BIPOLAR[:5])
