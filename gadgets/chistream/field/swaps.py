"""Parts of the field that lie off by a whole period, or by the shift of fat: found and put right.

A labelling by local messages can leave a part of the body consistent in itself and wrong as a
whole. Parts are what no jump of the field divides; each is moved as one, wherever the echoes and
the neighbours together like it best, and what has come to fit is one part from then on.
"""

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.csgraph import connected_components

from chistream.arrays import IntArray, Mask, RealArray
from chistream.field.echo_train import lags
from chistream.field.message_passing import Lattice
from chistream.field.unwrapping import nearest_field, weighted_medians
from chistream.physics.edges import weigh_edges
from chistream.physics.growing import unwrap_in_space

_MAX_PASSES = 12
_OUTSIDE = 10.0
"""Cost of a label beyond the range that was tried."""

_EVEN = 0.01
"""Echo spacings that miss a multiple of the smallest by less than this part of it are even."""


def echo_period(TE: RealArray) -> float | None:
    """Find the field that echoes cannot tell from zero.

    Parameters
    ----------
    TE
        Increasing echo times ``(echoes,)`` [s].

    Returns
    -------
    float or None
        One over the spacing [Hz]; None if the echoes are not evenly spaced.
    """
    smallest = lags(TE)[0].spacing
    multiples = np.diff(TE) / smallest
    even = np.all(np.abs(multiples - np.rint(multiples)) < _EVEN)
    return 1 / smallest if even else None


def join_periods(
    frequency: RealArray, magnitude: RealArray, mask: Mask, period: float
) -> RealArray:
    """Put the voxels of each region of the mask on one period: the field is unwrapped in space.

    Parameters
    ----------
    frequency
        Field ``(z, y, x)`` [Hz], each voxel on some period.
    magnitude
        Signal of each voxel ``(z, y, x)``.
    mask
        Voxels with a field ``(z, y, x)``.
    period
        Field that the echoes cannot tell from zero [Hz].

    Returns
    -------
    RealArray
        Field ``(z, y, x)`` [Hz] float64, changed by multiples of the period, 0 outside the mask;
        up to one such multiple for each region that touches no other.

    Notes
    -----
    The smallest step of the field is taken between neighbours, from the surest pair on
    (`chistream.physics.growing.unwrap_in_space`). A labelling over the whole range of fields may
    join two parts of the body where the field is steep, beside a lung, and leave a jump of a
    whole period through the tissue between them.
    """
    phase = 2 * np.pi / period * frequency
    phase -= 2 * np.pi * np.rint(phase / (2 * np.pi))
    labels, n_regions = ndimage.label(mask)
    unwrapped = unwrap_in_space(phase, weigh_edges(phase, magnitude, mask), labels, n_regions)
    return np.where(mask, period / (2 * np.pi) * unwrapped, 0)


def centre_regions(
    frequency: RealArray, weights: RealArray, mask: Mask, period: float
) -> RealArray:
    """Choose the period of every region that touches no other.

    Parameters
    ----------
    frequency
        Field ``(z, y, x)`` [Hz], each region on some period.
    weights
        How much each voxel counts ``(z, y, x)``.
    mask
        Voxels with a field ``(z, y, x)``.
    period
        Field that the echoes cannot tell from zero [Hz].

    Returns
    -------
    RealArray
        Field ``(z, y, x)`` [Hz], 0 outside the mask: the weighted median of the largest region is
        closest to 0 Hz, every other region is as close as can be to the largest where the two come
        nearest.
    """
    labels, n_regions = ndimage.label(mask)
    regions = labels[mask] - 1
    values = frequency[mask].astype(np.float64)
    largest = int(np.argmax(np.bincount(regions)))
    medians = weighted_medians(values, weights[mask], regions)
    values[regions == largest] -= period * np.rint(medians[largest] / period)
    centred = np.zeros(mask.shape)
    centred[mask] = values
    if n_regions > 1:
        reference, nearness = nearest_field(centred, labels == largest + 1)
        gaps = weighted_medians(values - reference[mask], (weights * nearness)[mask], regions)
        gaps[largest] = 0
        centred[mask] -= period * np.rint(gaps / period)[regions]
    return centred


def settle_parts(
    lattice: Lattice,
    labels: IntArray,
    costs: RealArray,
    first: int,
    slopes: RealArray,
    largest_step: float,
) -> IntArray:
    """Move parts of a labelling as a whole until none can be moved to a lower energy.

    Parameters
    ----------
    lattice
        Nodes and neighbours.
    labels
        Label of every node ``(nodes,)``.
    costs
        Cost of the labels first, first + 1, ... of each node ``(nodes, labels)``.
    first
        The first label tried, the same for all nodes.
    slopes
        What a difference of one label costs on the edges along z, y and x ``(3,)``.
    largest_step
        Largest difference of labels over an edge within a part.

    Returns
    -------
    IntArray
        Labels ``(nodes,)`` of the same or lower energy.

    Notes
    -----
    Every move keeps or lowers the energy of `message_passing.cheapest_labels`: the largest part
    stays where it is, the others are tried from the largest to the smallest at all labels. A move
    is a change of the whole part by one number, so water and fat in it change places together.
    In the end every region that touches no other is tried at all labels as one, for in the whole
    body, too, water and fat may have changed places.
    """
    labels = labels.astype(np.int64)
    edges, axes = lattice.edges
    weights = slopes[axes]
    for _ in range(_MAX_PASSES):
        steps = np.abs(labels[edges[:, 0]] - labels[edges[:, 1]])
        parts = _parts(edges[steps <= largest_step], len(labels))
        jumps = steps > largest_step
        if not _move_parts(labels, parts, costs, first, edges[jumps], weights[jumps]):
            break
    _move_regions(labels, _parts(edges, len(labels)), costs, first)
    return labels


def _move_regions(labels: IntArray, regions: IntArray, costs: RealArray, first: int) -> None:
    """Move each region to where its echoes like it best, in place."""
    order = np.argsort(regions, kind="stable")
    no_gaps, no_slopes = np.zeros(0, dtype=np.int64), np.zeros(0)
    for nodes in np.split(order, np.cumsum(np.bincount(regions))[:-1]):
        labels[nodes] += _best_move(labels[nodes] - first, costs[nodes], no_gaps, no_slopes)


def _parts(edges: IntArray, n_nodes: int) -> IntArray:
    """Give a number to every set of nodes that edges join."""
    ones = np.ones(len(edges), dtype=np.int8)
    graph = sparse.coo_matrix((ones, (edges[:, 0], edges[:, 1])), shape=(n_nodes, n_nodes))
    return np.asarray(connected_components(graph, directed=False)[1])


def _move_parts(
    labels: IntArray,
    parts: IntArray,
    costs: RealArray,
    first: int,
    borders: IntArray,
    slopes: RealArray,
) -> bool:
    """Move each part to its best place in the light of its neighbours, in place."""
    sizes = np.bincount(parts)
    order = np.argsort(parts, kind="stable")
    members = np.split(order, np.cumsum(sizes)[:-1])
    both = np.concatenate([borders, borders[:, ::-1]])
    weights = np.concatenate([slopes, slopes])
    crossing = parts[both[:, 0]] != parts[both[:, 1]]
    both, weights = both[crossing], weights[crossing]
    by_part = np.argsort(parts[both[:, 0]], kind="stable")
    both, weights = both[by_part], weights[by_part]
    starts = np.searchsorted(parts[both[:, 0]], np.arange(len(sizes) + 1))
    moved = False
    for part in np.argsort(-sizes, kind="stable")[1:]:
        here = slice(starts[part], starts[part + 1])
        if here.start == here.stop:
            continue
        nodes = members[part]
        gaps = labels[both[here, 1]] - labels[both[here, 0]]
        move = _best_move(labels[nodes] - first, costs[nodes], gaps, weights[here])
        if move:
            labels[nodes] += move
            moved = True
    return moved


def _best_move(places: IntArray, costs: RealArray, gaps: IntArray, weights: RealArray) -> int:
    """Find by how many labels to move a part; 0 unless that lowers its energy."""
    n_labels = costs.shape[1]
    moves = np.arange(-int(places.max()), n_labels - int(places.min()))
    targets = places[:, None] + moves
    inside = (targets >= 0) & (targets < n_labels)
    own = np.take_along_axis(costs, np.clip(targets, 0, n_labels - 1), axis=1)
    energy = np.where(inside, own, _OUTSIDE).sum(axis=0)
    energy += weights @ np.abs(gaps[:, None] - moves)
    best = int(np.argmin(energy))
    now = int(np.flatnonzero(moves == 0)[0])
    return int(moves[best]) if energy[best] < energy[now] - 1e-6 else 0
