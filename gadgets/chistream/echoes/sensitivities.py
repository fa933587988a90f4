"""Coil sensitivities from the images themselves, one map for all echoes."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from chistream.arrays import ComplexArray, RealArray, Size, size_of
from chistream.physics.compiled import compiled
from chistream.physics.fourier import N_THREADS

_SQUARINGS = 3
_STEPS = 3
"""Power iteration of 2^3 x 3 steps: enough wherever one signal dominates; in pure noise any
direction is as good."""

_CENTRE_WIDTH = 0.12
"""Deviation of the region that fixes the virtual coil, as a part of the field of view."""


def estimate_sensitivities(coil_images: ComplexArray, block: Size = (3, 5, 5)) -> ComplexArray:
    r"""Estimate coil sensitivities from how the coils covary around each voxel, in all echoes.

    .. math:: R(\mathbf r) = \sum_{e} \sum_{\mathbf q \in block(\mathbf r)}
              I_e(\mathbf q)\, I_e(\mathbf q)^H, \qquad R\,s = \lambda_{max}\, s

    Parameters
    ----------
    coil_images
        Whitened coil images ``(echoes, coils, z, y, x)``.
    block
        Neighbourhood ``(z, y, x)`` [voxels], odd, cut off at the borders. A larger one makes the
        maps smoother and less noisy, and follows strong gradients close to a coil less well.

    Returns
    -------
    ComplexArray
        Sensitivities ``(coils, z, y, x)`` complex64 of root-sum-of-squares 1; zero in blocks with
        no signal at all. Determined up to one factor per voxel, which is chosen such that a
        virtual coil has phase zero.

    Raises
    ------
    ValueError
        If there are not five axes, or the block is not odd and positive.

    Notes
    -----
    The object's own phase cancels in the covariance, so echoes add up and every echo gets the same
    map. The magnitude of the sum over coils is not known: shading stays in the images.

    The virtual coil is the sum of all coils, weighted by their local magnitude and with the phases
    they have around the middle of the object. It has signal wherever some coil has, so its phase
    has no poles, which would be open-ended fringes in the images of all echoes.

    References
    ----------
    .. [1] Walsh DO, Gmitro AF, Marcellin MW. Adaptive reconstruction of phased array MR imagery.
       Magn Reson Med. 2000;43(5):682-690.
       doi:10.1002/(SICI)1522-2594(200005)43:5<682::AID-MRM10>3.0.CO;2-G
    .. [2] Parker DL, Payne A, Todd N, Hadley JR. Phase reconstruction from multiple coil data
       using a virtual reference coil. Magn Reson Med. 2014;72(2):563-569. doi:10.1002/mrm.24932
    """
    if coil_images.ndim != 5:
        raise ValueError(f"coil_images {coil_images.shape} must be (echoes, coils, z, y, x)")
    if min(block) < 1 or not all(n % 2 for n in block):
        raise ValueError(f"block must be odd and positive, got {block}")
    _, n_coils, nz, ny, nx = coil_images.shape
    scale = _scale_of(coil_images)
    csm = np.empty((n_coils, nz, ny, nx), np.complex64)
    bounds = np.linspace(0, nz, min(N_THREADS, nz) + 1).astype(int)
    with ThreadPoolExecutor(len(bounds)) as pool:
        parts = [
            pool.submit(_estimate_partitions, coil_images, scale, block, int(a), int(b), csm)
            for a, b in pairwise(bounds)
        ]
        for part in parts:
            part.result()
    csm *= np.exp(-1j * virtual_coil_phase(csm, coil_phases(coil_images)))
    return csm


def refine_sensitivities(csm: ComplexArray, size: Size) -> ComplexArray:
    """Interpolate sensitivities of a coarse grid to a finer one of the same field of view.

    Parameters
    ----------
    csm
        Sensitivities ``(coils, z, y, x)`` of root-sum-of-squares 1, or zero; their phase varies
        slowly, the origin is at ``n // 2``.
    size
        Size of the finer grid ``(z, y, x)``.

    Returns
    -------
    ComplexArray
        Sensitivities ``(coils, z, y, x)`` complex64 of root-sum-of-squares 1; zero where most of
        what they would be made from is.

    References
    ----------
    .. [1] Keys RG. Cubic convolution interpolation for digital image processing. IEEE Trans Acoust
       Speech Signal Process. 1981;29(6):1153-1160. doi:10.1109/TASSP.1981.1163711
    """
    if size_of(csm) == size:
        return csm
    over_z, over_y, over_x = (_cubic(n, m) for n, m in zip(size_of(csm), size, strict=True))
    fine = np.empty((len(csm), *size), np.complex64)
    power = np.zeros(size, np.float32)
    for coarse, target in zip(csm, fine, strict=True):
        along_x = np.empty((*coarse.shape[:2], size[2]), np.complex64)
        along_x.real, along_x.imag = coarse.real @ over_x.T, coarse.imag @ over_x.T
        # Real matrices on pairs of real numbers: half the products of complex ones.
        along_y = np.matmul(over_y, along_x.view(np.float32))
        if len(over_z) != len(coarse):
            along_y = np.tensordot(over_z, along_y, (1, 0))
        target[...] = along_y.view(np.complex64)
        power += target.real**2 + target.imag**2
    scale = np.where(power > 0.25, 1 / np.sqrt(np.maximum(power, 0.25)), 0)
    fine *= scale.astype(np.float32)
    return fine


def virtual_coil_phase(csm: ComplexArray, coil_phases: RealArray) -> RealArray:
    """Compute the phase of the coils' sum.

    Parameters
    ----------
    csm
        Sensitivities ``(coils, z, y, x)``.
    coil_phases
        Phase that each coil gets subtracted before the sum ``(coils,)`` [rad].

    Returns
    -------
    RealArray
        Phase ``(z, y, x)`` float32 of the sum weighted by the coils' magnitudes [rad].
    """
    turned = np.exp(-1j * coil_phases).astype(np.complex64)
    phase: RealArray = np.angle(np.einsum("c,czyx,czyx->zyx", turned, np.abs(csm), csm))
    return phase


def coil_phases(coil_images: ComplexArray) -> RealArray:
    """Find the phases of the coils relative to each other in the middle of the object.

    Parameters
    ----------
    coil_images
        Coil images ``(echoes, coils, z, y, x)``.

    Returns
    -------
    RealArray
        Phases ``(coils,)`` [rad]; the strongest coil's is zero.
    """
    scale = _scale_of(coil_images)
    signal = np.sqrt(sum((np.abs(images * scale) ** 2).sum(axis=0) for images in coil_images))
    exponent = np.zeros(signal.shape, np.float32)
    for axis, n in enumerate(signal.shape):
        others = tuple(i for i in range(3) if i != axis)
        profile = signal.sum(axis=others)
        centre = (profile * np.arange(n)).sum() / max(float(profile.sum()), 1e-30)
        distance = (np.arange(n) - centre) / (_CENTRE_WIDTH * n)
        exponent += np.expand_dims(distance**2, others).astype(np.float32)
    weights = np.exp(-exponent / 4)  # the root of a Gaussian: it is squared in the covariance
    covariance = np.zeros((coil_images.shape[1],) * 2, np.complex128)
    for images in coil_images:
        flat = (images * (scale * weights)).reshape(len(images), -1)
        covariance += flat @ flat.conj().T
    principal = np.linalg.eigh(covariance)[1][:, -1]
    strongest = principal[np.abs(principal).argmax()]
    phases: RealArray = np.angle(principal * strongest.conj())
    return phases


def _cubic(n: int, m: int) -> RealArray:
    """Weights ``(m, n)`` of cubic convolution from n voxels to m, constant beyond the ends."""
    weights = np.zeros((m, n), np.float32)
    if n == 1:
        weights[:] = 1
        return weights
    positions = (np.arange(m) - m // 2) * (n / m) + n // 2
    first = np.floor(positions).astype(int) - 1
    for neighbour in range(4):
        place = first + neighbour
        distance = np.abs(positions - place)
        near = (1.5 * distance - 2.5) * distance**2 + 1
        far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
        weight = np.where(distance <= 1, near, np.where(distance < 2, far, 0))
        np.add.at(weights, (np.arange(m), np.clip(place, 0, n - 1)), weight.astype(np.float32))
    return weights


def _scale_of(coil_images: ComplexArray) -> np.float32:
    """Return what brings images near 1: squares of squares are taken in single precision."""
    largest = float(np.abs(coil_images).max())
    return np.float32(1 / largest if largest > 0 else 1)


def _estimate_partitions(
    coil_images: ComplexArray,
    scale: np.float32,
    block: Size,
    first: int,
    last: int,
    csm: ComplexArray,
) -> None:
    """Fill partitions ``first`` to ``last - 1`` of the map; holds a few partitions of products."""
    n_coils, (nz, ny, nx) = len(csm), size_of(csm)
    reach_z, reach_y, reach_x = (n // 2 for n in block)
    n_pairs = n_coils * (n_coils + 1) // 2
    products = np.empty((ny, nx, n_pairs), np.complex64)
    rows = np.empty_like(products)
    vectors = np.empty((ny, nx, n_coils), np.complex64)
    window: deque[ComplexArray] = deque(maxlen=block[0])
    for z in range(first - reach_z, last + reach_z):
        if 0 <= z < nz:
            plane = np.ascontiguousarray(coil_images[:, :, z].transpose(2, 3, 0, 1), np.complex64)
            sum_products(plane * scale, products)
            sums = np.empty_like(products)
            sum_rows_and_columns(products, reach_y, reach_x, rows, sums)
            window.append(sums)
        else:
            window.append(np.zeros((1, 1, n_pairs), np.complex64))
        if z - reach_z >= first:
            principal_vectors(
                np.ascontiguousarray(np.broadcast_to(sum(window), products.shape)),
                _SQUARINGS,
                vectors,
            )
            csm[:, z - reach_z] = vectors.transpose(2, 0, 1)


@compiled
def sum_products(plane: ComplexArray, products: ComplexArray) -> None:
    """Sum ``s_i conj(s_j)``, j <= i, over echoes: plane (y, x, e, c) to products (y, x, pairs)."""
    ny, nx, n_echoes, n_coils = plane.shape
    for y in range(ny):
        for x in range(nx):
            pair = 0
            for i in range(n_coils):
                for j in range(i + 1):
                    total = np.complex64(0)
                    for e in range(n_echoes):
                        total += plane[y, x, e, i] * np.conj(plane[y, x, e, j])
                    products[y, x, pair] = total
                    pair += 1


@compiled
def sum_rows_and_columns(
    products: ComplexArray, reach_y: int, reach_x: int, rows: ComplexArray, sums: ComplexArray
) -> None:
    """Sum products (y, x, pairs) over a block, cut off at the borders; rows is scratch."""
    # Direct sums, no running ones: a difference of large sums would drown what is dark.
    ny, nx, _ = products.shape
    for y in range(ny):
        for x in range(nx):
            rows[y, x] = 0
            for near in range(max(0, x - reach_x), min(nx, x + reach_x + 1)):
                rows[y, x] += products[y, near]
    for y in range(ny):
        for x in range(nx):
            sums[y, x] = 0
            for near in range(max(0, y - reach_y), min(ny, y + reach_y + 1)):
                sums[y, x] += rows[near, x]


@compiled
def principal_vectors(covariance: ComplexArray, n_squarings: int, vectors: ComplexArray) -> None:
    """Find the principal eigenvectors (y, x, c) of packed Hermitian matrices (y, x, pairs).

    Each squaring doubles the steps of power iteration that one product with the matrix does. All
    voxels get the same number: a test for the end would jump with the last digit of its input,
    and with it the map.
    """
    ny, nx, n_coils = vectors.shape
    matrix = np.zeros((n_coils, n_coils), np.complex64)
    square = np.zeros((n_coils, n_coils), np.complex64)
    product = np.zeros(n_coils, np.complex64)
    for y in range(ny):
        for x in range(nx):
            vector = vectors[y, x]
            vector[:] = matrix[unpack(covariance[y, x], matrix)]
            norm = np.sqrt(np.sum(vector.real**2 + vector.imag**2))
            if norm > 0:
                vector /= norm
                matrix /= norm  # squares of what is dark would be zero
                for _ in range(n_squarings):
                    squared(matrix, square)
                    matrix[:] = square
                for _ in range(_STEPS):
                    turn(matrix, vector, product)


@compiled
def unpack(pairs: ComplexArray, matrix: ComplexArray) -> int:
    """Fill a Hermitian matrix, transposed, from its lower triangle; return the strongest coil."""
    pair, strongest = 0, 0
    for i in range(len(matrix)):
        for j in range(i + 1):
            matrix[j, i] = pairs[pair]
            matrix[i, j] = np.conj(pairs[pair])
            pair += 1
        if matrix[i, i].real > matrix[strongest, strongest].real:
            strongest = i
    return strongest


@compiled
def squared(matrix: ComplexArray, square: ComplexArray) -> None:
    """Square a Hermitian matrix, and bring its trace to 1."""
    n = len(matrix)
    trace = np.float32(0)
    for i in range(n):
        for j in range(i + 1):
            total = np.complex64(0)
            for k in range(n):
                total += matrix[i, k] * np.conj(matrix[j, k])
            square[i, j] = total
            square[j, i] = np.conj(total)
        trace += square[i, i].real
    square /= trace


@compiled
def turn(matrix: ComplexArray, vector: ComplexArray, product: ComplexArray) -> None:
    """Do one step of power iteration in place."""
    n_coils = len(vector)
    product[:] = 0
    for j in range(n_coils):
        for i in range(n_coils):  # along the memory of a transposed matrix
            product[i] += matrix[j, i] * vector[j]
    power = np.float32(0)
    for i in range(n_coils):
        power += product[i].real ** 2 + product[i].imag ** 2
    vector[:] = product / np.sqrt(power)
