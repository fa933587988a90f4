"""Spheres, cylinders and vials: their fields, and what their solutions are made of."""

import numpy as np
import pytest

from chistream.physics.geometry import Geometry
from chistream_simulator.case import Case
from chistream_simulator.phantoms.closed_forms import molar_susceptibility
from chistream_simulator.phantoms.library import make_phantom

STILL = {"breathing_amplitude": 0.0, "navigators": "none"}


@pytest.mark.parametrize("name", ["calibration-vials", "cylinder", "sphere"])
def test_closed_form_phantoms_have_the_field_of_what_they_hold(name: str) -> None:
    case = Case.model_validate(
        {
            "phantom": name,
            "cylinder_tilt": 90.0,
            "position": (5.0, 4.0, 3.0),
            "vial_gadolinium": (1.0,),
            "vial_iron": (1.0,),
            **STILL,
        }
    )
    phantom = make_phantom(case)
    geometry = Geometry((9, 60, 61), (4.0, 2.0, 2.0), case.position)
    scene, field = phantom.scene(geometry), phantom.field(geometry)
    np.testing.assert_array_equal(phantom.local_field(geometry), field)
    assert scene.quantities["water"][0, 0, 0] == 0
    for label in phantom.pools:
        chi = scene.quantities["chi"][scene.where(label)].max()
        inside = np.median(field[scene.where(label)])
        own = 0.0 if name == "sphere" else -chi / 6
        # The other vial, 72 mm away, adds chi / 2 (8 / 72)^2: 2 ppb.
        assert inside == pytest.approx(own, abs=0.005)
    with pytest.raises(ValueError, match="no diaphragm"):
        _ = phantom.beam


def test_vials_obey_curies_law() -> None:
    # 7.94 Bohr magnetons at 293 K: 0.338 ppm/mM, as in textbooks of magnetochemistry.
    assert molar_susceptibility(7.94**2, 293.15) == pytest.approx(0.338, abs=0.001)
    case = Case(phantom="calibration-vials", vial_gadolinium=(2.0,), vial_iron=(), **STILL)
    assert make_phantom(case).values["gadolinium_2_mM"]["chi"] == pytest.approx(0.676, abs=0.002)
