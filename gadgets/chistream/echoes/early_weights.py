"""GRAPPA's weights, learnt on a thread of their own while the scan goes on."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from chistream.arrays import ComplexArray, Mask
from chistream.echoes.grappa import GrappaWeights, learn_grappa


class _Task(NamedTuple):
    """What weights are learnt from, and the weights to come."""

    block: ComplexArray
    lattice: Mask
    weights: Future[GrappaWeights]


class EarlyWeights:
    """Learns weights before they are needed, and gives them out for what they were learnt from.

    Whoever asks gets the weights of exactly the lines that he gives: what was learnt beforehand is
    used if it was learnt from the same numbers, and learnt anew otherwise. So results do not depend
    on how readouts arrived.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "grappa")
        self._task: _Task | None = None

    def consider(self, block: ComplexArray, lattice: Mask) -> None:
        """Begin to learn, as soon as what is being learnt is ready.

        Parameters
        ----------
        block
            As in `learn_grappa`; must not change any more.
        lattice
            As in `learn_grappa`.
        """
        if self._task is not None:
            self._task.weights.cancel()  # if it still waits: only the latest block counts
        self._task = _Task(block, lattice, self._pool.submit(_learn, block, lattice))

    def settle(self) -> None:
        """Wait for what is being learnt; nothing is learnt beforehand after that."""
        self._pool.shutdown()

    def weights(self, block: ComplexArray, lattice: Mask) -> GrappaWeights:
        """Return the weights of a block, learnt now if they were not before.

        Parameters
        ----------
        block, lattice
            As in `learn_grappa`.

        Returns
        -------
        GrappaWeights
            Those that `learn_grappa` returns.
        """
        task, self._task = self._task, None
        if (
            task is not None
            and np.array_equal(task.lattice, lattice)
            and np.array_equal(task.block, block)
        ):
            return task.weights.result()
        return learn_grappa(block, lattice)


def _learn(block: ComplexArray, lattice: Mask) -> GrappaWeights:
    with threadpool_limits(1, "blas"):
        return learn_grappa(block, lattice)
