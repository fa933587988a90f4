"""Unwrapping of one image in space: regions grow over their best edges, then vote.

A spanning tree trusts one edge wherever two parts of an organ meet, and in noise that edge is
often wrong. Parts that no trusted edge joins are therefore set against each other by all the edges
between them.
"""

import math

import numpy as np

from chistream.arrays import IntArray, Mask, RealArray, size_of
from chistream.physics.compiled import compiled
from chistream.physics.edges import mean_of_edges

_TWO_PI = 2 * math.pi
_N_BINS = 255
_TRUSTED_WEIGHT = 0.3
_CORE_SIZE = 50

Strides = tuple[int, int, int]


def unwrap_in_space(
    phase: RealArray, weights: RealArray, labels: IntArray, n_regions: int
) -> RealArray:
    """Unwrap one image, each of its regions by itself.

    Parameters
    ----------
    phase
        Wrapped phase ``(z, y, x)`` [rad].
    weights
        Edge weights ``(z, y, x, 3)`` of `edges.weigh_edges`.
    labels
        Number of the region of every voxel ``(z, y, x)``, 1 to n_regions, 0 outside; voxels of
        one region are joined by faces, different regions do not touch.
    n_regions
        Number of regions.

    Returns
    -------
    RealArray
        Unwrapped phase ``(z, y, x)`` [rad] float64, up to one multiple of 2 pi for each region;
        unchanged outside.

    Notes
    -----
    Growth starts from the best voxel of each region and always takes the best edge at hand, in
    255 bins. Cores of at least 50 voxels, joined within by edges better than 0.3, then take the
    multiple that most of the edge weight between them asks for, the clearest pair first.

    References
    ----------
    .. [1] Dymerska B, et al. Phase unwrapping with a rapid opensource minimum spanning tree
       algorithm (ROMEO). Magn Reson Med. 2021;85(4):2294-2308. doi:10.1002/mrm.28563
    .. [2] Jenkinson M. Fast, automated, N-dimensional phase-unwrapping algorithm. Magn Reson Med.
       2003;49(1):193-197. doi:10.1002/mrm.10354
    """
    ny, nx = size_of(phase)[1:]
    strides = (ny * nx, nx, 1)
    seeds = _best_voxels(mean_of_edges(weights).ravel(), labels.ravel(), n_regions)
    # 1 is the best bin, 255 the worst, 0 no edge: every voxel of a region is reached.
    bins = np.where(weights < 0, 0, 1 + (1 - weights) * (_N_BINS - 1)).astype(np.uint8)
    bins = bins.reshape(-1, 3)

    turns, owners = grow_regions(
        phase.ravel().astype(np.float64), bins, seeds, strides, _cores(bins, strides)
    )
    unwrapped: RealArray = phase + _TWO_PI * turns.reshape(phase.shape)
    votes = _votes(unwrapped, weights, owners.reshape(phase.shape))
    shifts = _settle(*votes, int(owners.max()) + 1)
    return unwrapped + _TWO_PI * shifts[owners].reshape(phase.shape)


def _best_voxels(quality: RealArray, labels: IntArray, n_regions: int) -> IntArray:
    """Find the best voxel of every region, the first of several."""
    best = np.full(n_regions + 1, -1.0, dtype=quality.dtype)
    np.maximum.at(best, labels, quality)
    voxels = np.flatnonzero((quality == best[labels]) & (labels > 0))[::-1]
    seeds = np.zeros(n_regions + 1, dtype=np.int64)
    seeds[labels[voxels]] = voxels
    return seeds[1:]


def _cores(bins: IntArray, strides: Strides) -> IntArray:
    """Give a number to every large set of voxels that trusted edges join, 0 to other voxels."""
    worst = int(1 + (1 - _TRUSTED_WEIGHT) * (_N_BINS - 1))
    parts = label_parts(bins, strides, worst)
    large = np.bincount(parts) >= _CORE_SIZE
    large[0] = False
    numbers: IntArray = np.where(large, np.cumsum(large), 0)[parts]
    return numbers


def _votes(unwrapped: RealArray, weights: RealArray, owners: IntArray) -> tuple[IntArray, IntArray]:
    """Count the turns that the edges between two owners ask for.

    Returns pairs ``(n, 2)`` of owners and the turns ``(n,)`` to add to the second, the clearest
    first; clear is much weight for the winner and little for the next.
    """
    ballots, weight = [], []
    for axis in range(3):
        edge = np.moveaxis(weights[..., axis], axis, 0)[:-1]
        owner, value = np.moveaxis(owners, axis, 0), np.moveaxis(unwrapped, axis, 0)
        cross = (edge >= 0) & (owner[1:] != owner[:-1])
        first, second = owner[:-1][cross], owner[1:][cross]
        turns = np.rint((value[:-1][cross] - value[1:][cross]) / _TWO_PI).astype(np.int64)
        swapped = first > second
        ballots.append(
            np.stack(
                [
                    np.where(swapped, second, first),
                    np.where(swapped, first, second),
                    np.where(swapped, -turns, turns),
                ]
            )
        )
        weight.append(edge[cross])
    kinds, kind = np.unique(np.concatenate(ballots, axis=1), axis=1, return_inverse=True)
    totals = np.zeros(kinds.shape[1])
    np.add.at(totals, kind.ravel(), np.concatenate(weight))
    return _winners(kinds, totals)


def _winners(kinds: IntArray, totals: RealArray) -> tuple[IntArray, IntArray]:
    """Pick for every pair of owners the turns with the largest total."""
    order = np.lexsort((-totals, kinds[1], kinds[0]))
    kinds, totals = kinds[:, order], totals[order]
    leads = np.ones(len(order), dtype=bool)
    leads[1:] = (kinds[:2, 1:] != kinds[:2, :-1]).any(axis=0)
    runner_up = np.zeros(len(order))
    runner_up[:-1] = np.where(leads[1:], 0.0, totals[1:])
    margin = (totals - runner_up)[leads]
    clearest = np.argsort(-margin, kind="stable")
    winners = kinds[:, leads][:, clearest]
    return winners[:2].T, winners[2]


def _settle(pairs: IntArray, turns: IntArray, n_owners: int) -> IntArray:
    """Join pairs of owners in the order given; return the turns to add to each owner."""
    groups = np.arange(n_owners)
    shifts = np.zeros(n_owners, dtype=np.int64)
    for (first, second), turn in zip(pairs, turns, strict=True):
        if groups[first] != groups[second]:
            joining = groups == groups[second]
            shifts[joining] += shifts[first] + turn - shifts[second]
            groups[joining] = groups[first]
    return shifts


@compiled
def label_parts(bins: IntArray, strides: Strides, worst: int) -> IntArray:
    """Give a number, from 1, to every set of voxels that edges of bin 1 to worst join."""
    n_voxels = len(bins)
    labels = np.zeros(n_voxels, dtype=np.int32)
    waiting = np.empty(n_voxels, dtype=np.int32)
    n_labels = 0
    for seed in range(n_voxels):
        if labels[seed] > 0:
            continue
        n_labels += 1
        labels[seed] = n_labels
        waiting[0] = seed
        n_waiting = 1
        while n_waiting > 0:
            n_waiting -= 1
            voxel = int(waiting[n_waiting])
            n_waiting = take_neighbours(voxel, bins, strides, worst, labels, waiting, n_waiting)
    return labels


@compiled
def take_neighbours(
    voxel: int,
    bins: IntArray,
    strides: Strides,
    worst: int,
    labels: IntArray,
    waiting: IntArray,
    n_waiting: int,
) -> int:
    """Give a voxel's label to its neighbours over good edges; return the number of waiting."""
    for axis in range(3):
        for side in range(2):
            source = voxel - side * strides[axis]
            target = voxel + (1 - 2 * side) * strides[axis]
            if source >= 0 and 0 < bins[source, axis] <= worst and labels[target] == 0:
                labels[target] = labels[voxel]
                waiting[n_waiting] = target
                n_waiting += 1
    return n_waiting


@compiled
def grow_regions(
    phase: RealArray, bins: IntArray, seeds: IntArray, strides: Strides, cores: IntArray
) -> tuple[IntArray, IntArray]:
    """Grow all regions at once, always over the best edge at hand.

    Returns the turns to add to the phase, and the owner of every voxel: its core, or the core
    over which it was reached.
    """
    first = np.full(_N_BINS + 1, -1, dtype=np.int32)
    following = np.empty(bins.size, dtype=np.int32)
    reached = np.zeros(phase.size, dtype=np.bool_)
    turns = np.zeros(phase.size, dtype=np.int32)
    best = _N_BINS + 1
    owners = np.zeros(phase.size, dtype=np.int32)
    n_cores = cores.max()
    for region in range(len(seeds)):
        seed = seeds[region]
        owners[seed] = cores[seed] if cores[seed] > 0 else n_cores + 1 + region
        reached[seed] = True
        best = min(best, queue_edges(seed, bins, strides, reached, first, following))
    while best <= _N_BINS:
        edge = first[best]
        if edge < 0:
            best += 1
            continue
        first[best] = following[edge]
        source = edge // 3
        target = source + strides[edge % 3]
        if reached[source] and reached[target]:
            continue
        if reached[target]:
            source, target = target, source
        step = (phase[source] - phase[target]) / _TWO_PI
        turns[target] = turns[source] + math.floor(step + 0.5)
        owners[target] = cores[target] if cores[target] > 0 else owners[source]
        reached[target] = True
        best = min(best, queue_edges(target, bins, strides, reached, first, following))
    return turns, owners


@compiled
def queue_edges(
    voxel: int,
    bins: IntArray,
    strides: Strides,
    reached: Mask,
    first: IntArray,
    following: IntArray,
) -> int:
    """Queue the edges from a voxel to those not reached yet; return the best bin among them."""
    best = _N_BINS + 1
    for axis in range(3):
        ahead, behind = voxel, voxel - strides[axis]
        if bins[ahead, axis] > 0 and not reached[ahead + strides[axis]]:
            best = min(best, queue_edge(ahead, axis, bins, first, following))
        if behind >= 0 and bins[behind, axis] > 0 and not reached[behind]:
            best = min(best, queue_edge(behind, axis, bins, first, following))
    return best


@compiled
def queue_edge(voxel: int, axis: int, bins: IntArray, first: IntArray, following: IntArray) -> int:
    """Put one edge in front of its bin; return the bin."""
    edge = 3 * voxel + axis
    place = int(bins[voxel, axis])
    following[edge] = first[place]
    first[place] = edge
    return place
