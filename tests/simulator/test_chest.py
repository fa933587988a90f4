"""The chest: sizes and neighbours of its organs, how they move, and what can be left out."""

import numpy as np
import pytest
from tests.simulator.organs import BODY, INSPIRED, SYSTOLE, chest, near, patient, positions, volume

from chistream.arrays import RealArray
from chistream.physics.geometry import Geometry
from chistream_simulator.case import Case, load_preset
from chistream_simulator.imaging import slab_geometry
from chistream_simulator.options.slab import turn_matrix
from chistream_simulator.phantoms.chest import SILENT, ChestPhantom
from chistream_simulator.phantoms.partial_volumes import (
    CERTAIN,
    filled_block,
    filled_part,
    points_at,
)
from chistream_simulator.phantoms.phantom import tissue_values
from chistream_simulator.phantoms.pose import AT_REST, Pose
from chistream_simulator.phantoms.scene import block_points
from chistream_simulator.phantoms.shapes import point
from chistream_simulator.tissues import tissue_table


@pytest.mark.parametrize(
    ("label", "low", "high"),
    [
        ("LV", 90, 110),
        ("RV", 100, 130),
        ("LA", 50, 80),
        ("RA", 55, 90),
        ("myocardium", 150, 230),
        ("epicardial_fat", 80, 220),
        ("lung", 2500, 4500),
        ("liver", 1300, 2000),
        ("spleen", 100, 250),
        ("stomach_air", 30, 100),
        ("aorta", 120, 250),
        ("spine", 300, 700),
        ("fat", 4000, 9000),
    ],
)
def test_organs_are_as_large_as_in_adults(label: str, low: float, high: float) -> None:
    assert low < volume(chest(), label) < high


@pytest.mark.parametrize("pose", [AT_REST, SYSTOLE, Pose(15.0, 0.5)])
def test_cavities_touch_their_walls_and_valves_only(pose: Pose) -> None:
    scene = chest(pose)
    strangers = ("lung", "epicardial_fat", "mediastinal_fat", "liver", "body", "sternum", "fat")
    for cavity in ("LV", "RV"):
        # One voxel of wall, 3 mm, lies between: that of the right ventricle is hardly thicker.
        touched = near(scene, cavity, 1) & ~scene.where(cavity)
        for stranger in strangers:
            assert scene.where(stranger)[touched].mean() < 0.01, (cavity, stranger)
    assert not (near(scene, "LV", 2) & scene.where("RV")).any()
    assert not (near(scene, "LV", 1) & scene.where("RA")).any()
    assert not (near(scene, "LA", 1) & scene.where("RV")).any()


@pytest.mark.parametrize("pose", [AT_REST, SYSTOLE, INSPIRED, Pose(25.0, 1.0)])
def test_no_organ_lies_where_another_must_be(pose: Pose) -> None:
    scene = chest(pose)
    places = {
        n: positions(scene, n)
        for n in ("pericardium", "sternum", "spine", "liver", "RV", "ribs", "stomach_air", "LA")
    }
    # The heart lies between sternum and spine, and touches neither.
    for bone in ("sternum", "spine", "ribs"):
        assert not (near(scene, "pericardium", 1) & scene.where(bone)).any(), bone
    assert places["pericardium"][:, 1].min() > places["sternum"][:, 1].max()
    assert places["LA"][:, 1].max() < places["spine"][:, 1].min()
    # Lungs and liver have the diaphragm between them, gas is in the stomach.
    assert (near(scene, "liver", 1) & scene.where("lung")).sum() < 0.002 * scene.where("lung").sum()
    assert places["liver"][:, 2].max() < 0
    assert (near(scene, "stomach_air", 1) & scene.where("lung")).sum() == 0
    # Ribs are whole: what moves does not wear them away.
    assert volume(scene, "ribs") == pytest.approx(volume(chest(), "ribs"), rel=0.002)
    assert volume(scene, "spine") == pytest.approx(volume(chest(), "spine"), rel=0.01)


def test_there_is_nothing_outside_the_body_and_no_hole_in_its_wall() -> None:
    scene = chest()
    outside = scene.labels == 0
    distance = patient().body.signed_distance(block_points(BODY))
    distance = np.broadcast_to(distance, outside.shape)
    assert (outside == (distance > 0))[np.abs(distance) > 0.1].all()
    assert scene.quantities["chi"][distance > 3].min() == pytest.approx(9.4)
    wall = near(scene, "lung", 2) & outside
    assert not wall.any()


def test_breathing_in_moves_each_organ_by_its_own_measure() -> None:
    phantom = ChestPhantom(Case(tracking_factor=0.5, tracking_factor_ap=0.2))
    geometry = Geometry((150, 60, 80), (2.0, 4.0, 4.0))
    scenes = [phantom.scene(geometry, Pose(descent), ("chi",)) for descent in (0.0, 12.0)]

    def shift(label: str) -> RealArray:
        before, after = (positions(scene, label).mean(axis=0) for scene in scenes)
        return np.asarray(after - before)

    np.testing.assert_allclose(shift("LV"), (0.0, -2.4, -6.0), atol=0.3)
    np.testing.assert_allclose(shift("RV"), (0.0, -2.4, -6.0), atol=0.3)
    np.testing.assert_allclose(shift("stomach_air"), (0.0, 0.0, -12.0), atol=0.3)
    for label in ("spine", "sternum", "ribs"):
        np.testing.assert_allclose(shift(label), 0.0, atol=0.05)
    tops = [positions(scene, "liver")[:, 2].max() for scene in scenes]
    assert tops[1] - tops[0] == -12.0


def test_lungs_fill_as_the_diaphragm_goes_down() -> None:
    rest, full = chest(), chest(INSPIRED)
    # 15 mm over some 30 000 mm^2 of diaphragm, less what the heart leaves free.
    assert 350 < volume(full, "lung") - volume(rest, "lung") < 600
    before, after = (s.quantities["chi"][s.where("lung")].max() for s in (rest, full))
    assert after - before == pytest.approx(0.04 * 15, abs=1e-4)
    # As much of the tissue is left as there is less of it to the air.
    left = (9.4 - after) / (9.4 - before)
    values, filled = patient().values, patient().values_in(INSPIRED)
    assert filled["lung"]["water"] == pytest.approx(left * values["lung"]["water"])
    assert {n: v for n, v in filled.items() if n != "lung"} == {
        n: v for n, v in values.items() if n != "lung"
    }
    assert patient().values_in(Pose(1000.0))["lung"]["chi"] == values["air"]["chi"]


def test_the_navigator_looks_through_lung_onto_the_top_of_the_liver() -> None:
    beam = patient().beam
    for pose in (AT_REST, INSPIRED):
        scene = chest(pose)
        left, posterior, superior = np.broadcast_arrays(*block_points(BODY))
        radius = np.hypot(left - beam.centre[0], posterior - beam.centre[1])
        height = superior - (beam.centre[2] - pose.descent)
        column = radius < beam.radius
        # The pericardium just touches the edge of the beam.
        assert scene.where("lung")[column & (height > 3) & (height < 50)].mean() > 0.98
        # The diaphragm is 3 mm thick, and the dome falls by 1 to 2 mm to the edge of the beam.
        assert scene.where("liver")[column & (height < -9) & (height > -60)].all()


def test_what_is_set_to_nothing_is_not_there() -> None:
    settings = {"subcutaneous_fat": 0.0, "epicardial_fat": 0.0, "ribs": False, "stomach_air": False}
    dry = {name: {"fat_fraction": 0.0} for name in ("muscle", "bone")}
    case = Case.model_validate({**settings, "tissues": dry})
    scene = ChestPhantom(case).scene(BODY)
    absent = {"fat", "epicardial_fat", "mediastinal_fat", "ribs", "stomach_air", "infarct"}
    assert not absent & set(scene.names)
    assert not scene.quantities["fat"].any()
    rest = chest()
    for label in ("LV", "RV", "liver", "lung", "spine"):
        # Without fat the heart leaves some more room to the lungs.
        assert volume(scene, label) == pytest.approx(volume(rest, label), rel=0.05), label
    # Where fat, bone and gas were there is tissue now: no hole, nothing strange.
    stranger = set(scene.names) - set(rest.names)
    assert not stranger
    missing = rest.where("ribs") | rest.where("epicardial_fat") | rest.where("stomach_air")
    chi = np.abs(scene.quantities["chi"][missing & ~near(scene, "lung", 1)])
    assert (
        np.percentile(chi, 99.5) < 0.35
    )  # the rest: slivers of lung, blood at its full difference


@pytest.mark.parametrize("thickness", [8.0, 25.0])
def test_subcutaneous_fat_is_as_thick_as_set(thickness: float) -> None:
    phantom = ChestPhantom(Case(subcutaneous_fat=thickness))
    along = Geometry((1, 1, 500), (3.0, 3.0, 1.0), (0.0, 0.0, -150.0))
    where = phantom.scene(along, AT_REST, ("chi",)).where("fat")[0, 0]
    assert where[:250].sum() == where[250:].sum() == pytest.approx(thickness, abs=1)
    assert phantom.body.reach((1.0, 0.0, 0.0)) == pytest.approx(168 + thickness + 1.5)


@pytest.mark.slow
def test_cells_that_are_passed_over_hold_no_surface() -> None:
    axes = [point(column) for column in turn_matrix((20.0, -15.0, 30.0)).T]
    turned = Geometry((31, 52, 60), (5.0, 4.0, 5.5), (0.0, 0.0, 0.0), *axes)
    for geometry in (turned, Geometry((90, 26, 50), (5.0, 10.0, 8.0))):
        block = (
            slice(0, geometry.shape[0]),
            slice(0, geometry.shape[1]),
            slice(0, geometry.shape[2]),
        )
        z, y, x = (np.arange(-1, n + 1) for n in geometry.shape)
        points = points_at(geometry, z[:, None, None], y[None, :, None], x[None, None, :])
        certain = CERTAIN * float(np.linalg.norm(geometry.voxel_size)) / 2
        for part in patient().parts:
            shape = part.at(Pose(7.0, 0.4))
            distance = np.broadcast_to(
                shape.signed_distance(points), [n + 2 for n in geometry.shape]
            )
            every = filled_part(np.ascontiguousarray(distance, np.float32), certain)
            np.testing.assert_allclose(
                filled_block(geometry, block, shape), every, atol=2e-3, err_msg=part.label
            )


@pytest.mark.slow
def test_lungs_bend_the_field_over_the_heart_as_much_as_in_people() -> None:
    slab = slab_geometry(load_preset("demo"))
    scene, total = patient().scene_with_field(slab)
    where = scene.where("LV") | scene.where("RV") | scene.where("myocardium")
    ramps = [np.ones(slab.shape), *(np.broadcast_to(p, slab.shape) for p in block_points(slab))]
    terms = np.stack([ramp[where] for ramp in ramps], axis=-1)
    shim = np.linalg.lstsq(terms, total[where], rcond=None)[0]
    shimmed = total - sum(term * ramp for term, ramp in zip(shim, ramps, strict=True))
    over_myocardium = np.percentile(shimmed[scene.where("myocardium")], [2, 98])
    # 71 +- 14 Hz from peak to peak over the myocardium at 1.5 T, behind a linear shim: Reeder,
    # Magn Reson Med 1998;39:988-998.
    assert 40 < np.ptp(over_myocardium) * 63.87 < 100
    # Blood makes a tenth of it. A breath changes it by some Hz behind the shim, more before.
    local = patient().local_field(slab)
    pools = scene.where("LV") | scene.where("RV")
    assert 0.005 < local[pools].std() < 0.3 * total[pools].std()
    moved = patient().field(slab, Pose(10.0))
    assert 0.02 < np.abs(moved - total)[pools].mean() < 1.0


@pytest.mark.slow
def test_the_local_field_is_the_sum_of_the_dipoles_of_tissue_in_the_slab() -> None:
    case = Case(matrix=(20, 54, 72), fov=(100.0, 270.0, 400.0), rotation=(12.0, -8.0, 0.0))
    slab, phantom = slab_geometry(case), ChestPhantom(case)
    no_air = {name: {"chi": 0.0} for name in SILENT}
    chi = ChestPhantom(case.model_copy(update={"tissues": no_air, "lung_inflation": 0.0})).scene(
        slab
    )
    sources = np.stack(np.broadcast_arrays(*block_points(slab))).reshape(3, -1).astype(float)
    strength = chi.quantities["chi"].ravel() * np.prod(slab.voxel_size) / (4 * np.pi)
    inner = chi.where("LV") | chi.where("RV") | chi.where("myocardium")
    places = np.flatnonzero(inner.ravel())[::97]
    expected = []
    for place in places:
        apart = sources - sources[:, place, None]
        r_squared = np.maximum((apart**2).sum(axis=0), 1e-6)
        dipole = (3 * apart[2] ** 2 / r_squared - 1) * r_squared**-1.5
        dipole[place] = 0.0
        expected.append(strength @ dipole)
    error = phantom.local_field(slab).ravel()[places] - np.array(expected)
    # Blood and fat make 25 ppb of it; 5 mm voxels are coarse for a direct sum.
    assert phantom.local_field(slab)[inner].std() > 0.015
    assert error.std() < 0.008


def test_the_parts_name_tissues_that_there_are() -> None:
    case = Case(infarct_size=10.0)
    phantom = ChestPhantom(case)
    values = tissue_values(case)
    assert {part.tissue for part in phantom.parts} <= set(values)
    assert set(SILENT) <= set(tissue_table())
    assert set(phantom.velocities) <= {part.label for part in phantom.parts}
    assert {"LV", "RV", "LA", "RA"} <= set(phantom.velocities)
