"""The field of an object: closed forms, and a forward model of its own in patient coordinates.

All fields are relative to B0 [ppm], with the Lorentz sphere removed. B0 runs along S.
"""

from functools import lru_cache

import numpy as np
import scipy.fft
from scipy.ndimage import map_coordinates

from chistream.arrays import Mask, RealArray, Size
from chistream.physics.fourier import good_size
from chistream.physics.geometry import Geometry
from chistream_simulator.phantoms.scene import block_points
from chistream_simulator.phantoms.shapes import Point, Points, axes_with


def sphere_field(points: Points, centre: Point, radius: float, chi: float) -> RealArray:
    r"""Field of a sphere: nothing inside, a dipole outside.

    .. math:: \Delta B / B_0 = \frac{\Delta\chi}{3} \frac{a^3}{r^3} (3\cos^2\theta - 1)

    Parameters
    ----------
    points
        Where [mm].
    centre
        Of the sphere [mm].
    radius
        a [mm].
    chi
        Difference to the surroundings [ppm].

    Returns
    -------
    RealArray
        Field [ppm], in the shape of the points.

    Examples
    --------
    >>> zero = np.zeros(1)
    >>> sphere_field((zero, zero, zero + 20.0), (0.0, 0.0, 0.0), 10.0, 3.0).tolist()
    [0.25]
    """
    left, posterior, superior = (
        np.asarray(p, dtype=float) - c for p, c in zip(points, centre, strict=True)
    )
    r_squared = left**2 + posterior**2 + superior**2
    safe = np.maximum(r_squared, radius**2)
    outside = chi / 3 * radius**3 * safe**-1.5 * (3 * superior**2 / safe - 1)
    return np.where(r_squared >= radius**2, outside, 0.0)


def cylinder_field(
    points: Points, centre: Point, along: Point, radius: float, chi: float
) -> RealArray:
    r"""Field of an infinite circular cylinder.

    .. math:: \Delta B / B_0 = \frac{\Delta\chi}{6} (3\cos^2\theta - 1) \text{ inside}, \quad
              \frac{\Delta\chi}{2} \frac{a^2}{r^2} \sin^2\theta \cos 2\varphi \text{ outside}

    Parameters
    ----------
    points
        Where [mm].
    centre
        Any point of the axis [mm].
    along
        Direction of the axis.
    radius
        a [mm].
    chi
        Difference to the surroundings [ppm].

    Returns
    -------
    RealArray
        Field [ppm], in the shape of the points.

    Examples
    --------
    >>> x = np.array([0.0, 20.0])
    >>> across = cylinder_field((x, 0 * x, 0 * x), (0, 0, 0), (0, 1, 0), 10.0, 6.0)
    >>> across.round(6).tolist()  # inside; outside, at right angles to B0
    [-1.0, -0.75]
    """
    u, v, w = np.asarray(axes_with(along))
    offsets = [np.asarray(p, dtype=float) - c for p, c in zip(points, centre, strict=True)]
    across_u = sum(o * a for o, a in zip(offsets, u, strict=True))
    across_v = sum(o * a for o, a in zip(offsets, v, strict=True))
    r_squared = across_u**2 + across_v**2
    safe = np.maximum(r_squared, radius**2)
    # The part of B0 across the axis is (u_S, v_S), of length sin theta; cos 2 phi is measured
    # from it: sin^2 theta cos 2 phi = ((b.r)^2 - (b x r)^2) / r^2.
    along_b = across_u * u[2] + across_v * v[2]
    across_b = across_u * v[2] - across_v * u[2]
    outside = chi / 2 * radius**2 / safe * (along_b**2 - across_b**2) / safe
    inside = chi / 6 * (3 * w[2] ** 2 - 1)
    field: RealArray = np.where(r_squared >= radius**2, outside, inside)
    return field


def patient_grid(low: Point, high: Point, spacing: Point, padding: tuple[float, float]) -> Geometry:
    """Make a grid along the patient's axes on which fields are computed.

    Parameters
    ----------
    low, high
        Corners of what must lie inside (L, P, S) [mm].
    spacing
        Largest voxel size (L, P, S) [mm].
    padding
        Empty space added on each side along L and along P [mm]. Along S nothing is added: what
        the grid holds is continued there, period after period.

    Returns
    -------
    Geometry
        Axial grid, of sizes that transform fast.
    """
    margin = (*padding, 0.0)
    extent = [h - b + 2 * m for b, h, m in zip(low, high, margin, strict=True)]
    nx, ny, nz = (
        good_size(int(np.ceil(e / d - 1e-6))) for e, d in zip(extent, spacing, strict=True)
    )
    dx, dy, dz = (e / n for e, n in zip(extent, (nx, ny, nz), strict=True))
    left, posterior, superior = ((b + h) / 2 for b, h in zip(low, high, strict=True))
    return Geometry((nz, ny, nx), (dz, dy, dx), (left, posterior, superior))


def field_on_grid(chi: RealArray, geometry: Geometry) -> RealArray:
    """Compute the field of a susceptibility map by its Fourier series, with B0 along z.

    Parameters
    ----------
    chi
        Susceptibility ``(z, y, x)`` [ppm], continued periodically beyond the grid.
    geometry
        Axial grid, z along S.

    Returns
    -------
    RealArray
        Field ``(z, y, x)`` float32 [ppm]. The mean of chi adds nothing.

    Notes
    -----
    What is uniform along S, such as the trunk far from its ends, is exact with no padding at all:
    its Fourier coefficients lie in the plane where the factor is 1/3.
    """
    spectrum = scipy.fft.rfftn(np.asarray(chi, np.float32), workers=-1)
    spectrum *= _dipole_factor(geometry.shape, geometry.voxel_size)
    field: RealArray = scipy.fft.irfftn(spectrum, s=chi.shape, workers=-1, overwrite_x=True)
    return field


@lru_cache(maxsize=2)
def _dipole_factor(shape: Size, voxel_size: tuple[float, float, float]) -> RealArray:
    nz, ny, nx = shape
    dz, dy, dx = voxel_size
    z2 = (scipy.fft.fftfreq(nz, dz) ** 2).astype(np.float32)[:, None, None]
    y2 = (scipy.fft.fftfreq(ny, dy) ** 2).astype(np.float32)[None, :, None]
    x2 = (scipy.fft.rfftfreq(nx, dx) ** 2).astype(np.float32)[None, None, :]
    total = z2 + y2 + x2
    total[0, 0, 0] = 1.0
    factor: RealArray = np.float32(1 / 3) - z2 / total
    factor[0, 0, 0] = 0.0
    return factor


def sample(values: RealArray, source: Geometry, target: Geometry) -> RealArray:
    """Interpolate a map on an axial grid at the voxels of another, maybe oblique, grid.

    Parameters
    ----------
    values
        Map ``(z, y, x)`` on the source grid.
    source
        Axial grid.
    target
        Any grid; its voxels must lie within the source.

    Returns
    -------
    RealArray
        Map ``(z, y, x)`` float32 on the target grid, by trilinear interpolation.
    """
    left, posterior, superior = block_points(target)
    coordinates = [
        (axis - origin) / step + n // 2
        for axis, origin, step, n in zip(
            (superior, posterior, left),
            source.position[::-1],
            source.voxel_size,
            source.shape,
            strict=True,
        )
    ]
    coordinates = list(np.broadcast_arrays(*coordinates))
    result: RealArray = map_coordinates(
        values, coordinates, output=np.float32, order=1, mode="grid-wrap"
    )
    return result


def shim_terms(points: Points, field: RealArray, region: Mask, order: str) -> RealArray:
    """Fit the field that a shim takes away.

    Parameters
    ----------
    points
        Positions of the field's voxels [mm].
    field
        Field ``(z, y, x)`` [ppm].
    region
        Voxels that the shim looks at ``(z, y, x)``.
    order
        ``"none"``, ``"offset"`` (the centre frequency) or ``"linear"`` (and the three gradients).

    Returns
    -------
    RealArray
        Coefficients of 1, L, P and S [ppm, ppm/mm].
    """
    terms = np.zeros(4)
    n_terms = {"none": 0, "offset": 1, "linear": 4}[order]
    if n_terms and region.any():
        columns = [np.broadcast_to(c, field.shape)[region] for c in (np.float32(1), *points)]
        design = np.stack(columns[:n_terms], axis=1).astype(float)
        terms[:n_terms] = np.linalg.lstsq(design, field[region].astype(float), rcond=None)[0]
    return terms


def shim_field(points: Points, terms: RealArray) -> RealArray:
    """Evaluate a shim.

    Parameters
    ----------
    points
        Where [mm].
    terms
        Coefficients from `shim_terms`.

    Returns
    -------
    RealArray
        Field [ppm] float32, to be subtracted; it broadcasts to the shape of the points.
    """
    offset, *slopes = np.asarray(terms, np.float32)
    return np.asarray(offset + sum(p * s for p, s in zip(points, slopes, strict=True)), np.float32)
