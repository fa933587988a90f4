"""The head: a brain with folds, everything that belongs to it, and the sizes that heads have."""

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from chistream.physics.geometry import Geometry
from chistream_simulator.case import Case, load_preset
from chistream_simulator.imaging import slab_geometry
from chistream_simulator.magnetics.closed_forms import sphere_field
from chistream_simulator.overrides import checked
from chistream_simulator.phantoms.combinations import Grown
from chistream_simulator.phantoms.folds import Folded
from chistream_simulator.phantoms.head import CALCIFICATION, MICROBLEED, NUCLEUS_LABELS
from chistream_simulator.phantoms.library import make_phantom
from chistream_simulator.phantoms.phantom import Phantom
from chistream_simulator.phantoms.scene import Part, Scene, blank_scene, block_points
from chistream_simulator.phantoms.shapes import Ellipsoid, axes_with

CHI = {  # of the head phantom of the reconstruction challenge 2.0 [ppm]
    "caudate": 0.044,
    "globus_pallidus": 0.131,
    "putamen": 0.038,
    "red_nucleus": 0.1,
    "dentate": 0.152,
    "substantia_nigra": 0.111,
    "thalamus": 0.02,
    "white_matter": -0.03,
    "grey_matter": 0.02,
    "csf": 0.019,
}
DEEP = Geometry((80, 94, 85), (1.0, 1.0, 1.0), (0.0, 12.0, -12.0))
HEAD = Geometry((94, 116, 91), (2.0, 2.0, 2.0), (0.0, -5.0, -14.0))


def head(**values: object) -> Phantom:
    given: dict[str, Any] = {
        "phantom": "head",
        "breathing_amplitude": 0.0,
        "navigators": "none",
        **values,
    }
    return make_phantom(checked(Case, given))


@pytest.fixture(scope="module")
def scene() -> Scene:
    return head().scene(HEAD)


def volume(scene: Scene, label: str) -> float:
    """[ml]"""
    return float(scene.where(label).sum() * np.prod(scene.geometry.voxel_size) / 1000)


@pytest.mark.slow
def test_a_head_has_the_volumes_of_heads(scene: Scene) -> None:
    brain = sum(volume(scene, n) for n in ("grey_matter", "white_matter", "brainstem"))
    assert 950 < brain < 1500
    assert 0.7 < volume(scene, "grey_matter") / volume(scene, "white_matter") < 1.6
    assert 12 < volume(scene, "ventricle") < 50
    # Both sides together, order of magnitude of anatomy.
    ranges = {
        "thalamus": (5, 18),
        "caudate": (3, 10),
        "putamen": (4, 12),
        "globus_pallidus": (1, 4),
        "red_nucleus": (0.2, 0.8),
        "substantia_nigra": (0.3, 1.2),
        "dentate": (0.5, 2.5),
    }
    for name, (low, high) in ranges.items():
        assert low < volume(scene, name) < high
    assert set(ranges) == set(NUCLEUS_LABELS)


@pytest.mark.slow
def test_tissues_have_the_susceptibilities_of_the_challenge() -> None:
    scene = head().scene(DEEP, quantities=("chi",))
    for label, chi in CHI.items():
        found = scene.quantities["chi"][binary_erosion(scene.where(label))]
        assert found.size > 5
        assert np.median(found) == pytest.approx(chi, abs=0.004)
    veins = scene.quantities["chi"][scene.where("vein")]
    assert np.percentile(veins, 90) > 0.15


@pytest.mark.slow
def test_left_mirrors_right_but_for_the_lesions() -> None:
    scene = head(head_calcification=0.0, head_microbleed=0.0).scene(HEAD, quantities=())
    assert "calcification" not in scene.names
    for label in (*NUCLEUS_LABELS, "ventricle", "skull", "eye"):
        where = scene.where(label)
        assert where.any()
        np.testing.assert_array_equal(where, where[:, :, ::-1])


@pytest.mark.slow
def test_lesions_lie_in_the_brain_and_are_as_large_as_set() -> None:
    phantom = head(head_calcification=6.0, head_microbleed=5.0)
    for label, centre, size in (
        ("calcification", CALCIFICATION, 6.0),
        ("microbleed", MICROBLEED, 5.0),
    ):
        near = Geometry((20, 21, 22), (0.5, 0.5, 0.5), centre)
        scene = phantom.scene(near, quantities=())
        assert volume(scene, label) == pytest.approx(np.pi / 6e3 * size**3, rel=0.1)
        others = {scene.names[n - 1] for n in np.unique(scene.labels)} - {label}
        assert others <= {"white_matter", "grey_matter", "csf", "ventricle"}


@pytest.mark.slow
def test_the_brain_is_closed_in_by_fluid_skull_and_scalp() -> None:
    scene = head().scene(HEAD, quantities=())
    # From the middle of the brain straight up, and to the left.
    z, y, x = (n // 2 for n in HEAD.shape)
    order = ["csf", "skull", "scalp"]
    for line in (scene.labels[z + 7 :, y + 12, x + 14], scene.labels[z + 17, y + 2, x:]):
        names = [scene.names[n - 1] for n in line if n]
        outside = list(dict.fromkeys(names[::-1]))[: len(order)]
        assert outside == order[::-1]
    assert scene.labels[:, :, 0].max() == 0  # air beside the head


@pytest.mark.slow
@pytest.mark.parametrize("orientation", [(0.0, 0.0, 0.0), (20.0, 10.0, 0.0)])
def test_a_calcification_makes_the_field_of_its_sphere(
    orientation: tuple[float, float, float],
) -> None:
    common = {"orientation": orientation, "head_calcification": 10.0}
    grid = Geometry((18, 23, 24), (1.5, 1.2, 1.2), CALCIFICATION)
    without = head(**common, tissues={"brain_calcification": {"chi": 0.0}})
    found = head(**common).field(grid) - without.field(grid)
    left, posterior, superior = np.broadcast_arrays(*block_points(grid))
    b0 = checked(Case, {"orientation": orientation}).b0_direction
    points = (left, posterior, superior)
    expected = sphere_field(points, CALCIFICATION, 5.0, -2.0, b0_direction=b0)
    r = np.linalg.norm(np.stack(points) - np.reshape(CALCIFICATION, (3, 1, 1, 1)), axis=0)
    away = np.abs(r - 5) > 2.5
    np.testing.assert_allclose(found[away], expected[away], atol=0.06)


@pytest.mark.slow
def test_air_bends_the_field_of_the_brain_above_it() -> None:
    grid = Geometry((11, 12, 13), (6.0, 8.0, 8.0), (0.0, -10.0, 10.0))
    phantom = head()
    scene, field = phantom.scene_with_field(grid)
    brain = scene.where("white_matter") | scene.where("grey_matter")
    spread = field[brain] - np.median(field[brain])
    # Frontal brain above the sphenoid sinus: of the order of 1 ppm, over 100 Hz at 3 T.
    assert 0.3 < np.abs(spread).max() < 6
    local = phantom.local_field(grid)
    assert local[brain].std() < 0.5 * field[brain].std()


def test_furrows_part_a_solid_and_leave_its_depth_alone() -> None:
    hull = Ellipsoid((1.0, 2.0, 3.0), (40.0, 45.0, 50.0))
    folded = Folded(hull, wavelength=24.0, depth=10.0, width=2.0)
    grid = Geometry((55, 52, 51), (2.0, 2.0, 2.0))
    points = block_points(grid)
    distance = np.broadcast_to(folded.signed_distance(points), grid.shape)
    depth = -np.broadcast_to(hull.signed_distance(points), grid.shape)
    assert (distance >= -depth - 1e-4).all()
    deep = depth > 13
    assert (distance[deep] < 0).all()
    shallow = (depth > 2) & (depth < 8)
    # A sheet of 2 mm about every 12 mm, in three directions at once.
    assert 0.1 < (distance[shallow] > 0).mean() < 0.4
    assert folded.reach((0.0, 1.0, 0.0)) == pytest.approx(45.0)
    moved = folded.moved((5.0, 0.0, -4.0))
    assert moved.centre == (6.0, 2.0, -1.0)
    shifted = moved.signed_distance((points[0] + 5, points[1], points[2] - 4))
    np.testing.assert_allclose(np.broadcast_to(shifted, grid.shape), distance, atol=1e-3)


def test_cortex_lines_furrows_with_even_thickness() -> None:
    folded = Folded(Ellipsoid((0.0, 0.0, 0.0), (60.0, 60.0, 60.0)), 40.0, 30.0, 1.6)
    # The space diagonal meets the gyroid at right angles, every 17.3 mm.
    u, v, w = axes_with((1.0, 1.0, 1.0))
    line = Geometry((1, 1, 700), (0.1, 0.1, 0.1), (25.0, 25.0, 25.0), w, u, v)
    parts = [Part(folded, "cortex", "cortex"), Part(Grown(folded, -2.8), "white", "white")]
    values: dict[str, dict[str, float]] = {"cortex": {}, "white": {}}
    scene = blank_scene(line, {}).paint(parts, values)
    names = [scene.names[n - 1] if n else "" for n in scene.labels.ravel()]
    runs: list[tuple[str, int]] = []
    for name in names:
        if runs and runs[-1][0] == name:
            runs[-1] = (name, runs[-1][1] + 1)
        else:
            runs.append((name, 1))
    thicknesses = [n / 10 for name, n in runs if name == "cortex"]
    # Both sides of two furrows, and the surface.
    assert len(thicknesses) == 5
    assert all(2.0 < t < 3.0 for t in thicknesses)


def test_the_preset_holds_the_brain() -> None:
    case = load_preset("brain-3t")
    slab = slab_geometry(case)
    coarse = Geometry(
        (case.matrix[0], case.matrix[1] // 3, case.matrix[2] // 3),
        (slab.voxel_size[0], slab.voxel_size[1] * 3, slab.voxel_size[2] * 3),
        slab.position,
    )
    scene = make_phantom(case).scene(coarse, quantities=())
    for label in ("skull", "scalp"):
        _, y, x = np.nonzero(scene.where(label))
        assert x.min() > 0
        assert x.max() < coarse.shape[2] - 1
        assert y.max() < coarse.shape[1] - 1
    for label in NUCLEUS_LABELS:
        z, _, _ = np.nonzero(scene.where(label))
        assert z.size
