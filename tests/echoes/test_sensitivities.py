"""Maps of a birdcage and of loops around a body, found again from images."""

import time

import numpy as np
import pytest

from chistream.arrays import ComplexArray, Mask, RealArray, Size
from chistream.echoes.combination import combine_coils
from chistream.echoes.sensitivities import (
    estimate_sensitivities,
    principal_vectors,
    squared,
    sum_products,
    sum_rows_and_columns,
    turn,
    unpack,
    virtual_coil_phase,
)
from chistream.physics.compiled import python_form

SHAPES = [(5, 64, 81), (4, 77, 60), (1, 70, 64)]


def grid(shape: Size) -> tuple[RealArray, ...]:
    """Positions from -1 to 1 along z, y, x."""
    axes = [(np.arange(n) - n // 2) / max(n // 2, 1) for n in shape]
    return tuple(np.meshgrid(*axes, indexing="ij"))


def birdcage(n_coils: int, shape: Size) -> ComplexArray:
    """Coils on a circle around z, twisted along z; root-sum-of-squares 1."""
    z, y, x = grid(shape)
    maps = []
    for coil in range(n_coils):
        angle = 2 * np.pi * coil / n_coils
        dy, dx = y - 1.5 * np.sin(angle + 0.1 * z), x - 1.5 * np.cos(angle + 0.1 * z)
        maps.append(np.exp(1j * (np.arctan2(dx, -dy) - angle)) / np.hypot(dy, dx))
    csm: ComplexArray = np.array(maps)
    csm /= np.sqrt((np.abs(csm) ** 2).sum(axis=0))
    return csm


def loops(n_coils: int, shape: Size, seed: int = 0) -> ComplexArray:
    """Circular loops on a cylinder around the body, by Biot and Savart; arbitrary cable phases."""
    rng = np.random.default_rng(seed)
    z, y, x = grid(shape)
    z = 0.3 * z  # a slab, all of it inside the array
    turn_of_wire = np.linspace(0, 2 * np.pi, 30, endpoint=False)
    maps = []
    for coil in range(n_coils):
        angle = 2 * np.pi * coil / n_coils + 0.1
        normal = np.array([np.cos(angle), np.sin(angle), 0.0])
        tangent = np.array([-np.sin(angle), np.cos(angle), 0.0])
        wire = 1.25 * normal + np.array([0, 0, rng.uniform(-0.3, 0.3)])
        wire = wire + 0.4 * (
            np.cos(turn_of_wire)[:, None] * tangent + np.sin(turn_of_wire)[:, None] * [0, 0, 1]
        )
        step = np.roll(wire, -1, axis=0) - wire
        field = np.zeros(shape, complex)
        for (px, py, pz), (sx, sy, sz) in zip(wire + step / 2, step, strict=True):
            dx, dy, dz = x - px, y - py, z - pz
            cube = (dx**2 + dy**2 + dz**2) ** 1.5
            field += ((sy * dz - sz * dy) - 1j * (sz * dx - sx * dz)) / cube
        maps.append(field * np.exp(1j * rng.uniform(0, 2 * np.pi)))
    csm: ComplexArray = np.array(maps)
    return csm


def body(shape: Size) -> Mask:
    _, y, x = grid(shape)
    inside: Mask = (y / 0.9) ** 2 + (x / 0.9) ** 2 < 1
    return inside


def object_of(shape: Size, n_echoes: int, seed: int = 5) -> ComplexArray:
    """Echoes with structure in magnitude and a phase that no coil has."""
    rng = np.random.default_rng(seed)
    z, y, x = grid(shape)
    magnitude = body(shape) * (1 + 0.3 * rng.uniform(size=shape))
    frequency = 2.0 * x - 1.5 * y + z
    phase = 3 * x * y + np.multiply.outer(1 + np.arange(n_echoes), frequency)
    decay = np.exp(-0.1 * np.arange(n_echoes))[:, None, None, None]
    echoes: ComplexArray = np.exp(1j * phase)
    echoes *= magnitude * decay
    return echoes


def noise(shape: tuple[int, ...], seed: int) -> ComplexArray:
    rng = np.random.default_rng(seed)
    parts = rng.standard_normal((2, *shape)) / np.sqrt(2)
    values: ComplexArray = (parts[0] + 1j * parts[1]).astype(np.complex64)
    return values


def overlap(one: ComplexArray, other: ComplexArray, mask: Mask) -> RealArray:
    """Magnitude of the cosine between two maps in a mask: blind to a phase per voxel."""
    one, other = one[:, mask], other[:, mask]
    product = (one.conj() * other).sum(axis=0)
    norms = (np.abs(one) ** 2).sum(axis=0) * (np.abs(other) ** 2).sum(axis=0)
    cosine: RealArray = np.abs(product) / np.sqrt(norms)
    return cosine


def n_poles(phase: RealArray, mask: Mask) -> int:
    """Open ends of fringes: closed loops around which the phase turns by a full circle."""
    wrap = np.angle(np.exp(1j * np.diff(phase, axis=-1)))
    down = np.angle(np.exp(1j * np.diff(phase, axis=-2)))
    around = wrap[..., :-1, :] + down[..., :, 1:] - wrap[..., 1:, :] - down[..., :, :-1]
    corners = mask[..., :-1, :-1] & mask[..., 1:, :-1] & mask[..., :-1, 1:] & mask[..., 1:, 1:]
    return int((np.abs(around)[corners] > np.pi).sum())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n_coils", [1, 2, 8])
def test_maps_are_found_up_to_one_phase_per_voxel(shape: Size, n_coils: int) -> None:
    true = birdcage(n_coils, shape)
    images = (object_of(shape, 3)[:, None] * true).astype(np.complex64)
    csm = estimate_sensitivities(images)
    # At the edge of the body a block's middle lies a voxel inside, where maps differ a little.
    assert overlap(csm, true, body(shape)).min() > 0.998
    assert overlap(csm, true, body(shape)).mean() > 0.9995
    norm = (np.abs(csm) ** 2).sum(axis=0)
    np.testing.assert_allclose(norm[body(shape)], 1, atol=1e-5)
    assert csm.dtype == np.complex64


@pytest.mark.parametrize("block", [(1, 1, 1), (3, 5, 5), (5, 3, 7), (9, 9, 9)])
def test_maps_are_the_principal_eigenvectors_of_the_block_covariance(block: Size) -> None:
    shape = (4, 5, 7)
    true = noise((3, 1, 1, 1), 9)
    images = 2 * noise((2, 1, *shape), 1) * true + 0.3 * noise((2, 3, *shape), 2)
    csm = estimate_sensitivities(images, block=block)
    for z, y, x in np.ndindex(*shape):
        near = tuple(
            slice(max(0, i - n // 2), i + n // 2 + 1) for i, n in zip((z, y, x), block, strict=True)
        )
        inside = images[:, :, near[0], near[1], near[2]].swapaxes(0, 1).reshape(3, -1)
        expected = np.linalg.eigh(inside @ inside.conj().T)[1][:, -1]
        # 1e-6 in cosine squared is where power iteration stops turning.
        assert np.abs(np.vdot(expected, csm[:, z, y, x])) > 1 - 1e-4


def test_constant_maps_are_found_exactly() -> None:
    true = noise((5, 1, 1, 1), 3) * np.ones((5, 4, 7, 6), np.complex64)
    true /= np.sqrt((np.abs(true) ** 2).sum(axis=0))
    images = (object_of((4, 7, 6), 2)[:, None] * true).astype(np.complex64)
    inside = body((4, 7, 6))
    csm = estimate_sensitivities(images)
    np.testing.assert_allclose(overlap(csm, true, inside), 1, atol=1e-6)


def test_all_echoes_together_beat_the_noise_of_one() -> None:
    shape, true = (3, 26, 31), birdcage(6, (3, 26, 31))
    images = (object_of(shape, 6)[:, None] * true).astype(np.complex64)
    noisy = images + 0.7 * noise(images.shape, 1)
    mean_loss = [
        float(np.mean(1 - overlap(estimate_sensitivities(used), true, body(shape))))
        for used in (noisy[:1], noisy)
    ]
    assert mean_loss[1] < 0.5 * mean_loss[0]


def test_the_combined_phase_between_echoes_is_the_objects() -> None:
    shape = (4, 24, 31)
    echoes = object_of(shape, 4)
    images = (echoes[:, None] * birdcage(8, shape)).astype(np.complex64)
    combined = combine_coils(images, estimate_sensitivities(images))
    inside = body(shape)
    found = np.angle(combined[1:] * combined[:-1].conj())[:, inside]
    expected = np.angle(echoes[1:] * echoes[:-1].conj())[:, inside]
    difference = np.angle(np.exp(1j * (found - expected)))
    np.testing.assert_allclose(difference, 0, atol=1e-5)


@pytest.mark.parametrize("n_coils", [4, 8, 16])
@pytest.mark.parametrize("seed", [0, 3])
def test_the_phase_of_the_maps_has_no_poles(n_coils: int, seed: int) -> None:
    shape = (3, 40, 52)
    true = loops(n_coils, shape, seed)
    inside = body(shape)
    _, y, x = grid(shape)
    lungs = (np.abs(x) - 0.45) ** 2 / 0.08 + y**2 / 0.3 < 1
    images = (true * np.where(lungs, 0.05, 1.0) * inside)[None].astype(np.complex64)
    csm = estimate_sensitivities(images, block=(1, 3, 3))
    # One coil at a time has no poles in the body, so neither may a map relative to it.
    combined = combine_coils(images, csm)[0]
    assert n_poles(np.angle(combined), inside) == 0
    # Within a voxel the phase turns little: a jump would look like a field.
    steps = np.angle(csm[:, :, :, 1:] * csm[:, :, :, :-1].conj())
    both = inside[:, :, 1:] & inside[:, :, :-1]
    strong = np.abs(csm[:, :, :, 1:]) > 0.3
    assert np.abs(steps[strong & both]).max() < 0.6


def test_a_global_phase_and_the_scale_do_not_change_the_maps() -> None:
    images = (object_of((3, 20, 25), 2)[:, None] * birdcage(5, (3, 20, 25))).astype(np.complex64)
    csm = estimate_sensitivities(images)
    for factor in (np.exp(2.1j), 1e12, 1e-12):
        np.testing.assert_allclose(
            estimate_sensitivities((images * factor).astype(np.complex64)), csm, atol=1e-4
        )


def test_permuted_coils_have_permuted_maps() -> None:
    images = (object_of((3, 20, 25), 2)[:, None] * loops(5, (3, 20, 25))).astype(np.complex64)
    order = [3, 0, 4, 1, 2]
    inside = body((3, 20, 25))
    np.testing.assert_allclose(
        estimate_sensitivities(images[:, order])[:, inside],
        estimate_sensitivities(images)[order][:, inside],
        atol=1e-3,  # where power iteration stops
    )


def test_the_images_are_not_changed() -> None:
    images = noise((2, 3, 2, 5, 4), 1)
    kept = images.copy()
    estimate_sensitivities(images)
    np.testing.assert_array_equal(images, kept)


def test_a_scan_without_signal_has_no_maps() -> None:
    csm = estimate_sensitivities(np.zeros((2, 3, 2, 4, 5), np.complex64))
    assert not csm.any()


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 3), (1, 2, 1)])
@pytest.mark.parametrize("n_coils", [1, 3])
def test_tiny_volumes_have_maps(shape: Size, n_coils: int) -> None:
    csm = estimate_sensitivities(noise((1, n_coils, *shape), 2), block=(3, 7, 5))
    np.testing.assert_allclose((np.abs(csm) ** 2).sum(axis=0), 1, atol=1e-5)


def test_one_coil_of_a_real_object_is_its_own_virtual_coil() -> None:
    csm = estimate_sensitivities(noise((2, 1, 3, 4, 5), 1))
    np.testing.assert_allclose(csm, 1, atol=1e-5)


def test_the_virtual_coil_adds_turned_coils_by_their_magnitude() -> None:
    csm = np.array([0.6 * np.exp(0.4j), 0.8 * np.exp(2.1j)])[:, None, None, None]
    phase = virtual_coil_phase(csm.astype(np.complex64), np.array([0.3, 1.0]))
    expected = np.angle(0.6**2 * np.exp(0.1j) + 0.8**2 * np.exp(1.1j))
    np.testing.assert_allclose(phase, expected, atol=1e-6)


@pytest.mark.parametrize("block", [(2, 5, 5), (3, 0, 5), (3, 5, -1)])
def test_a_block_without_a_middle_is_refused(block: Size) -> None:
    with pytest.raises(ValueError, match="odd and positive"):
        estimate_sensitivities(noise((1, 1, 2, 3, 4), 1), block=block)


def test_images_without_echoes_are_refused() -> None:
    with pytest.raises(ValueError, match="must be"):
        estimate_sensitivities(noise((2, 3, 4, 5), 1))


def test_each_kernel_does_what_numpy_does() -> None:
    plane = noise((3, 4, 2, 3), 1)
    lower = np.tril_indices(3)
    full = np.einsum("yxei,yxej->yxij", plane, plane.conj())
    products = np.empty((3, 4, 6), np.complex64)
    python_form(sum_products)(plane, products)
    np.testing.assert_allclose(products, full[:, :, lower[0], lower[1]], atol=1e-5)

    rows, sums = np.empty_like(products), np.empty_like(products)
    python_form(sum_rows_and_columns)(products, 1, 2, rows, sums)
    np.testing.assert_allclose(sums[1, 1], products[0:3, 0:4].sum(axis=(0, 1)), atol=1e-4)
    np.testing.assert_allclose(sums[0, 3], products[0:2, 1:4].sum(axis=(0, 1)), atol=1e-4)

    vectors = np.empty((3, 4, 3), np.complex64)
    python_form(principal_vectors)(1e-20 * sums, 5, vectors)
    matrix = np.empty((3, 3), np.complex64)
    strongest = python_form(unpack)(sums[1, 2], matrix)
    assert strongest == np.argmax(np.real(np.diagonal(matrix)))
    expected = np.linalg.eigh(matrix.T)[1][:, -1]
    assert np.abs(np.vdot(expected, vectors[1, 2])) == pytest.approx(1, abs=1e-4)

    sums[0, 0] = 0
    python_form(principal_vectors)(sums, 0, vectors)
    assert not vectors[0, 0].any()
    assert np.abs(np.vdot(expected, vectors[1, 2])) > 0.5

    square = np.empty((3, 3), np.complex64)
    python_form(squared)(matrix, square)
    np.testing.assert_allclose(square * np.trace(matrix @ matrix), matrix @ matrix, rtol=1e-4)

    vector = expected.astype(np.complex64)
    python_form(turn)(matrix, vector, np.empty(3, np.complex64))
    assert np.abs(np.vdot(expected, vector)) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_sixteen_coils_take_seconds() -> None:
    images = noise((5, 16, 24, 72, 96), 1)
    estimate_sensitivities(images[:, :, :1, :4, :4])  # compiled before the clock runs
    start = time.process_time()
    estimate_sensitivities(images)
    # Pure noise is the worst case. 8 s of two processors is the 4 s that the console may wait.
    assert time.process_time() - start < 8.0
