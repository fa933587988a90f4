"""What a scanner's shim coils take away: fields without sources, of order 0 to 2."""

from collections.abc import Callable, Iterator
from typing import Literal, TypeAlias

import numpy as np

from chistream.arrays import Mask, RealArray
from chistream_simulator.magnetics.closed_forms import ALONG_S
from chistream_simulator.phantoms.shapes import Point, Points, axes_with

ShimOrder: TypeAlias = Literal["none", "offset", "linear", "quadratic"]
"""Which fields the shim has: none, the centre frequency, also the gradients, also second order."""

N_TERMS: dict[ShimOrder, int] = {"none": 0, "offset": 1, "linear": 4, "quadratic": 9}


def shim_terms(
    points: Points,
    field: RealArray,
    region: Mask,
    order: ShimOrder,
    *,
    centre: Point = (0.0, 0.0, 0.0),
    b0_direction: Point = ALONG_S,
    weights: RealArray | None = None,
) -> RealArray:
    r"""Fit the field that a shim takes away, by least squares over a region.

    The fields are the solid harmonics :math:`1; x, y, z; z^2 - (x^2 + y^2) / 2, xz, yz,
    x^2 - y^2, xy` of the scanner's axes about a centre.

    Parameters
    ----------
    points
        Positions of the field's voxels (L, P, S) [mm].
    field
        Field ``(z, y, x)`` [ppm].
    region
        Voxels that the shim looks at ``(z, y, x)``.
    order
        Which of them the scanner has.
    centre
        Where the harmonics vanish (L, P, S) [mm]: the middle of the slab.
    b0_direction
        The scanner's z axis (L, P, S), need not be normalised; x is as close to L as it can be.
    weights
        Of the voxels ``(z, y, x)``, >= 0; None: all alike.

    Returns
    -------
    RealArray
        Coefficients ``(9,)`` [ppm/mm^order]; those that the shim does not have are zero, and all
        are where the region is empty.

    Notes
    -----
    A rotation turns harmonic functions into harmonic functions and mixes those of one order among
    each other only. So the fields have no sources whatever the direction of B0, and which field
    is taken away does not depend on how x and y lie about it, only the coefficients do.

    The mean square over the region, weighted like the fit, never grows.
    """
    terms, n = np.zeros(9), N_TERMS[order]
    if not n or not region.any():
        return terms
    x, y, z = _axes_of(points, centre, b0_direction)
    design = np.stack(
        [np.broadcast_to(harmonic(x, y, z), field.shape)[region] for harmonic in _HARMONICS[:n]],
        axis=1,
    )
    values = field[region].astype(float)
    if weights is not None:
        root = np.sqrt(weights[region].astype(float))
        design, values = design * root[:, None], values * root
    scale = np.maximum(np.abs(design).max(axis=0), 1e-30)
    terms[:n] = np.linalg.lstsq(design / scale, values, rcond=None)[0] / scale
    return terms


def shim_field(
    points: Points,
    terms: RealArray,
    *,
    centre: Point = (0.0, 0.0, 0.0),
    b0_direction: Point = ALONG_S,
) -> RealArray:
    """Evaluate a shim.

    Parameters
    ----------
    points
        Where (L, P, S) [mm].
    terms
        Coefficients ``(9,)`` from `shim_terms`.
    centre, b0_direction
        As they were there.

    Returns
    -------
    RealArray
        Field [ppm] float32 in the shape of the points, to be subtracted.

    Examples
    --------
    >>> z = np.array([0.0, 10.0])
    >>> terms = np.array([0.5, 0, 0, 0, 0.01, 0, 0, 0, 0])
    >>> shim_field((0 * z, 0 * z, z), terms).tolist()
    [0.5, 1.5]
    """
    field = np.zeros(np.broadcast_shapes(*(p.shape for p in points)), np.float32)
    x, y, z = _axes_of(points, centre, b0_direction)
    for term, harmonic in zip(terms, _HARMONICS, strict=True):
        if term:
            field += term * harmonic(x, y, z)
    return field


_HARMONICS: tuple[Callable[[RealArray, RealArray, RealArray], RealArray], ...] = (
    lambda x, y, z: np.ones(1),  # noqa: ARG005
    lambda x, y, z: x,  # noqa: ARG005
    lambda x, y, z: y,  # noqa: ARG005
    lambda x, y, z: z,  # noqa: ARG005
    lambda x, y, z: z**2 - (x**2 + y**2) / 2,
    lambda x, y, z: x * z,  # noqa: ARG005
    lambda x, y, z: y * z,  # noqa: ARG005
    lambda x, y, z: x**2 - y**2,  # noqa: ARG005
    lambda x, y, z: x * y,  # noqa: ARG005
)


def _axes_of(points: Points, centre: Point, b0_direction: Point) -> Iterator[RealArray]:
    """Yield the scanner's coordinates x, y and z of points [mm]."""
    offsets = [np.asarray(p, dtype=float) - c for p, c in zip(points, centre, strict=True)]
    for axis in axes_with(b0_direction):
        yield np.asarray(sum(o * a for o, a in zip(offsets, axis, strict=True) if a))
