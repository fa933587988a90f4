"""Which measurement of a line counts, against choices made by hand."""

import numpy as np
import pytest

from chistream.acquisition.candidates import Offer
from chistream.acquisition.kspace import KSpace
from chistream.acquisition.lines import Line

LINE, OTHER = Line(0, 1, 2), Line(0, 0, 1)


def values(number: float) -> np.ndarray[tuple[int, ...], np.dtype[np.complex64]]:
    return np.full((2, 3), number, np.complex64)


def kspace(*, keeps_reserve: bool = True) -> KSpace:
    return KSpace(1, 2, (2, 3, 3), keeps_reserve=keeps_reserve)


def offer(position: float, time: float = 0.0, *, is_steady: bool = True) -> Offer:
    return Offer(abs(position), time, position, is_steady)


def test_weights_and_positions_are_averaged() -> None:
    found = kspace()
    found.weigh(LINE, values(1), -1.0, 0.25)
    found.weigh(LINE, values(5), 3.0, 0.75)
    found.weigh(OTHER, values(2), 0.0, 1e-3)
    assert found.positions[LINE] == pytest.approx(2.0)
    assert found.n_accepted == 2
    mean = found.mean()
    np.testing.assert_allclose(mean[0, :, 1, 2], 4.0)
    np.testing.assert_allclose(mean[0, :, 0, 1], 2.0, rtol=1e-6)


def test_the_nearest_stands_in_until_one_is_accepted() -> None:
    found = kspace(keeps_reserve=False)
    found.offer(LINE, values(8), offer(-8.0))
    found.offer(LINE, values(3), offer(3.0))
    found.offer(LINE, values(5), offer(5.0))
    assert found.positions[LINE] == 3.0
    assert found.is_filled_from_rejected[LINE]
    found.weigh(LINE, values(1), 1.0)
    found.offer(LINE, values(0), offer(0.0))
    assert found.positions[LINE] == 1.0
    np.testing.assert_allclose(found.mean()[0, :, 1, 2], 1.0)
    assert len(found.candidates()[0]) == 1


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
def test_the_window_decides_at_the_end(order: tuple[int, ...]) -> None:
    offers = [
        offer(0.0, 1.0),
        offer(-7.0, 2.0),
        offer(-8.0, 3.0),
        offer(-7.5, 4.0, is_steady=False),
    ]
    found = kspace()
    # The one that moved was farther away: nearer, it would stand in until the window is known.
    for i in order:
        found.offer(LINE, values(float(i)), offers[i])
    assert found.positions[LINE] == 0.0
    found.decide(-9.0, -6.0)
    assert found.positions[LINE] == -7.5
    np.testing.assert_allclose(found.mean()[0, :, 1, 2], 1.5)


def test_the_one_in_place_counts_with_others_in_the_window() -> None:
    found = kspace()
    found.offer(LINE, values(2), offer(1.0, 1.0))
    found.offer(LINE, values(4), offer(2.0, 2.0))
    found.decide(0.0, 3.0)
    np.testing.assert_allclose(found.mean()[0, :, 1, 2], 3.0)


def test_a_line_outside_the_window_takes_what_is_nearest_to_it() -> None:
    found = kspace()
    for position in (0.0, -5.0):
        found.offer(LINE, values(position), offer(position, -position))
    found.offer(OTHER, values(9), offer(1.0, is_steady=False))
    found.decide(-9.0, -7.0)
    assert found.is_filled_from_rejected[LINE]
    assert found.positions[LINE] == -5.0
    np.testing.assert_allclose(found.mean()[0, :, 1, 2], -5.0)
    np.testing.assert_allclose(found.mean()[0, :, 0, 1], 9.0)


def test_a_line_that_was_measured_once_stays() -> None:
    found = kspace()
    found.offer(LINE, values(1), offer(0.0))
    found.offer(OTHER, values(1), offer(0.0))
    found.offer(OTHER, values(2), offer(1.0, 1.0))
    found.decide(-9.0, -8.0)
    np.testing.assert_allclose(found.mean()[0, :, 0, 1], 1.0)  # nearer than the other
    np.testing.assert_allclose(found.mean()[0, :, 1, 2], 1.0)


@pytest.mark.parametrize("seed", [1, 2])
def test_one_bin_of_a_line_is_one_sum_in_any_order(seed: int) -> None:
    found = kspace()
    for i in np.random.default_rng(seed).permutation(300):
        found.offer(LINE, values(1 + i % 3), offer((0.1, -8.2, -8.4)[i % 3], float(i)))
    positions, lines = found.candidates()
    np.testing.assert_allclose(sorted(positions), [-8.3, 0.1])
    assert set(lines) == {5}
    found.decide(-9.0, -8.0)
    assert found.positions[LINE] == pytest.approx(-8.3)
    np.testing.assert_allclose(found.mean()[0, :, 1, 2], 2.5, rtol=1e-6)
    assert found.positions[LINE] == pytest.approx(-8.3)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_full_reserve_keeps_the_nearest_in_any_order(seed: int) -> None:
    found = kspace()  # 6 lines: as many sums besides the best
    for i in np.random.default_rng(seed).permutation(200):
        found.offer(LINE, values(float(i)), offer(0.5 * i + 0.1, float(i)))
    positions, _ = found.candidates()
    np.testing.assert_allclose(sorted(positions), 0.5 * np.arange(7) + 0.1)
    found.decide(1.9, 2.7)
    np.testing.assert_allclose(found.mean()[0, :, 1, 2], 4.5)


def test_the_reserve_is_combined_with_all_that_is_held() -> None:
    found = kspace()
    found.offer(LINE, values(1), offer(0.0))
    found.offer(LINE, values(3), offer(-8.2, 1.0))
    found.offer(LINE, values(5), offer(-8.4, 2.0))
    found.offer(OTHER, values(7), offer(0.0))
    found.recombine(lambda lines: lines.sum(axis=1, keepdims=True) * np.complex64(10))
    found.offer(LINE, np.full((1, 3), 1.0, np.complex64), offer(-8.3, 3.0))
    found.decide(-9.0, -8.0)
    mean = found.mean()
    assert mean.shape == (1, 1, 2, 3, 3)
    np.testing.assert_allclose(mean[0, :, 1, 2], (60 + 100 + 1) / 3, rtol=1e-6)
    np.testing.assert_allclose(mean[0, :, 0, 1], 140.0)
