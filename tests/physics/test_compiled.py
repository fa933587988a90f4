"""A compiled kernel does what it says in Python."""

import numpy as np

from chistream.arrays import RealArray
from chistream.physics.compiled import compiled, python_form


@compiled
def running_sum(values: RealArray) -> float:
    total = 0.0
    for value in values:
        total += value
    return total


def test_both_forms_agree_to_the_last_bit() -> None:
    # 1e16 + 1 - 1e16 is 0 in this order and 1 in another: a fast-math build would show.
    values = np.array([1e16, 1.0, -1e16, 1.0])
    assert running_sum(values) == python_form(running_sum)(values) == 1.0
