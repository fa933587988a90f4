"""A neck whose left carotid artery carries a plaque of everything that plaques are made of."""

from collections.abc import Mapping

import numpy as np

from chistream_simulator.case import Case
from chistream_simulator.phantoms.curves import Tube
from chistream_simulator.phantoms.painted import PaintedPhantom
from chistream_simulator.phantoms.phantom import tissue_values
from chistream_simulator.phantoms.scene import Part
from chistream_simulator.phantoms.shapes import Ellipsoid, Point, cylinder, point

NECK = (62.0, 60.0)
"""Half widths of the neck towards L and P [mm]."""

FAT = 5.0
"""Thickness of the fat under the skin [mm]."""

CAROTID = (26.0, -10.0)
"""Axis of the left common and internal carotid artery (L, P) [mm]; the right one mirrors it."""

LUMEN, WALL = 3.2, 1.0
"""Radius of its lumen and thickness of its healthy wall [mm]."""

EXTERNAL = 2.3
"""Radius of the external carotid's lumen [mm]."""

END = 400.0
"""How far vessels of changing width reach along S [mm]."""

CAP, GAP = 0.8, 2.5
"""Fibrous cap over each component, and fibrous tissue between them along the artery [mm]."""

COMPONENTS = (
    "calcification",
    "haemorrhage_recent",
    "lipid",
    "haemorrhage_chronic",
    "calcification_dense",
)
"""What the plaque is made of, from below: calcium of -1 ppm, recent haemorrhage, lipid core,
chronic haemorrhage, calcium of -2 ppm; labels in the truth and, behind ``plaque_``, tissues."""

OUTWARDS = (0.8, 0.6)
"""Direction (L, P) from the artery's axis to the plaque: the outer wall, as plaques prefer."""


class PlaquePhantom(PaintedPhantom):
    """A neck with airway, spine, carotids and jugular veins, and a plaque at the bifurcation.

    Parameters
    ----------
    case
        Size of the plaque's components, stenosis, tissues and direction of B0.

    Notes
    -----
    The bifurcation, and with it the plaque, lies in the middle of the field of view along S
    wherever the slab is: at the patient's origin. Neck and vessels go on along S without end.
    """

    def __init__(self, case: Case) -> None:
        body = cylinder((0.0, 0.0, 0.0), NECK)
        reach = (NECK[0] + 8.0, NECK[1] + 8.0, 150.0)
        super().__init__(
            (*_neck(body), *_vessels(case), *_plaque(case)),
            tissue_values(case),
            surroundings="air",
            body=body,
            pools=COMPONENTS,
            focus=("wall", "lumen", *COMPONENTS),
            low=point(-np.asarray(reach)),
            high=reach,
            silent=("air",),
            b0_direction=case.b0_direction,
        )
        self._velocity = case.blood_velocity

    @property
    def velocities(self) -> Mapping[str, Point]:
        """Velocity (L, P, S) of the blood late in diastole [m/s], of assumed size."""
        return {
            "lumen": (0.0, 0.0, 0.25 * self._velocity),
            "jugular": (0.0, 0.0, -0.15 * self._velocity),
        }


def plaque_centres(size: float) -> dict[str, Point]:
    """Find where the components of the plaque lie.

    Parameters
    ----------
    size
        Diameter of each [mm].

    Returns
    -------
    dict
        Centres (L, P, S) [mm], by label: one above the other in the outer wall.
    """
    distance = LUMEN + CAP + size / 2
    left, posterior = np.add(CAROTID, np.multiply(OUTWARDS, distance)).tolist()
    pitch, middle = size + GAP, (len(COMPONENTS) - 1) / 2
    return {name: (left, posterior, (i - middle) * pitch) for i, name in enumerate(COMPONENTS)}


def _neck(body: Ellipsoid) -> tuple[Part, ...]:
    flesh = cylinder((0.0, 0.0, 0.0), (NECK[0] - FAT, NECK[1] - FAT))
    return (
        Part(body, "fat", "fat"),
        Part(flesh, "muscle", "muscle"),
        Part(cylinder((0.0, -36.0, 0.0), (11.0, 10.0)), "vessel_wall", "cartilage"),
        Part(cylinder((0.0, -36.0, 0.0), (8.5, 7.5)), "air", "airway"),
        Part(cylinder((0.0, 10.0, 0.0), (15.0, 12.0)), "bone", "spine"),
        Part(cylinder((0.0, 30.0, 0.0), (11.0, 7.5)), "csf", "csf"),
        Part(cylinder((0.0, 30.0, 0.0), (6.0, 4.0)), "white_matter", "cord"),
    )


def _vessels(case: Case) -> list[Part]:
    """Tubes of wall first, then lumina: where they meet, blood is on top."""
    left, posterior = CAROTID
    parts = [Part(_sheath(case.plaque_size), "vessel_wall", "wall")]
    lumina = [Part(_diseased(case), "arterial_blood", "lumen")]
    lumina.append(Part(_upright(-left, posterior, LUMEN), "arterial_blood", "lumen"))
    for side in (1.0, -1.0):
        parts.append(Part(_upright(side * left, posterior, LUMEN + WALL), "vessel_wall", "wall"))
        parts.append(Part(_external(side, EXTERNAL + WALL), "vessel_wall", "wall"))
        lumina.append(Part(_external(side, EXTERNAL), "arterial_blood", "lumen"))
        jugular = _upright(side * (left + 18.0), posterior + 5.0, 6.0)
        lumina.append(Part(jugular, "venous_blood", "jugular"))
    return [*parts, *lumina]


def _diseased(case: Case) -> Tube:
    """Lumen of the left artery: wide below and above, and as narrow as is left at the plaque."""
    heights = np.array([1.0, 0.8, 0.3]) * (_half_length(case.plaque_size) + 2 * LUMEN)
    superior = [-END, *(-heights), *heights[::-1], END]
    narrow = LUMEN * (1 - case.plaque_stenosis)
    middle = (LUMEN + narrow) / 2
    radii = (LUMEN, LUMEN, middle, narrow, narrow, middle, LUMEN, LUMEN)
    left, posterior = CAROTID
    return Tube(tuple((left, posterior, float(height)) for height in superior), radii)


def _plaque(case: Case) -> list[Part]:
    radii = (case.plaque_size / 2,) * 3
    centres = plaque_centres(case.plaque_size)
    return [Part(Ellipsoid(c, radii), f"plaque_{name}", name) for name, c in centres.items()]


def _sheath(size: float) -> Tube:
    """Fibrous tissue around all components, as thick as the cap outside of them."""
    centres = list(plaque_centres(size).values())
    return Tube((centres[0], centres[-1]), (size / 2 + CAP,) * 2)


def _half_length(size: float) -> float:
    return plaque_centres(size)[COMPONENTS[-1]][2] + size / 2


def _external(side: float, radius: float) -> Tube:
    """External carotid: it leaves the bulb forwards and inwards, and then climbs."""
    left, posterior = CAROTID
    bends = ((0.0, 0.0, -2.0), (-5.0, -7.0, 14.0), (-9.0, -14.0, 60.0), (-9.0, -18.0, END))
    nodes = tuple((side * (left + out), posterior + back, up) for out, back, up in bends)
    return Tube(nodes, (radius,) * len(nodes))


def _upright(left: float, posterior: float, radius: float) -> Ellipsoid:
    return cylinder((left, posterior, 0.0), (radius, radius))
