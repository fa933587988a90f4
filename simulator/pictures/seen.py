"""What a phantom gives on any plane: signal without noise, field behind the shim, chi."""

from dataclasses import dataclass

import numpy as np

from chistream.arrays import ComplexArray, RealArray
from chistream.physics.constants import ppm_to_hz
from chistream.physics.geometry import Geometry
from chistream_simulator.case import Case
from chistream_simulator.fat import fat_precession
from chistream_simulator.imaging import Imaging
from chistream_simulator.magnetics.shim import shim_field
from chistream_simulator.phantoms.library import make_phantom
from chistream_simulator.phantoms.pose import AT_REST, Pose
from chistream_simulator.phantoms.scene import Scene, block_points


@dataclass(frozen=True)
class View:
    """A plane of an object: its tissues, and the frequency [Hz] behind the shim ``(1, y, x)``."""

    case: Case
    scene: Scene
    frequency: RealArray

    @property
    def chi(self) -> RealArray:
        """Susceptibility ``(y, x)`` [ppm]."""
        chi: RealArray = self.scene.quantities["chi"][0]
        return chi

    def phase(self, TE: float, floor: float = 0.005) -> RealArray:
        """Phase at an echo time [s] ``(y, x)`` [rad]; NaN where the signal is below a floor."""
        echo = self.echo(TE)
        return np.where(np.abs(echo) > floor, np.angle(echo), np.nan)

    def echo(self, TE: float) -> ComplexArray:
        """Signal of water and fat at an echo time [s], without noise ``(y, x)``."""
        case, values = self.case, self.scene.quantities
        fat = fat_precession(case.fat_spectrum, np.array([TE]), case.h1_frequency)[0]
        decay = np.exp(-TE * values["r2star"] + 2j * np.pi * TE * self.frequency)
        signal: ComplexArray = ((values["water"] + fat * values["fat"]) * decay)[0]
        return signal


class Viewer:
    """Looks at the phantom of a case, which is shimmed once."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.imaging = Imaging(case, make_phantom(case))

    def look(self, geometry: Geometry, pose: Pose = AT_REST) -> View:
        """Paint a plane in a pose of the patient, whole and not only where the slab is."""
        case, imaging = self.case, self.imaging
        scene, field = imaging.phantom.scene_with_field(geometry, pose)
        shim = shim_field(
            block_points(geometry),
            imaging.shim,
            centre=imaging.geometry.position,
            b0_direction=case.b0_direction,
        )
        return View(case, scene, np.asarray(ppm_to_hz(field - shim, case.h1_frequency)))
