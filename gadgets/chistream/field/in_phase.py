"""The fast way to a starting field: echoes between which fat turns by whole cycles."""

import numpy as np
from scipy import ndimage

from chistream.arrays import ComplexArray, IntArray, Mask, RealArray
from chistream.errors import ReconstructionError
from chistream.field.echo_train import STAGE, lags
from chistream.field.separability import FieldCost, FieldStart, moments_of_voxels
from chistream.field.unwrapping import unwrap_field, weighted_medians

_IN_PHASE = 0.12
"""Fat may miss a whole cycle by this part of one."""

_MAX_TURNS = 3
_STEPS = 16
_NEAR = 2
_SAME_COST = 0.01


def find_in_phase_field(
    echoes: ComplexArray, cost: FieldCost, mask: Mask, fat_frequency: float
) -> FieldStart:
    """Unwrap the echoes in which fat and water have the same phase relative to each other.

    Parameters
    ----------
    echoes
        Complex echoes ``(echoes, z, y, x)``.
    cost
        What a field costs a voxel.
    mask
        Voxels wanted ``(z, y, x)``.
    fat_frequency
        Main peak of fat relative to water [Hz].

    Returns
    -------
    FieldStart
        Starting values.

    Raises
    ------
    ReconstructionError
        If fat turns by no whole number of cycles between any two echoes.

    Notes
    -----
    Between such echoes the phase is the field's alone, to the part of a cycle by which fat misses
    and to what its minor peaks do. Their spacing leaves the field open by multiples of one over
    it; the costs of all echoes tell which multiple each unconnected region is at.

    References
    ----------
    .. [1] Jafari R, et al. Rapid automated liver quantitative susceptibility mapping. J Magn Reson
       Imaging. 2019;50(3):725-732. doi:10.1002/jmri.26632
    """
    chosen = in_phase_echoes(cost.TE, fat_frequency)
    frequency = unwrap_field(echoes[chosen], cost.TE[chosen], mask)
    period = 1 / lags(cost.TE[chosen])[0].spacing
    step = period / _STEPS
    moments = moments_of_voxels(echoes, mask)
    labels = np.rint(frequency[mask] / step).astype(np.int64)
    regions = ndimage.label(mask)[0][mask] - 1
    costs = np.stack(
        [
            cost.of(moments, labels + turns * _STEPS - _NEAR, 2 * _NEAR + 1, step).min(axis=1)
            for turns in range(-_MAX_TURNS, _MAX_TURNS + 1)
        ],
        axis=1,
    )
    turns = _best_turns(costs, frequency[mask] / period, moments.energy, regions)
    r2star = cost.best_decay(moments, labels + turns[regions] * _STEPS, step)
    frequency[mask] += period * turns[regions]
    start = np.zeros(mask.shape)
    start[mask] = r2star
    return FieldStart(frequency, start)


def in_phase_echoes(TE: RealArray, fat_frequency: float) -> IntArray:
    """Choose the echoes that lie whole cycles of fat behind one of them, the most there are.

    Parameters
    ----------
    TE
        Increasing echo times ``(echoes,)`` [s].
    fat_frequency
        Main peak of fat relative to water [Hz].

    Returns
    -------
    IntArray
        Their indices, at least two.

    Raises
    ------
    ReconstructionError
        If there are no two.

    Examples
    --------
    >>> in_phase_echoes(np.array([1.7, 5.2, 8.7, 12.2, 15.7]) * 1e-3, -434.3)
    array([0, 2, 4])
    """
    turns = fat_frequency * np.subtract.outer(TE, TE)
    in_phase = np.abs(turns - np.rint(turns)) < _IN_PHASE
    chosen = np.flatnonzero(in_phase[int(np.argmax(in_phase.sum(axis=1)))])
    if len(chosen) < 2:
        raise ReconstructionError(
            STAGE,
            f"no two echoes at {(1e3 * TE).round(2).tolist()} ms are in phase: fat at "
            f"{fat_frequency:.0f} Hz turns by no whole cycles between them",
        )
    return chosen


def _best_turns(
    costs: RealArray, places: RealArray, energy: RealArray, regions: IntArray
) -> IntArray:
    """Choose the turns of every region: the cheapest, of equal ones the closest to zero field."""
    turns = np.arange(-_MAX_TURNS, _MAX_TURNS + 1)
    totals: RealArray = np.stack(
        [np.bincount(regions, energy * column) for column in costs.T], axis=1
    )
    totals = totals / np.bincount(regions, energy)[:, None]
    alike = totals - totals.min(axis=1, keepdims=True) < _SAME_COST
    middles = weighted_medians(places, energy, regions)
    distance = np.where(alike, np.abs(middles[:, None] + turns), np.inf)
    best: IntArray = turns[np.argmin(distance, axis=1)]
    return best
