"""Fields of a sphere, a cylinder and an ellipsoid, for any direction of B0.

All are relative to B0 [ppm] with the Lorentz sphere removed, to first order in susceptibility:
an object of a few ppm does not magnetise itself noticeably.
"""

import numpy as np
from scipy.special import elliprd

from chistream.arrays import RealArray
from chistream_simulator.phantoms.shapes import PATIENT_AXES, Axes, Point, Points, axes_with

ALONG_S: Point = (0.0, 0.0, 1.0)
"""Direction of B0 for a patient who lies straight in the bore."""


def unit_vector(direction: Point) -> RealArray:
    """Normalise a patient direction.

    Parameters
    ----------
    direction
        Patient vector (L, P, S), not zero.

    Returns
    -------
    RealArray
        Unit vector ``(3,)``.

    Raises
    ------
    ValueError
        If the vector is zero.

    Examples
    --------
    >>> unit_vector((0.0, 3.0, 4.0)).tolist()
    [0.0, 0.6, 0.8]
    """
    length = float(np.linalg.norm(direction))
    if not length > 0:
        raise ValueError(f"a direction must not be zero, got {direction}")
    return np.asarray(direction, dtype=float) / length


def sphere_field(
    points: Points, centre: Point, radius: float, chi: float, *, b0_direction: Point = ALONG_S
) -> RealArray:
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
    b0_direction
        Direction of B0 (L, P, S), need not be normalised.

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
    offsets = _offsets(points, centre)
    r_squared = sum(o**2 for o in offsets)
    along = _component(offsets, unit_vector(b0_direction))
    safe = np.maximum(r_squared, radius**2)
    outside = chi / 3 * radius**3 * safe**-1.5 * (3 * along**2 / safe - 1)
    return np.where(r_squared >= radius**2, outside, 0.0)


def cylinder_field(
    points: Points,
    centre: Point,
    along: Point,
    radius: float,
    chi: float,
    *,
    b0_direction: Point = ALONG_S,
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
    b0_direction
        Direction of B0 (L, P, S), need not be normalised.

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
    axes = np.asarray(axes_with(along))
    b_u, b_v, b_w = axes @ unit_vector(b0_direction)
    offsets = _offsets(points, centre)
    u, v = _component(offsets, axes[0]), _component(offsets, axes[1])
    r_squared = u**2 + v**2
    safe = np.maximum(r_squared, radius**2)
    # The part of B0 across the axis is (b_u, b_v), of length sin theta, and cos 2 phi is measured
    # from it: sin^2 theta cos 2 phi = ((b.r)^2 - (b x r)^2) / r^2.
    towards, beside = u * b_u + v * b_v, u * b_v - v * b_u
    outside = chi / 2 * radius**2 / safe * (towards**2 - beside**2) / safe
    inside = chi / 6 * (3 * b_w**2 - 1)
    field: RealArray = np.where(r_squared >= radius**2, outside, inside)
    return field


def ellipsoid_field(
    points: Points,
    centre: Point,
    semi_axes: Point,
    chi: float,
    *,
    axes: Axes = PATIENT_AXES,
    b0_direction: Point = ALONG_S,
) -> RealArray:
    r"""Field of a triaxial ellipsoid of any orientation.

    .. math:: \Delta B / B_0 = \Delta\chi \Bigl(\tfrac13 - \sum_i b_i^2 n_i(0)\Bigr)
              \text{ inside}, \quad \Delta\chi \Bigl(\frac{a_1 a_2 a_3}{R_\lambda}
              \frac{(\sum_i b_i x_i / (a_i^2 + \lambda))^2}{\sum_i x_i^2 / (a_i^2 + \lambda)^2}
              - \sum_i b_i^2 n_i(\lambda)\Bigr) \text{ outside},

    where the confocal ellipsoid through the point has the squared semi-axes
    :math:`a_i^2 + \lambda`, :math:`R_\lambda` is the product of its semi-axes and

    .. math:: n_i(\lambda) = \frac{a_1 a_2 a_3}{2} \int_\lambda^\infty
              \frac{ds}{(a_i^2 + s) \prod_j \sqrt{a_j^2 + s}}

    are the demagnetising factors.

    Parameters
    ----------
    points
        Where [mm].
    centre
        Of the ellipsoid [mm].
    semi_axes
        :math:`a_i` [mm], finite and > 0.
    chi
        Difference to the surroundings [ppm].
    axes
        Orthonormal directions of the semi-axes (L, P, S).
    b0_direction
        Direction of B0 (L, P, S), need not be normalised.

    Returns
    -------
    RealArray
        Field [ppm], in the shape of the points.

    Raises
    ------
    ValueError
        If a semi-axis is not finite and positive.

    References
    ----------
    .. [1] Osborn JA. Demagnetizing factors of the general ellipsoid. Phys Rev.
       1945;67(11-12):351-357. doi:10.1103/PhysRev.67.351
    .. [2] Stoner EC. The demagnetizing factors for ellipsoids. Philos Mag. 1945;36(263):803-821.
       doi:10.1080/14786444508521510

    Examples
    --------
    >>> z = np.array([0.0, 20.0])
    >>> ellipsoid_field((0 * z, 0 * z, z), (0, 0, 0), (10.0, 10.0, 10.0), 3.0).round(6).tolist()
    [0.0, 0.25]
    """
    if not (np.isfinite(semi_axes).all() and min(semi_axes) > 0):
        raise ValueError(f"semi_axes must be finite and positive, got {semi_axes}")
    squares = np.square(np.asarray(semi_axes, dtype=float))
    b = np.asarray(axes) @ unit_vector(b0_direction)
    offsets = _offsets(points, centre)
    x = np.stack(np.broadcast_arrays(*(_component(offsets, np.asarray(a)) for a in axes)), axis=-1)
    field = np.full(x.shape[:-1], chi * (1 / 3 - _factors(squares) @ b**2))
    outside = np.sum(x**2 / squares, axis=-1) > 1
    far = x[outside]
    confocal = squares + _ellipsoidal_coordinate(far, squares)[:, None]
    # The second term is the charge on the confocal surface, whose normal is x / confocal.
    share = np.sqrt(np.prod(squares) / np.prod(confocal, axis=-1))
    normal_b, normal = (far / confocal) @ b, np.sum((far / confocal) ** 2, axis=-1)
    field[outside] = chi * (share * (normal_b**2 / normal - _factors(confocal) @ b**2))
    return field


def _factors(squares: RealArray) -> RealArray:
    """Demagnetising factors (..., 3) of ellipsoids of the given squared semi-axes; their sum is 1.

    Those of a body at its confocal coordinate are these, times the ratio of the two volumes.
    """
    volume = np.sqrt(np.prod(squares, axis=-1)) / 3
    turns = [np.moveaxis(np.roll(squares, shift, axis=-1), -1, 0) for shift in (2, 1, 0)]
    return np.stack([volume * elliprd(*turned) for turned in turns], axis=-1)


def _ellipsoidal_coordinate(x: RealArray, squares: RealArray) -> RealArray:
    """Largest root of sum x_i^2 / (a_i^2 + root) = 1, at points (n, 3) outside the ellipsoid."""
    # The sum falls and is convex, so Newton's steps from below climb to the root and never pass it.
    root = np.maximum(np.sum(x**2, axis=-1) - squares.max(), 0.0)
    step = np.full(len(x), np.inf)
    while np.any(step > 1e-13 * (root + squares.max())):
        confocal = squares + root[:, None]
        terms = x**2 / confocal
        step = (terms.sum(axis=-1) - 1) / np.sum(terms / confocal, axis=-1)
        root += step
    return np.asarray(root)


def _offsets(points: Points, centre: Point) -> list[RealArray]:
    return [np.asarray(p, dtype=float) - c for p, c in zip(points, centre, strict=True)]


def _component(offsets: list[RealArray], direction: RealArray) -> RealArray:
    component: RealArray = np.asarray(sum(o * d for o, d in zip(offsets, direction, strict=True)))
    return component
