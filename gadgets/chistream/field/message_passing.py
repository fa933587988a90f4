"""A label for every node of a lattice: the cheapest of all labellings, or close to it.

The energy is a cost of each node's label and, over each edge, a slope times the difference of the
labels. Tree-reweighted message passing sweeps the nodes forwards and backwards; its lower bound
never falls.
"""

from dataclasses import dataclass

import numpy as np

from chistream.arrays import IntArray, Mask, RealArray
from chistream.physics.compiled import compiled


@dataclass(frozen=True)
class Lattice:
    """The voxels of a mask in raster order, and the neighbours of each.

    Parameters
    ----------
    mask
        Voxels that are nodes ``(z, y, x)``.
    ahead, behind
        Node that follows, and node that precedes, along z, y and x ``(nodes, 3)`` int32; -1 where
        there is none.
    """

    mask: Mask
    ahead: IntArray
    behind: IntArray

    @classmethod
    def of(cls, mask: Mask) -> "Lattice":
        """Make a lattice of the voxels of a mask."""
        numbers = np.full(mask.shape, -1, dtype=np.int32)
        numbers[mask] = np.arange(np.count_nonzero(mask), dtype=np.int32)
        ahead = np.full((*mask.shape, 3), -1, dtype=np.int32)
        behind = ahead.copy()
        for axis in range(3):
            numbered = np.moveaxis(numbers, axis, 0)
            np.moveaxis(ahead[..., axis], axis, 0)[:-1] = numbered[1:]
            np.moveaxis(behind[..., axis], axis, 0)[1:] = numbered[:-1]
        return cls(mask, ahead[mask], behind[mask])

    @property
    def edges(self) -> tuple[IntArray, IntArray]:
        """Pairs of neighbouring nodes ``(edges, 2)``, and the axis of each ``(edges,)``."""
        nodes, axes = np.nonzero(self.ahead >= 0)
        return np.stack([nodes, self.ahead[nodes, axes]], axis=1), axes

    def volume(self, values: RealArray) -> RealArray:
        """Lay values ``(nodes,)`` onto the grid ``(z, y, x)``, 0 outside."""
        grid: RealArray = np.zeros(self.mask.shape)
        grid[self.mask] = values
        return grid


def cheapest_labels(
    lattice: Lattice, costs: RealArray, first: IntArray, slopes: RealArray, n_sweeps: int
) -> IntArray:
    r"""Choose a label for every node.

    .. math:: \min_{\ell} \sum_i D_i(\ell_i) + \sum_{ij} s_{ij} |\ell_i - \ell_j|

    Parameters
    ----------
    lattice
        Nodes and neighbours.
    costs
        D ``(nodes, labels)`` float32, for the labels first, first + 1, ... of each node.
    first
        First label that each node may take ``(nodes,)``: its window slides with what a coarser
        grid has found.
    slopes
        s, of the edges along z, y and x ``(3,)``, >= 0.
    n_sweeps
        Forward and backward sweeps over all nodes, >= 1.

    Returns
    -------
    IntArray
        Labels ``(nodes,)``.

    References
    ----------
    .. [1] Kolmogorov V. Convergent tree-reweighted message passing for energy minimization. IEEE
       Trans Pattern Anal Mach Intell. 2006;28(10):1568-1583. doi:10.1109/TPAMI.2006.200
    """
    messages = np.zeros((len(costs), 3, costs.shape[1]), dtype=np.float32)
    chosen = np.zeros(len(costs), dtype=np.int64)
    arrays = costs, first.astype(np.int64), lattice.ahead, lattice.behind
    edges = slopes.astype(np.float32)
    for _ in range(n_sweeps):
        sweep_forwards(*arrays, edges, messages, chosen)
        sweep_backwards(*arrays, edges, messages)
    sweep_forwards(*arrays, edges, messages, chosen)
    return chosen


@compiled
def sweep_forwards(
    costs: RealArray,
    first: IntArray,
    ahead: IntArray,
    behind: IntArray,
    slopes: RealArray,
    messages: RealArray,
    chosen: IntArray,
) -> None:
    """Send messages to the nodes ahead, and choose labels in the light of those behind.

    ``messages`` ``(nodes, 3, labels)`` are those of the edges ahead of a node, in the window of
    the node that received them last.
    """
    total = np.empty(costs.shape[1], np.float32)
    work = np.empty(costs.shape[1], np.float32)
    for node in range(len(costs)):
        total[:] = costs[node]
        for axis in range(3):
            before = behind[node, axis]
            if before >= 0:
                add_slope(total, slopes[axis], chosen[before] - first[node])
            if ahead[node, axis] >= 0:
                add(total, messages[node, axis])
        chosen[node] = first[node] + np.argmin(total)
        share = collect(node, costs, ahead, behind, messages, total)
        for axis in range(3):
            after = ahead[node, axis]
            if after >= 0:
                subtract_from(share, total, messages[node, axis], work)
                spread(work, slopes[axis], first[after] - first[node], messages[node, axis])


@compiled
def sweep_backwards(
    costs: RealArray,
    first: IntArray,
    ahead: IntArray,
    behind: IntArray,
    slopes: RealArray,
    messages: RealArray,
) -> None:
    """Send messages to the nodes behind."""
    total = np.empty(costs.shape[1], np.float32)
    work = np.empty(costs.shape[1], np.float32)
    for node in range(len(costs) - 1, -1, -1):
        share = collect(node, costs, ahead, behind, messages, total)
        for axis in range(3):
            before = behind[node, axis]
            if before >= 0:
                subtract_from(share, total, messages[before, axis], work)
                spread(work, slopes[axis], first[before] - first[node], messages[before, axis])


@compiled
def collect(
    node: int,
    costs: RealArray,
    ahead: IntArray,
    behind: IntArray,
    messages: RealArray,
    total: RealArray,
) -> float:
    """Add all messages to a node's costs; return the part of the sum that each edge gets."""
    n_ahead = n_behind = 0
    total[:] = costs[node]
    for axis in range(3):
        if behind[node, axis] >= 0:
            n_behind += 1
            add(total, messages[behind[node, axis], axis])
        if ahead[node, axis] >= 0:
            n_ahead += 1
            add(total, messages[node, axis])
    return 1.0 / max(n_ahead, n_behind, 1)


@compiled
def add(total: RealArray, message: RealArray) -> None:
    """Add a message."""
    for label in range(len(total)):
        total[label] += message[label]


@compiled
def add_slope(total: RealArray, slope: float, place: int) -> None:
    """Add the cost of differing from a neighbour whose label stands at a place."""
    for label in range(len(total)):
        total[label] += slope * abs(label - place)


@compiled
def subtract_from(share: float, total: RealArray, message: RealArray, work: RealArray) -> None:
    """Take back from a node's share what the receiver itself has sent."""
    for label in range(len(total)):
        work[label] = share * total[label] - message[label]


@compiled
def spread(cost: RealArray, slope: float, offset: int, message: RealArray) -> None:
    """Write into message what each label costs a neighbour whose first label is ``offset`` later.

    The lower envelope of cones of the given slope, less its lowest; ``cost`` is overwritten.
    """
    n_labels = len(cost)
    for label in range(1, n_labels):
        cost[label] = min(cost[label], cost[label - 1] + slope)
    lowest = cost[n_labels - 1]
    for label in range(n_labels - 2, -1, -1):
        cost[label] = min(cost[label], cost[label + 1] + slope)
        lowest = min(lowest, cost[label])
    for label in range(n_labels):
        place = label + offset
        inside = min(max(place, 0), n_labels - 1)
        message[label] = cost[inside] - lowest + slope * abs(place - inside)
