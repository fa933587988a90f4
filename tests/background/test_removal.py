"""Projection onto dipole fields takes what comes from outside, and leaves the rest."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import ndimage
from tests.kinds import OTHER_KINDS, as_kind, assert_kind

from chistream.arrays import Mask, RealArray, Size, Vector
from chistream.background.boundary import remove_background_lbv
from chistream.background.local_field import LocalField
from chistream.background.projection import remove_background_pdf
from chistream.physics.dipole import field_of
from chistream.physics.padding import Padding

TILTED: Vector = (1.0, -2.0, 0.5)


@dataclass(frozen=True)
class Organ:
    """An ellipsoid, off the centre of its volume."""

    shape: Size
    voxel_size: Vector

    @property
    def positions(self) -> tuple[RealArray, ...]:
        axes = [
            (np.arange(n) - n // 2) * d for n, d in zip(self.shape, self.voxel_size, strict=True)
        ]
        return np.meshgrid(*axes, indexing="ij")

    @property
    def mask(self) -> Mask:
        extent = [0.4 * n * d for n, d in zip(self.shape, self.voxel_size, strict=True)]
        parts = [((p - 1.0) / e) ** 2 for p, e in zip(self.positions, extent, strict=True)]
        mask: Mask = np.sum(parts, axis=0) < 1
        return mask

    @property
    def core(self) -> Mask:
        core: Mask = ndimage.binary_erosion(self.mask, iterations=2)
        return core

    def dipole(self, place: Vector, b0_direction: Vector) -> RealArray:
        """Field of a point dipole at a place [mm]."""
        b = np.asarray(b0_direction) / np.linalg.norm(b0_direction)
        offset = [p - c for p, c in zip(self.positions, place, strict=True)]
        r = np.sqrt(sum(np.square(o) for o in offset))
        r = np.maximum(r, 1e-3)
        along = sum(o * c for o, c in zip(offset, b, strict=True))
        field: RealArray = (3 * (along / r) ** 2 - 1) / r**3
        return field


ORGANS = [Organ((20, 31, 34), (3.0, 1.5, 1.7)), Organ((29, 32, 27), (2.0, 2.0, 2.0))]

SOLID_HARMONICS: dict[str, Callable[[RealArray, RealArray, RealArray], RealArray]] = {
    "1": lambda z, y, x: z - 0.5 * y + 0.2 * x,
    "2": lambda z, y, x: 2 * z**2 - x**2 - y**2 + x * y,
    "3": lambda z, y, x: 2 * z**3 - 3 * z * (x**2 + y**2) + x * y * z,
    "4": lambda z, y, x: 8 * z**4 - 24 * z**2 * (x**2 + y**2) + 3 * (x**2 + y**2) ** 2,
}


def removed_pdf(field: RealArray, organ: Organ) -> LocalField:
    return remove_background_pdf(field, organ.mask, organ.voxel_size, b0_direction=TILTED)


def removed_lbv(field: RealArray, organ: Organ) -> LocalField:
    return remove_background_lbv(field, organ.mask, organ.voxel_size)


METHODS = [
    # PDF: part of the range that its prior on the sources and its tolerance leave (measured:
    # 0.7 %). LBV: exact up to order 3, where the seven-point stencil is (measured: 0.4 %).
    pytest.param(removed_pdf, 0.01, id="pdf"),
    pytest.param(removed_lbv, 0.005, id="lbv"),
]
Method = Callable[[RealArray, Organ], LocalField]


@pytest.mark.parametrize(("method", "tolerance"), METHODS)
@pytest.mark.parametrize("order", SOLID_HARMONICS)
@pytest.mark.parametrize("organ", ORGANS)
def test_solid_harmonics_vanish(organ: Organ, order: str, method: Method, tolerance: float) -> None:
    field = SOLID_HARMONICS[order](*organ.positions)
    field /= np.ptp(field[organ.mask])
    found = method(field, organ)
    assert found.converged
    np.testing.assert_allclose(found.local_field[organ.core], 0.0, atol=tolerance)


@pytest.mark.parametrize(("method", "tolerance"), METHODS)
@pytest.mark.parametrize("organ", ORGANS)
def test_dipoles_outside_vanish(organ: Organ, method: Method, tolerance: float) -> None:
    field = organ.dipole((0.0, 0.0, 38.0), TILTED) + 2 * organ.dipole((-41.0, 9.0, 0.0), TILTED)
    field /= np.ptp(field[organ.mask])
    found = method(field, organ).local_field[organ.core]
    np.testing.assert_allclose(found, 0.0, atol=tolerance)


@pytest.mark.parametrize(
    # What is lost of a central source: PDF takes its part that looks like a source outside.
    ("method", "kept"),
    [pytest.param(removed_pdf, 0.9, id="pdf"), pytest.param(removed_lbv, 0.98, id="lbv")],
)
@pytest.mark.parametrize("organ", ORGANS)
def test_a_dipole_inside_stays(organ: Organ, method: Method, kept: float) -> None:
    field = organ.dipole((0.4, 0.3, -0.2), TILTED)
    z, y, x = organ.positions
    r = np.sqrt(z**2 + y**2 + x**2)
    near = (r > 4.0) & (r < 10.0)
    found = method(np.clip(field, -0.02, 0.02), organ).local_field
    slope = np.polyfit(field[near], found[near], 1)[0]
    assert kept < slope < 1.02


def removed_tightly_pdf(field: RealArray, organ: Organ) -> LocalField:
    return remove_background_pdf(
        field,
        organ.mask,
        organ.voxel_size,
        b0_direction=TILTED,
        margin=(6.0, 6.0, 6.0),
        tolerance=1e-6,
        max_iterations=1000,
    )


@pytest.mark.parametrize(
    "method", [pytest.param(removed_tightly_pdf, id="pdf"), pytest.param(removed_lbv, id="lbv")]
)
def test_removal_is_linear(method: Method) -> None:
    organ = Organ((11, 12, 13), (2.0, 1.5, 1.0))
    first, second = np.random.default_rng(1).standard_normal((2, *organ.shape))
    both = method(2 * first - second, organ).local_field
    each = 2 * method(first, organ).local_field - method(second, organ).local_field
    # Single precision, and the tolerance of the iteration.
    np.testing.assert_allclose(both, each, atol=2e-3)


@pytest.mark.parametrize(("method", "tolerance"), METHODS)
def test_a_constant_and_what_lies_outside_the_mask_play_no_role(
    method: Method, tolerance: float
) -> None:
    organ = ORGANS[0]
    field = organ.dipole((0.0, 0.0, 38.0), TILTED)
    field /= np.ptp(field[organ.mask])
    other = np.where(organ.mask, field + 3.0, np.nan)
    np.testing.assert_allclose(
        method(other, organ).local_field, method(field, organ).local_field, atol=tolerance
    )


def test_pdf_is_the_weighted_ridge_regression_on_outside_sources() -> None:
    """Every voxel outside a regressor, written out as a matrix."""
    shape, voxel_size, width = (4, 5, 6), (2.0, 1.0, 1.5), 0.7
    rng = np.random.default_rng(4)
    mask = np.zeros(shape, dtype=bool)
    mask[1:3, 1:4, 1:5] = True
    field, weights = rng.standard_normal(shape), rng.uniform(1.0, 9.0, shape)
    padding = Padding.of_margin(shape, voxel_size, (2.0, 1.0, 1.0))
    outside = np.flatnonzero(padding.pad(mask) == 0)
    columns = []
    for source in outside:
        chi = np.zeros(padding.outer)
        chi.flat[source] = width
        columns.append(padding.crop(field_of(chi, voxel_size, TILTED))[mask])
    constant = np.ones((mask.sum(), 1))
    regressors = weights[mask][:, None] * np.hstack([np.stack(columns, axis=1), constant])
    penalty = np.diag([*np.ones(len(outside)), 0.0])
    right = regressors.T @ (weights * field)[mask]
    fitted = regressors @ np.linalg.solve(regressors.T @ regressors + penalty, right)
    found = remove_background_pdf(
        field,
        mask,
        voxel_size,
        b0_direction=TILTED,
        weights=weights,
        source_width=width,
        model_error=0.0,
        margin=(2.0, 1.0, 1.0),
        tolerance=1e-6,
    )
    expected = field[mask] - fitted / weights[mask]
    np.testing.assert_allclose(found.local_field[mask], expected, atol=1e-4)


def test_a_voxel_without_weight_does_not_disturb_pdf() -> None:
    organ = ORGANS[1]
    field = organ.dipole((0.0, 0.0, 38.0), TILTED)
    field /= np.ptp(field[organ.mask])
    weights = np.full(organ.shape, 100.0)
    broken = field.copy()
    broken[14, 16, 20:23], weights[14, 16, 20:23] = 50.0, 0.0
    found = remove_background_pdf(
        broken, organ.mask, organ.voxel_size, b0_direction=TILTED, weights=weights
    )
    sound = organ.core & (weights > 0)
    np.testing.assert_allclose(found.local_field[sound], 0.0, atol=0.01)


def test_without_room_a_slab_that_fills_its_volume_keeps_its_background() -> None:
    organ = ORGANS[1]
    mask = np.broadcast_to(organ.mask.any(axis=0), organ.shape)
    core = ndimage.binary_erosion(mask, iterations=2)
    field = organ.dipole((40.0, 5.0, 0.0), TILTED)
    field /= np.ptp(field[mask])
    roomy, tight = (
        remove_background_pdf(
            field, mask, organ.voxel_size, b0_direction=TILTED, margin=(room, room, room)
        )
        for room in (20.0, 0.0)
    )
    np.testing.assert_allclose(roomy.local_field[core], 0.0, atol=0.01)
    assert np.abs(tight.local_field[core]).max() > 0.05


def test_pdf_says_when_it_ran_out_of_iterations() -> None:
    organ = ORGANS[1]
    field = organ.dipole((0.0, 0.0, 38.0), TILTED)
    found = remove_background_pdf(
        field, organ.mask, organ.voxel_size, b0_direction=TILTED, max_iterations=2
    )
    assert (found.converged, found.n_iterations) == (False, 2)
    assert found.local_field.dtype == np.float32
    np.testing.assert_array_equal(found.mask, organ.mask)


def test_sources_without_a_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"source_width must be positive, got 0\.0 ppm"):
        remove_background_pdf(
            np.zeros((4, 4, 4)), np.ones((4, 4, 4), dtype=bool), (1.0, 1.0, 1.0), source_width=0.0
        )


def test_the_model_error_adds_to_the_noise() -> None:
    organ = Organ((11, 12, 13), (2.0, 1.5, 1.0))
    rng = np.random.default_rng(6)
    field, noise = rng.standard_normal(organ.shape), rng.uniform(0.01, 0.05, organ.shape)
    both = np.hypot(noise, 0.03)
    first, second = (
        remove_background_pdf(
            field,
            organ.mask,
            organ.voxel_size,
            b0_direction=TILTED,
            weights=1 / sd,
            model_error=error,
            max_iterations=1000,
            tolerance=1e-6,
            margin=(6.0, 6.0, 6.0),
        )
        for sd, error in ((noise, 0.03), (both, 0.0))
    )
    np.testing.assert_allclose(first.local_field, second.local_field, atol=1e-4)


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_any_array_library_gives_the_same_projection(kind: str) -> None:
    organ = Organ((11, 12, 13), (2.0, 1.5, 1.0))
    field = organ.dipole((0.0, 0.0, 14.0), TILTED)
    field /= np.ptp(field[organ.mask])
    weights = np.full(organ.shape, 50.0)
    expected = remove_background_pdf(field, organ.mask, organ.voxel_size, weights=weights)
    found = remove_background_pdf(
        as_kind(kind, field),
        as_kind(kind, organ.mask),
        organ.voxel_size,
        weights=as_kind(kind, weights),
    )
    assert_kind(kind, found.local_field)
    # Rounding differs, and conjugate gradients end within their tolerance of the same answer.
    np.testing.assert_allclose(np.asarray(found.local_field), expected.local_field, atol=2e-3)


@pytest.mark.parametrize("error", [-0.1, 0.0])
def test_data_without_any_error_are_refused(error: float) -> None:
    with pytest.raises(ValueError, match="model_error must be positive, or zero where there are"):
        remove_background_pdf(
            np.zeros((4, 4, 4)),
            np.ones((4, 4, 4), dtype=bool),
            (1.0, 1.0, 1.0),
            model_error=error,
        )
