"""A line is the mean of what was accepted, or the best of what was not."""

import itertools

import numpy as np
import pytest

from chistream.acquisition.candidates import Offer
from chistream.acquisition.kspace import KSpace
from chistream.acquisition.lines import Line

LINE = Line(1, 2, 0)


def value(number: float) -> "np.ndarray[tuple[int, ...], np.dtype[np.complex64]]":
    return np.full((2, 5), number * (1 - 1j), np.complex64)


def make_kspace() -> KSpace:
    return KSpace(2, 2, (3, 4, 5), keeps_reserve=False)


def rejected(distance: float, time: float) -> Offer:
    return Offer(distance, time, np.nan, is_steady=False)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_the_order_of_accepted_and_rejected_readouts_does_not_matter(order: list[int]) -> None:
    kspace = make_kspace()
    steps = [
        lambda: kspace.weigh(LINE, value(1), 0.0),
        lambda: kspace.offer(LINE, value(100), rejected(0.1, 1.0)),
        lambda: kspace.weigh(LINE, value(4), 0.0),
        lambda: kspace.offer(LINE, value(200), rejected(9.0, 2.0)),
    ]
    for step in order:
        steps[step]()
    mean = kspace.mean()
    np.testing.assert_allclose(mean[1, :, 2, 0], value(2.5))
    assert np.count_nonzero(mean) == 10
    assert kspace.is_sampled.sum() == 1
    assert not kspace.is_filled_from_rejected.any()


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_the_nearest_rejected_readout_stands_in_and_the_earlier_of_two_equals(
    order: list[int],
) -> None:
    kspace = make_kspace()
    places = [(3.0, 5.0), (4.0, 1.0), (3.0, 7.0), (np.inf, 0.0)]  # distance, time
    for i in order:
        kspace.offer(LINE, value(i + 1), rejected(*places[i]))
    np.testing.assert_allclose(kspace.mean()[1, :, 2, 0], value(1))
    assert kspace.is_filled_from_rejected[LINE]
    assert kspace.is_sampled.sum() == kspace.is_filled_from_rejected.sum() == 1


def test_a_readout_of_unknown_distance_is_better_than_none() -> None:
    kspace = make_kspace()
    kspace.offer(LINE, value(3), rejected(np.inf, 4.0))
    np.testing.assert_allclose(kspace.mean()[1, :, 2, 0], value(3))


def test_the_mean_is_taken_once() -> None:
    kspace = make_kspace()
    for number in (1, 2, 6):
        kspace.weigh(LINE, value(number), 0.0)
    kspace.mean()
    np.testing.assert_allclose(kspace.mean()[1, :, 2, 0], value(3), rtol=1e-6)
