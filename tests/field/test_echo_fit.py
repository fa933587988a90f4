"""The fit against the model it inverts and against the bound that no fit can beat."""

from collections.abc import Callable

import numpy as np
import pytest

from chistream.arrays import ComplexArray, RealArray
from chistream.errors import ReconstructionError
from chistream.field.echo_fit import fit_echoes

MakeEchoes = Callable[..., ComplexArray]

EVEN = np.array([1.7, 4.0, 6.3, 8.6, 10.9]) * 1e-3
UNEVEN = np.array([1.2, 2.5, 4.4, 7.0]) * 1e-3
TWO = np.array([2.0, 5.0]) * 1e-3
SHAPE = (4, 5, 9)


def maps() -> tuple[RealArray, RealArray, RealArray, RealArray]:
    """Return frequency, R2*, phase offset and amplitude that differ in every voxel."""
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    return 150 * x + 40 * y, 60 + 50 * z, 1.5 + x * y, 300 + 100 * y * z


def bound(TE: RealArray, r2star: float, amplitude: float = 1.0, noise_sd: float = 1.0) -> float:
    """Return the Cramer-Rao bound of the frequency [Hz], from the full Fisher matrix."""
    signal = amplitude * np.exp(-r2star * TE)
    jacobian = np.stack([signal, -TE * signal, 1j * signal, 2j * np.pi * TE * signal])
    fisher = (jacobian.conj() @ jacobian.T).real / noise_sd**2
    return float(np.sqrt(np.linalg.inv(fisher)[3, 3]))


@pytest.mark.parametrize("TE", [EVEN, UNEVEN, TWO], ids=["even", "uneven", "two"])
def test_the_model_is_inverted_exactly(make_echoes: MakeEchoes, TE: RealArray) -> None:
    frequency, r2star, phase_offset, amplitude = maps()
    echoes = make_echoes(
        frequency, TE, magnitude=amplitude, r2star=r2star, phase_offset=phase_offset
    )
    fit = fit_echoes(echoes, TE, np.ones(SHAPE, dtype=bool), noise_sd=1.0)
    # complex64 holds a phase to 1e-7 rad, over milliseconds.
    np.testing.assert_allclose(fit.frequency, frequency, atol=1e-3)
    np.testing.assert_allclose(fit.r2star, r2star, atol=1e-2)
    np.testing.assert_allclose(fit.phase_offset, phase_offset, atol=1e-5)
    np.testing.assert_allclose(fit.amplitude, amplitude, rtol=1e-5)
    np.testing.assert_allclose(fit.residual, 0, atol=1e-3)
    np.testing.assert_allclose(fit.relative_residual, 0, atol=1e-5)
    for volume in (fit.frequency, fit.frequency_sd, fit.r2star, fit.amplitude, fit.residual):
        assert volume.dtype == np.float32


@pytest.mark.parametrize("TE", [EVEN, UNEVEN, TWO], ids=["even", "uneven", "two"])
@pytest.mark.parametrize("snr", [10.0, 20.0, 50.0])
def test_the_scatter_is_the_cramer_rao_bound_and_there_is_no_bias(
    make_echoes: MakeEchoes, TE: RealArray, snr: float
) -> None:
    r2star, true = 40.0, 35.0
    field = np.full((10, 20, 50), true)
    mask = np.ones(field.shape, dtype=bool)
    # The signal-to-noise ratio of the last echo: every echo has at least this one.
    sd = np.exp(-r2star * TE[-1]) / snr
    echoes = make_echoes(field, TE, r2star=r2star, phase_offset=0.4, noise_sd=sd, seed=7)
    fit = fit_echoes(echoes, TE, mask, noise_sd=sd)
    expected = bound(TE, r2star, noise_sd=sd)
    scatter = fit.frequency.std()
    # 10,000 voxels: the scatter of a standard deviation is 0.7 %, of a mean 0.01 of it.
    assert scatter == pytest.approx(expected, rel=0.05)
    assert abs(fit.frequency.astype(float).mean() - true) < 0.1 * scatter
    assert np.median(fit.frequency_sd) == pytest.approx(expected, rel=0.02)
    if len(TE) > 2:
        assert np.sqrt(np.mean(fit.residual.astype(float) ** 2)) == pytest.approx(1, rel=0.03)


@pytest.mark.parametrize("TE", [EVEN, TWO], ids=["residuals", "detail"])
def test_the_noise_is_estimated_where_it_is_not_given(
    make_echoes: MakeEchoes, TE: RealArray
) -> None:
    field = np.full((12, 20, 21), 20.0)
    echoes = make_echoes(field, TE, magnitude=80.0, noise_sd=2.0, seed=3)
    echoes[:, :2] = 0
    mask = np.ones(field.shape, dtype=bool)
    mask[:2] = False
    fit = fit_echoes(echoes, TE, mask)
    assert fit.noise_sd == pytest.approx(2.0, rel=0.03)
    expected = bound(TE, 25.0, 80.0, 2.0)
    assert np.median(fit.frequency_sd[mask]) == pytest.approx(expected, rel=0.05)


def test_decay_is_never_reported_negative(make_echoes: MakeEchoes) -> None:
    field = np.full(SHAPE, 20.0)
    echoes = make_echoes(field, EVEN, magnitude=50.0, r2star=-30.0)
    fit = fit_echoes(echoes, EVEN, np.ones(SHAPE, dtype=bool))
    np.testing.assert_array_equal(fit.r2star, 0.0)
    np.testing.assert_allclose(fit.frequency, 20.0, atol=1e-3)
    assert fit.amplitude.min() > 50.0


def test_what_the_model_cannot_explain_is_in_the_residual(make_echoes: MakeEchoes) -> None:
    TE, field = EVEN, np.zeros(SHAPE)
    water = make_echoes(field, TE, magnitude=60.0, noise_sd=1.0, seed=4)
    fat = make_echoes(np.full(SHAPE, -217.0), TE, magnitude=40.0)
    mixed = water.copy()
    mixed[..., 5:] += fat[..., 5:]
    fit = fit_echoes(mixed, TE, np.ones(SHAPE, dtype=bool), noise_sd=1.0)
    assert np.median(fit.residual[..., :5]) < 1.5
    assert fit.residual[..., 5:].min() > 5
    assert fit.relative_residual[..., 5:].min() > 0.1
    assert fit.relative_residual[..., :5].max() < 0.1


def test_outside_the_mask_and_without_signal_there_is_nothing(make_echoes: MakeEchoes) -> None:
    mask = np.ones(SHAPE, dtype=bool)
    mask[0] = False
    echoes = make_echoes(np.full(SHAPE, 50.0), EVEN, phase_offset=1.0)
    echoes[:, 1, 2, 3] = 0
    fit = fit_echoes(echoes, EVEN, mask, noise_sd=0.1)
    for volume in (fit.frequency, fit.frequency_sd, fit.r2star, fit.phase_offset, fit.amplitude):
        np.testing.assert_array_equal(volume[0], 0.0)
        assert volume[1, 2, 3] == 0
        assert volume[2, 2, 3] != 0


@pytest.mark.parametrize("scale", [1e-12, 1e9])
def test_the_unit_of_the_signal_does_not_matter(make_echoes: MakeEchoes, scale: float) -> None:
    echoes = make_echoes(np.full(SHAPE, 50.0), EVEN, noise_sd=0.05)
    mask = np.ones(SHAPE, dtype=bool)
    one, other = fit_echoes(echoes, EVEN, mask), fit_echoes(scale * echoes, EVEN, mask)
    np.testing.assert_allclose(other.frequency, one.frequency, atol=1e-2)
    np.testing.assert_allclose(other.frequency_sd, one.frequency_sd, rtol=1e-3)
    np.testing.assert_allclose(other.amplitude, scale * one.amplitude, rtol=1e-3)


def test_pure_noise_gives_finite_maps() -> None:
    parts = np.random.default_rng(1).standard_normal((2, 5, 6, 10, 11))
    fit = fit_echoes(parts[0] + 1j * parts[1], EVEN, np.ones((6, 10, 11), dtype=bool))
    for volume in (fit.frequency, fit.frequency_sd, fit.r2star, fit.amplitude, fit.residual):
        assert np.isfinite(volume).all()


def test_the_fit_keeps_to_the_multiple_of_its_start(make_echoes: MakeEchoes) -> None:
    period = 1 / 2.3e-3
    echoes = make_echoes(np.full(SHAPE, 20.0), EVEN)
    start = np.full(SHAPE, 23.0 + period)
    fit = fit_echoes(echoes, EVEN, np.ones(SHAPE, dtype=bool), start=start)
    np.testing.assert_allclose(fit.frequency, 20.0 + period, atol=1e-3)


def test_one_echo_is_refused() -> None:
    with pytest.raises(ReconstructionError, match="at least 2 echoes, got 1"):
        fit_echoes(np.ones((1, *SHAPE), complex), [1e-3], np.ones(SHAPE, bool))


def test_negative_noise_is_refused() -> None:
    with pytest.raises(ValueError, match="noise_sd must not be negative, got -1"):
        fit_echoes(np.ones((2, *SHAPE), complex), TWO, np.ones(SHAPE, bool), noise_sd=-1.0)


def test_a_start_of_another_shape_is_refused() -> None:
    mask = np.ones(SHAPE, dtype=bool)
    with pytest.raises(ValueError, match=r"start \(4, 5, 8\) and echoes \(2, 4, 5, 9\)"):
        fit_echoes(np.ones((2, *SHAPE), complex), TWO, mask, start=np.zeros((4, 5, 8)))


@pytest.mark.usefixtures("plain_kernels")
def test_the_kernels_say_in_python_what_they_say_compiled(make_echoes: MakeEchoes) -> None:
    field = np.broadcast_to(np.linspace(-100, 100, 9), (1, 2, 9)).copy()
    echoes = make_echoes(field, EVEN, noise_sd=0.3, seed=1)
    echoes[:, 0, 0, 0] = 0
    echoes[1:, 0, 0, 1] = 0
    fit = fit_echoes(echoes, EVEN, np.ones(field.shape, dtype=bool), noise_sd=0.3)
    assert np.isfinite(fit.frequency).all()
    assert fit.frequency[0, 0, 0] == 0


def test_noise_is_fitted_downhill_and_as_in_python(request: pytest.FixtureRequest) -> None:
    # Noise has no model: in some of these voxels a full Gauss-Newton step goes uphill.
    parts = np.random.default_rng(1).standard_normal((2, 4, 4, 10, 10))
    echoes, mask = parts[0] + 1j * parts[1], np.ones((4, 10, 10), dtype=bool)
    start = np.zeros(mask.shape)
    compiled = fit_echoes(echoes, UNEVEN, mask, start=start, noise_sd=1.0)
    assert (compiled.relative_residual < 1).all()
    request.getfixturevalue("plain_kernels")
    plain = fit_echoes(echoes, UNEVEN, mask, start=start, noise_sd=1.0)
    np.testing.assert_allclose(plain.residual, compiled.residual, rtol=1e-4)
