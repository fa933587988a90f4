"""Background removal by the mean value theorem: SHARP and V-SHARP."""

from collections.abc import Sequence

import numpy as np

from chistream.arrays import Mask, RealArray, Vector, size_of
from chistream.background.local_field import LocalField, only_inside
from chistream.background.spherical_mean import SphericalMean
from chistream.physics.backend import converted, namespace
from chistream.physics.dipole import ALONG_Z
from chistream.physics.volumes import check_field


def remove_background_sharp(
    total_field: RealArray,
    mask: Mask,
    voxel_size: Vector,
    *,
    b0_direction: Vector = ALONG_Z,
    weights: RealArray | None = None,
    radius: float = 6.0,
    threshold: float = 0.05,
) -> LocalField:
    r"""Remove the harmonic part of a field by one sphere and a truncated deconvolution (SHARP).

    .. math:: f_{loc} = M \, C^{-1}_{t} \, M (f - S f), \qquad C = 1 - S

    with S the mean over a sphere and M the voxels whose sphere lies within the mask.

    Parameters
    ----------
    total_field
        Unwrapped field offset ``(z, y, x)`` relative to B0 [ppm], of any array library; only the
        mask is read.
    mask
        Voxels where the field is known ``(z, y, x)``.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm], unequal ones welcome.
    b0_direction, weights
        Play no role: every background is harmonic. They are here so that all methods are called
        alike.
    radius
        Radius of the sphere [mm], not less than the longest voxel edge. The field within a radius
        of the edge of the mask is lost.
    threshold
        t, the smallest ``|C(k)|`` that is still divided by, in (0, 1): what lies below, the
        smoothest part of the local field, is lost.

    Returns
    -------
    LocalField
        The local field ``(z, y, x)`` [ppm], float32, and the mask less one radius at every edge,
        that of the volume included.

    Raises
    ------
    ValueError
        If the mask is empty or differs in shape, the field is not finite in it, the radius is too
        small, no sphere fits into the mask, or the threshold is out of range.

    References
    ----------
    .. [1] Schweser F, Deistung A, Lehr BW, Reichenbach JR. Quantitative imaging of intrinsic
       magnetic tissue properties using MRI signal phase. NeuroImage. 2011;54(4):2789-2807.
       doi:10.1016/j.neuroimage.2010.10.070

    Examples
    --------
    >>> z, y, x = np.mgrid[:15, :16, :17].astype(float)
    >>> mask = np.ones(z.shape, dtype=bool)
    >>> found = remove_background_sharp(x * y - z, mask, (1.0, 1.0, 1.0), radius=3.0)
    >>> bool(abs(found.local_field).max() < 1e-3), int(found.mask.sum())
    (True, 990)
    """
    return remove_background_vsharp(
        total_field,
        mask,
        voxel_size,
        b0_direction=b0_direction,
        weights=weights,
        radii=(radius,),
        threshold=threshold,
    )


def remove_background_vsharp(
    total_field: RealArray,
    mask: Mask,
    voxel_size: Vector,
    *,
    b0_direction: Vector = ALONG_Z,  # noqa: ARG001  (one signature for all methods)
    weights: RealArray | None = None,  # noqa: ARG001
    radii: Sequence[float] | None = None,
    threshold: float = 0.05,
) -> LocalField:
    r"""Remove the harmonic part of a field by the largest sphere that fits around each voxel.

    .. math:: f_{loc} = M \, C^{-1}_{t} \sum_i M_i (f - S_i f), \qquad C = 1 - S_1

    with :math:`M_i` the voxels that the i-th sphere, but no larger one, fits around (V-SHARP).

    Parameters
    ----------
    total_field
        Unwrapped field offset ``(z, y, x)`` relative to B0 [ppm], of any array library; only the
        mask is read.
    mask
        Voxels where the field is known ``(z, y, x)``.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm], unequal ones welcome.
    b0_direction, weights
        Play no role: every background is harmonic.
    radii
        Radii of the spheres [mm], none less than the longest voxel edge. By default from 12 mm
        down to the longest voxel edge in steps of 2 mm, or that edge alone.
    threshold
        As for `remove_background_sharp`.

    Returns
    -------
    LocalField
        The local field ``(z, y, x)`` [ppm], float32, and the mask less the smallest radius at
        every edge, that of the volume included.

    Raises
    ------
    ValueError
        As for `remove_background_sharp`, and if there is no radius.

    Notes
    -----
    Spheres that do not fit at all are left out. Next to the edge, where the spheres are small,
    slow parts of the local field are lost: the deconvolution is right for the largest sphere.

    References
    ----------
    .. [1] Wu B, Li W, Guidon A, Liu C. Whole brain susceptibility mapping using compressed
       sensing. Magn Reson Med. 2012;67(1):137-147. doi:10.1002/mrm.23000
    .. [2] Li W, Wu B, Liu C. Quantitative susceptibility mapping of human brain reflects spatial
       variation in tissue composition. NeuroImage. 2011;55(4):1645-1656.
       doi:10.1016/j.neuroimage.2010.11.088
    """
    check_field("total_field", total_field, mask, voxel_size)
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must lie in (0, 1), got {threshold}")
    if radii is None:
        longest = max(voxel_size)
        radii = np.arange(12.0, longest, -2.0).tolist() or [longest]
    if not len(radii):
        raise ValueError("radii must hold at least one radius")
    xp = namespace(total_field)
    spheres = _fitting(mask, voxel_size, sorted(radii, reverse=True))
    largest = spheres[0]
    field = largest.padding.pad(only_inside(total_field, mask))
    taken = xp.zeros_like(largest.inside)
    high = xp.zeros_like(field)
    for sphere in spheres:
        new = sphere.inside & ~taken
        high = xp.where(new, field - sphere(field), high)
        taken = taken | new
    local = largest.padding.crop(_deconvolved(high, largest, threshold))
    valid = largest.padding.crop(converted(taken, "float32")) > 0.5
    return LocalField(only_inside(local, valid), valid, 0, 0.0, converged=True)


def _fitting(mask: Mask, voxel_size: Vector, radii: Sequence[float]) -> list[SphericalMean]:
    """Make the spheres that fit anywhere, largest first, on the grid that the largest needs."""
    xp = namespace(mask)
    spheres: list[SphericalMean] = []
    extent = min(n * edge for n, edge in zip(size_of(mask), voxel_size, strict=True))
    for radius in radii:
        if radius > extent:  # no need to look
            continue
        room = spheres[0].reach if spheres else None
        sphere = SphericalMean(mask, voxel_size, radius, room)
        if xp.any(sphere.inside):
            spheres.append(sphere)
    if not spheres:
        raise ValueError(
            f"no sphere of {radii[-1]:g} mm fits into the mask of "
            f"{int(xp.count_nonzero(mask))} voxels"
        )
    return spheres


def _deconvolved(high: RealArray, sphere: SphericalMean, threshold: float) -> RealArray:
    xp = namespace(high)
    filtered = 1.0 - sphere.spectrum
    kept = xp.abs(filtered) > threshold
    inverse = xp.where(kept, 1.0 / xp.where(kept, filtered, 1.0), 0.0)
    return sphere.transform.convolve(high, inverse)
