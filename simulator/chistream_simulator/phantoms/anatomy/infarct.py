"""A haemorrhagic infarct in one of the 17 segments of the left ventricle."""

import math

import numpy as np

from chistream_simulator.options.patient import PatientOptions
from chistream_simulator.phantoms.anatomy.heart import AXES, Heart
from chistream_simulator.phantoms.combinations import Intersection
from chistream_simulator.phantoms.prisms import HalfSpace
from chistream_simulator.phantoms.shapes import Point, cylinder, point

APEX = 17
"""The segment beyond the end of the cavity."""


def segment_place(segment: int) -> tuple[float, float]:
    """Find the middle of a segment of the American Heart Association's model.

    Parameters
    ----------
    segment
        1 to 6 around the base, from the anterior one over the septum to the inferior one and on; 7
        to 12 and 13 to 16 in the same way towards the apex, which is 17.

    Returns
    -------
    tuple[float, float]
        Angle from the middle of the septum towards anterior [degrees], and part of the way from
        the atrioventricular plane to the end of the cavity.

    References
    ----------
    .. [1] Cerqueira MD, et al. Standardized myocardial segmentation and nomenclature for
       tomographic imaging of the heart. Circulation. 2002;105(4):539-542.
       doi:10.1161/hc0402.102975

    Examples
    --------
    >>> segment_place(1), segment_place(8), segment_place(15)
    ((90.0, 0.16666666666666666), (30.0, 0.5), (-90.0, 0.8333333333333334))
    """
    if segment == APEX:
        return 0.0, 1.0
    ring, first, count = next(
        (ring, first, count)
        for ring, (first, count) in enumerate(((1, 6), (7, 6), (13, 4)))
        if segment < first + count
    )
    return 90.0 - (segment - first) * 360.0 / count, (ring + 0.5) / 3


def infarct(heart: Heart, patient: PatientOptions) -> Intersection:
    """Make the solid of an infarct, as a part of the wall before the cavity is put into it.

    Parameters
    ----------
    heart
        The heart, at some moment: the infarct goes along with the wall.
    patient
        Segment, width in the wall [mm], and how much of its thickness it takes from inside.

    Returns
    -------
    Intersection
        What a round drill from outside, stopped at the long axis, takes from that layer.
    """
    place, outwards = _drill(heart, patient.infarct_segment)
    width = patient.infarct_size / 2
    inwards = (-outwards[0], -outwards[1], -outwards[2])
    others = (
        cylinder(place, (width, width), outwards),
        HalfSpace(heart.place(0.0, 0.0, 0.0), inwards),
        heart.apical_of(-heart.base),
    )
    return Intersection(heart.lv_layer(patient.infarct_extent), others)


def _drill(heart: Heart, segment: int) -> tuple[Point, Point]:
    """Return the middle of a segment in the patient [mm], and the wall's normal there."""
    angle, part = segment_place(segment)
    middle = heart.lv_layer(0.5)
    radius, _, apex = middle.semi_axes
    if segment == APEX:
        return heart.place(0.0, 0.0, apex), AXES[2]
    along = part * (heart.inner_apex + heart.base) - heart.base
    out = radius * math.sqrt(1 - (along / apex) ** 2)
    to_rv, inferior = math.cos(math.radians(angle)), -math.sin(math.radians(angle))
    normal = np.array([to_rv * out, inferior * out, along * (radius / apex) ** 2])
    place = heart.place(to_rv * out, inferior * out, along)
    return place, point(normal / np.linalg.norm(normal) @ np.asarray(AXES))
