"""How far the phase of a voxel and of its neighbours can be trusted."""

import math

import numpy as np
import numpy.typing as npt

from chistream.arrays import ComplexArray, Mask, RealArray, Size, size_of
from chistream.field.echo_train import check_train, lags
from chistream.physics.compiled import compiled

_TWO_PI = 2 * math.pi
_UNKNOWN_LINEARITY = 0.5
_FULL_MAGNITUDE = 0.5


def phase_quality(echoes: ComplexArray, TE: npt.ArrayLike) -> RealArray:
    """Map how coherent the phase is, in space and over the echoes.

    The mean of the weights of the six edges of a voxel (see `edge_weights`), from the phase
    alone: close to 1 in tissue, close to 0 in noise, whatever the coils do to the magnitude.

    Parameters
    ----------
    echoes
        Complex echoes ``(echoes, z, y, x)``, at least two.
    TE
        Increasing echo times ``(echoes,)`` [s].

    Returns
    -------
    RealArray
        Quality ``(z, y, x)`` float32, in [0, 1].

    References
    ----------
    .. [1] Dymerska B, et al. Phase unwrapping with a rapid opensource minimum spanning tree
       algorithm (ROMEO). Magn Reson Med. 2021;85(4):2294-2308. doi:10.1002/mrm.28563
    """
    train, times = check_train(echoes, TE)
    everywhere = np.ones(size_of(train), dtype=bool)
    return mean_of_edges(edge_weights(train, times, np.ones(everywhere.shape), everywhere))


def edge_weights(
    echoes: ComplexArray, TE: RealArray, magnitude: RealArray, mask: Mask
) -> RealArray:
    """Weigh the edges between neighbouring voxels for unwrapping the phase between echoes.

    A product of factors in [0, 1]: spatial phase coherence (small steps), coherence of the
    gradient between two pairs of echoes (the same field makes both), phase linearity (small
    second differences), magnitude coherence (the same tissue) and magnitude.

    Parameters
    ----------
    echoes
        Complex echoes ``(echoes, z, y, x)``.
    TE
        Increasing echo times ``(echoes,)`` [s].
    magnitude
        Magnitude ``(z, y, x)``; ones leave it out.
    mask
        Voxels between which edges are wanted ``(z, y, x)``.

    Returns
    -------
    RealArray
        Weights ``(z, y, x, 3)`` float32 of the edges to the next voxel along z, y and x;
        negative where there is no edge.

    Notes
    -----
    ROMEO compares the phase gradients of two echoes. Here they are those of two pairs of
    neighbouring echoes, so that a phase offset of the coils cannot pass for a field; with two
    echoes there is only one pair, and that factor is 1.
    """
    difference = np.angle(lags(TE)[0].product(echoes))
    pairs = np.argsort(np.diff(TE), kind="stable")[:2]
    first, second = pairs[0], pairs[-1]
    return weigh_edges(
        difference,
        magnitude,
        mask,
        gradients=(
            np.angle(echoes[first + 1] * echoes[first].conj()),
            np.angle(echoes[second + 1] * echoes[second].conj()),
        ),
        gradient_ratio=float((TE[first + 1] - TE[first]) / (TE[second + 1] - TE[second])),
    )


def weigh_edges(
    phase: RealArray,
    magnitude: RealArray,
    mask: Mask,
    *,
    gradients: tuple[RealArray, RealArray] | None = None,
    gradient_ratio: float = 1.0,
) -> RealArray:
    """Weigh the edges between neighbouring voxels of one phase image.

    Parameters
    ----------
    phase
        Wrapped phase ``(z, y, x)`` [rad].
    magnitude
        Magnitude ``(z, y, x)``.
    mask
        Voxels between which edges are wanted ``(z, y, x)``.
    gradients
        Two phase images ``(z, y, x)`` [rad] that the same field made, if there are two.
    gradient_ratio
        What the steps of the second have to be multiplied with to be those of the first, <= 1.

    Returns
    -------
    RealArray
        Weights ``(z, y, x, 3)`` float32, negative where there is no edge.
    """
    first, second = gradients or (phase, phase)
    inside = magnitude[mask]
    full = _FULL_MAGNITUDE * float(np.median(inside)) if inside.size else 1.0
    weights = weigh_edges_kernel(
        _flat(phase),
        _flat(first),
        _flat(second),
        gradient_ratio,
        _flat(magnitude),
        full or 1.0,
        np.ascontiguousarray(mask).ravel(),
        size_of(phase),
    )
    return weights.reshape(*phase.shape, 3)


def mean_of_edges(weights: RealArray) -> RealArray:
    """Average the weights of the edges of every voxel.

    Parameters
    ----------
    weights
        Weights ``(z, y, x, 3)`` as `weigh_edges` gives them.

    Returns
    -------
    RealArray
        Mean ``(z, y, x)`` float32; 0 for a voxel with no edge.
    """
    total = np.zeros(weights.shape[:3], dtype=np.float32)
    count = np.zeros(weights.shape[:3], dtype=np.float32)
    for axis in range(3):
        edge = np.moveaxis(weights[..., axis], axis, 0)
        exists = edge >= 0
        kept = np.where(exists, edge, 0)
        for image, values in ((total, kept), (count, exists)):
            along = np.moveaxis(image, axis, 0)
            along += values
            along[1:] += values[:-1]
    mean: RealArray = total / np.maximum(count, 1)
    return mean


def _flat(image: RealArray) -> RealArray:
    return np.ascontiguousarray(image, np.float32).ravel()


@compiled
def weigh_edges_kernel(
    phase: RealArray,
    first: RealArray,
    second: RealArray,
    gradient_ratio: float,
    magnitude: RealArray,
    full_magnitude: float,
    mask: Mask,
    shape: Size,
) -> RealArray:
    """Weigh all edges; images are flat, the result is ``(voxels, 3)``."""
    weights = np.full((phase.size, 3), -1.0, dtype=np.float32)
    strides = (shape[1] * shape[2], shape[2], 1)
    for voxel in range(phase.size):
        if not mask[voxel]:
            continue
        for axis in range(3):
            stride = strides[axis]
            place = (voxel // stride) % shape[axis]
            other = voxel + stride
            if place + 1 == shape[axis] or not mask[other]:
                continue
            weight = gradient_coherence(first, second, gradient_ratio, voxel, other)
            weight *= magnitude_weight(magnitude, full_magnitude, voxel, other)
            weight *= phase_weight(phase, mask, voxel, other, place, shape[axis])
            weights[voxel, axis] = weight
    return weights


@compiled
def wrap(angle: float) -> float:
    """Bring an angle into [-pi, pi)."""
    return angle - _TWO_PI * math.floor(angle / _TWO_PI + 0.5)


@compiled
def gradient_coherence(
    first: RealArray, second: RealArray, ratio: float, voxel: int, other: int
) -> float:
    """Compare the step between two voxels in two images of the same field."""
    step = wrap(first[other] - first[voxel])
    expected = ratio * wrap(second[other] - second[voxel])
    return max(0.0, 1.0 - abs(step - expected))


@compiled
def magnitude_weight(magnitude: RealArray, full: float, voxel: int, other: int) -> float:
    """Weigh an edge by the likeness and the size of the magnitudes at its ends."""
    here, there = float(magnitude[voxel]), float(magnitude[other])
    low, high = min(here, there), max(here, there)
    if not low > 0:
        return 0.0
    likeness = low / high
    return likeness * likeness * (0.5 + 0.5 * min(1.0, low / full))


@compiled
def phase_weight(
    phase: RealArray, mask: Mask, voxel: int, other: int, place: int, length: int
) -> float:
    """Weigh an edge by its phase step and by the two second differences around it."""
    stride = other - voxel
    coherence = 1.0 - abs(wrap(phase[other] - phase[voxel])) / math.pi
    before = after = _UNKNOWN_LINEARITY
    if place > 0 and mask[voxel - stride]:
        before = linearity(phase[voxel - stride], phase[voxel], phase[other])
    if place + 2 < length and mask[other + stride]:
        after = linearity(phase[voxel], phase[other], phase[other + stride])
    return coherence * before * after


@compiled
def linearity(before: float, here: float, after: float) -> float:
    """Turn the second difference of three phases into a weight."""
    return max(0.0, 1.0 - abs(wrap(before - 2.0 * here + after)) / 2.0)
