"""Spheres, ellipsoids, cylinders and vials in a bath, whose fields have closed forms."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TypeAlias

import numpy as np

from chistream.arrays import RealArray
from chistream.physics.geometry import Geometry
from chistream_simulator.case import Case
from chistream_simulator.magnetics.closed_forms import (
    cylinder_field,
    ellipsoid_field,
    sphere_field,
)
from chistream_simulator.options.objects import RING
from chistream_simulator.options.slab import turn_matrix
from chistream_simulator.phantoms.phantom import Phantom, tissue_values
from chistream_simulator.phantoms.pose import AT_REST, Pose
from chistream_simulator.phantoms.scene import Part, block_points
from chistream_simulator.phantoms.shapes import (
    Ellipsoid,
    Point,
    Points,
    Shape,
    axes_with,
    cylinder,
    point,
)
from chistream_simulator.tissues import TABLE_FIELDS, Tissue, tissue_table

FieldOf: TypeAlias = Callable[[Points], RealArray]

CURIE = 4 * np.pi * 0.12505
"""Molar susceptibility [cm^3/mol, SI] of one Bohr magneton squared at 1 K (Curie's law)."""


@dataclass(frozen=True)
class Ion:
    """A paramagnetic ion in water.

    Parameters
    ----------
    moment
        Squared effective magnetic moment [Bohr magnetons squared].
    r1, r2star
        Relaxivities at 1.5 T and at 3 T [1/s/mM].
    """

    moment: float
    r1: tuple[float, float]
    r2star: tuple[float, float]


GADOLINIUM = Ion(7.94**2, (3.3, 3.1), (3.9, 3.7))
"""Gd(III) as gadopentetate; relaxivities in water at 37 degrees Celsius of Rohrer, Invest Radiol
2005;40:715-724, doi:10.1097/01.rli.0000184756.66360.d3, where r2 stands for R2* of a solution."""

IRON = Ion(5.92**2, (6.0, 6.0), (12.5, 12.5))
"""Fe(III) with the moment of its spins alone; R2* of ferric chloride at 3 T of Dietrich,
Neuroradiology 2017;59:403-409, doi:10.1007/s00234-017-1813-3. R1 is assumed. There the measured
susceptibility, 0.088 ppm/mM, was half of what the free ion has by Curie's law."""


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
        What those tissues have that differs from the bath's: ``chi`` relative to it [ppm], maybe
        ``water`` and ``r2star`` [1/s].
    fields
        Field of each solid.
    """

    def __init__(
        self,
        case: Case,
        bath: Shape,
        solids: Sequence[Part],
        tissues: Mapping[str, Mapping[str, float]],
        fields: Sequence[FieldOf],
    ) -> None:
        water = tissue_values(case)["water"]
        values = {"water": water, "outside": {**water, "water": 0.0, "fat": 0.0}}
        values |= {
            name: {**water, **own, "chi": water["chi"] + own["chi"]}
            for name, own in tissues.items()
        }
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
    field = partial(
        sphere_field,
        centre=case.position,
        radius=radius,
        chi=chi,
        b0_direction=case.b0_direction,
    )
    return _in_spherical_bath(case, "sphere", Ellipsoid(case.position, (radius,) * 3), field)


def ellipsoid_phantom(case: Case) -> ClosedFormPhantom:
    """Make an ellipsoid in a spherical bath, both in the middle of the slab."""
    turn = turn_matrix(case.object_turn)
    solid = Ellipsoid(
        case.position, case.object_axes, (point(turn[:, 0]), point(turn[:, 1]), point(turn[:, 2]))
    )
    field = partial(
        ellipsoid_field,
        centre=case.position,
        semi_axes=case.object_axes,
        chi=case.object_chi,
        axes=solid.axes,
        b0_direction=case.b0_direction,
    )
    return _in_spherical_bath(case, "ellipsoid", solid, field)


def cylinder_phantom(case: Case) -> ClosedFormPhantom:
    """Make an infinite cylinder in a parallel bath, at an angle to S."""
    return _rods(case, {"cylinder": {"chi": case.object_chi}}, case.object_radius, 0.0)


def vials_phantom(case: Case) -> ClosedFormPhantom:
    """Make a ladder of gadolinium and iron solutions in long vials, in a ring, in water."""
    tissues: dict[str, dict[str, float]] = {}
    for prefix, ion, ladder in (
        ("gadolinium", GADOLINIUM, case.vial_gadolinium),
        ("iron", IRON, case.vial_iron),
    ):
        for concentration in ladder:
            solution = _solution(case, ion, concentration)
            tissues[_free_name(f"{prefix}_{concentration:g}_mM", tissues)] = solution
    return _rods(case, tissues, case.vial_radius, RING * case.bath_radius)


def _free_name(name: str, taken: Collection[str]) -> str:
    """Return a name, numbered from 2 on if others have it."""
    names = (name if n == 1 else f"{name}_{n}" for n in count(1))
    return next(new for new in names if new not in taken)


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


def _solution(case: Case, ion: Ion, concentration: float) -> dict[str, float]:
    """Find what the scan sees of so many mM of an ion in the water of the bath."""
    water = tissue_table(case.tissues)["water"]
    pure = [water.r2star(B0) for B0 in TABLE_FIELDS]
    solution = Tissue(
        chi=molar_susceptibility(ion.moment, case.vial_temperature) * concentration,
        T1=_times([1 / t for t in water.T1], ion.r1, concentration),
        T2star=_times(pure, ion.r2star, concentration),
        proton_density=water.proton_density,
    )
    signal, _ = solution.amplitudes(case.B0, case.TR, case.flip_angle)
    return {"chi": solution.chi, "water": signal, "r2star": solution.r2star(case.B0)}


def _times(
    rates: Sequence[float], relaxivities: tuple[float, float], concentration: float
) -> tuple[float, float]:
    low, high = (
        1 / (rate + r * concentration) for rate, r in zip(rates, relaxivities, strict=True)
    )
    return low, high


def _in_spherical_bath(
    case: Case, name: str, solid: Ellipsoid, field: FieldOf
) -> ClosedFormPhantom:
    bath = Ellipsoid(case.position, (case.bath_radius,) * 3)
    tissues = {name: {"chi": case.object_chi}}
    return ClosedFormPhantom(case, bath, [Part(solid, name, name)], tissues, [field])


def _rods(
    case: Case, tissues: Mapping[str, Mapping[str, float]], radius: float, ring: float
) -> ClosedFormPhantom:
    """Stand rods of one radius [mm] on a ring across their common direction."""
    tilt = np.deg2rad(case.cylinder_tilt)
    along = (0.0, float(np.sin(tilt)), float(np.cos(tilt)))
    turns = np.arange(len(tissues)) / len(tissues)
    centres = [_on_ring(case.position, along, ring, turn) for turn in turns]
    solids = [
        Part(cylinder(centre, (radius, radius), along), name, name)
        for centre, name in zip(centres, tissues, strict=True)
    ]
    fields = [
        partial(
            cylinder_field,
            centre=centre,
            along=along,
            radius=radius,
            chi=tissue["chi"],
            b0_direction=case.b0_direction,
        )
        for centre, tissue in zip(centres, tissues.values(), strict=True)
    ]
    bath = cylinder(case.position, (case.bath_radius, case.bath_radius), along)
    return ClosedFormPhantom(case, bath, solids, tissues, fields)


def _on_ring(centre: Point, along: Point, radius: float, turn: float) -> Point:
    first, second, _ = np.asarray(axes_with(along))
    angle = 2 * np.pi * turn
    return point(np.asarray(centre) + radius * (np.cos(angle) * first + np.sin(angle) * second))
