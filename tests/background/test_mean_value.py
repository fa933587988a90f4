"""The methods that rest on the mean value theorem, against fields in closed form."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage
from tests.background.bodies import TILTED, Organ
from tests.kinds import OTHER_KINDS, as_kind, assert_kind

from chistream.arrays import RealArray
from chistream.background.iterative_mean import remove_background_ismv
from chistream.background.local_field import LocalField
from chistream.background.regularised_sharp import remove_background_resharp
from chistream.background.sharp import remove_background_sharp, remove_background_vsharp
from chistream.background.spherical_mean import SphericalMean

ORGANS = [Organ((20, 31, 34), (3.0, 1.5, 1.7)), Organ((29, 32, 27), (2.0, 2.0, 2.0))]
METHODS: dict[str, Callable[..., LocalField]] = {
    "sharp": remove_background_sharp,
    "vsharp": remove_background_vsharp,
    "resharp": remove_background_resharp,
    "ismv": remove_background_ismv,
}
Method = Callable[..., LocalField]


def removed(
    method: Method, field: RealArray, organ: Organ, **options: float | tuple[float, ...]
) -> LocalField:
    return method(field, organ.mask, organ.voxel_size, b0_direction=TILTED, **options)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("organ", ORGANS)
def test_sources_outside_leave_nothing(organ: Organ, method: Method) -> None:
    field = organ.dipole((0.0, 0.0, 41.0)) + 2 * organ.dipole((-46.0, 9.0, 0.0))
    field /= np.ptp(field[organ.mask])
    field += 0.3 + 0.01 * organ.positions[0]
    found = removed(method, np.where(organ.mask, field, np.nan), organ)
    assert found.converged
    # Exact for polynomials up to order 5; the dipoles are 15 mm and more from the edge.
    np.testing.assert_allclose(found.local_field[found.mask], 0.0, atol=3e-3)


@pytest.mark.parametrize(
    ("name", "kept"),
    # What is left of the field around a source: SHARP divides by the filter, RESHARP and iSMV
    # lose a part that looks harmonic.
    [("sharp", 0.85), ("vsharp", 0.85), ("resharp", 0.85), ("ismv", 0.9)],
)
@pytest.mark.parametrize("organ", ORGANS)
def test_a_source_deep_inside_stays(organ: Organ, name: str, kept: float) -> None:
    field = organ.dipole((0.4, 0.3, -0.2), radius=4.0)
    found = removed(METHODS[name], field, organ)
    z, y, x = organ.positions
    r = np.sqrt(z**2 + y**2 + x**2)
    near = (r > 5.0) & (r < 10.0) & found.mask
    slope, _ = np.polyfit(field[near], found.local_field[near], 1)
    assert kept < slope < 1.05


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_the_mask_is_eroded_by_the_sphere(method: Method) -> None:
    organ = ORGANS[0]
    options = {"radii": (6.0,)} if method is remove_background_vsharp else {"radius": 6.0}
    found = removed(method, organ.dipole((0.0, 0.0, 41.0)), organ, **options)
    depth = organ.depth()
    assert found.mask[depth > 6.0 + 3.0].all()
    assert not found.mask[depth < 6.0 - 3.0].any()
    assert not found.local_field[~found.mask].any()
    assert found.local_field.dtype == np.float32


def test_smaller_spheres_win_back_the_shell() -> None:
    organ = ORGANS[1]
    field = organ.dipole((0.0, 0.0, 41.0))
    one = removed(remove_background_sharp, field, organ, radius=10.0)
    several = removed(remove_background_vsharp, field, organ, radii=(4.0, 10.0, 7.0))
    alone = removed(remove_background_sharp, field, organ, radius=4.0)
    np.testing.assert_array_equal(several.mask, alone.mask)
    assert several.mask.sum() > 1.5 * one.mask.sum()
    # A sphere that fits nowhere changes nothing.
    wider = removed(remove_background_vsharp, field, organ, radii=(90.0, 4.0, 10.0, 7.0))
    np.testing.assert_array_equal(wider.local_field, several.local_field)


def test_resharp_is_the_ridge_regression_of_its_paper() -> None:
    """All of the padded grid an unknown, written out as a matrix."""
    shape, voxel_size, strength = (5, 6, 7), (1.5, 1.0, 1.0), 0.1
    rng = np.random.default_rng(3)
    field, weights = rng.standard_normal(shape), rng.uniform(0.5, 2.0, shape)
    mask = np.ones(shape, dtype=bool)
    sphere = SphericalMean(mask, voxel_size, 2.0)
    units = np.eye(int(np.prod(sphere.padding.outer))).reshape(-1, *sphere.padding.outer)
    rows = np.flatnonzero(sphere.inside)
    filtered = np.stack([(unit - sphere(unit)).ravel()[rows] for unit in units], axis=1)
    trust = sphere.padding.pad(weights).ravel()[rows] ** 2
    trust /= trust.mean()
    data = trust * (filtered @ sphere.padding.pad(field, "float64").ravel())
    normal = (filtered.T * trust) @ filtered + strength * np.eye(len(units))
    best = np.linalg.solve(normal, filtered.T @ data).reshape(sphere.padding.outer)
    found = remove_background_resharp(
        field, mask, voxel_size, weights=9 * weights, radius=2.0, strength=strength, tolerance=1e-6
    )
    expected = np.where(found.mask, sphere.padding.crop(best), 0.0)
    np.testing.assert_allclose(found.local_field, expected, atol=1e-5)
    assert found.converged
    assert np.abs(expected).max() > 0.3


def test_ismv_is_the_fixed_point_of_its_paper() -> None:
    organ = Organ((13, 15, 16), (2.0, 1.5, 1.5))
    field = ndimage.gaussian_filter(np.random.default_rng(2).standard_normal(organ.shape), 1.0)
    found = removed(remove_background_ismv, field, organ, radius=4.0, tolerance=1e-7)
    # Beyond a fixed point nothing moves: the background is the mean of itself.
    background = np.where(organ.mask, field - found.local_field, 0.0)
    again = removed(remove_background_ismv, background, organ, radius=4.0, tolerance=1e-7)
    np.testing.assert_allclose(again.local_field, 0.0, atol=1e-5)
    assert np.abs(found.local_field).max() > 0.2 * np.abs(field).max()


@pytest.mark.parametrize("kind", OTHER_KINDS)
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_any_array_library_gives_the_same(kind: str, method: Method) -> None:
    organ = Organ((14, 17, 20), (2.0, 1.5, 1.5))
    field = organ.dipole((0.4, 0.3, -0.2), radius=4.0)
    options = {"radii": (5.0, 3.0)} if method is remove_background_vsharp else {"radius": 4.0}
    expected = removed(method, field, organ, **options)
    found = method(as_kind(kind, field), as_kind(kind, organ.mask), organ.voxel_size, **options)
    assert_kind(kind, found.local_field)
    np.testing.assert_allclose(
        np.asarray(found.local_field), expected.local_field, atol=1e-4 * float(np.ptp(field))
    )
    np.testing.assert_array_equal(np.asarray(found.mask), expected.mask)


BOX = np.ones((6, 7, 8), dtype=bool)


@pytest.mark.parametrize("method", [remove_background_sharp, remove_background_ismv])
def test_a_sphere_that_does_not_fit_is_refused(method: Method) -> None:
    with pytest.raises(ValueError, match="no sphere of 5 mm fits into the mask of 336 voxels"):
        method(np.zeros(BOX.shape), BOX, (1.0, 1.0, 1.0), radius=5.0)


def test_options_out_of_range_are_refused() -> None:
    field, voxel_size = np.zeros(BOX.shape), (1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match=r"threshold must lie in \(0, 1\), got 1\.5"):
        remove_background_sharp(field, BOX, voxel_size, radius=2.0, threshold=1.5)
    with pytest.raises(ValueError, match="radii must hold at least one radius"):
        remove_background_vsharp(field, BOX, voxel_size, radii=())
    with pytest.raises(ValueError, match="strength must be positive, got 0"):
        remove_background_resharp(field, BOX, voxel_size, strength=0)


def test_the_longest_voxel_edge_is_the_smallest_default_radius() -> None:
    mask = np.ones((5, 40, 40), dtype=bool)
    found = remove_background_vsharp(np.zeros(mask.shape), mask, (13.0, 1.0, 1.0))
    assert found.mask.any()
