"""Spheres, ellipsoids, cylinders and vials: their fields, and what their solutions are made of."""

from typing import Any

import numpy as np
import pytest

from chistream.errors import SettingsError
from chistream.physics.geometry import Geometry
from chistream_simulator.case import Case, load_preset
from chistream_simulator.imaging import slab_geometry
from chistream_simulator.overrides import checked
from chistream_simulator.phantoms.closed_forms import GADOLINIUM, IRON, molar_susceptibility
from chistream_simulator.phantoms.library import make_phantom
from chistream_simulator.phantoms.scene import Scene

STILL = {"breathing_amplitude": 0.0, "navigators": "none"}
TURNED = (35.0, -25.0, 10.0)
GRID = Geometry((9, 60, 61), (4.0, 2.0, 2.0), (5.0, 4.0, 3.0))


def case_of(**values: object) -> Case:
    given: dict[str, Any] = {"position": GRID.position, **STILL, **values}
    return checked(Case, given)


def volume(scene: Scene, label: str) -> float:
    return float(scene.where(label).sum() * np.prod(scene.geometry.voxel_size))


@pytest.mark.parametrize("name", ["calibration-vials", "cylinder", "ellipsoid", "sphere"])
def test_closed_form_phantoms_have_the_field_of_what_they_hold(name: str) -> None:
    case = case_of(
        phantom=name,
        cylinder_tilt=90.0,
        vial_gadolinium=(1.0,),
        vial_iron=(1.0,),
        object_axes=(12.0, 12.0, 12.0),
    )
    phantom = make_phantom(case)
    scene, field = phantom.scene(GRID), phantom.field(GRID)
    np.testing.assert_array_equal(phantom.local_field(GRID), field)
    assert scene.quantities["water"][0, 0, 0] == 0
    for label in phantom.pools:
        chi = scene.quantities["chi"][scene.where(label)].max()
        inside = np.median(field[scene.where(label)])
        own = 0.0 if name in ("sphere", "ellipsoid") else -chi / 6
        # The other vial, 72 mm away, adds chi / 2 (8 / 72)^2: 2 ppb.
        assert inside == pytest.approx(own, abs=0.005)
    with pytest.raises(ValueError, match="no diaphragm"):
        _ = phantom.beam


@pytest.mark.parametrize("orientation", [(0.0, 0.0, 0.0), TURNED])
def test_a_sphere_is_a_dipole_along_b0_however_it_is_turned(
    orientation: tuple[float, float, float],
) -> None:
    case = case_of(phantom="sphere", orientation=orientation, object_chi=0.9)
    field = make_phantom(case).field(GRID)
    offsets = GRID.voxel_positions() - np.reshape(GRID.position, (3, 1, 1, 1))
    r = np.linalg.norm(offsets, axis=0)
    along = np.einsum("czyx,c->zyx", offsets, case.b0_direction)
    far = r > 13
    dipole = 0.3 * (12 / r[far]) ** 3 * (3 * (along[far] / r[far]) ** 2 - 1)
    np.testing.assert_allclose(field[far], dipole, atol=1e-6)


def test_a_long_ellipsoid_is_a_cylinder_and_keeps_its_own_axes() -> None:
    common = {"orientation": TURNED, "object_chi": 0.6, "object_radius": 9.0}
    rod = make_phantom(case_of(phantom="cylinder", cylinder_tilt=40.0, **common))
    needle = make_phantom(
        case_of(
            phantom="ellipsoid",
            object_axes=(9.0, 9.0, 9000.0),
            object_turn=(-40.0, 0.0, 0.0),
            bath_radius=9500.0,
            **common,
        )
    )
    np.testing.assert_allclose(needle.field(GRID), rod.field(GRID), atol=1e-4)
    labels = needle.scene(GRID).where("ellipsoid"), rod.scene(GRID).where("cylinder")
    np.testing.assert_array_equal(*labels)


def test_an_ellipsoid_is_as_large_as_it_should_be() -> None:
    phantom = make_phantom(
        case_of(phantom="ellipsoid", object_axes=(30.0, 20.0, 12.0), object_turn=(0.0, 20.0, 50.0))
    )
    expected = 4 / 3 * np.pi * 30 * 20 * 12
    assert volume(phantom.scene(GRID), "ellipsoid") == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("tilt", [0.0, 40.0, 90.0])
def test_vials_stand_apart_at_any_tilt(tilt: float) -> None:
    phantom = make_phantom(case_of(phantom="calibration-vials", cylinder_tilt=tilt))
    # Across S, and across the rods: no vial may hide another there.
    grid = Geometry((61, 3, 60), (3.0, 2.0, 2.0), GRID.position) if tilt else GRID
    scene = phantom.scene(grid)
    assert len(phantom.pools) == 7
    for label in phantom.pools:
        chi = scene.quantities["chi"][scene.where(label)]
        assert np.median(chi) == pytest.approx(phantom.values[label]["chi"])
    assert (scene.quantities["water"] == phantom.values["water"]["water"]).any()


def test_vials_obey_curies_law() -> None:
    # 7.94 Bohr magnetons at 293 K: 0.338 ppm/mM, as in textbooks of magnetochemistry.
    assert molar_susceptibility(7.94**2, 293.15) == pytest.approx(0.338, abs=0.001)
    case = case_of(phantom="calibration-vials", vial_gadolinium=(2.0,), vial_iron=())
    assert make_phantom(case).values["gadolinium_2_mM"]["chi"] == pytest.approx(0.676, abs=0.002)


def test_vials_relax_faster_the_more_they_hold() -> None:
    case = case_of(phantom="calibration-vials", h1_frequency=127.732e6, flip_angle=90.0, TR=0.015)
    values = make_phantom(case).values
    assert pytest.approx(3.0, abs=0.01) == case.B0
    for name, ion in (("gadolinium_1_mM", GADOLINIUM), ("iron_1_mM", IRON)):
        water, vial = values["water"], values[name]
        assert vial["r2star"] - water["r2star"] == pytest.approx(ion.r2star[1], rel=1e-3)
        # At 90 degrees the signal is 1 - exp(-TR R1).
        r1 = -np.log(1 - vial["water"]) / 0.015
        assert r1 == pytest.approx(1 / 2.5 + ion.r1[1], rel=1e-3)


def test_the_bath_may_have_a_susceptibility_of_its_own() -> None:
    values = {"tissues": {"water": {"chi": 0.2}}, "phantom": "cylinder", "object_chi": 0.5}
    phantom, plain = make_phantom(case_of(**values)), make_phantom(case_of(phantom="cylinder"))
    assert phantom.values["cylinder"]["chi"] == pytest.approx(0.7)
    np.testing.assert_allclose(phantom.field(GRID), 0.5 * plain.field(GRID), atol=1e-6)


@pytest.mark.parametrize("name", ["calibration-phantom", "cylinder", "sphere", "tiny"])
def test_the_presets_hold_all_of_their_objects(name: str) -> None:
    case = load_preset(name)
    phantom = make_phantom(case)
    scene = phantom.scene(slab_geometry(case), quantities=("chi",))
    for label in phantom.pools:
        z, _, x = np.nonzero(scene.where(label))
        # Two voxels of bath around everything along the readout, and something to measure.
        assert x.min() >= 2
        assert x.max() < case.matrix[2] - 2
        assert z.size > 50


def test_what_is_no_ellipsoid_is_refused() -> None:
    with pytest.raises(ValueError, match="object_axes must be positive"):
        Case(object_axes=(1.0, 0.0, 2.0), **STILL)
    with pytest.raises(ValueError, match="fibre_axis must not be zero"):
        Case(fibre_axis=(0.0, 0.0, 0.0), **STILL)


def test_vials_of_the_same_solution_stand_side_by_side() -> None:
    case = case_of(phantom="calibration-vials", vial_gadolinium=(1.0, 1.0, 1.0), vial_iron=(1.0,))
    phantom = make_phantom(case)
    names = ("gadolinium_1_mM", "gadolinium_1_mM_2", "gadolinium_1_mM_3", "iron_1_mM")
    assert phantom.pools == names
    scene = phantom.scene(GRID)
    volumes = [volume(scene, name) for name in names]
    # All of them are wholly there: 36 mm long, 8 mm in radius, in voxels of 2 mm.
    assert volumes == pytest.approx([36 * np.pi * 8**2] * 4, rel=0.15)
    assert phantom.values[names[0]] == phantom.values[names[2]]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (
            {"vial_radius": 15.7},
            r"vial_radius 15\.7 mm: .* touch each other, 7 in .* than 15\.62 mm",
        ),
        ({"vial_radius": 24.0, "vial_iron": (), "vial_gadolinium": (1.0,)}, "leave the bath, 1 in"),
        ({"bath_radius": 20.0}, "the vials touch .* make vial_radius smaller than 5.21 mm, bath_r"),
        ({"vial_iron": (1.0, -1.0)}, r"vial_iron\.1: .* greater than or equal to 0, got -1"),
        ({"vial_gadolinium": (1e6,)}, r"vial_gadolinium\.0: .* less than or equal to 200"),
        ({"phantom": "sphere", "object_radius": 60.0}, "object_radius 60 mm must be smaller than"),
        ({"phantom": "cylinder", "object_radius": 70.0}, "smaller than bath_radius 60 mm: make"),
        ({"phantom": "ellipsoid", "object_axes": (9.0, 61.0, 9.0)}, "the longest, 61 mm must be"),
        (
            {"phantom": "fibres", "fibre_pattern": "uniform", "bath_radius": 11.0},
            "object_radius 12 mm must be smaller than bath_radius 11 mm",
        ),
    ],
)
def test_objects_that_touch_or_leave_the_bath_are_refused(
    values: dict[str, Any], reason: str
) -> None:
    with pytest.raises(SettingsError, match=reason):
        case_of(**{"phantom": "calibration-vials", **values})


def test_vials_that_just_fit_are_taken() -> None:
    assert len(make_phantom(case_of(phantom="calibration-vials", vial_radius=15.6)).pools) == 7
    # Sizes of other phantoms do not matter.
    assert case_of(phantom="cylinder", vial_radius=8.0, bath_radius=13.0).bath_radius == 13.0
    assert case_of(phantom="fibres", bath_radius=11.0).fibre_pattern == "helix"
