"""A head with a brain in it, to compare with tools that were made for brains."""

import numpy as np

from chistream_simulator.case import Case
from chistream_simulator.options.slab import turn_matrix
from chistream_simulator.phantoms.combinations import Grown, Intersection, Union
from chistream_simulator.phantoms.curves import Tube
from chistream_simulator.phantoms.folds import Folded
from chistream_simulator.phantoms.painted import PaintedPhantom
from chistream_simulator.phantoms.phantom import tissue_values
from chistream_simulator.phantoms.scene import Part
from chistream_simulator.phantoms.shapes import Axes, Ellipsoid, Point, Shape, point

CEREBRUM: tuple[tuple[Point, Point], ...] = (
    ((0.0, 2.0, 20.0), (65.0, 83.0, 50.0)),
    ((42.0, -12.0, -14.0), (20.0, 38.0, 18.0)),
    ((-42.0, -12.0, -14.0), (20.0, 38.0, 18.0)),
    ((0.0, 2.0, -2.0), (40.0, 50.0, 20.0)),
)
"""Centres and half widths of its hemispheres (in one), temporal lobes and base [mm]; the
patient's origin lies between the thalami."""

CEREBELLUM: tuple[Point, Point] = ((0.0, 48.0, -38.0), (48.0, 29.0, 21.0))
"""Centre and half widths of the cerebellum [mm]."""

SCALP, SKULL, FLUID = 13.0, 8.5, 2.5
"""Distance of the outer surface of each from the brain's hull [mm]."""

CORTEX = 2.8
"""Thickness of the cortex [mm]."""

NUCLEI: tuple[tuple[str, Point, Point, Point], ...] = (
    ("thalamus", (10.5, 9.0, 5.0), (7.5, 14.0, 8.5), (0.0, 0.0, -20.0)),
    ("caudate", (13.5, -17.0, 9.0), (5.0, 10.0, 8.0), (20.0, 0.0, 10.0)),
    ("caudate", (18.0, 1.0, 20.0), (2.6, 17.0, 3.0), (0.0, 0.0, -10.0)),
    ("putamen", (25.5, -3.0, 3.0), (5.0, 15.0, 9.0), (0.0, 0.0, -14.0)),
    ("globus_pallidus", (18.5, -1.0, 1.0), (3.6, 9.0, 6.0), (0.0, 0.0, -24.0)),
    ("red_nucleus", (5.0, 13.0, -11.0), (3.2, 3.4, 4.0), (0.0, 0.0, 0.0)),
    ("substantia_nigra", (9.5, 8.5, -14.0), (2.6, 6.5, 3.2), (15.0, 0.0, -40.0)),
    ("dentate", (15.0, 44.0, -40.0), (4.0, 8.0, 5.0), (0.0, 0.0, -35.0)),
)
"""Label, centre, semi-axes [mm] and turns about L, P and S [degrees] on the left side."""

VENTRICLES: tuple[tuple[Point, Point, Point], ...] = (
    ((9.0, -8.0, 17.0), (4.5, 24.0, 7.0), (10.0, 0.0, -12.0)),
    ((20.0, 27.0, 10.0), (5.0, 15.0, 8.0), (-15.0, 0.0, -35.0)),
    ((30.0, 8.0, -14.0), (3.0, 18.0, 3.0), (-15.0, 0.0, -10.0)),
)
"""Centre, semi-axes and turns of the left lateral ventricle: body, atrium, temporal horn."""

END = 400.0
"""How far neck and airway go down [mm]."""

CALCIFICATION: Point = (28.0, 38.0, 16.0)
"""In the choroid plexus of the left ventricle's atrium."""

MICROBLEED: Point = (-34.0, 20.0, 26.0)
"""In the right white matter."""

NUCLEUS_LABELS = tuple(dict.fromkeys(name for name, *_ in NUCLEI))


class HeadPhantom(PaintedPhantom):
    """Scalp, skull, brain, deep nuclei, veins, sinuses, a calcification and a microbleed.

    Parameters
    ----------
    case
        Lesions, tissues, blood and direction of B0.
    """

    def __init__(self, case: Case) -> None:
        parts = (
            *_skull(),
            *_brain(),
            *_inside(),
            *_veins(),
            *_airways(),
            *_lesions(case),
        )
        super().__init__(
            parts,
            tissue_values(case),
            surroundings="air",
            body=Ellipsoid((0.0, -6.0, -34.0), (88.0, 118.0, 150.0)),
            pools=(*NUCLEUS_LABELS, "white_matter", "grey_matter", "ventricle", "vein"),
            focus=(*NUCLEUS_LABELS, "white_matter", "grey_matter"),
            low=(-90.0, -125.0, -190.0),
            high=(90.0, 115.0, 95.0),
            silent=("air", "cortical_bone"),
            b0_direction=case.b0_direction,
        )


def _cerebrum() -> Union:
    return Union(tuple(Ellipsoid(*lobe) for lobe in CEREBRUM), fillet=10.0)


def _skull() -> list[Part]:
    """Fat, flesh, bone and fluid: each of head, neck and face, before the next is put in."""
    hull = Union((_cerebrum(), Ellipsoid(*CEREBELLUM)), fillet=30.0)
    bend, end = (0.0, 22.0, -60.0), (0.0, 34.0, -END)
    flesh = (
        _rod(bend, end, 50.0),
        Ellipsoid((0.0, -42.0, -50.0), (58.0, 54.0, 66.0)),
        Ellipsoid((0.0, -95.0, -48.0), (9.0, 13.0, 16.0)),
    )
    return [
        *(Part(Grown(shape, 4.0), "fat", "scalp") for shape in flesh),
        Part(Grown(hull, SCALP), "fat", "scalp"),
        *(Part(shape, "muscle", "muscle") for shape in flesh),
        Part(_rod((0.0, 34.0, -80.0), (0.0, 34.0, -END), 14.0), "bone", "spine"),
        Part(Grown(hull, SKULL), "cortical_bone", "skull"),
        Part(Grown(hull, FLUID), "csf", "csf"),
    ]


def _brain() -> list[Part]:
    cerebrum = Folded(_cerebrum(), 30.0, 20.0, 1.6)
    hindbrain = Ellipsoid(*CEREBELLUM)
    cerebellum = Folded(hindbrain, 13.0, 9.0, 1.0)
    fissure = Intersection(Ellipsoid((0.0, 2.0, 62.0), (1.5, 84.0, 40.0)), (_cerebrum(),))
    stem = ((0.0, 12.0, -12.0), (0.0, 20.0, -40.0), (0.0, 28.0, -90.0), (0.0, 34.0, -END))
    return [
        Part(cerebrum, "grey_matter", "grey_matter"),
        Part(Grown(cerebrum, -CORTEX), "white_matter", "white_matter"),
        Part(fissure, "csf", "csf"),
        Part(Grown(hindbrain, 2.0), "csf", "csf"),
        Part(cerebellum, "grey_matter", "grey_matter"),
        Part(Grown(cerebellum, -1.5), "white_matter", "white_matter"),
        Part(Tube(stem[1:], (15.0, 11.0, 8.0)), "csf", "csf"),
        Part(Tube(stem, (11.0, 10.0, 6.0, 5.0)), "white_matter", "brainstem"),
        Part(Ellipsoid((0.0, 12.0, -30.0), (16.0, 12.0, 13.0)), "white_matter", "brainstem"),
    ]


def _inside() -> list[Part]:
    parts = [
        Part(_turned(side, centre, axes, turn), "csf", "ventricle")
        for centre, axes, turn in VENTRICLES
        for side in (1.0, -1.0)
    ]
    parts += [
        Part(Ellipsoid((0.0, 4.0, 1.0), (2.2, 14.0, 10.0)), "csf", "ventricle"),
        Part(Ellipsoid((0.0, 28.0, -34.0), (6.0, 5.0, 10.0)), "csf", "ventricle"),
    ]
    parts += [
        Part(_turned(side, centre, axes, turn), label, label)
        for label, centre, axes, turn in NUCLEI
        for side in (1.0, -1.0)
    ]
    return parts


def _veins() -> list[Part]:
    """Superior sagittal sinus along the vault, straight sinus, inner cerebral veins."""
    (_, *middle), (_, *widths) = CEREBRUM[0]
    angles = np.deg2rad(np.linspace(-75.0, 100.0, 13))
    arc = np.zeros((len(angles), 3))
    arc[:, 1] = middle[0] + (widths[0] + 1.0) * np.sin(angles)
    arc[:, 2] = middle[1] + (widths[1] + 1.0) * np.cos(angles)
    tubes = [Tube(tuple(map(point, arc)), (3.5,) * len(arc))]
    tubes.append(_rod((0.0, 32.0, 4.0), point(arc[-1]), 2.5))
    tubes += [_rod((s * 2.0, -6.0, 12.0), (s * 2.0, 28.0, 8.0), 1.2) for s in (1.0, -1.0)]
    return [Part(tube, "venous_blood", "vein") for tube in tubes]


def _airways() -> list[Part]:
    """Frontal, sphenoid and maxillary sinuses, nose and throat, mastoids and ear canals."""
    cavities: list[Shape] = [
        Ellipsoid((0.0, -75.0, -2.0), (13.0, 4.0, 8.0)),
        Ellipsoid((0.0, -32.0, -38.0), (12.0, 14.0, 9.0)),
        Ellipsoid((0.0, -70.0, -48.0), (9.0, 24.0, 17.0)),
        _rod((0.0, -46.0, -52.0), (0.0, -14.0, -88.0), 8.0),
        _rod((0.0, -14.0, -88.0), (0.0, -14.0, -END), 8.0),
    ]
    for side in (1.0, -1.0):
        cavities += [
            Ellipsoid((side * 26.0, -62.0, -56.0), (11.0, 13.0, 15.0)),
            Ellipsoid((side * 53.0, 27.0, -38.0), (6.0, 8.0, 9.0)),
            _rod((side * 46.0, 10.0, -38.0), (side * 72.0, 9.0, -38.0), 3.0),
        ]
    eyes = [Ellipsoid((s * 31.0, -70.0, -26.0), (12.0, 12.0, 12.0)) for s in (1.0, -1.0)]
    return [
        *(Part(Grown(eye, 4.0), "fat", "orbit") for eye in eyes),
        *(Part(eye, "csf", "eye") for eye in eyes),
        *(Part(cavity, "air", "airway") for cavity in cavities),
    ]


def _lesions(case: Case) -> list[Part]:
    lesions = (
        (CALCIFICATION, case.head_calcification, "brain_calcification", "calcification"),
        (MICROBLEED, case.head_microbleed, "microbleed", "microbleed"),
    )
    return [
        Part(Ellipsoid(centre, (size / 2,) * 3), tissue, label)
        for centre, size, tissue, label in lesions
        if size > 0
    ]


def _rod(start: Point, end: Point, radius: float) -> Tube:
    return Tube((start, end), (radius, radius))


def _turned(side: float, centre: Point, semi_axes: Point, turn: Point) -> Ellipsoid:
    """Turn an ellipsoid of the left side, and mirror it for the right one."""
    matrix = turn_matrix(turn)
    matrix[0] *= side
    axes: Axes = (point(matrix[:, 0]), point(matrix[:, 1]), point(matrix[:, 2]))
    return Ellipsoid((side * centre[0], centre[1], centre[2]), semi_axes, axes)
