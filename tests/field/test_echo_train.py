"""What is an echo train, and what is none."""

import numpy as np
import pytest

from chistream.errors import ReconstructionError
from chistream.field.echo_train import check_mask, check_train, lags

ECHOES = np.ones((3, 2, 3, 4), dtype=np.complex128)


def test_an_echo_train_comes_out_in_single_precision_and_finite() -> None:
    echoes = ECHOES.copy()
    echoes[1, 0, 0, 0] = np.nan
    echoes[2, 0, 0, 1] = complex(0, np.inf)
    checked, TE = check_train(echoes, [1e-3, 2e-3, 4e-3])
    assert checked.dtype == np.complex64
    assert checked[1, 0, 0, 0] == checked[2, 0, 0, 1] == 0
    assert np.isnan(echoes[1, 0, 0, 0])
    np.testing.assert_array_equal(TE, [1e-3, 2e-3, 4e-3])


def test_one_echo_makes_no_field_map() -> None:
    with pytest.raises(ReconstructionError, match=r"field: .*at least 2 echoes, got 1"):
        check_train(ECHOES[:1], [1e-3])


@pytest.mark.parametrize("TE", [[1e-3, 1e-3, 2e-3], [3e-3, 2e-3, 4e-3], [1e-3, np.nan, 2e-3]])
def test_echo_times_must_increase(TE: list[float]) -> None:
    with pytest.raises(ReconstructionError, match="echo times must increase, got"):
        check_train(ECHOES, TE)


def test_every_echo_needs_its_time() -> None:
    with pytest.raises(ValueError, match=r"echoes \(3, 2, 3, 4\).* got \(2,\)"):
        check_train(ECHOES, [1e-3, 2e-3])


def test_echoes_are_volumes() -> None:
    with pytest.raises(ValueError, match=r"must be \(echoes, z, y, x\)"):
        check_train(ECHOES[0], [1e-3, 2e-3])


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mask \(2, 3, 5\) and echoes \(3, 2, 3, 4\)"):
        check_mask(np.ones((2, 3, 5), dtype=bool), ECHOES)


def test_an_empty_mask_leaves_nothing_to_fit() -> None:
    with pytest.raises(ReconstructionError, match="the mask is empty"):
        check_mask(np.zeros((2, 3, 4), dtype=bool), ECHOES)


def test_header_times_rounded_to_a_microsecond_are_evenly_spaced() -> None:
    groups = lags(np.array([1.744, 4.820, 7.895, 10.972]) * 1e-3)
    assert [len(lag.pairs) for lag in groups] == [3, 2, 1]
    assert groups[0].spacing == pytest.approx((10.972e-3 - 1.744e-3) / 3)


def test_the_phase_of_a_lag_is_that_of_the_field_without_the_offset() -> None:
    TE = np.array([1.0, 3.0, 5.0, 8.0]) * 1e-3
    echoes = np.exp(1j * (0.7 + 2 * np.pi * 40.0 * TE))
    for lag in lags(TE):
        product = lag.product(echoes)
        assert np.angle(product) == pytest.approx(2 * np.pi * 40.0 * lag.spacing)
        assert abs(product) == pytest.approx(len(lag.pairs))
