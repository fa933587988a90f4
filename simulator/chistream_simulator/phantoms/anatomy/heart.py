"""The four chambers: how they lie in the chest, and how they contract."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from chistream_simulator.phantoms.combinations import Grown, Intersection
from chistream_simulator.phantoms.prisms import HalfSpace
from chistream_simulator.phantoms.shapes import (
    Axes,
    Ellipsoid,
    Point,
    Shape,
    axes_with,
    displaced,
    point,
)

LV_CENTRE: Point = (30.0, -20.0, -2.0)
"""Origin of the heart's own coordinates."""

LONG_AXIS: Point = (0.62, -0.58, -0.53)
"""From the base of the heart to its apex: to the left, forwards and down."""

EJECTION_FRACTION = 0.6

PLANE_DESCENT = 12.0
"""Of the atrioventricular plane towards the apex, from diastasis to end-systole [mm]."""

BASE = 32.0
"""From the origin back to the atrioventricular plane in diastasis [mm]."""

LV_RADIUS, LV_APEX = 24.0, 44.0
"""Inner radius, and distance of the inner apex from the origin, in diastasis [mm]."""

WALL, APICAL_WALL = 10.0, 8.0
"""Thickness of the left ventricle's wall in diastasis [mm]."""

APICAL_THICKENING = 3.0
"""Of the wall at the apex, whose outer surface rests [mm]."""

RV_WALL, ATRIAL_WALL, VALVE = 3.5, 2.0, 3.0
"""Thicknesses [mm]."""


def heart_axes() -> Axes:
    """Directions from the LV to the RV, down along the septum, and from base to apex."""
    apex = np.asarray(axes_with(LONG_AXIS)[2])
    right_and_forwards = np.array([-0.75, -0.6, -0.1])
    towards_rv = right_and_forwards - (right_and_forwards @ apex) * apex
    towards_rv /= np.linalg.norm(towards_rv)
    return point(towards_rv), point(np.cross(apex, towards_rv)), point(apex)


AXES = heart_axes()


@dataclass(frozen=True)
class Heart:
    """The heart's solids at one moment.

    Parameters
    ----------
    contraction
        In [0, 1]: 0 in diastasis, 1 at end-systole.
    shift
        From its place at end-expiration (L, P, S) [mm].

    Notes
    -----
    In its own coordinates a place is so far towards the RV, inferior, and towards the apex from
    `LV_CENTRE` [mm]. The left ventricle is a half-ellipsoidal cup, cut by the atrioventricular
    plane. As that comes down, its cavity empties by the ejection fraction and its wall keeps its
    volume; the outer surface at the apex rests, and the atria are drawn out.
    """

    contraction: float = 0.0
    shift: Point = (0.0, 0.0, 0.0)

    def place(self, to_rv: float, inferior: float, apical: float) -> Point:
        """Patient position of a place in the heart's coordinates [mm]."""
        offset = np.array([to_rv, inferior, apical]) @ np.asarray(AXES)
        return displaced(displaced(LV_CENTRE, point(offset)), self.shift)

    @property
    def base(self) -> float:
        """From the origin back to the atrioventricular plane [mm]."""
        return BASE - PLANE_DESCENT * self.contraction

    @property
    def inner_apex(self) -> float:
        """From the origin to the inner apex [mm]."""
        return LV_APEX - APICAL_THICKENING * self.contraction

    @cached_property
    def inner_radius(self) -> float:
        """Of the left ventricle at the origin [mm]."""
        return cup_radius(_cavity_volume(self.contraction), self.inner_apex, self.base)

    @cached_property
    def outer_radius(self) -> float:
        """Of the left ventricle's wall at the origin [mm]: its volume is that in diastasis."""
        apex = LV_APEX + APICAL_WALL
        full = cup_volume(LV_RADIUS + WALL, apex, BASE)
        wall = full - _cavity_volume(0.0)
        return cup_radius(wall + _cavity_volume(self.contraction), apex, self.base)

    def lv_layer(self, depth: float) -> Ellipsoid:
        """Uncut surface in the left ventricle's wall, from the inner (0) to the outer one (1)."""
        radius = self.inner_radius + depth * (self.outer_radius - self.inner_radius)
        apex = self.inner_apex + depth * (LV_APEX + APICAL_WALL - self.inner_apex)
        return self._solid((0.0, 0.0, 0.0), (radius, radius, apex))

    @property
    def lv(self) -> Shape:
        """Cavity of the left ventricle."""
        return Intersection(self.lv_layer(0.0), (self.apical_of(-self.base),))

    @property
    def lv_with_wall(self) -> Shape:
        """Left ventricle."""
        return Intersection(self.lv_layer(1.0), (self.apical_of(-self.base - VALVE / 2),))

    @property
    def rv(self) -> Shape:
        """Cavity of the right ventricle, before the left one with its wall is put into it."""
        return Intersection(self._rv_solid, (self.apical_of(-self.base),))

    @property
    def rv_with_wall(self) -> Shape:
        """Right ventricle."""
        free_wall = Grown(self._rv_solid, RV_WALL + self.contraction)
        return Intersection(free_wall, (self.apical_of(-self.base - VALVE / 2),))

    @property
    def la(self) -> Shape:
        """Cavity of the left atrium."""
        return Intersection(self._atrium((-4.0, 1.0), (28.0, 25.0), 78.0), self._atrial_side)

    @property
    def ra(self) -> Shape:
        """Cavity of the right atrium, before the left one with its wall is put into it."""
        return Intersection(self._atrium((37.0, 8.0), (23.5, 30.0), 76.0), self._atrial_side)

    @property
    def _rv_solid(self) -> Ellipsoid:
        c = self.contraction
        return self._solid((28.0 - 6.0 * c, 2.0, -4.0), (32.0 - 11.0 * c, 36.0 - 3.0 * c, 44.0))

    def _atrium(
        self, across: tuple[float, float], widths: tuple[float, float], roof: float
    ) -> Ellipsoid:
        """Make an atrium whose roof rests, and whose floor goes along with the plane."""
        floor = self.base - 8.0
        semi_axis = (roof - floor) / 2
        return self._solid((*across, -floor - semi_axis), (*widths, semi_axis))

    @property
    def _atrial_side(self) -> tuple[Shape]:
        return (HalfSpace(self.place(0.0, 0.0, -self.base - VALVE), AXES[2]),)

    def apical_of(self, along: float) -> HalfSpace:
        """All that lies apically of a place on the long axis [mm]."""
        u, v, w = AXES[2]
        return HalfSpace(self.place(0.0, 0.0, along), (-u, -v, -w))

    def _solid(self, centre: Point, semi_axes: Point) -> Ellipsoid:
        return Ellipsoid(self.place(*centre), semi_axes, AXES)


def cup_volume(radius: float, apex: float, base: float) -> float:
    """Volume of a half-ellipsoidal cup [mm^3].

    Parameters
    ----------
    radius
        Of the ellipsoid at its middle [mm].
    apex
        From there to the apex [mm].
    base
        From there to the plane at which it is cut, to the other side [mm].

    Returns
    -------
    float
        Volume.

    Examples
    --------
    >>> round(cup_volume(10.0, 10.0, 10.0))  # a whole ball
    4189
    """
    return np.pi * radius**2 * _cup_length(apex, base)


def cup_radius(volume: float, apex: float, base: float) -> float:
    """Radius of the cup of a volume [mm^3]: see `cup_volume`."""
    return float(np.sqrt(volume / (np.pi * _cup_length(apex, base))))


def _cup_length(apex: float, base: float) -> float:
    return apex + base - (apex**3 + base**3) / (3 * apex**2)


def _cavity_volume(contraction: float) -> float:
    full = cup_volume(LV_RADIUS, LV_APEX, BASE)
    return full * (1 - EJECTION_FRACTION * contraction)
