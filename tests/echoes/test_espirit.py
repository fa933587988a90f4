"""ESPIRiT: maps that explain the calibration lines, and where they do."""

import numpy as np
import pytest
from tests.echoes.phantoms import body, complex_noise, hybrid_of, object_echoes, smooth_coils

from chistream.arrays import ComplexArray, Mask, RealArray, Size
from chistream.echoes.espirit import estimate_espirit, quadratic_forms
from chistream.physics.compiled import python_form

SHAPES = [(16, 30, 27), (15, 32, 24)]


def centre(hybrid: ComplexArray, lines: tuple[int, int]) -> ComplexArray:
    first = [n // 2 - m // 2 for n, m in zip(hybrid.shape[2:4], lines, strict=True)]
    z, y = (slice(f, f + m) for f, m in zip(first, lines, strict=True))
    return hybrid[:, :, z, y]


def deviation(one: ComplexArray, other: ComplexArray, mask: Mask) -> RealArray:
    """1 - the cosine between maps of norm 1: blind to a phase per voxel."""
    cosine = np.abs((one[:, mask].conj() * other[:, mask]).sum(axis=0))
    gap: RealArray = 1 - cosine
    return gap


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("lines", [(12, 20), (11, 17)])
def test_maps_are_found_up_to_one_phase_per_voxel(shape: Size, lines: tuple[int, int]) -> None:
    true = smooth_coils(6, shape)
    block = centre(hybrid_of(object_echoes(shape), true), lines)
    csm = estimate_espirit(block, shape[:2])
    inside = body(shape)
    assert csm.shape == (6, *shape)
    assert csm.dtype == np.complex64
    np.testing.assert_allclose((np.abs(csm[:, inside]) ** 2).sum(axis=0), 1, atol=1e-3)
    assert np.median(deviation(csm, true, inside)) < 1e-3
    assert np.percentile(deviation(csm, true, inside), 95) < 1e-2


def test_without_signal_there_is_no_map() -> None:
    shape = SHAPES[0]
    block = centre(hybrid_of(object_echoes(shape), smooth_coils(6, shape)), (12, 20))
    kept = estimate_espirit(block + complex_noise(block.shape, 1) / 30, shape[:2], subspace=0.1)
    found: Mask = np.any(kept != 0, axis=0)
    inside = body(shape)
    assert found[inside].mean() > 0.99
    assert found[~inside].mean() < 0.8
    everywhere = estimate_espirit(block, shape[:2], least_eigenvalue=0)
    assert np.abs(everywhere).any(axis=0).all()


def test_neither_scale_nor_phase_nor_order_of_coils_matter() -> None:
    shape = SHAPES[0]
    block = centre(hybrid_of(object_echoes(shape), smooth_coils(6, shape)), (10, 16))
    csm = estimate_espirit(block, shape[:2])
    order = [3, 1, 5, 0, 2, 4]
    turned = estimate_espirit(block[:, order] * np.complex64(70 * np.exp(2j)), shape[:2])
    # Single precision decides voxels at the threshold of the eigenvalue, and outside the body.
    inside = body(shape)
    np.testing.assert_allclose(turned[:, inside], csm[order][:, inside], atol=2e-2)


def test_a_thin_slab_has_thin_kernels() -> None:
    shape = (1, 30, 24)
    true = smooth_coils(5, shape)
    block = centre(hybrid_of(object_echoes(shape), true), (1, 20))
    csm = estimate_espirit(block, shape[:2])
    assert np.median(deviation(csm, true, body(shape))) < 1e-3


def test_quadratic_forms_are_those_of_the_matrices() -> None:
    n_coils = 3
    vectors = complex_noise((2, 4, n_coils), 1)
    root = complex_noise((2, 4, n_coils, n_coils), 2)
    matrices = root @ root.conj().swapaxes(-1, -2)
    lower = [matrices[..., i, j] for i in range(n_coils) for j in range(i + 1)]
    packed = np.stack(lower, axis=-1)
    expected = np.einsum("yxi,yxij,yxj->yx", vectors.conj(), matrices, vectors).real
    for form in (quadratic_forms, python_form(quadratic_forms)):
        values = np.empty((2, 4), np.float32)
        form(packed, vectors, values)
        np.testing.assert_allclose(values, expected, rtol=1e-4)


def test_parameters_out_of_range_are_refused() -> None:
    block = complex_noise((1, 2, 6, 6, 6), 1)
    with pytest.raises(ValueError, match=r"subspace 0\.0"):
        estimate_espirit(block, (8, 8), subspace=0.0)
    with pytest.raises(ValueError, match=r"least_eigenvalue 1\.5"):
        estimate_espirit(block, (8, 8), least_eigenvalue=1.5)


def test_what_is_no_block_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 6, 6, 6\) must be"):
        estimate_espirit(complex_noise((2, 6, 6, 6), 1), (8, 8))
