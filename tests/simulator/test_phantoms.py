"""The phantoms: shapes, partial volumes, tissues, and a chest that is one."""

import numpy as np
import pytest

from chistream.physics.geometry import Geometry
from chistream_simulator.case import Case
from chistream_simulator.grids import refined
from chistream_simulator.imaging import slab_geometry
from chistream_simulator.phantoms.library import make_phantom
from chistream_simulator.phantoms.pose import Pose
from chistream_simulator.phantoms.scene import (
    Part,
    blank_scene,
    block_around,
    block_points,
)
from chistream_simulator.phantoms.shapes import Ellipsoid, axes_with, cylinder
from chistream_simulator.tissues import tissue_table

OBLIQUE = slab_geometry(
    Case(matrix=(11, 12, 13), fov=(55.0, 36.0, 26.0), rotation=(20.0, -15.0, 30.0))
)
AXIAL = Geometry((11, 12, 13), (5.0, 3.0, 2.0), (1.0, 2.0, 3.0))


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
    z, y, x = block_around(geometry, solid, margin=0.0)
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


def test_partial_volumes_add_up_to_the_volume() -> None:
    geometry = Geometry((31, 40, 43), (2.0, 1.5, 1.5))
    solid = Ellipsoid((0.7, -0.4, 0.3), (14.0, 17.0, 21.0), axes_with((0.2, -0.5, 1.0)))
    scene = blank_scene(geometry, {"chi": 0.0}).paint([Part(solid, "t", "t")], {"t": {"chi": 1.0}})
    volume = scene.quantities["chi"].sum() * 2.0 * 1.5 * 1.5
    assert volume == pytest.approx(4 / 3 * np.pi * 14 * 17 * 21, rel=0.005)


def test_a_cylinder_is_infinite_along_its_axis_only() -> None:
    rod = cylinder((1.0, 2.0, 3.0), (4.0, 4.0), (0.0, 0.0, -2.0))
    assert rod.reach((0.0, 0.0, 1.0)) == np.inf
    assert rod.reach((1.0, 0.0, 0.0)) == pytest.approx(4.0)
    assert rod.moved((0.0, 1.0, 0.0)).centre == (1.0, 3.0, 3.0)
    with pytest.raises(ValueError, match="must not be zero"):
        cylinder((0, 0, 0), (1.0, 1.0), (0.0, 0.0, 0.0))
    np.testing.assert_allclose(np.linalg.det(axes_with((1.0, 0.0, 0.0))), 1.0)


@pytest.mark.parametrize("shape", [(5, 6, 7), (6, 5, 8)])
@pytest.mark.parametrize("factors", [(1, 2, 3), (2, 3, 2)])
def test_a_refined_grid_covers_the_same_box(
    shape: tuple[int, int, int], factors: tuple[int, int, int]
) -> None:
    coarse = Geometry(shape, (4.0, 3.0, 2.0), (1.0, 2.0, 3.0))
    fine = refined(coarse, factors)
    z, y, x = factors
    means = (
        fine.voxel_positions()
        .reshape(3, shape[0], z, shape[1], y, shape[2], x)
        .mean(axis=(2, 4, 6))
    )
    np.testing.assert_allclose(means, coarse.voxel_positions(), atol=1e-9)


def test_tissues_have_a_source_and_sensible_signals() -> None:
    table = tissue_table()
    assert all(tissue.source for tissue in table.values())
    liver, lung = table["liver"], table["lung"]
    assert liver.r2star(1.5) == pytest.approx(1 / 0.030)
    assert liver.r2star(3.0) == pytest.approx(1 / 0.020)
    assert liver.r2star(1.5) < liver.r2star(2.0) < liver.r2star(3.0)
    assert liver.r2star(0.1) > 0
    # Fully relaxed water gives the sine of the flip angle.
    assert table["water"].amplitudes(3.0, 50.0, 30.0) == pytest.approx((0.5, 0), rel=1e-6)
    # At the Ernst angle, cos = e1, the signal is the root of (1 - e1) / (1 + e1).
    e1 = np.exp(-0.015 / 0.812)
    ernst = 0.75 * np.sqrt((1 - e1) / (1 + e1))
    assert liver.amplitudes(3.0, 0.015, np.rad2deg(np.arccos(e1)))[0] == pytest.approx(ernst)
    assert liver.amplitudes(3.0, 0.015, 15.0)[0] > 2 * lung.amplitudes(3.0, 0.015, 15.0)[0]
    with pytest.raises(TypeError, match="saturation"):
        table["blood"].r2star(3.0)


class TestHeart:
    geometry = Geometry((70, 76, 86), (3.0, 3.0, 4.0))

    def test_pools_are_as_large_as_hearts(self) -> None:
        scene = make_phantom(Case(matrix=(10, 36, 48))).scene(self.geometry)
        volumes = {n: scene.where(n).sum() * 0.036 for n in scene.names}
        assert 50 < volumes["LV"] < 150
        assert 50 < volumes["RV"] < 200
        assert 90 < volumes["myocardium"] < 200
        assert volumes["liver"] > 500
        assert volumes["lung"] > 2000

    @pytest.mark.parametrize("difference", [0.0, 250.0, 500.0])
    def test_the_difference_between_the_pools_is_as_set(self, difference: float) -> None:
        values = make_phantom(Case(rv_lv_difference=difference)).values
        found = values["venous_blood"]["chi"] - values["arterial_blood"]["chi"]
        assert found == pytest.approx(difference / 1000)
        # Less saturated blood loses its signal faster.
        drop = values["venous_blood"]["r2star"] - values["arterial_blood"]["r2star"]
        assert drop == pytest.approx(0.0, abs=1e-9) if difference == 0 else drop > 1

    def test_breathing_in_moves_liver_and_heart_down_by_their_own_measure(self) -> None:
        phantom = make_phantom(Case(tracking_factor=0.5, tracking_factor_ap=0.2))
        _, posterior, superior = (p.astype(float) for p in block_points(self.geometry))
        shifts, tops = {}, []
        for label in ("LV", "spine"):
            centres = []
            for descent in (0.0, 12.0):
                where = phantom.scene(self.geometry, Pose(descent)).where(label)
                centres.append(
                    [np.broadcast_to(p, where.shape)[where].mean() for p in (posterior, superior)]
                )
            shifts[label] = np.subtract(centres[1], centres[0])
        np.testing.assert_allclose(shifts["LV"], (-2.4, -6.0), atol=0.3)
        for descent in (0.0, 12.0):
            where = phantom.scene(self.geometry, Pose(descent)).where("liver")
            tops.append(superior[where.any(axis=(1, 2))].max())
        assert tops[1] - tops[0] == -12
        np.testing.assert_allclose(shifts["spine"], 0.0, atol=0.3)

    @pytest.mark.slow
    def test_lungs_bend_the_field_and_local_sources_are_a_part_of_it(self) -> None:
        phantom = make_phantom(Case(matrix=(10, 36, 48)))
        slab = slab_geometry(Case(matrix=(10, 36, 48)))
        scene, total = phantom.scene(slab), phantom.field(slab)
        local = phantom.local_field(slab)
        heart = scene.where("LV") | scene.where("RV") | scene.where("myocardium")
        # Tens of Hz over the heart, from lungs outside of it; a tenth of that from blood itself.
        assert 0.05 < np.ptp(total[heart]) < 3
        assert local[heart].std() < 0.3 * total[heart].std()
        # Inside a pool the field follows chi: the RV's is higher than the LV's for this slab.
        assert abs(local[scene.where("RV")].mean() - local[scene.where("LV")].mean()) < 0.25
        moved = phantom.field(slab, Pose(10.0))
        assert np.abs(moved - total)[heart].max() > 0.02

    def test_the_chest_wall_is_closed_around_lungs_and_abdomen(self) -> None:
        phantom = make_phantom(Case())
        wall = blank_scene(self.geometry, {}).paint(phantom.parts[:1], phantom.values)
        outside = ~wall.where("body")
        scene = phantom.scene(self.geometry)
        for label in ("lung", "liver", "spine", "sternum", "myocardium"):
            assert not (scene.where(label) & outside).any()

    @pytest.mark.slow
    def test_the_local_field_is_the_sum_of_the_dipoles_of_tissue_in_the_slab(self) -> None:
        case = Case(matrix=(20, 48, 64), rotation=(12.0, -8.0, 0.0))
        slab, phantom = slab_geometry(case), make_phantom(case)
        without_air = {"lung": {"chi": 0.0}, "air": {"chi": 0.0}}
        chi = make_phantom(case.model_copy(update={"tissues": without_air})).scene(slab)
        sources = np.stack(np.broadcast_arrays(*block_points(slab))).reshape(3, -1).astype(float)
        strength = chi.quantities["chi"].ravel() * np.prod(slab.voxel_size) / (4 * np.pi)
        heart = chi.where("LV") | chi.where("RV") | chi.where("myocardium")
        places = np.flatnonzero(heart.ravel())[::47]
        expected = []
        for place in places:
            apart = sources - sources[:, place, None]
            r_squared = np.maximum((apart**2).sum(axis=0), 1e-6)
            dipole = (3 * apart[2] ** 2 / r_squared - 1) * r_squared**-1.5
            dipole[place] = 0.0
            expected.append(strength @ dipole)
        error = phantom.local_field(slab).ravel()[places] - np.array(expected)
        # Blood makes 20 ppb of it; 5 mm voxels are coarse for a direct sum.
        assert phantom.local_field(slab)[heart].std() > 0.015
        assert error.std() < 0.005
