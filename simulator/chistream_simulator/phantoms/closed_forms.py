"""Spheres and cylinders in a bath, whose fields have closed forms."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np

from chistream.arrays import RealArray
from chistream.physics.geometry import Geometry
from chistream_simulator.case import Case
from chistream_simulator.fields import cylinder_field, sphere_field
from chistream_simulator.phantoms.phantom import Phantom, tissue_values
from chistream_simulator.phantoms.pose import AT_REST, Pose
from chistream_simulator.phantoms.scene import Part, block_points
from chistream_simulator.phantoms.shapes import Ellipsoid, Point, Points, Shape, cylinder

FieldOf: TypeAlias = Callable[[Points], RealArray]

CURIE = 4 * np.pi * 0.12505
"""Molar susceptibility [cm^3/mol, SI] of one Bohr magneton squared at 1 K (Curie's law)."""

GADOLINIUM = (7.94**2, 5.0)
"""Gd(III): squared moment [Bohr magnetons squared]; relaxivity of R2* [1/s/mM], assumed."""

IRON = (5.92**2, 10.0)
"""Fe(III), high spin: the same two."""


class ClosedFormPhantom(Phantom):
    """Solids in a bath whose fields are known and add up; the bath itself disturbs nothing.

    Parameters
    ----------
    case
        Sequence and tissues.
    bath
        What gives signal around the solids; its own susceptibility is that of what surrounds it.
    solids
        Parts inside the bath, each of a tissue of its own.
    tissues
        ``chi`` [ppm] and ``r2star`` [1/s] of those tissues, where they differ from the bath's.
    fields
        Field of each solid.
    """

    def __init__(
        self,
        case: Case,
        bath: Shape,
        solids: Sequence[Part],
        tissues: dict[str, dict[str, float]],
        fields: Sequence[FieldOf],
    ) -> None:
        water = tissue_values(case)["water"]
        values = {"water": water, "outside": {**water, "water": 0.0}}
        values |= {name: {**water, **own} for name, own in tissues.items()}
        labels = tuple(part.label for part in solids)
        super().__init__(
            (Part(bath, "water", "bath"), *solids),
            values,
            surroundings="outside",
            body=bath,
            pools=labels,
            focus=(*labels, "bath"),
        )
        self._fields = fields

    def field(self, geometry: Geometry, pose: Pose = AT_REST) -> RealArray:  # noqa: ARG002
        """Field ``(z, y, x)`` float32 relative to B0 [ppm]."""
        points = block_points(geometry)
        total = np.zeros(geometry.shape, np.float32)
        for field_of in self._fields:
            total += field_of(points)
        return total

    def local_field(self, geometry: Geometry) -> RealArray:
        """Field ``(z, y, x)`` [ppm] of the solids, which is all there is."""
        return self.field(geometry)


def sphere_phantom(case: Case) -> ClosedFormPhantom:
    """Make a sphere in a spherical bath, both in the middle of the slab."""
    radius, chi = case.object_radius, case.object_chi
    solid = Part(Ellipsoid(case.position, (radius, radius, radius)), "sphere", "sphere")
    bath = Ellipsoid(case.position, (case.bath_radius,) * 3)
    tissues = {"sphere": {"chi": chi}}
    field = partial(sphere_field, centre=case.position, radius=radius, chi=chi)
    return ClosedFormPhantom(case, bath, [solid], tissues, [field])


def cylinder_phantom(case: Case) -> ClosedFormPhantom:
    """Make an infinite cylinder in a parallel bath, at an angle to B0."""
    return _rods(case, ["cylinder"], [{"chi": case.object_chi}], case.object_radius, 0.0)


def vials_phantom(case: Case) -> ClosedFormPhantom:
    """Make a ladder of gadolinium and iron solutions in long vials, in a ring, in water."""
    names, tissues = [], []
    for prefix, (moment, relaxivity), ladder in (
        ("gadolinium", GADOLINIUM, case.vial_gadolinium),
        ("iron", IRON, case.vial_iron),
    ):
        for concentration in ladder:
            names.append(f"{prefix}_{concentration:g}_mM")
            chi = molar_susceptibility(moment, case.vial_temperature) * concentration
            tissues.append({"chi": chi, "r2star": 1.0 + relaxivity * concentration})
    return _rods(case, names, tissues, case.vial_radius, 0.6 * case.bath_radius)


def molar_susceptibility(moment: float, temperature: float) -> float:
    """Susceptibility of a paramagnetic solution by Curie's law.

    Parameters
    ----------
    moment
        Squared effective magnetic moment of the ion [Bohr magnetons squared].
    temperature
        [K].

    Returns
    -------
    float
        [ppm/mM]: 1e-6 of susceptibility for 1e-6 mol/cm^3.

    Examples
    --------
    >>> round(molar_susceptibility(5.46**2, 310.15), 3)  # high-spin haem at body temperature
    0.151
    """
    return float(CURIE * moment / temperature)


def _rods(
    case: Case,
    names: Sequence[str],
    tissues: Sequence[dict[str, float]],
    radius: float,
    ring: float,
) -> ClosedFormPhantom:
    tilt = np.deg2rad(case.cylinder_tilt)
    along = (0.0, float(np.sin(tilt)), float(np.cos(tilt)))
    centres = [_on_ring(case.position, ring, i / len(names)) for i in range(len(names))]
    solids = [
        Part(cylinder(c, (radius, radius), along), name, name)
        for c, name in zip(centres, names, strict=True)
    ]
    fields = [
        partial(cylinder_field, centre=c, along=along, radius=radius, chi=tissue["chi"])
        for c, tissue in zip(centres, tissues, strict=True)
    ]
    bath = cylinder(case.position, (case.bath_radius, case.bath_radius), along)
    return ClosedFormPhantom(case, bath, solids, dict(zip(names, tissues, strict=True)), fields)


def _on_ring(centre: Point, radius: float, turn: float) -> Point:
    # The ring lies in the plane of L and P; a tilted rod crosses it at its own centre.
    angle = 2 * np.pi * turn
    left, posterior, superior = centre
    return (
        left + radius * float(np.cos(angle)),
        posterior + radius * float(np.sin(angle)),
        superior,
    )
