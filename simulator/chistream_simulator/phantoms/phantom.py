"""What every phantom offers to the scanner."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from typing import Any

import numpy as np

from chistream.arrays import RealArray
from chistream.physics.geometry import Geometry
from chistream_simulator.blood import blood_r2star, deoxygenated_chi, deoxygenation, oxygenated_chi
from chistream_simulator.case import Case
from chistream_simulator.circulation import chamber_saturations
from chistream_simulator.disease import diseased
from chistream_simulator.phantoms.jets import Jet
from chistream_simulator.phantoms.pose import AT_REST, Pose
from chistream_simulator.phantoms.scene import Part, Scene, TissueValues, blank_scene
from chistream_simulator.phantoms.shapes import Point, Shape
from chistream_simulator.tissues import FROM_SATURATION, Tissue, tissue_table

QUANTITIES = ("chi", "water", "fat", "r2star")
"""What the scanner must know of every point."""


@dataclass(frozen=True)
class PencilBeam:
    """A navigator's column along S: its middle in the patient and its radius [mm]."""

    centre: Point
    radius: float


class Phantom(ABC):
    """An object made of solids, and its field.

    Parameters
    ----------
    parts
        Solids in the order of painting.
    values
        ``chi`` [ppm], ``water`` and ``fat`` (signal at TE = 0), ``r2star`` [1/s] of every tissue.
    surroundings
        Tissue outside of all solids.
    body
        A solid beyond which there is no signal.
    pools
        Labels whose chi a user would measure.
    focus
        Labels that the shim and the signal-to-noise ratio refer to.
    """

    def __init__(
        self,
        parts: tuple[Part, ...],
        values: TissueValues,
        *,
        surroundings: str,
        body: Shape,
        pools: tuple[str, ...],
        focus: tuple[str, ...],
    ) -> None:
        self.parts = parts
        self.values = values
        self.surroundings = surroundings
        self.body = body
        self.pools = pools
        self.focus = focus
        self._n_still = sum(1 for _ in takewhile(lambda part: part.deform is None, parts))
        # Slab and body are painted in turn, in one pose after the other.
        self._still = lru_cache(maxsize=2)(self._paint_still)

    def scene(
        self, geometry: Geometry, pose: Pose = AT_REST, quantities: Sequence[str] = QUANTITIES
    ) -> Scene:
        """Paint the object on a grid.

        Parameters
        ----------
        geometry
            Any grid.
        pose
            Of the patient.
        quantities
            Which of ``chi`` [ppm], ``water``, ``fat`` and ``r2star`` [1/s] to paint.

        Returns
        -------
        Scene
            With those quantities.
        """
        still = self._still(geometry, tuple(quantities)).copy()
        return still.paint(self.parts[self._n_still :], self.values_in(pose), pose)

    def _paint_still(self, geometry: Geometry, quantities: tuple[str, ...]) -> Scene:
        """Paint the parts before the first one that moves."""
        outside = self.values[self.surroundings]
        blank = blank_scene(geometry, {name: outside[name] for name in quantities})
        return blank.paint(self.parts[: self._n_still], self.values)

    def values_in(self, pose: Pose) -> TissueValues:  # noqa: ARG002
        """Values of the tissues in a pose of the patient: the same in all, unless overridden."""
        return self.values

    def scene_with_field(self, geometry: Geometry, pose: Pose = AT_REST) -> tuple[Scene, RealArray]:
        """Paint the object on a grid, and find its field there: see `scene` and `field`."""
        return self.scene(geometry, pose), self.field(geometry, pose)

    @abstractmethod
    def field(self, geometry: Geometry, pose: Pose = AT_REST) -> RealArray:
        """Field ``(z, y, x)`` float32 relative to B0 [ppm], unshimmed."""

    @abstractmethod
    def local_field(self, geometry: Geometry) -> RealArray:
        """Field ``(z, y, x)`` [ppm] of the sources that give signal inside the grid, at rest.

        What is background depends on the region that a person calls local; here it is everything
        outside the grid, and the tissues inside it that give hardly any signal.
        """

    def extras(self, geometry: Geometry) -> dict[str, RealArray]:  # noqa: ARG002
        """Return maps ``(..., z, y, x)`` that this kind of phantom alone has, by name."""
        return {}

    @property
    def velocities(self) -> Mapping[str, Point]:
        """Velocity (L, P, S) of what flows in a label at the trigger delay [m/s]."""
        return {}

    def jets(self, pose: Pose = AT_REST) -> tuple[Jet, ...]:  # noqa: ARG002
        """Jets of blood in a pose of the patient."""
        return ()

    @property
    def beam(self) -> PencilBeam:
        """Where a navigator looks at the diaphragm."""
        raise ValueError("this phantom has no diaphragm to navigate on")


def signal_at(values: Mapping[str, Any], echo_time: float) -> Any:  # noqa: ANN401
    r"""Magnitude that water and fat give together: :math:`(w + f) \, e^{-R_2^* TE}`.

    Parameters
    ----------
    values
        ``water``, ``fat`` and ``r2star`` [1/s]: numbers of a tissue, or maps of a scene.
    echo_time
        TE [s].

    Returns
    -------
    Any
        A number or a map, as they were. The phase between the two is left out.
    """
    return (values["water"] + values["fat"]) * np.exp(-echo_time * values["r2star"])


def tissue_values(case: Case) -> dict[str, dict[str, float]]:
    """Look up what the scan sees of each tissue of the patient, with its diseases.

    Parameters
    ----------
    case
        Field strength, sequence, blood, diseases and overrides.

    Returns
    -------
    dict
        ``chi`` [ppm], ``water``, ``fat`` and ``r2star`` [1/s], by tissue. ``blood`` of the table
        comes as ``arterial_blood``, as mixed ``venous_blood``, and once for each chamber and
        vessel: ``blood_RV`` and so on.
    """
    table = diseased(tissue_table(case.tissues), case)
    blood, fat = table.pop("blood"), table["fat"]
    values = {
        name: _seen(tissue, case, fat, tissue.chi, tissue.r2star(case.B0))
        for name, tissue in table.items()
    }
    arterial = case.arterial_saturation
    drop = deoxygenation(case.rv_lv_difference, case.hematocrit, case.blood_calibration)
    saturations = {"arterial_blood": arterial, "venous_blood": arterial - drop}
    saturations |= {f"blood_{label}": s for label, s in chamber_saturations(case).items()}
    for name, saturation in saturations.items():
        values[name] = _blood_seen(blood, case, fat, saturation)
    return values


def _blood_seen(blood: Tissue, case: Case, fat: Tissue, saturation: float) -> dict[str, float]:
    chi = oxygenated_chi(blood.chi, case.hematocrit)
    chi += deoxygenated_chi(case.hematocrit, saturation, case.blood_calibration)
    if blood.T2star == FROM_SATURATION:
        r2star = blood_r2star(case.hematocrit, saturation, case.B0)
    else:
        r2star = blood.r2star(case.B0)
    seen = _seen(blood, case, fat, chi, r2star)
    fresh = blood.proton_density * math.sin(math.radians(case.flip_angle))
    seen["water"] += case.inflow * (fresh - seen["water"])
    return seen


def _seen(tissue: Tissue, case: Case, fat: Tissue, chi: float, r2star: float) -> dict[str, float]:
    water, lipid = tissue.amplitudes(case.B0, case.TR, case.flip_angle, fat)
    return {"chi": chi, "water": water, "fat": lipid, "r2star": r2star}
