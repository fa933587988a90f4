"""Weights of the edges between neighbouring voxels: how far a step of phase can be trusted."""

import math

import numpy as np

from chistream.arrays import Mask, RealArray, Size, size_of
from chistream.physics.compiled import compiled

_TWO_PI = 2 * math.pi
_UNKNOWN_LINEARITY = 0.5
_FULL_MAGNITUDE = 0.5


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
