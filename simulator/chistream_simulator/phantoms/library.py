"""All phantoms by name."""

from collections.abc import Callable

from chistream_simulator.case import Case
from chistream_simulator.phantoms.chest import ChestPhantom
from chistream_simulator.phantoms.closed_forms import (
    cylinder_phantom,
    ellipsoid_phantom,
    sphere_phantom,
    vials_phantom,
)
from chistream_simulator.phantoms.fibres import FibrePhantom
from chistream_simulator.phantoms.head import HeadPhantom
from chistream_simulator.phantoms.phantom import Phantom
from chistream_simulator.phantoms.plaque import PlaquePhantom

PHANTOMS: dict[str, Callable[[Case], Phantom]] = {
    "sphere": sphere_phantom,
    "ellipsoid": ellipsoid_phantom,
    "cylinder": cylinder_phantom,
    "calibration-vials": vials_phantom,
    "chest": ChestPhantom,
    "plaque": PlaquePhantom,
    "fibres": FibrePhantom,
    "head": HeadPhantom,
}


def make_phantom(case: Case) -> Phantom:
    """Make the phantom that a case names."""
    return PHANTOMS[case.phantom](case)
