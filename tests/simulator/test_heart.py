"""The heart: its volumes, how it contracts, its fat, infarcts in their segments."""

import numpy as np
import pytest
from tests.simulator.organs import SYSTOLE, heart, near, painted_heart, positions, volume

from chistream_simulator.case import Case, load_preset
from chistream_simulator.imaging import slab_geometry
from chistream_simulator.phantoms.anatomy.heart import AXES, Heart, cup_radius, cup_volume
from chistream_simulator.phantoms.anatomy.vessels import OUTFLOW, VESSELS
from chistream_simulator.phantoms.pose import AT_REST, Pose


def test_the_left_ventricle_has_the_volume_of_its_closed_form() -> None:
    for contraction in (0.0, 0.5, 1.0):
        pose = Pose(0.0, contraction)
        state = Heart(contraction)
        own = cup_volume(state.inner_radius, state.inner_apex, state.base) / 1000
        assert volume(heart(pose), "LV") == pytest.approx(own, rel=0.01)
        # Its wall: measured with its cavity, which is cut a little nearer to the apex.
        apex = state.lv_layer(1.0).semi_axes[2]
        both = cup_volume(state.outer_radius, apex, state.base) / 1000
        assert both - own == pytest.approx(126.5, rel=0.005)
    assert cup_radius(cup_volume(7.0, 12.0, 5.0), 12.0, 5.0) == pytest.approx(7.0)


def test_contraction_ejects_sixty_percent_and_about_as_much_on_the_right() -> None:
    diastole, systole = heart(), heart(SYSTOLE)
    left, right, atria, wall = (
        (sum(volume(diastole, n) for n in names), sum(volume(systole, n) for n in names))
        for names in (("LV",), ("RV",), ("LA", "RA"), ("myocardium",))
    )
    assert 1 - left[1] / left[0] == pytest.approx(0.6, abs=0.01)
    stroke = left[0] - left[1]
    assert right[0] - right[1] == pytest.approx(stroke, rel=0.1)
    assert 0.4 * stroke < atria[1] - atria[0] < 0.9 * stroke
    assert wall[1] == pytest.approx(wall[0], rel=0.03)


def test_vessels_hang_on_the_base_of_the_heart_and_on_what_rests() -> None:
    rest, moved = Heart(), Heart(1.0, (0.0, -3.0, -9.0))
    axis = np.asarray(AXES[2])
    for vessel in (OUTFLOW, *VESSELS):
        shifts = np.subtract(vessel.at(moved).nodes, vessel.at(rest).nodes)
        for shift in shifts[: len(vessel.roots)]:
            np.testing.assert_allclose(shift, 12 * axis + [0.0, -3.0, -9.0])
        for shift, (_, part, _) in zip(shifts[len(vessel.roots) :], vessel.nodes, strict=True):
            np.testing.assert_allclose(shift, [0.0, -3.0 * part, -9.0 * part])
        assert len(vessel.at(rest).radii) == len(shifts)


def test_contraction_brings_the_base_to_the_apex_which_rests() -> None:
    axis = np.array([0.62, -0.58, -0.53])
    axis /= np.linalg.norm(axis)
    base, apex = (
        [extreme(positions(heart(pose), "LV") @ axis) for pose in (AT_REST, SYSTOLE)]
        for extreme in (np.min, np.max)
    )
    assert base[1] - base[0] == pytest.approx(12.0, abs=1.0)
    assert -4.0 < apex[1] - apex[0] < 0.0
    assert Heart(1.0).outer_radius - Heart(1.0).inner_radius > 13  # thickens by a third and more


def test_more_epicardial_fat_keeps_off_the_left_ventricle_but_fills_the_grooves() -> None:
    thin, thick = (volume(painted_heart(Case(epicardial_fat=t)), "epicardial_fat") for t in (4, 8))
    assert thick > 1.5 * thin
    scene = painted_heart(Case(epicardial_fat=6.0))
    fat = positions(scene, "epicardial_fat")
    state = Heart()
    # Distance from the long axis' origin, in the plane of the atria and ventricles and below it.
    axes = np.array([state.place(*e) for e in np.eye(3)]) - state.place(0.0, 0.0, 0.0)
    own = (fat - state.place(0.0, 0.0, 0.0)) @ axes.T
    lateral = own[(own[:, 0] < -20) & (np.abs(own[:, 1]) < 10)]
    depth = np.hypot(lateral[:, 0], lateral[:, 1])
    groove, free = (depth[np.abs(lateral[:, 2] - at) < 3] for at in (-33.0, 5.0))
    assert np.ptp(free) < 6
    assert np.ptp(groove) > 1.5 * np.ptp(free)


@pytest.mark.parametrize("segment", range(1, 18))
def test_an_infarct_lies_in_the_segment_that_is_asked_for(segment: int) -> None:
    case = Case(infarct_size=14.0, infarct_segment=segment, infarct_extent=1.0)
    scene = painted_heart(case)
    cavity, place = positions(scene, "LV"), positions(scene, "infarct").mean(axis=0)
    middle = cavity.mean(axis=0)
    # The long axis from the shape of the cavity, away from the left atrium; the septum faces the
    # right ventricle; anterior is what is left, towards the front and up.
    axis = np.linalg.svd(cavity - middle, full_matrices=False)[2][0]
    axis *= np.sign(axis @ (middle - positions(scene, "LA").mean(axis=0)))
    right = positions(scene, "RV").mean(axis=0) - middle
    septal = right - (right @ axis) * axis
    septal /= np.linalg.norm(septal)
    anterior = np.cross(axis, septal)
    anterior *= -np.sign(anterior[1])
    assert anterior[2] > 0
    along = (cavity - middle) @ axis
    level = ((place - middle) @ axis - along.min()) / np.ptp(along)
    angle = np.degrees(np.arctan2((place - middle) @ anterior, (place - middle) @ septal))
    assert segment_at(level, angle) == segment
    ring = np.searchsorted((6, 12, 16), segment)
    # In the middle of its third of the cavity, but where the drill meets a slanting wall.
    assert ring == 3 or level == pytest.approx((ring + 0.5) / 3, abs=0.05)


def segment_at(level: float, angle: float) -> int:
    """Segment of the AHA's model at a level from base (0) to apex (1), and angle from septum."""
    if level > 1:
        return 17
    if level > 2 / 3:
        return 13 + int((135 - angle) % 360 // 90)
    return (1 if level < 1 / 3 else 7) + int((120 - angle) % 360 // 60)


@pytest.mark.parametrize("pose", [AT_REST, SYSTOLE])
def test_an_infarct_takes_as_much_of_the_wall_as_is_asked_for(pose: Pose) -> None:
    width = 16.0
    volumes = {}
    for extent in (0.3, 1.0):
        case = Case(infarct_size=width, infarct_segment=9, infarct_extent=extent, infarct_chi=0.5)
        scene = painted_heart(case, pose)
        volumes[extent] = volume(scene, "infarct")
        assert not (near(scene, "infarct", 1) & scene.where("LA")).any()
        touches_rv = (near(scene, "infarct", 2) & scene.where("RV")).any()
        assert touches_rv == (extent == 1.0)
        assert (near(scene, "infarct", 1) & scene.where("LV")).any()
        assert scene.quantities["chi"][scene.where("infarct")].max() == pytest.approx(0.5, abs=1e-3)
    state = Heart(pose.contraction)
    drilled = np.pi * (width / 2) ** 2 * (state.outer_radius - state.inner_radius) / 1000
    # A drill through a curved wall takes some more than through a flat one.
    assert volumes[1.0] == pytest.approx(drilled, rel=0.15)
    assert volumes[0.3] == pytest.approx(0.3 * drilled, rel=0.25)


@pytest.mark.parametrize("preset", ["demo", "cardiac-3t-nav"])
def test_the_slab_of_a_heart_preset_holds_both_ventricles(preset: str) -> None:
    slab = slab_geometry(load_preset(preset))
    axis = np.asarray(slab.slice_dir)
    middle = np.asarray(slab.position) - 0.5 * (1 - slab.shape[0] % 2) * slab.voxel_size[0] * axis
    half = 0.45 * slab.shape[0] * slab.voxel_size[0]
    for label, part in (("LV", 1.0), ("RV", 0.99)):
        along = (positions(heart(), label) - middle) @ axis
        assert np.mean(np.abs(along) < half) >= part
