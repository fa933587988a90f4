"""The heart that beats and breathes: chambers, walls, fat, pericardium, infarct."""

from collections.abc import Callable
from functools import lru_cache

from chistream_simulator.case import Case
from chistream_simulator.phantoms.anatomy.heart import ATRIAL_WALL, RV_WALL, Heart
from chistream_simulator.phantoms.anatomy.infarct import infarct
from chistream_simulator.phantoms.anatomy.moving import moving
from chistream_simulator.phantoms.anatomy.vessels import OUTFLOW, vessel_blood, vessel_walls
from chistream_simulator.phantoms.combinations import Grown, Union
from chistream_simulator.phantoms.pose import Pose
from chistream_simulator.phantoms.scene import Part
from chistream_simulator.phantoms.shapes import Ellipsoid, Shape

PERICARDIUM = 1.5
"""Its thickness [mm]."""

_BED = Ellipsoid((12.0, -24.0, -46.0), (56.0, 44.0, 22.0))


class BeatingHeart:
    """The heart's parts.

    Parameters
    ----------
    case
        How far the heart follows the diaphragm; its fat; an infarct.
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        self.at = lru_cache(maxsize=4)(self._at)

    def parts(self) -> tuple[Part, ...]:
        """Return pericardium, fat, chambers and great vessels in the order of painting.

        The septum and its curvature are the left ventricle's: that is put into the right one.
        """
        return (
            *self._sac(),
            *self._atria(),
            *self._right_ventricle(),
            *self._arteries(),
            *self._left_ventricle(),
        )

    def bed(self) -> Part:
        """Return what fills the gap between heart and diaphragm, and goes along with both."""

        def make(pose: Pose) -> Shape:
            left, posterior, superior = self.at(pose).shift
            return _BED.moved((left, posterior, (superior - pose.descent) / 2))

        if self._case.epicardial_fat:
            return moving(make, "fat", "mediastinal_fat")
        return moving(make, "muscle", "body")

    def part(self, solid: Callable[[Heart], Shape], tissue: str, label: str) -> Part:
        """Make a part of one of the heart's solids."""
        return moving(lambda pose: solid(self.at(pose)), tissue, label)

    def _at(self, pose: Pose) -> Heart:
        per_mm = (0.0, -self._case.tracking_factor_ap, -self._case.tracking_factor)
        left, posterior, superior = (pose.descent * m for m in per_mm)
        return Heart(pose.contraction, (left, posterior, superior))

    def _sac(self) -> list[Part]:
        fat = self._case.epicardial_fat
        parts = [self.part(lambda h: Grown(envelope(h, fat), PERICARDIUM), "muscle", "pericardium")]
        if fat:
            parts.append(self.part(lambda h: envelope(h, fat), "fat", "epicardial_fat"))
        return parts

    def _atria(self) -> list[Part]:
        """Return right atrium with its veins, into which the left one with its own is put."""
        return [
            *vessel_walls(self.at, "SVC", "IVC"),
            self.part(lambda h: Grown(h.ra, ATRIAL_WALL), "myocardium", "myocardium"),
            *vessel_blood(self.at, "SVC", "IVC"),
            self.part(lambda h: h.ra, "blood_RA", "RA"),
            *vessel_walls(self.at, "pulmonary_veins"),
            self.part(lambda h: Grown(h.la, ATRIAL_WALL), "myocardium", "myocardium"),
            *vessel_blood(self.at, "pulmonary_veins"),
            self.part(lambda h: h.la, "blood_LA", "LA"),
        ]

    def _right_ventricle(self) -> list[Part]:
        return [
            self.part(lambda h: h.rv_with_wall, "myocardium", "myocardium"),
            self.part(lambda h: Grown(OUTFLOW.at(h), RV_WALL), "myocardium", "myocardium"),
            self.part(lambda h: h.rv, "blood_RV", "RV"),
            self.part(OUTFLOW.at, "blood_RV", "RV"),
        ]

    def _arteries(self) -> list[Part]:
        return [*vessel_walls(self.at, "PA", "aorta"), *vessel_blood(self.at, "PA", "aorta")]

    def _left_ventricle(self) -> list[Part]:
        case = self._case
        infarcts = [self.part(lambda h: infarct(h, case), "infarct", "infarct")]
        return [
            self.part(lambda h: h.lv_with_wall, "myocardium", "myocardium"),
            *(infarcts if case.infarct_size else ()),
            self.part(lambda h: h.lv, "blood_LV", "LV"),
        ]


def envelope(heart: Heart, fat: float) -> Union:
    """Return all of the heart with its fat: little on the left ventricle, most in the grooves.

    Parameters
    ----------
    heart
        The heart.
    fat
        Thickness on the right ventricle [mm].

    Returns
    -------
    Union
        What the pericardium holds.
    """
    members = (
        Grown(heart.lv_with_wall, 0.35 * fat),
        Grown(heart.rv_with_wall, fat),
        Grown(heart.la, ATRIAL_WALL + 0.35 * fat),
        Grown(heart.ra, ATRIAL_WALL + 0.35 * fat),
    )
    return Union(members, fillet=10.0 + 1.5 * fat)
