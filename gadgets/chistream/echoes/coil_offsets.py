"""Coil sensitivities from two echoes: phase offsets by MCPC-3D-S and ASPIRE, without k-space."""

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypeAlias

import numpy as np
from scipy import ndimage

from chistream.arrays import ComplexArray, IntArray, Mask, RealArray, Size, Vector, size_of
from chistream.errors import ReconstructionError
from chistream.physics.edges import weigh_edges
from chistream.physics.fourier import N_THREADS
from chistream.physics.growing import unwrap_in_space

OffsetMethod: TypeAlias = Literal["mcpc3ds", "aspire"]

_STAGE = "echoes"

_WHOLE = 0.01
"""Distance of TE / spacing from a whole number at which ASPIRE still holds: each wrap of the phase
between the echoes then leaves a step of at most 0.06 rad, which smoothing spreads out."""

_MOST_WHOLE = 8
"""Largest TE / spacing that ASPIRE takes: the noise of the phase between echoes counts as often."""

_SIGNAL = 0.05
"""Part of the bright end of the magnitude above which voxels are unwrapped together."""

_NODES_PER_SIGMA = 2.0
"""Nodes of the coarse grid for each standard deviation of the smoothing."""

_DEGREE = 3
"""Of the polynomial in the offsets that is taken out before smoothing."""

_MAX_FITS = 10
_SETTLED = 1e-6
"""Gain of a fit, as a part of what can be explained, at which it has settled."""

_N_ROUNDS = 2
"""Smoothings, the second of what the first left: one alone would flatten what bends, and tilt what
lies at the rim of the object, where a Gaussian sees one side only."""

_NEAR = (0.6, 1.2, 1.2)
"""Standard deviation ``(z, y, x)`` [voxels] of the Gaussian for coils against the combination: the
object's phase is gone from it, so it has only noise to smooth, and can follow steep coils."""

_N_REFINEMENTS = 3
"""Against the combination: two come within a tenth of what more would gain."""


def estimate_offset_maps(
    coil_images: ComplexArray,
    TE: tuple[float, ...],
    *,
    method: OffsetMethod = "mcpc3ds",
    is_reversed: tuple[bool, ...] | None = None,
    sigma: Vector = (5.0, 10.0, 10.0),
) -> ComplexArray:
    r"""Estimate sensitivities whose phase is that of the coils at TE = 0.

    .. math:: \Delta\varphi = \arg \sum_c I_{c2}\, \overline{I_{c1}}, \qquad
              \varphi_{0c} = \arg\, G_\sigma * \left( I_{c1}\,
              e^{-i \frac{TE_1}{TE_2 - TE_1} \Delta\varphi} \right)

    Parameters
    ----------
    coil_images
        Coil images ``(echoes, coils, z, y, x)``, at least two echoes.
    TE
        Echo times ``(echoes,)`` [s].
    method
        ``mcpc3ds`` unwraps the phase between the echoes in space, for any echo times. ``aspire``
        needs no unwrapping, and two echoes with TE1 = m (TE2 - TE1), m a whole number.
    is_reversed
        Whether each echo was read backwards. Two echoes of one polarity are taken if there are
        such, since the polarities have offsets of their own; what remains between them is the same
        for all coils, and `correct_polarity` removes it from the combined echoes.
    sigma
        Standard deviation ``(z, y, x)`` [voxels] of the Gaussian that smooths the offsets, >= 0.5.

    Returns
    -------
    ComplexArray
        Sensitivities ``(coils, z, y, x)`` complex64 of root-sum-of-squares 1, zero where
        there is no signal at all, for `combine_coils`: magnitudes are those of the coil images,
        locally averaged. The combined phase of an echo is 2 pi f TE: an offset common to all
        coils is removed as well.

    Raises
    ------
    ValueError
        If shapes do not fit, or sigma is too small.
    ReconstructionError
        If there are fewer than two echoes, or ASPIRE has no pair of them.

    Notes
    -----
    The offsets are smoothed on a grid with two nodes for each sigma, weighted by magnitude, and
    smoothing is repeated on what it left, so that offsets that are polynomials come out right up
    to the rim.

    Fat, whose phase is no linear function of TE, bends the offsets.

    Virtual coils of a compression pass through zero inside the object, and their phase turns around
    that faster than a wide Gaussian can follow: a tenth of the signal of a chest would cancel. So
    the offsets serve as a start only. Each coil is then compared to the combination,
    :math:`G * (I_{c1}\, \overline{\rho_1})`, with a narrow Gaussian: the object's phase is gone
    from that, whatever it is. The phase that all coils have in common stays that of the smooth
    offsets. This goes beyond the paper.

    References
    ----------
    .. [1] Eckstein K, Dymerska B, Bachrata B, et al. Computationally efficient combination of
       multi-channel phase data from multi-echo acquisitions (ASPIRE). Magn Reson Med.
       2018;79(6):2996-3006. doi:10.1002/mrm.26963
    """
    _check(coil_images, TE, is_reversed, sigma)
    if method == "aspire":
        first, second = _whole_pair(TE, is_reversed)
    else:
        first, second = _first_pair(TE, is_reversed)
    start, end = coil_images[first], coil_images[second]
    product: ComplexArray = np.einsum("czyx,czyx->zyx", end, start.conj())
    phase: RealArray = np.angle(product)
    turns = TE[first] / (TE[second] - TE[first])
    if method == "aspire":
        turns = round(turns)
    else:
        phase = _unwrapped(phase, np.sqrt(np.abs(product)))
    evolution = np.exp(-1j * turns * phase).astype(np.complex64)
    smooth = _smooth_maps(start, evolution, sigma)
    csm = smooth.copy()
    for _ in range(_N_REFINEMENTS):
        _refine(csm, start)
    # At the rim of the object a Gaussian tilts what all coils have in common.
    common = np.einsum("czyx,czyx->zyx", smooth, csm.conj())
    magnitude = np.abs(common)
    csm *= np.divide(common, magnitude, out=np.zeros_like(common), where=magnitude > 0)
    return csm


def _check(
    coil_images: ComplexArray,
    TE: tuple[float, ...],
    is_reversed: tuple[bool, ...] | None,
    sigma: Vector,
) -> None:
    n_polarities = len(TE) if is_reversed is None else len(is_reversed)
    if coil_images.ndim != 5 or not len(coil_images) == len(TE) == n_polarities:
        raise ValueError(
            f"coil_images {coil_images.shape} must be (echoes, coils, z, y, x), with {len(TE)} TE "
            f"and {n_polarities} polarities"
        )
    if min(sigma) < 0.5:
        raise ValueError(f"sigma must be at least 0.5 voxels, got {sigma}")
    if len(TE) < 2 or not np.all(np.diff(TE) > 0):
        raise ReconstructionError(
            _STAGE,
            f"phase offsets of coils need two echoes at increasing TE, got {TE} s: choose the "
            "sensitivities adaptive or espirit",
        )


def _pairs(n_echoes: int, is_reversed: tuple[bool, ...] | None) -> list[tuple[int, int]]:
    """List pairs of echoes, the earliest first, of like polarity only if there are any."""
    pairs = [(i, j) for i in range(n_echoes) for j in range(i + 1, n_echoes)]
    alike = [(i, j) for i, j in pairs if is_reversed is None or is_reversed[i] == is_reversed[j]]
    return alike or pairs


def _first_pair(TE: tuple[float, ...], is_reversed: tuple[bool, ...] | None) -> tuple[int, int]:
    return _pairs(len(TE), is_reversed)[0]


def _whole_pair(TE: tuple[float, ...], is_reversed: tuple[bool, ...] | None) -> tuple[int, int]:
    """Find the pair with the smallest whole TE1 / (TE2 - TE1)."""
    found: dict[int, tuple[int, int]] = {}
    for i, j in _pairs(len(TE), is_reversed):
        ratio = TE[i] / (TE[j] - TE[i])
        if abs(ratio - round(ratio)) < _WHOLE and 1 <= round(ratio) <= _MOST_WHOLE:
            found.setdefault(round(ratio), (i, j))
    if not found:
        raise ReconstructionError(
            _STAGE,
            f"ASPIRE needs two echoes with TE1 = m (TE2 - TE1), m = 1 to {_MOST_WHOLE}, and TE are "
            f"{[round(1e3 * time, 3) for time in TE]} ms: choose the sensitivities mcpc3ds",
        )
    return found[min(found)]


def _unwrapped(phase: RealArray, magnitude: RealArray) -> RealArray:
    """Unwrap where there is signal; each region about zero, to which the scanner is tuned."""
    mask: Mask = magnitude > _SIGNAL * np.percentile(magnitude, 99)
    if not mask.any():
        return phase
    labels, n_regions = ndimage.label(mask)
    weights = weigh_edges(phase, magnitude, mask)
    unwrapped = unwrap_in_space(phase, weights, labels, n_regions)
    middles = np.zeros(n_regions + 1)
    middles[1:] = ndimage.median(unwrapped, labels, np.arange(1, n_regions + 1))
    unwrapped -= 2 * np.pi * np.rint(middles / (2 * np.pi))[labels]
    return unwrapped


def _smooth_maps(start: ComplexArray, evolution: ComplexArray, sigma: Vector) -> ComplexArray:
    """Smooth the phase of ``(coils, z, y, x)`` less its evolution, and its magnitude a little."""
    size = size_of(start)
    z, y, x = (max(1, math.floor(width / _NODES_PER_SIGMA)) for width in sigma)
    steps, widths = (z, y, x), (sigma[0] / z, sigma[1] / y, sigma[2] / x)
    whole = [_powers(np.arange(n), n) for n in size]
    blocks = [_powers(_middles(n, step), n) for n, step in zip(size, steps, strict=True)]
    csm = np.empty(start.shape, np.complex64)

    def estimate(coil: int) -> None:
        image = start[coil] * evolution
        steep = _evaluate(_fit(_block_sums(image, steps), blocks), whole)
        # At the rim of the object a block is not whole: what is steep has to go before.
        nodes = _block_sums(image * steep.conj(), steps)
        offset = _smoothed_phase(nodes, _evaluate(_fit(nodes, blocks), blocks), widths)
        csm[coil] = _spread(np.abs(nodes) * offset, size, steps)
        csm[coil] *= steep

    with ThreadPoolExecutor(N_THREADS) as pool:
        list(pool.map(estimate, range(len(start))))
    _normalise(csm)
    return csm


def _refine(csm: ComplexArray, start: ComplexArray) -> None:
    """Compare coil images to their combination, and put what varies slowly of it into the maps."""
    combined = np.einsum("czyx,czyx->zyx", csm.conj(), start)
    largest = float(np.abs(combined).max())
    combined /= np.float32(largest if largest > 0 else 1)

    def compare(coil: int) -> None:
        product = start[coil] * combined.conj()
        for part, target in ((product.real, csm[coil].real), (product.imag, csm[coil].imag)):
            ndimage.gaussian_filter(part, _NEAR, output=target, mode="constant", truncate=2.5)

    with ThreadPoolExecutor(N_THREADS) as pool:
        list(pool.map(compare, range(len(start))))
    _normalise(csm)


def _normalise(csm: ComplexArray) -> None:
    """Give maps a root-sum-of-squares of 1 wherever they are not all zero."""
    norm = np.sqrt(sum(map(_power, csm)))
    csm /= np.where(norm > 0, norm, 1)


def _power(image: ComplexArray) -> RealArray:
    power: RealArray = image.real**2 + image.imag**2
    return power


def _fit(nodes: ComplexArray, powers: list[RealArray]) -> RealArray:
    """Fit a cubic to the phase of blocks, weighted by power; return coefficients of the powers."""
    terms = [p for p in np.ndindex(4, 4, 4) if sum(p) <= _DEGREE and _fits(p, nodes.shape)]
    weight = np.abs(nodes)
    basis = (
        np.multiply.outer(np.multiply.outer(powers[0][i], powers[1][j]), powers[2][k])
        for i, j, k in terms
    )
    design = np.array([np.ravel(term * weight) for term in basis])
    normal = design @ design.T
    settled = coefficients = _plane(nodes, powers)
    best = -np.inf
    for _ in range(_MAX_FITS):
        rest = nodes * _evaluate(coefficients, powers).conj()
        # Wraps that the plane leaves can mislead a fit: it counts only if it explains more.
        explained = float(rest.real.sum())
        if explained <= best + _SETTLED * float(weight.sum()):
            break
        best, settled = explained, coefficients
        moments = design @ (weight * np.angle(rest)).ravel()
        coefficients = settled.copy()
        coefficients[tuple(np.transpose(terms))] += np.linalg.lstsq(normal, moments, rcond=1e-12)[0]
    return settled


def _evaluate(coefficients: RealArray, powers: list[RealArray]) -> ComplexArray:
    """Compute ``exp(i phase)`` complex64 of a cubic at the positions of the powers."""
    parts = (part.astype(np.float32) for part in (coefficients, *powers))
    phase = np.einsum("ijk,iz,jy,kx->zyx", *parts, optimize=True)
    turned = np.empty(phase.shape, np.complex64)
    np.cos(phase, out=turned.real)
    np.sin(phase, out=turned.imag)
    return turned


def _powers(positions: RealArray | IntArray, n: int) -> RealArray:
    """Take positions on an axis of n voxels, scaled to -1 to 1, to the powers 0 to 3."""
    scaled = (positions - n // 2) / max(n // 2, 1)
    powers: RealArray = scaled ** np.arange(4)[:, None]
    return powers


def _fits(power: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return all(p < n for p, n in zip(power, shape, strict=True))


def _plane(nodes: ComplexArray, powers: list[RealArray]) -> RealArray:
    """Fit a plane to the phase by the steps between neighbours; return coefficients of powers."""
    coefficients = np.zeros((4, 4, 4))
    for axis, (_, positions, *_) in enumerate(powers):
        if len(positions) > 1:
            along = np.moveaxis(nodes, axis, 0)
            step = np.angle((along[1:] * along[:-1].conj()).sum())
            place = tuple(int(axis == i) for i in range(3))
            coefficients[place] = step / (positions[1] - positions[0])
    coefficients[0, 0, 0] = np.angle((nodes * _evaluate(coefficients, powers).conj()).sum())
    return coefficients


def _smoothed_phase(nodes: ComplexArray, guess: ComplexArray, widths: Vector) -> ComplexArray:
    """Smooth the phase of a volume, weighted by its magnitude; return ``exp(i phase)``."""
    smooth = guess.copy()
    for _ in range(_N_ROUNDS):
        rest = nodes * smooth.conj()
        correction = np.empty_like(rest)
        for part, target in ((rest.real, correction.real), (rest.imag, correction.imag)):
            ndimage.gaussian_filter(part, widths, output=target, mode="constant")
        magnitude = np.abs(correction)
        np.divide(correction, magnitude, out=correction, where=magnitude > 0)
        smooth *= np.where(magnitude > 0, correction, 1)
    return smooth


def _block_sums(volume: ComplexArray, steps: Size) -> ComplexArray:
    """Add up blocks of ``steps (z, y, x)`` voxels; the last of an axis may be smaller."""
    for axis, step in enumerate(steps):
        if step > 1:
            starts = np.arange(0, volume.shape[axis], step)
            volume = np.add.reduceat(volume, starts, axis=axis)
    return volume


def _middles(n: int, step: int) -> RealArray:
    """Find the middles of the blocks of an axis of n voxels."""
    starts = np.arange(0, n, step)
    return (starts + np.minimum(starts + step, n) - 1) / 2


def _spread(nodes: ComplexArray, size: Size, steps: Size) -> ComplexArray:
    """Interpolate linearly between the middles of blocks; beyond them the last value stays."""
    for axis, (n, step) in enumerate(zip(size, steps, strict=True)):
        if step > 1:
            last = nodes.shape[axis] - 1
            place = np.interp(np.arange(n), _middles(n, step), np.arange(last + 1))
            before = place.astype(int)
            others = tuple(i for i in range(3) if i != axis)
            part = np.expand_dims((place - before).astype(np.float32), others)
            low, high = nodes.take(before, axis), nodes.take(np.minimum(before + 1, last), axis)
            nodes = low + part * (high - low)
    return nodes
