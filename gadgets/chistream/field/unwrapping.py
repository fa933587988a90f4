"""Quality-guided unwrapping in space, with one field behind all echoes.

The phase of an echo is an offset of the coils plus 2 pi f TE. The two parts are unwrapped apart:
first the phase *between* echoes, which has no offset and the gentlest gradients, then the offset
that is left when the field has been taken away. The multiples of 2 pi of every echo follow.
"""

import math
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from chistream.arrays import ComplexArray, IntArray, Mask, RealArray
from chistream.field.echo_train import Lag, check_mask, check_train, lags
from chistream.field.quality import edge_weights
from chistream.physics.compiled import compiled
from chistream.physics.edges import weigh_edges
from chistream.physics.growing import unwrap_in_space

_TWO_PI = 2 * math.pi
_MAX_TURNS = 3
_CLEAR_COHERENCE = 0.05


def unwrap_echoes(
    phase: RealArray, magnitude: RealArray, TE: npt.ArrayLike, mask: Mask
) -> RealArray:
    r"""Unwrap the phase of all echoes in space and time.

    Parameters
    ----------
    phase
        Wrapped phase ``(echoes, z, y, x)`` [rad]; may hold a phase offset of the coils, of any
        size and of smooth form.
    magnitude
        Magnitude ``(echoes, z, y, x)``.
    TE
        Increasing echo times ``(echoes,)`` [s], at least two, evenly spaced or not.
    mask
        Voxels to unwrap ``(z, y, x)``; regions that do not touch are each unwrapped.

    Returns
    -------
    RealArray
        Unwrapped phase ``(echoes, z, y, x)`` [rad] float64, NaN outside the mask. It differs from
        the wrapped phase by whole multiples of 2 pi; see `unwrap_field` for what fixes them.

    Raises
    ------
    ValueError
        If the shapes differ.
    ReconstructionError
        If there are fewer than two echoes, the echo times do not increase or the mask is empty.

    Notes
    -----
    ROMEO unwraps a template echo and predicts the others by scaling it with TE, which fails where
    the coils leave an offset. Here the prediction is offset + 2 pi f TE with both unwrapped, and
    each echo takes the multiple that brings it closest. float64, because float32 holds 100 rad
    only to 1e-5 rad.

    References
    ----------
    .. [1] Dymerska B, et al. Phase unwrapping with a rapid opensource minimum spanning tree
       algorithm (ROMEO). Magn Reson Med. 2021;85(4):2294-2308. doi:10.1002/mrm.28563
    .. [2] Eckstein K, et al. Computationally efficient combination of multi-channel phase data
       from multi-echo acquisitions (ASPIRE). Magn Reson Med. 2018;79(6):2996-3006.
       doi:10.1002/mrm.26963
    """
    if phase.shape != magnitude.shape:
        raise ValueError(f"phase {phase.shape} and magnitude {magnitude.shape} differ in shape")
    signal: ComplexArray = np.multiply(magnitude, np.exp(1j * phase))
    echoes, times = check_train(signal, TE)
    mask = check_mask(mask, echoes)
    frequency = unwrap_field(echoes, times, mask)
    offset = _unwrap_offset(echoes, times, mask, frequency)

    unwrapped = np.full(phase.shape, np.nan)
    for echo, time in enumerate(times):
        wrapped = phase[echo][mask].astype(np.float64)
        predicted = offset[mask] + _TWO_PI * time * frequency[mask]
        unwrapped[echo][mask] = wrapped + _TWO_PI * np.rint((predicted - wrapped) / _TWO_PI)
    return unwrapped


def unwrap_field(echoes: ComplexArray, TE: RealArray, mask: Mask) -> RealArray:
    """Make a field map from the phase between echoes, unwrapped in space.

    Parameters
    ----------
    echoes
        Complex echoes ``(echoes, z, y, x)`` as `check_train` returns them.
    TE
        Their echo times ``(echoes,)`` [s].
    mask
        Voxels to use ``(z, y, x)``.

    Returns
    -------
    RealArray
        Frequency ``(z, y, x)`` [Hz] float64, 0 outside the mask.

    Notes
    -----
    The slope of the phase over the echoes: the shortest spacing is unwrapped in space, and every
    longer one sharpens it with the weight that its noise allows, as a straight line would.
    With even echo spacing the echoes cannot tell f from f + 1/spacing, and every region that
    touches no other has such a multiple of its own. That of the largest region is chosen so that
    its magnitude-weighted median lies closest to 0 Hz: the scanner is tuned to the centre of the
    field. Every other region lies as close as it can to the field of the largest where the two
    come nearest. Uneven echo times know better; where they do, they decide.
    """
    groups = lags(TE)
    product = groups[0].product(echoes)
    magnitude = np.sqrt(np.mean(np.abs(echoes) ** 2, axis=0))
    weights = edge_weights(echoes, TE, magnitude, mask)
    labels, n_regions = ndimage.label(mask)
    unwrapped = unwrap_in_space(np.angle(product), weights, labels, n_regions)

    frequency = np.zeros(mask.shape)
    frequency[mask] = unwrapped[mask] / (_TWO_PI * groups[0].spacing)
    signals = np.ascontiguousarray(echoes[:, mask].T)
    choose = partial(_region_shifts, signals, groups, labels[mask] - 1)
    shifts = choose(frequency[mask], np.zeros(len(signals)), magnitude[mask])
    largest = labels == np.argmax(np.bincount(labels[mask]))
    frequency[largest] += shifts[largest[mask]]
    if n_regions > 1:
        reference, nearness = nearest_field(frequency, largest)
        shifts = choose(frequency[mask], reference[mask], (magnitude * nearness)[mask])
        frequency[mask & ~largest] += shifts[~largest[mask]]
    frequency[mask] = refine_frequency(signals, frequency[mask], *_flattened(groups))
    return frequency


def nearest_field(frequency: RealArray, region: Mask) -> tuple[RealArray, RealArray]:
    """Extend a field beyond a region.

    Parameters
    ----------
    frequency
        Field ``(z, y, x)`` [Hz].
    region
        Where it is known ``(z, y, x)``.

    Returns
    -------
    field, nearness
        Field of the region's nearest voxel ``(z, y, x)`` [Hz], and one over the squared distance
        to it [1/voxels^2].
    """
    distance, places = ndimage.distance_transform_edt(~region, return_indices=True)
    return frequency[tuple(places)], 1 / np.maximum(distance, 1) ** 2


def _unwrap_offset(
    echoes: ComplexArray, TE: RealArray, mask: Mask, frequency: RealArray
) -> RealArray:
    """Unwrap what the phase is at TE = 0."""
    remainder = np.zeros(mask.shape, dtype=np.complex128)
    for echo, time in zip(echoes, TE, strict=True):
        remainder += echo * np.exp(-1j * _TWO_PI * time * frequency)
    offset = np.angle(remainder)
    labels, n_regions = ndimage.label(mask)
    weights = weigh_edges(offset, np.abs(remainder), mask)
    unwrapped = unwrap_in_space(offset, weights, labels, n_regions)
    medians = weighted_medians(unwrapped[mask], np.abs(remainder[mask]), labels[mask] - 1)
    unwrapped[mask] -= _TWO_PI * np.rint(medians / _TWO_PI)[labels[mask] - 1]
    return unwrapped


def _region_shifts(
    signals: ComplexArray,
    groups: list[Lag],
    regions: IntArray,
    frequency: RealArray,
    reference: RealArray,
    weights: RealArray,
) -> RealArray:
    """Find the multiples of 1/spacing [Hz] to add, one for each region, given for each voxel."""
    period = 1 / groups[0].spacing
    medians = weighted_medians(frequency - reference, weights, regions)
    shifts = np.arange(-_MAX_TURNS, _MAX_TURNS + 1) - np.rint(medians / period)[:, None]
    coherence = _coherence(signals, groups, regions, frequency, shifts * period)
    distance = np.abs(medians[:, None] + shifts * period)
    # The coherence of an evenly spaced train is the same for all shifts: then the median decides.
    clear = coherence.max(axis=1, keepdims=True) - coherence < _CLEAR_COHERENCE
    best = np.argmin(np.where(clear, distance, np.inf), axis=1)
    chosen: RealArray = shifts[np.arange(len(shifts)), best] * period
    return chosen[regions]


def _coherence(
    signals: ComplexArray,
    groups: list[Lag],
    regions: IntArray,
    frequency: RealArray,
    shifts: RealArray,
) -> RealArray:
    """Measure how well each region's field fits after each shift ``(regions, shifts)`` [Hz]."""
    agreement = np.zeros(shifts.shape)
    total = np.zeros((len(shifts), 1))
    for lag in groups[1:]:
        product = lag.product(signals.T) * np.exp(-1j * _TWO_PI * lag.spacing * frequency)
        sums = np.bincount(regions, product.real) + 1j * np.bincount(regions, product.imag)
        agreement += (sums[:, None] * np.exp(-1j * _TWO_PI * lag.spacing * shifts)).real
        total += np.bincount(regions, np.abs(product))[:, None]
    result: RealArray = agreement / np.maximum(total, np.finfo(float).tiny)
    return result


def weighted_medians(values: RealArray, weights: RealArray, regions: IntArray) -> RealArray:
    """Find the weighted median of every region.

    Parameters
    ----------
    values, weights
        Of every voxel ``(voxels,)``.
    regions
        Number of every voxel's region ``(voxels,)``, from 0 with none left out.

    Returns
    -------
    RealArray
        Medians ``(regions,)``.
    """
    order = np.argsort(values, kind="stable")
    order = order[np.argsort(regions[order], kind="stable")]
    cumulated = np.cumsum(weights[order], dtype=np.float64)
    ends = np.cumsum(np.bincount(regions))
    starts = np.concatenate([[0], ends[:-1]])
    before = np.concatenate([[0.0], cumulated[ends[:-1] - 1]])
    half = (before + cumulated[ends - 1]) / 2
    # A region without any weight has no half: take it from its own voxels all the same.
    middles = np.clip(np.searchsorted(cumulated, half), starts, ends - 1)
    medians: RealArray = values[order[middles]]
    return medians


def _flattened(groups: list[Lag]) -> tuple[IntArray, IntArray, RealArray]:
    """Lay the pairs of all lags end to end: pairs, where each lag ends, spacings."""
    pairs = np.concatenate([lag.pairs for lag in groups])
    ends = np.cumsum([len(lag.pairs) for lag in groups])
    return pairs, ends, np.array([lag.spacing for lag in groups])


@compiled
def refine_frequency(
    signals: ComplexArray, start: RealArray, pairs: IntArray, ends: IntArray, spacings: RealArray
) -> RealArray:
    """Sharpen a frequency [Hz] by ever longer lags of each signal ``(voxels, echoes)``."""
    frequency = start.copy()
    for voxel in range(len(start)):
        known = 0.0
        begin = 0
        for lag in range(len(ends)):
            product, added = lag_product(signals[voxel], pairs[begin : ends[lag]])
            begin = ends[lag]
            added *= spacings[lag] ** 2
            known += added
            if known > 0:
                turn = _TWO_PI * spacings[lag]
                angle = turn * frequency[voxel]
                rest = product * complex(math.cos(angle), -math.sin(angle))
                frequency[voxel] += math.atan2(rest.imag, rest.real) / turn * added / known
    return frequency


@compiled
def lag_product(signal: ComplexArray, pairs: IntArray) -> tuple[complex, float]:
    """Sum one lag's products; return them with the inverse variance of their phase."""
    product = 0j
    information = 0.0
    for pair in range(len(pairs)):
        earlier = complex(signal[pairs[pair, 0]])
        later = complex(signal[pairs[pair, 1]])
        product += later * earlier.conjugate()
        powers = abs(earlier) ** 2, abs(later) ** 2
        if powers[0] + powers[1] > 0:
            information += powers[0] * powers[1] / (powers[0] + powers[1])
    return product, information
