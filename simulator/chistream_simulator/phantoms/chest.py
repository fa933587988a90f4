"""A chest that breathes and beats: smooth solids in the places and sizes of its organs.

No anatomy of anybody: arms, breasts, shoulder blades, oesophagus, lung vessels and the organs of
the lower belly are left out.
"""

from collections.abc import Mapping

from chistream_simulator.case import Case
from chistream_simulator.circulation import chamber_velocities
from chistream_simulator.phantoms.anatomy import abdomen, thorax
from chistream_simulator.phantoms.anatomy.beating import BeatingHeart
from chistream_simulator.phantoms.anatomy.heart import AXES
from chistream_simulator.phantoms.jets import Jet
from chistream_simulator.phantoms.painted import PaintedPhantom
from chistream_simulator.phantoms.phantom import PencilBeam, tissue_values
from chistream_simulator.phantoms.pose import AT_REST, Pose
from chistream_simulator.phantoms.scene import Part, TissueValues
from chistream_simulator.phantoms.shapes import Point

LENGTH = (-215.0, 215.0)
"""Ends of the trunk that is modelled, along S [mm]; the field takes it to go on."""

SILENT = ("air", "lung", "cortical_bone")
"""Tissues whose field is background, since they give hardly any signal."""

JET_LENGTH = 50.0
"""Of a jet from the mitral valve into the left ventricle, two thirds of it [mm]."""

BEAM_RADIUS = 12.5
"""Of the navigator, 25 mm wide as on scanners [mm]."""


class ChestPhantom(PaintedPhantom):
    """The chest.

    Parameters
    ----------
    case
        Tissues, fat, blood, diseases, how organs follow the diaphragm, and direction of B0.
    """

    def __init__(self, case: Case) -> None:
        self._heart = BeatingHeart(case)
        body = thorax.outline(case)
        left, posterior = (reach + 1.0 for reach in body.semi_axes)
        super().__init__(
            chest_parts(case, self._heart),
            tissue_values(case),
            surroundings="air",
            body=body,
            pools=("LV", "RV"),
            focus=("LV", "RV", "myocardium"),
            low=(-left, -posterior, LENGTH[0]),
            high=(left, posterior, LENGTH[1]),
            silent=SILENT,
            b0_direction=case.b0_direction,
        )
        self._case = case

    @property
    def beam(self) -> PencilBeam:
        """A column through the top of the right dome, over the liver."""
        return PencilBeam(abdomen.TOP, BEAM_RADIUS)

    @property
    def velocities(self) -> Mapping[str, Point]:
        """Velocity (L, P, S) of the blood in each chamber and vessel at the trigger delay [m/s]."""
        return chamber_velocities(self._case, AXES[2])

    def jets(self, pose: Pose = AT_REST) -> tuple[Jet, ...]:
        """Return the jet behind a narrow mitral valve, if the patient has one."""
        if not self._case.jet_velocity:
            return ()
        heart = self._heart.at(pose)
        valve = heart.place(0.0, 0.0, -heart.base)
        radius = self._case.jet_width / 2
        return (Jet(valve, AXES[2], JET_LENGTH, radius, self._case.jet_velocity),)

    def values_in(self, pose: Pose) -> TissueValues:
        """Values of the tissues in a pose: lungs that fill become lighter and more magnetic.

        They are a mixture of air and tissue; its air grows so that chi does by ``lung_inflation``.
        """
        lung = self.values["lung"]
        to_air = self.values["air"]["chi"] - lung["chi"]
        gained = self._case.lung_inflation * pose.descent
        part = min(gained / to_air, 1.0) if to_air > 0 else 0.0
        filled = {name: (1 - part) * lung[name] for name in ("water", "fat")}
        filled["chi"] = lung["chi"] + part * to_air
        return {**self.values, "lung": {**lung, **filled}}


def chest_parts(case: Case, heart: BeatingHeart) -> tuple[Part, ...]:
    """Return all parts of a chest in the order of painting: from outside to the chambers."""
    return (
        *thorax.wall(case),
        *thorax.mediastinum(case),
        *thorax.lungs(),
        heart.bed(),
        *abdomen.abdomen(case),
        *thorax.airways(),
        *heart.parts(),
    )
