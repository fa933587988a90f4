"""Removal of a smooth residual background by a weighted polynomial fit."""

from collections.abc import Iterator
from typing import Literal

import numpy as np

from chistream.arrays import Mask, RealArray, Vector
from chistream.background.local_field import LocalField, only_inside
from chistream.physics.backend import converted, matched, namespace, to_numpy
from chistream.physics.dipole import ALONG_Z
from chistream.physics.volumes import check_field, check_weights


def remove_background_polynomial(
    total_field: RealArray,
    mask: Mask,
    voxel_size: Vector,
    *,
    b0_direction: Vector = ALONG_Z,  # noqa: ARG001  (one signature for all methods)
    weights: RealArray | None = None,
    order: int = 4,
    kind: Literal["harmonic", "polynomial"] = "harmonic",
) -> LocalField:
    r"""Remove the polynomial that fits a field best, for what another method left behind.

    .. math:: f_{loc} = f - \sum_j \hat a_j h_j, \qquad
              \hat a = \arg\min_a \| W (f - \textstyle\sum_j a_j h_j) \|_2^2

    Parameters
    ----------
    total_field
        Field offset ``(z, y, x)`` relative to B0 [ppm], of any array library: total, or local
        with a smooth rest of the background in it. Only the mask is read.
    mask
        Voxels where the field is known ``(z, y, x)``; the mask of the last method's result.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm].
    b0_direction
        Plays no role.
    weights
        W, the reciprocal of the field's standard deviation ``(z, y, x)``, >= 0; uniform by
        default.
    order
        Highest order of the polynomials, >= 0; 0 takes the weighted mean alone.
    kind
        ``harmonic``: the solid harmonics, ``(order + 1)^2`` of them, which is all that sources far
        away can make. ``polynomial``: all monomials, which fit what is no field of far sources
        (a phase offset of the receiver) and take more of the local field.

    Returns
    -------
    LocalField
        What remains ``(z, y, x)`` [ppm], float32, and the mask as it came: nothing is eroded.

    Raises
    ------
    ValueError
        If the mask is empty or differs in shape, the field is not finite in it, the weights are
        negative or all zero, the order is negative, or the mask has fewer voxels than there are
        polynomials.

    Notes
    -----
    No derivative of the field is taken, so noise is not amplified. Sources near the mask make
    fields that no low order describes: this is a second step, not a method for total fields.

    Examples
    --------
    >>> z, y, x = np.mgrid[:9, :10, :11].astype(float)
    >>> mask = np.ones(z.shape, dtype=bool)
    >>> left = remove_background_polynomial(x * y - z + 7, mask, (2.0, 1.0, 1.0), order=2)
    >>> bool(abs(left.local_field).max() < 1e-4)
    True
    """
    check_field("total_field", total_field, mask, voxel_size)
    if order < 0:
        raise ValueError(f"order must not be negative, got {order}")
    xp = namespace(total_field)
    make = _solid_harmonics if kind == "harmonic" else _monomials
    positions = _positions(to_numpy(mask), voxel_size)
    regressors = matched(np.stack(list(make(positions, order))), total_field)
    if regressors.shape[0] > regressors.shape[1]:
        raise ValueError(
            f"the mask has {regressors.shape[1]} voxels for {regressors.shape[0]} polynomials"
        )
    field = converted(total_field[mask], "float64")
    trust = xp.ones_like(field)
    if weights is not None:
        check_weights(weights, total_field, mask)
        trust = converted(weights[mask], "float64") ** 2
    # float64 and positions within +-1 leave the normal equations well enough conditioned.
    gram = to_numpy((regressors * trust) @ regressors.T)
    right = to_numpy(regressors @ (trust * field))
    factors = matched(np.linalg.lstsq(gram, right, rcond=1e-12)[0], field)
    local = xp.zeros_like(only_inside(total_field, mask))
    local[mask] = converted(field - factors @ regressors, "float32")
    return LocalField(local, xp.asarray(mask, copy=True), 0, 0.0, converged=True)


def _positions(mask: Mask, voxel_size: Vector) -> RealArray:
    """Positions of the mask's voxels ``(3, n)``, z first, about its middle and within +-1."""
    places = np.stack(np.nonzero(mask)) * np.asarray(voxel_size)[:, None]
    low, high = places.min(axis=1), places.max(axis=1)
    centred: RealArray = places - (low + high)[:, None] / 2
    return centred / max(float((high - low).max()) / 2, 1e-30)


def _monomials(positions: RealArray, order: int) -> Iterator[RealArray]:
    z, y, x = positions
    for a in range(order + 1):
        for b in range(order + 1 - a):
            for c in range(order + 1 - a - b):
                yield z**a * y**b * x**c


def _solid_harmonics(positions: RealArray, order: int) -> Iterator[RealArray]:
    r"""Yield the real solid harmonics up to an order, each up to a factor.

    With :math:`\Pi_m^m = 1` and the recursion of the Legendre functions in l, times the real and
    the imaginary part of :math:`(x + i y)^m`.
    """
    z, y, x = positions
    r2 = z**2 + y**2 + x**2
    for m in range(order + 1):
        turning = (x + 1j * y) ** m
        before, now = np.zeros_like(z), np.ones_like(z)
        for degree in range(m, order + 1):
            yield now * turning.real
            if m:
                yield now * turning.imag
            following = ((2 * degree + 1) * z * now - (degree + m) * r2 * before) / (degree - m + 1)
            before, now = now, following
