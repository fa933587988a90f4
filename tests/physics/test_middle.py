"""The largest fully sampled block in the middle of k-space, against all there are."""

import numpy as np
import pytest

from chistream.physics.middle import complete_middle


def test_the_middle_is_what_every_echo_has() -> None:
    sampled = np.zeros((2, 12, 21), bool)
    sampled[:, 3:9, 5:16] = True
    assert complete_middle(sampled) == (slice(3, 9), slice(5, 16))
    sampled[1, 3, 5] = False
    assert complete_middle(sampled) == (slice(4, 9), slice(5, 16))


@pytest.mark.parametrize("shape", [(9, 12), (12, 9), (10, 11)])
def test_no_larger_block_is_complete(shape: tuple[int, int]) -> None:
    sampled = np.random.default_rng(3).random((1, *shape)) < 0.97
    centre = tuple(n // 2 for n in shape)
    sampled[:, centre[0] - 2 : centre[0] + 2, centre[1] - 2 : centre[1] + 2] = True
    found = complete_middle(sampled)
    assert found is not None

    def block(size_z: int, size_y: int) -> tuple[slice, slice]:
        first_z, first_y = shape[0] // 2 - size_z // 2, shape[1] // 2 - size_y // 2
        return slice(first_z, first_z + size_z), slice(first_y, first_y + size_y)

    every = [block(z, y) for z in range(4, shape[0] + 1) for y in range(4, shape[1] + 1)]
    sizes = [sampled[0][at].size for at in every if sampled[0][at].all()]
    assert sampled[0][found].all()
    assert sampled[0][found].size == max(sizes)


def test_few_lines_are_no_middle() -> None:
    sampled = np.zeros((1, 12, 20), bool)
    sampled[:, 5:8] = True
    assert complete_middle(sampled) is None
    assert complete_middle(sampled[:, 5:8]) == (slice(0, 3), slice(0, 20))
