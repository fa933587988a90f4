"""COSMOS and the susceptibility tensor, against sources that are known."""

from typing import Any

import numpy as np
import pytest
from tests.kinds import OTHER_KINDS, as_kind, assert_kind

from chistream.arrays import Mask, RealArray, Size, Vector
from chistream.physics.backend import to_numpy
from chistream.physics.dipole import field_of, half_dipole_kernel, tensor_kernels
from chistream.physics.padding import Padding
from chistream.susceptibility.fibres import decompose_tensor, helix_angle
from chistream.susceptibility.orientations import TensorInversion, invert_cosmos, invert_tensor

VOXEL: Vector = (2.0, 1.5, 1.5)
COSMOS: list[Vector] = [(1.0, 0.0, 0.0), (0.5, 0.866, 0.0), (-0.5, 0.866, 0.0)]
GOLDEN = (1 + 5**0.5) / 2
ICOSAHEDRON: list[Vector] = [
    (0.0, 1.0, GOLDEN),
    (0.0, -1.0, GOLDEN),
    (1.0, GOLDEN, 0.0),
    (-1.0, GOLDEN, 0.0),
    (GOLDEN, 0.0, 1.0),
    (GOLDEN, 0.0, -1.0),
]


def solid(shape: Size, radius: float = 9.0) -> Mask:
    places = np.meshgrid(
        *((np.arange(n) - n // 2) * d for n, d in zip(shape, VOXEL, strict=True)), indexing="ij"
    )
    ball: Mask = sum(p**2 for p in places) < radius**2
    return ball


def padded_field(chi: RealArray, b: Vector) -> RealArray:
    padding = Padding.of_margin((chi.shape[0], chi.shape[1], chi.shape[2]), VOXEL, (20.0,) * 3)
    return padding.crop(field_of(padding.pad(chi, "float64"), VOXEL, b))


def helical_tensor(shape: Size) -> tuple[RealArray, RealArray]:
    """Fibres around z that climb by 30 degrees: tensor ``(6, z, y, x)`` and their direction."""
    z, y, x = np.meshgrid(*(np.arange(n) - n // 2 + 0.3 for n in shape), indexing="ij")
    rho = np.hypot(x, y)
    climb = np.deg2rad(30.0)
    direction = np.stack(
        [np.full(shape, np.sin(climb)), np.cos(climb) * x / rho, -np.cos(climb) * y / rho]
    )
    parts = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
    tensor = np.stack([0.02 * direction[i] * direction[j] - 0.01 * (i == j) for i, j in parts])
    assert z.shape == shape
    return tensor * solid(shape), direction


def tensor_field(tensor: RealArray, b: Vector) -> RealArray:
    padding = Padding.of_margin(
        (tensor.shape[1], tensor.shape[2], tensor.shape[3]), VOXEL, (20.0,) * 3
    )
    kernels = tensor_kernels(padding.outer, VOXEL, b)
    spectrum = sum(
        k * np.fft.rfftn(padding.pad(part, "float64"))
        for k, part in zip(kernels, tensor, strict=True)
    )
    return padding.crop(np.fft.irfftn(spectrum, s=padding.outer, axes=(0, 1, 2)))


@pytest.mark.parametrize("shape", [(4, 5, 6), (5, 6, 7)])
def test_an_isotropic_tensor_is_a_susceptibility(shape: Size) -> None:
    kernels = tensor_kernels(shape, VOXEL, (1.0, 2.0, -0.5))
    isotropic = kernels[0] + kernels[3] + kernels[5]
    np.testing.assert_allclose(
        isotropic, half_dipole_kernel(shape, VOXEL, (1.0, 2.0, -0.5)), atol=1e-12
    )


def test_a_tensor_along_b0_seen_across_it_makes_no_field() -> None:
    kernels = tensor_kernels((4, 5, 6), VOXEL, (1.0, 0.0, 0.0))
    np.testing.assert_array_equal(kernels[3:], 0.0)  # yy, yx, xx
    assert np.abs(kernels[0]).max() == pytest.approx(2 / 3)


@pytest.mark.parametrize("shape", [(14, 18, 20), (15, 17, 19)])
def test_three_orientations_leave_no_streaks(shape: Size) -> None:
    chi = np.where(solid(shape), 0.2, 0.0)
    chi[6:8, 8:10, 9:12] = 0.5
    body = solid(shape, 12.0)
    shifts = (0.0, 0.3, -0.2)  # centre frequencies of the scans
    found = invert_cosmos(
        [padded_field(chi, b) + shift for b, shift in zip(COSMOS, shifts, strict=True)],
        [body] * 3,
        VOXEL,
        b0_directions=COSMOS,
        tolerance=1e-5,
    )
    assert (found.method, found.converged) == ("cosmos", True)
    truth = chi - chi[body].mean()
    error = np.linalg.norm((found.chi - truth)[body]) / np.linalg.norm(truth[body])
    assert error < 0.02


def test_the_masks_of_all_orientations_count() -> None:
    shape: Size = (10, 11, 12)
    masks = [solid(shape, 8.0) for _ in range(3)]
    masks[1][:, :5, :] = False
    field = np.where(masks[1], 0.01, np.nan)
    found = invert_cosmos([field] * 3, masks, VOXEL, b0_directions=COSMOS)
    np.testing.assert_array_equal(found.chi[~masks[1]], 0.0)


def test_noise_counts_by_its_weight() -> None:
    shape: Size = (12, 14, 15)
    chi = np.where(solid(shape, 6.0), 0.3, 0.0)
    rng, body = np.random.default_rng(1), solid(shape, 10.0)
    sds = (0.003, 0.003, 0.003, 0.3)
    directions = [*COSMOS, (0.0, 0.0, 1.0)]
    fields = [
        padded_field(chi, b) + sd * rng.standard_normal(shape)
        for b, sd in zip(directions, sds, strict=True)
    ]
    weights = [np.full(shape, 1 / sd) for sd in sds]
    errors = [
        np.linalg.norm(
            (
                invert_cosmos(
                    fields, [body] * 4, VOXEL, b0_directions=directions, weights=given
                ).chi
                - chi
                + chi[body].mean()
            )[body]
        )
        for given in (weights, None)
    ]
    assert errors[0] < 0.2 * errors[1]


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(12, 14, 15)])
def test_a_tensor_shows_its_fibres(shape: Size) -> None:
    tensor, direction = helical_tensor(shape)
    body = solid(shape)
    found = invert_tensor(
        [tensor_field(tensor, b) for b in ICOSAHEDRON],
        [body] * 6,
        VOXEL,
        b0_directions=ICOSAHEDRON,
        tolerance=1e-5,
        max_iterations=150,
    )
    assert isinstance(found, TensorInversion)
    assert found.residual < 0.02
    maps = decompose_tensor(found.tensor, body)
    cosine = np.abs(np.sum(maps.direction * direction, axis=0))[body]
    assert np.rad2deg(np.arccos(np.clip(cosine, 0, 1))).mean() < 5.0
    assert maps.anisotropy[body].mean() == pytest.approx(0.02, rel=0.1)
    centre = (0.0, shape[1] // 2 - 0.3, shape[2] // 2 - 0.3)
    angle = helix_angle(maps.direction, (1.0, 1.0, 1.0), centre=centre, axis=(1.0, 0.0, 0.0))
    assert abs(np.median(angle[body])) == pytest.approx(30.0, abs=5.0)


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_every_library_finds_the_same(kind: str) -> None:
    shape: Size = (8, 9, 10)
    tensor, _ = helical_tensor(shape)
    body = solid(shape, 6.0)
    fields = [tensor_field(tensor, b) for b in ICOSAHEDRON]
    weights = [np.full(shape, 50.0)] * 6
    given: dict[str, Any] = {
        "b0_directions": ICOSAHEDRON,
        "margin": (4.0, 3.0, 3.0),
        "max_iterations": 12,
    }
    there: dict[str, Any] = {
        "local_fields": [as_kind(kind, field) for field in fields],
        "masks": [as_kind(kind, body)] * 6,
        "weights": [as_kind(kind, weight) for weight in weights],
        "voxel_size": VOXEL,
    }
    cosmos = invert_cosmos(fields, [body] * 6, VOXEL, weights=weights, **given)
    assert_kind(kind, invert_cosmos(**there, **given).chi)
    np.testing.assert_allclose(
        to_numpy(invert_cosmos(**there, **given).chi), cosmos.chi, atol=1e-4 * cosmos.chi.max()
    )
    here = invert_tensor(fields, [body] * 6, VOXEL, weights=weights, **given)
    found = invert_tensor(**there, **given)
    np.testing.assert_allclose(
        to_numpy(found.tensor), here.tensor, atol=1e-4 * np.abs(here.tensor).max()
    )
    maps = decompose_tensor(found.tensor, found.mask, fibre="stronger")
    assert_kind(kind, maps.direction)
    expected = decompose_tensor(here.tensor, body, fibre="stronger")
    np.testing.assert_allclose(to_numpy(maps.mean), expected.mean, atol=1e-6)
    np.testing.assert_allclose(to_numpy(maps.anisotropy), expected.anisotropy, atol=1e-5)
    angle = helix_angle(maps.direction, VOXEL, centre=(4.0, 4.0, 5.0), axis=(1.0, 0.0, 0.0))
    assert_kind(kind, angle)


@pytest.mark.parametrize(
    ("fibre", "anisotropy", "axis"),
    [("muscle", 0.35, 0), ("collagen", -0.55, 2), ("stronger", -0.55, 2)],
)
def test_scar_turns_the_sign(fibre: Any, anisotropy: float, axis: int) -> None:  # noqa: ANN401
    tensor = np.zeros((6, 1, 2, 1))
    tensor[[0, 3, 5], 0, 0, 0] = 0.2, 0.1, -0.4
    mask = np.array([[[True], [False]]])
    maps = decompose_tensor(tensor, mask, fibre=fibre)
    assert maps.anisotropy[0, 0, 0] == pytest.approx(anisotropy)
    assert abs(maps.direction[axis, 0, 0, 0]) == pytest.approx(1.0)
    assert maps.mean[0, 0, 0] == pytest.approx(-0.1 / 3)
    np.testing.assert_array_equal(maps.direction[:, 0, 1, 0], 0.0)
    np.testing.assert_allclose(maps.eigenvalues[:, 0, 0, 0], [-0.4, 0.1, 0.2])


def test_the_helix_is_right_handed_if_it_climbs_counter_clockwise() -> None:
    # A point on +x; counter-clockwise about +z it moves to +y.
    direction = np.zeros((3, 1, 1, 3))
    direction[:, 0, 0, 2] = np.sin(0.3), np.cos(0.3), 0.0
    angle = helix_angle(direction, VOXEL, centre=(0.0, 0.0, 0.0), axis=(2.0, 0.0, 0.0))
    assert angle[0, 0, 2] == pytest.approx(np.rad2deg(0.3))
    turned = helix_angle(-direction, VOXEL, centre=(0.0, 0.0, 0.0), axis=(2.0, 0.0, 0.0))
    assert turned[0, 0, 2] == pytest.approx(np.rad2deg(0.3))
    other = helix_angle(direction, VOXEL, centre=(0.0, 0.0, 0.0), axis=(-1.0, 0.0, 0.0))
    assert other[0, 0, 2] == pytest.approx(np.rad2deg(0.3))  # both senses turn


def test_what_cannot_be_is_refused() -> None:
    field, mask = np.zeros((3, 4, 5)), np.ones((3, 4, 5), dtype=bool)
    with pytest.raises(ValueError, match="needs 3 orientations or more, got 2"):
        invert_cosmos([field] * 2, [mask] * 2, VOXEL, b0_directions=COSMOS[:2])
    with pytest.raises(ValueError, match="needs 6 orientations or more, got 3"):
        invert_tensor([field] * 3, [mask] * 3, VOXEL, b0_directions=COSMOS)
    with pytest.raises(ValueError, match="3 fields, 2 masks, 3 directions"):
        invert_cosmos([field] * 3, [mask] * 2, VOXEL, b0_directions=COSMOS)
    with pytest.raises(ValueError, match="mask is empty"):
        invert_cosmos([field] * 3, [mask, ~mask, mask], VOXEL, b0_directions=COSMOS)
    with pytest.raises(ValueError, match="b0_direction must not be zero"):
        invert_cosmos([field] * 3, [mask] * 3, VOXEL, b0_directions=[*COSMOS[:2], (0.0, 0.0, 0.0)])
    with pytest.raises(ValueError, match=r"tensor must have shape \(6, z, y, x\), got"):
        decompose_tensor(np.zeros((5, 3, 4, 5)), mask)
    with pytest.raises(ValueError, match="got 'bone'"):
        decompose_tensor(np.zeros((6, 3, 4, 5)), mask, fibre="bone")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="axis must not be zero"):
        helix_angle(np.zeros((3, 3, 4, 5)), VOXEL, centre=(0.0,) * 3, axis=(0.0,) * 3)
