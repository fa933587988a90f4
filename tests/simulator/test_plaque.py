"""The neck with its plaque: what lies where, how large it is, and the field that it makes."""

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from chistream.arrays import RealArray
from chistream.physics.geometry import Geometry
from chistream_simulator.case import Case, load_preset
from chistream_simulator.imaging import slab_geometry
from chistream_simulator.magnetics.closed_forms import sphere_field
from chistream_simulator.overrides import checked
from chistream_simulator.phantoms.library import make_phantom
from chistream_simulator.phantoms.phantom import Phantom
from chistream_simulator.phantoms.plaque import (
    CAP,
    CAROTID,
    COMPONENTS,
    LUMEN,
    WALL,
    plaque_centres,
)
from chistream_simulator.phantoms.scene import block_points

CHI = {
    "calcification": -1.0,
    "calcification_dense": -2.0,
    "haemorrhage_recent": 0.5,
    "haemorrhage_chronic": 1.75,
}
AROUND = Geometry((121, 56, 57), (0.5, 0.5, 0.5), (29.0, -8.0, 0.0))


def neck(**values: object) -> Phantom:
    given: dict[str, Any] = {
        "phantom": "plaque",
        "breathing_amplitude": 0.0,
        "navigators": "none",
        **values,
    }
    return make_phantom(checked(Case, given))


@pytest.mark.parametrize("size", [3.0, 4.0, 5.0])
def test_each_component_is_as_large_as_set_and_of_its_own_tissue(size: float) -> None:
    phantom = neck(plaque_size=size)
    scene = phantom.scene(AROUND, quantities=("chi",))
    for label in COMPONENTS:
        where = scene.where(label)
        volume = where.sum() * 0.125
        assert volume == pytest.approx(np.pi / 6 * size**3, rel=0.12)
        expected = CHI.get(label, phantom.values["plaque_lipid"]["chi"])
        assert np.median(scene.quantities["chi"][where]) == pytest.approx(expected, abs=1e-3)
    assert phantom.pools == COMPONENTS


def test_components_lie_in_the_wall_with_a_cap_towards_the_lumen() -> None:
    scene = neck(plaque_size=4.0, plaque_stenosis=0.0).scene(AROUND, quantities=())
    centres = plaque_centres(4.0)
    heights = np.array([centre[2] for centre in centres.values()])
    np.testing.assert_allclose(np.diff(heights), 6.5)
    assert heights.sum() == pytest.approx(0.0)
    left, posterior, _ = centres["lipid"]
    assert np.hypot(left - CAROTID[0], posterior - CAROTID[1]) == pytest.approx(LUMEN + CAP + 2.0)
    lipid = scene.where("lipid")
    around = binary_dilation(lipid) & ~lipid
    assert {scene.names[n - 1] for n in np.unique(scene.labels[around])} == {"wall"}


@pytest.mark.parametrize("stenosis", [0.0, 0.4, 0.8])
def test_the_plaque_narrows_the_lumen_and_leaves_the_other_side_alone(stenosis: float) -> None:
    phantom = neck(plaque_stenosis=stenosis)
    for side, diameter in ((1.0, 2 * LUMEN * (1 - stenosis)), (-1.0, 2 * LUMEN)):
        place = (side * CAROTID[0], CAROTID[1], -6.0)
        line = Geometry((1, 1, 400), (0.1, 0.1, 0.025), place)
        lumen = phantom.scene(line, quantities=()).where("lumen").sum() * 0.025
        assert lumen == pytest.approx(diameter, abs=0.06)
        below = Geometry((1, 1, 400), (0.1, 0.1, 0.025), (*place[:2], -60.0))
        scene = phantom.scene(below, quantities=())
        assert scene.where("lumen").sum() * 0.025 == pytest.approx(2 * LUMEN, abs=0.06)
        assert scene.where("wall").sum() * 0.025 == pytest.approx(2 * WALL, abs=0.06)


def test_a_neck_has_its_vessels_airway_spine_and_fat() -> None:
    phantom = neck()
    slab = Geometry((5, 140, 141), (20.0, 1.0, 1.0))
    scene = phantom.scene(slab)
    areas = {name: scene.where(name).sum() / 5 for name in scene.names}
    assert areas["fat"] == pytest.approx(np.pi * (62 * 60 - 57 * 55), rel=0.05)
    assert areas["airway"] == pytest.approx(np.pi * 8.5 * 7.5, rel=0.05)
    assert areas["jugular"] == pytest.approx(2 * np.pi * 36, rel=0.1)
    for label in ("spine", "csf", "cord", "cartilage", "muscle"):
        assert areas[label] > 30
    fat = scene.where("fat")
    assert (scene.quantities["fat"][fat] > scene.quantities["water"][fat]).mean() > 0.9
    # Two internal and two external carotids above, one on each side below.
    above, below = scene.where("lumen")[3], scene.where("lumen")[1]
    assert above.sum() > 1.3 * below.sum() > 0
    assert {"lumen", "jugular"} == set(phantom.velocities)


def difference(first: Phantom, second: Phantom, grid: Geometry) -> RealArray:
    return np.asarray(first.field(grid) - second.field(grid))


@pytest.mark.slow
@pytest.mark.parametrize("orientation", [(0.0, 0.0, 0.0), (30.0, 15.0, 0.0)])
@pytest.mark.parametrize(("shape", "steps"), [((40, 41, 36), 0.75), ((31, 40, 39), 0.8)])
def test_the_dense_calcification_makes_the_field_of_its_sphere(
    orientation: tuple[float, float, float], shape: tuple[int, int, int], steps: float
) -> None:
    common = {"plaque_size": 6.0, "orientation": orientation}
    without = neck(**common, tissues={"plaque_calcification_dense": {"chi": 0.0}})
    centre = plaque_centres(6.0)["calcification_dense"]
    grid = Geometry(shape, (steps, steps, steps), centre)
    found = difference(neck(**common), without, grid)
    points = np.broadcast_arrays(*block_points(grid))
    b0 = checked(Case, {"orientation": orientation}).b0_direction
    expected = sphere_field((points[0], points[1], points[2]), centre, 3.0, -2.0, b0_direction=b0)
    r = np.linalg.norm(np.stack(points) - np.reshape(centre, (3, 1, 1, 1)), axis=0)
    # 3 % of chi, two voxels off the surface.
    away = np.abs(r - 3.0) > 2 * steps
    np.testing.assert_allclose(found[away], expected[away], atol=0.06)


def test_the_preset_covers_the_plaque_finely() -> None:
    case = load_preset("carotid-plaque")
    phantom, slab = make_phantom(case), slab_geometry(case)
    assert max(case.voxel_size) <= 1.5
    scene = phantom.scene(slab, quantities=())
    for label in COMPONENTS:
        # Not cut: the slab's profile leaves 90 % of it.
        z, _, _ = np.nonzero(scene.where(label))
        assert z.min() > 0.05 * slab.shape[0]
        assert z.max() < 0.95 * slab.shape[0]
