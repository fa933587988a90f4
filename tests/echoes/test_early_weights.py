"""Weights learnt beforehand are those of the very lines that are asked for."""

import threading

import numpy as np
import pytest
from tests.echoes.phantoms import complex_noise, lattice

from chistream.arrays import ComplexArray, Mask
from chistream.echoes import early_weights
from chistream.echoes.early_weights import EarlyWeights
from chistream.echoes.grappa import GrappaWeights, learn_grappa

PLACES = lattice((12, 18), (2, 2), 1)


@pytest.fixture
def learnt(monkeypatch: pytest.MonkeyPatch) -> list[ComplexArray]:
    """Note the blocks that weights are learnt from."""
    blocks: list[ComplexArray] = []

    def learn(block: ComplexArray, places: Mask) -> GrappaWeights:
        blocks.append(block)
        return learn_grappa(block, places)

    monkeypatch.setattr(early_weights, "learn_grappa", learn)
    return blocks


def assert_same(one: GrappaWeights, other: GrappaWeights) -> None:
    for mine, yours in zip(one.kernels, other.kernels, strict=True):
        np.testing.assert_array_equal(mine.weights, yours.weights)


def test_what_was_learnt_from_these_lines_is_not_learnt_again(learnt: list[ComplexArray]) -> None:
    block = complex_noise((1, 3, 6, 10, 8), 1)
    early = EarlyWeights()
    early.consider(block, PLACES)
    early.settle()
    assert len(learnt) == 1
    assert_same(early.weights(block.copy(), PLACES), learn_grappa(block, PLACES))
    assert len(learnt) == 1


def test_other_lines_or_another_lattice_are_learnt_from(learnt: list[ComplexArray]) -> None:
    block = complex_noise((1, 3, 6, 10, 8), 1)
    changed = block.copy()
    changed[0, 1, 2, 3, 4] += 1
    others = ((changed, PLACES), (block, lattice((12, 18), (1, 2), 0)), (block[:, :, 1:], PLACES))
    for other, places in others:
        early = EarlyWeights()
        early.consider(block, PLACES)
        early.settle()
        assert_same(early.weights(other, places), learn_grappa(other, places))
        assert learnt[-1] is other


def test_of_blocks_that_wait_only_the_latest_is_learnt_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go_on, blocks = threading.Event(), []

    def learn(block: ComplexArray, places: Mask) -> GrappaWeights:
        go_on.wait(10)
        blocks.append(block)
        return learn_grappa(block, places)

    monkeypatch.setattr(early_weights, "learn_grappa", learn)
    first, second, third = (complex_noise((1, 2, 6, 10, 8), seed) for seed in (1, 2, 3))
    early = EarlyWeights()
    early.consider(first, PLACES)
    while not early._task or not early._task.weights.running():
        pass
    early.consider(second, PLACES)
    early.consider(third, PLACES)
    go_on.set()
    early.settle()
    assert [block is wanted for block, wanted in zip(blocks, (first, third), strict=True)]
    early.weights(third, PLACES)
    assert len(blocks) == 2
