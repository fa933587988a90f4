"""Painting: blocks, labels, the order of the parts, and what is painted only once."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from chistream.arrays import RealArray
from chistream.physics.geometry import Geometry
from chistream_simulator.options.slab import turn_matrix
from chistream_simulator.phantoms.phantom import QUANTITIES, Phantom
from chistream_simulator.phantoms.pose import AT_REST, Pose
from chistream_simulator.phantoms.scene import Part, blank_scene, block_around, block_points
from chistream_simulator.phantoms.shapes import Ellipsoid, Points, Shape, axes_with, point

READ, PHASE, SLICE = (point(column) for column in turn_matrix((20.0, -15.0, 30.0)).T)
OBLIQUE = Geometry((11, 12, 13), (5.0, 3.0, 2.0), (0.0, 0.0, 0.0), READ, PHASE, SLICE)
AXIAL = Geometry((11, 12, 13), (5.0, 3.0, 2.0), (1.0, 2.0, 3.0))
BALL = Ellipsoid((1.0, 2.0, 3.0), (9.0, 9.0, 9.0))
VALUES = {"outside": {"chi": 9.0}, "bath": {"chi": 1.0}, "ball": {"chi": 3.0}}


@pytest.mark.parametrize("geometry", [AXIAL, OBLIQUE])
def test_block_points_are_the_voxel_positions(geometry: Geometry) -> None:
    block = (slice(2, 7), slice(0, 12), slice(3, 5))
    points = np.stack(np.broadcast_arrays(*block_points(geometry, block)))
    everywhere = (slice(None), *block)
    np.testing.assert_allclose(points, geometry.voxel_positions()[everywhere], atol=1e-4)


@pytest.mark.parametrize("geometry", [AXIAL, OBLIQUE])
def test_a_block_holds_all_of_a_solid_and_little_else(geometry: Geometry) -> None:
    solid = Ellipsoid((3.0, -2.0, 5.0), (6.0, 4.0, 9.0), axes_with((1.0, 1.0, 0.5)))
    inside = solid.signed_distance(block_points(geometry)) < 0
    z, y, x = block_around(geometry, solid)
    outside = inside.copy()
    outside[z, y, x] = False
    assert inside.any()
    assert not outside.any()
    assert np.prod([s.stop - s.start for s in (z, y, x)]) < inside.size / 2


def test_a_solid_outside_the_grid_touches_nothing() -> None:
    far = Ellipsoid((500.0, 0.0, 0.0), (6.0, 6.0, 6.0))
    scene = blank_scene(AXIAL, {"chi": 1.0})
    scene.paint([Part(far, "t", "far")], {"t": {"chi": 9.0}})
    assert not scene.where("far").any()
    assert not scene.where("what was never painted").any()
    assert (scene.quantities["chi"] == 1.0).all()


@pytest.mark.parametrize("geometry", [AXIAL, OBLIQUE])
def test_the_edge_of_the_grid_does_not_show(geometry: Geometry) -> None:
    larger = Geometry(
        (13, 14, 15),
        geometry.voxel_size,
        geometry.slice_position(geometry.shape[0] // 2),
        geometry.read_dir,
        geometry.phase_dir,
        geometry.slice_dir,
    )
    solid = Ellipsoid((3.0, -20.0, 15.0), (26.0, 24.0, 29.0), axes_with((1.0, 1.0, 0.5)))
    part, values = Part(solid, "t", "t"), {"t": {"chi": 1.0}}
    small, large = (
        blank_scene(g, {"chi": 0.0}).paint([part], values).quantities["chi"]
        for g in (geometry, larger)
    )
    # One voxel more all round: the origin n // 2 of 11, 12, 13 goes to that of 13, 14, 15.
    np.testing.assert_array_equal(large[1:-1, 1:-1, 1:-1], small)
    assert 0.1 < small.mean() < 0.9


def test_the_last_part_lies_on_top_and_shares_its_label_number() -> None:
    parts = [Part(BALL, "bath", "a"), Part(BALL, "ball", "b"), Part(BALL, "bath", "a")]
    scene = blank_scene(AXIAL, VALUES["outside"]).paint(parts, VALUES)
    assert scene.names == ["a", "b"]
    inside = scene.where("a")
    assert inside.any()
    assert not scene.where("b").any()
    assert scene.quantities["chi"][inside].min() < 9.0


BATH = Ellipsoid((0.0, 0.0, 0.0), (14.0, 15.0, 16.0))


@dataclass(frozen=True)
class Noted(Ellipsoid):
    """An ellipsoid that notes each time it is asked for its distance."""

    asked: list[str] = field(default_factory=list)

    def signed_distance(self, points: Points) -> RealArray:
        self.asked.append("distance")
        return super().signed_distance(points)


class Breathing(Phantom):
    """A bath that rests, and a ball that moves."""

    def __init__(self) -> None:
        self.bath = Noted(BATH.centre, BATH.semi_axes)

        def down(shape: Shape, pose: Pose) -> Shape:
            return shape.moved((0.0, 0.0, -pose.descent))

        super().__init__(
            (Part(self.bath, "bath", "bath"), Part(BALL, "ball", "ball", down)),
            {name: {**dict.fromkeys(QUANTITIES, 0.0), **own} for name, own in VALUES.items()},
            surroundings="outside",
            body=self.bath,
            pools=(),
            focus=(),
        )

    def field(self, geometry: Geometry, pose: Pose = AT_REST) -> RealArray:
        return np.full(geometry.shape, pose.descent, np.float32)

    def local_field(self, geometry: Geometry) -> RealArray:
        return self.field(geometry)


@pytest.mark.parametrize("geometry", [AXIAL, OBLIQUE])
def test_what_rests_is_painted_once_for_all_poses_and_to_the_same_effect(
    geometry: Geometry,
) -> None:
    phantom = Breathing()
    phantom.scene(geometry, AT_REST, ("chi",))
    n_asked = len(phantom.bath.asked)
    for descent in (0.0, 3.0, 6.0, 3.0):
        scene = phantom.scene(geometry, Pose(descent), ("chi",))
        ball = BALL.moved((0.0, 0.0, -descent))
        afresh = blank_scene(geometry, VALUES["outside"])
        afresh.paint([Part(BATH, "bath", "bath"), Part(ball, "ball", "ball")], VALUES)
        np.testing.assert_array_equal(scene.quantities["chi"], afresh.quantities["chi"])
        np.testing.assert_array_equal(scene.labels, afresh.labels)
    assert len(phantom.bath.asked) == n_asked > 0


def test_a_phantom_without_a_field_of_another_sort_gives_scene_and_field_apart() -> None:
    phantom = Breathing()
    scene, field = phantom.scene_with_field(AXIAL, Pose(3.0))
    assert scene.names == ["bath", "ball"]
    assert (field == 3.0).all()
    assert phantom.velocities == {}
    with pytest.raises(ValueError, match="no diaphragm"):
        _ = phantom.beam
