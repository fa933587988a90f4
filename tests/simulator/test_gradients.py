"""The readout gradient: it refocuses at each echo, and its moments are those of its lobes."""

import numpy as np
import pytest

from chistream.physics.waveforms import Waveform, product_integrals
from chistream_simulator.case import Case, load_preset, preset_names
from chistream_simulator.gradients import (
    EXCITATION,
    EchoTrain,
    echo_train,
    gradient_parameters,
)

GAMMA = 2 * np.pi * 42.57638e6
RECTANGLES = float("inf")


def train_of(
    *,
    TE: tuple[float, ...] = (2e-3, 4.3e-3, 6.6e-3, 9.1e-3),
    n_samples: int = 192,
    centre_sample: int = 96,
    bipolar: bool = False,
    max_slew: float = 150.0,
) -> EchoTrain:
    """192 samples of 8 us over 360 mm: +-62.5 kHz, as at 1.5 T."""
    return EchoTrain(
        TE, 15e-3, 8e-6, n_samples, centre_sample, 360.0, bipolar=bipolar, max_slew=max_slew
    )


def summed(train: EchoTrain, upto: float, power: int, time_power: int) -> float:
    """Integrate the waveform in fine steps."""
    times = np.linspace(0, upto, 400_001)
    strength = np.interp(times, *train.waveform)
    middle = (times[1:] + times[:-1]) / 2
    at_middle = ((strength[1:] + strength[:-1]) / 2) ** power * middle**time_power
    return float(np.sum(at_middle) * (times[1] - times[0]))


@pytest.mark.parametrize("bipolar", [False, True])
@pytest.mark.parametrize("max_slew", [150.0, RECTANGLES])
@pytest.mark.parametrize(("n_samples", "centre_sample"), [(192, 96), (191, 95), (145, 48)])
def test_every_echo_is_refocused_at_its_time(
    *, bipolar: bool, max_slew: float, n_samples: int, centre_sample: int
) -> None:
    train = train_of(
        n_samples=n_samples, centre_sample=centre_sample, bipolar=bipolar, max_slew=max_slew
    )
    np.testing.assert_allclose(train.zeroth_moment / (train.amplitude * 8e-6), 0.0, atol=1e-9)


@pytest.mark.parametrize("bipolar", [False, True])
def test_the_integrals_are_those_of_the_waveform(*, bipolar: bool) -> None:
    train = train_of(n_samples=145, centre_sample=48, bipolar=bipolar)
    for echo, time in enumerate(train.TE):
        first, squared = summed(train, time, 1, 1), summed(train, time, 2, 0)
        assert train.first_moment[echo] == pytest.approx(first, rel=1e-3)
        assert train.squared_integral[echo] == pytest.approx(squared, rel=1e-3)


@pytest.mark.parametrize("bipolar", [False, True])
def test_the_gradient_keeps_its_limits_and_stands_still_for_the_samples(*, bipolar: bool) -> None:
    train = train_of(n_samples=145, centre_sample=48, bipolar=bipolar)
    times, strengths = train.waveform
    assert times[0] == EXCITATION
    steps = np.diff(times)
    assert steps.min() > -1e-12
    ramps = np.abs(np.diff(strengths)[steps > 0] / steps[steps > 0])
    assert ramps.max() <= 150.0 * (1 + 1e-6)
    assert np.abs(strengths).max() <= 40e-3
    for echo, time in enumerate(train.TE):
        sign = -1 if bipolar and echo % 2 else 1
        assert train.reversed[echo] == (sign < 0)
        samples = time + train.sample_times(echo)
        assert samples[train.centre_of(echo)] == time
        np.testing.assert_allclose(np.interp(samples, times, strengths), sign * train.amplitude)
    assert train.centre_of(1) == (96 if bipolar else 48)


def test_the_readout_gradient_spans_the_field_of_view_with_the_sampled_bandwidth() -> None:
    # +-62.5 kHz over 360 mm.
    assert train_of().amplitude == pytest.approx(125e3 / 42.57638e6 / 0.36, rel=1e-5)


def test_centred_fly_back_leaves_the_same_velocity_phase_in_every_echo() -> None:
    phase = train_of(max_slew=RECTANGLES).velocity_phase
    # Half a sample off the middle of an even readout: gamma G dTE dwell / 2.
    half_sample = GAMMA * train_of().amplitude * np.diff(train_of().TE) * 8e-6 / 2
    np.testing.assert_allclose(np.diff(phase), half_sample, rtol=1e-3)
    assert np.abs(half_sample).max() < 0.03
    odd = train_of(n_samples=191, centre_sample=95).velocity_phase
    np.testing.assert_allclose(np.diff(odd), 0.0, atol=1e-9)
    assert abs(odd[0]) > 0.5


def test_asymmetric_fly_back_echoes_gather_velocity_phase() -> None:
    """Lobes a after and b before k = 0, balanced in the middle: gamma G dTE (b - a) / 2."""
    train = train_of(n_samples=145, centre_sample=48, max_slew=RECTANGLES)
    expected = GAMMA * train.amplitude * np.diff(train.TE) * (48.5 - 96.5) * 8e-6 / 2
    np.testing.assert_allclose(np.diff(train.velocity_phase), expected, rtol=1e-6)
    # 0.96 rad for a metre per second and 2.3 ms: a quarter of half a readout lobe's moment.
    assert expected[0] == pytest.approx(-0.96, abs=0.01)


@pytest.mark.parametrize(
    ("dwell_time", "n", "spacing", "moment"),
    [(8e-6, 191, 2.3e-3, 3.85), (10e-6, 257, 3.5e-3, 7.85)],
)
def test_bipolar_echoes_of_equal_parity_agree_and_others_differ_by_half_a_lobes_moment(
    dwell_time: float, n: int, spacing: float, moment: float
) -> None:
    times = tuple(2e-3 + spacing * np.arange(4))
    train = EchoTrain(times, 20e-3, dwell_time, n, n // 2, 360.0, bipolar=True, max_slew=RECTANGLES)
    phase = train.velocity_phase
    np.testing.assert_allclose(phase[2:], phase[:2], rtol=1e-9)
    # Two half lobes of opposite sign, their middles half a readout closer than the echoes.
    apart = spacing - n * dwell_time / 2
    half_lobe = GAMMA * train.amplitude * n * dwell_time / 2
    assert phase[1] - phase[0] == pytest.approx(-half_lobe * apart, rel=0.01)
    assert half_lobe * spacing == pytest.approx(moment, abs=0.05)


def test_compensated_flow_leaves_no_phase() -> None:
    case = Case(flow_compensated=True, asymmetric_echo=0.75)
    assert not echo_train(case).velocity_phase.any()
    assert echo_train(Case(asymmetric_echo=0.75)).velocity_phase.all()


def test_a_rectangular_train_has_the_squared_integral_of_its_rectangles() -> None:
    train = train_of(max_slew=RECTANGLES)
    strength, length = train.amplitude, 192 * 8e-6
    before = 96.5 * 8e-6
    prephaser = (strength * before) ** 2 / (2e-3 - before - EXCITATION)
    gap = 2.3e-3 - length
    expected = [prephaser + strength**2 * before]
    expected.append(expected[0] + strength**2 * length + (strength * length) ** 2 / gap)
    np.testing.assert_allclose(train.squared_integral[:2], expected, rtol=1e-9)


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_has_a_train_that_fits(name: str) -> None:
    case = load_preset(name)
    train = echo_train(case)
    assert len(train.first_moment) == len(case.TE)
    assert train.waveform[0][-1] <= case.TR
    n = case.matrix[2] * case.readout_oversampling
    assert train.n_samples == pytest.approx(case.asymmetric_echo * n, abs=1)


def test_an_asymmetric_echo_drops_its_first_samples() -> None:
    train = echo_train(Case(asymmetric_echo=0.75))
    assert (train.n_samples, train.centre_sample) == (144, 48)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"TE": (1e-3, 4e-3)}, r"first echo time 1\.000 ms .* 96 samples .* shortest is 1\.\d+ ms"),
        ({"TE": (2e-3, 4e-3)}, r"2\.000 and 4\.000 ms are too close .* fly-back.* is 2\.\d+ ms"),
        (
            {"TE": (2e-3, 3.5e-3), "bipolar": True},
            r"too close for readouts of 192 samples .* is 1\.\d+ ms",
        ),
        ({"TE": (2e-3, 14.5e-3)}, r"ends 15\.\d+ ms after the excitation, later than TR 15\.000"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_values(
    changes: dict[str, object], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        train_of(**changes)  # type: ignore[arg-type]


def test_the_shortest_spacing_that_is_named_is_accepted() -> None:
    with pytest.raises(ValueError, match="echo spacing is") as refusal:
        train_of(TE=(2e-3, 3e-3))
    shortest = 1e-3 * float(str(refusal.value).split()[-2])
    train_of(TE=(2e-3, 2e-3 + shortest + 1e-6))
    # A fly-back so small that it never reaches the largest gradient.
    with pytest.raises(ValueError, match="echo spacing is") as refusal:
        train_of(TE=(2e-3, 2.1e-3), n_samples=24, centre_sample=12)
    shortest = 1e-3 * float(str(refusal.value).split()[-2])
    train_of(TE=(2e-3, 2e-3 + shortest + 1e-6), n_samples=24, centre_sample=12)


def test_a_gradient_that_the_scanner_does_not_have_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"need a readout gradient of 0\.1\d+ T/m, more than max_g"
    ):
        EchoTrain((2e-3,), 15e-3, 1e-6, 64, 32, 180.0)


@pytest.mark.parametrize("max_slew", [150.0, 1e9])
def test_a_header_describes_the_gradient_that_has_concomitant_fields(max_slew: float) -> None:
    case = Case(concomitant=True, max_slew=max_slew)
    ((name, text),) = gradient_parameters(case).items()
    assert name == "GradientWaveformRead"
    waveform = Waveform.from_text(str(text))
    found = product_integrals({"read": waveform}, ("read",), case.TE)[:, 0, 0]
    np.testing.assert_allclose(found, echo_train(case).squared_integral, rtol=1e-4)


@pytest.mark.parametrize(
    "case", [Case(concomitant=False), Case(concomitant=True, gradients_in_header=False)]
)
def test_a_header_may_keep_it_back(case: Case) -> None:
    assert gradient_parameters(case) == {}
