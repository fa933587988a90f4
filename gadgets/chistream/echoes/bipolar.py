"""Echoes of alternating readout polarity: the phase between the two kinds, found and removed."""

from dataclasses import dataclass

import numpy as np

from chistream.arrays import ComplexArray, RealArray, Vector, size_of

_EQUAL = 1e-3
"""Relative difference of two echo spacings that counts as none."""

_BEAT = 0.1
"""Deviation of the log magnitude from a decay at which a voxel starts to count less; fat and water
make it some tenths, noise at an SNR of 25 makes it 0.07."""

_N_REWEIGHTINGS = 30
_SMALL = 0.02
"""Residual [rad] below which a voxel counts fully in the robust fit."""


@dataclass(frozen=True)
class PolarityOffset:
    """Phase of forward echoes minus that of reversed ones: linear over the volume.

    Parameters
    ----------
    constant
        In the middle of the volume, at ``n // 2`` [rad], in (-pi/2, pi/2].
    slope
        Per voxel along ``(z, y, x)`` [rad].
    """

    constant: float
    slope: Vector

    def over(self, echoes: ComplexArray) -> RealArray:
        """Evaluate over the volume of ``echoes (..., z, y, x)``, as ``(z, y, x)`` [rad]."""
        phase = np.full(size_of(echoes), self.constant)
        for axis, (n, slope) in enumerate(zip(phase.shape, self.slope, strict=True)):
            others = tuple(i for i in range(3) if i != axis)
            phase += np.expand_dims(slope * (np.arange(n) - n // 2), others)
        return phase


def correct_polarity(
    echoes: ComplexArray, TE: tuple[float, ...], is_reversed: tuple[bool, ...]
) -> tuple[ComplexArray, PolarityOffset | None]:
    """Remove the phase by which echoes of the two readout polarities differ.

    Parameters
    ----------
    echoes
        Complex echoes ``(echoes, z, y, x)``.
    TE
        Echo times [s].
    is_reversed
        Whether each echo was read backwards.

    Returns
    -------
    corrected : ComplexArray
        Echoes ``(echoes, z, y, x)`` complex64; half of the offset is taken from either kind, so
        that what stays is an offset common to all echoes.
    offset : PolarityOffset | None
        What was removed. None, and the echoes as they were, if no three echoes in a row have equal
        spacing and alternating polarity.

    Raises
    ------
    ValueError
        If the numbers of echoes do not fit.
    """
    if not len(echoes) == len(TE) == len(is_reversed):
        raise ValueError(f"{len(echoes)} echoes, {len(TE)} TE and {len(is_reversed)} polarities")
    product = _polarity_product(echoes, TE, is_reversed)
    if product is None:
        return echoes, None
    offset = fit_offset(product)
    half = np.exp(-0.5j * offset.over(echoes)).astype(np.complex64)
    corrected = np.empty(echoes.shape, np.complex64)
    for echo, backwards in enumerate(is_reversed):
        np.multiply(echoes[echo], half.conj() if backwards else half, out=corrected[echo])
    return corrected, offset


def fit_offset(product: ComplexArray) -> PolarityOffset:
    r"""Fit a linear phase to half the phase of a product, robustly.

    .. math:: \min_{c, \mathbf g} \sum_{\mathbf r} |p(\mathbf r)|^{1/2}
              \left| \arg p(\mathbf r) - 2 (c + \mathbf g \cdot \mathbf r) \right|

    Parameters
    ----------
    product
        ``(z, y, x)``: magnitude to the fourth power, with twice the offset as its phase.

    Returns
    -------
    PolarityOffset
        The fit. Its constant is known up to half a turn: the smaller one is taken.

    Notes
    -----
    Slopes come from the phase between neighbours first, so that wraps of the phase over the volume
    do no harm. The absolute deviation is minimised by reweighting: voxels with fat and water, whose
    phase is no linear function of TE, are outliers to it.

    References
    ----------
    .. [1] Li J, Chang S, Liu T, et al. Phase-corrected bipolar gradients in multi-echo
       gradient-echo sequences for quantitative susceptibility mapping. MAGMA.
       2015;28(4):347-355. doi:10.1007/s10334-014-0470-3
    """
    weights = np.sqrt(np.abs(product))
    unit = np.divide(product, weights, out=np.zeros_like(product), where=weights > 0)
    coefficients = np.array([0.0, *(_neighbour_slope(unit, axis) for axis in range(3))])
    inside = weights > 0.05 * weights.max()
    positions = np.argwhere(inside) - np.array(product.shape) // 2
    design = np.column_stack([np.ones(len(positions)), positions]).astype(float)
    values, weight = unit[inside], weights[inside].astype(float)
    turned = values * np.exp(-1j * (design @ coefficients))
    coefficients[0] = np.angle(turned.sum())
    for _ in range(_N_REWEIGHTINGS):
        residual = np.angle(values * np.exp(-1j * (design @ coefficients)))
        robust = weight / np.maximum(np.abs(residual), _SMALL)
        normal = design.T @ (robust[:, None] * design)
        # A volume one voxel thin has no slope along that axis: the least one is taken.
        coefficients += np.linalg.lstsq(normal, design.T @ (robust * residual), rcond=1e-12)[0]
    z, y, x = (coefficients[1:] / 2).tolist()
    return PolarityOffset(float(np.angle(np.exp(1j * coefficients[0]))) / 2, (z, y, x))


def _polarity_product(
    echoes: ComplexArray, TE: tuple[float, ...], is_reversed: tuple[bool, ...]
) -> ComplexArray | None:
    """Sum ``I_e^2 conj(I_{e-1} I_{e+1})`` over the triples, with the phase of forward echoes.

    Weighted: voxels brighter than the median count little more than it, since close to a coil is
    fat, and a magnitude that does not decay exponentially tells of fat beside water.
    """
    brightness = np.abs(echoes[0])
    typical = np.median(brightness[brightness > 0.1 * brightness.max()]) ** 2
    total: ComplexArray | None = None
    for e in range(1, len(TE) - 1):
        before, after = TE[e] - TE[e - 1], TE[e + 1] - TE[e]
        alternates = is_reversed[e - 1] == is_reversed[e + 1] != is_reversed[e]
        if not alternates or abs(after - before) > _EQUAL * (after + before):
            continue
        product = echoes[e].astype(np.complex128) ** 2 * (echoes[e - 1] * echoes[e + 1]).conj()
        product = product.conj() if is_reversed[e] else product
        sides, middle = np.abs(echoes[e - 1] * echoes[e + 1]), np.abs(echoes[e]) ** 2
        with np.errstate(divide="ignore", invalid="ignore"):
            beat = np.nan_to_num(np.log(middle / sides), nan=np.inf)
        weight = np.exp(-0.5 * (beat / _BEAT) ** 2)
        product *= np.square(weight / (np.sqrt(middle * sides) + typical))
        total = product if total is None else total + product
    return total


def _neighbour_slope(unit: ComplexArray, axis: int) -> float:
    """Return the phase from one voxel to the next along an axis, on average [rad]."""
    ahead, behind = (
        np.take(unit, range(1, unit.shape[axis]), axis),
        np.take(unit, range(unit.shape[axis] - 1), axis),
    )
    return float(np.angle((ahead * behind.conj()).sum())) if ahead.size else 0.0
