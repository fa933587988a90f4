"""How much noise parallel imaging leaves in each voxel, in units of a full scan's (g-factor)."""

from collections.abc import Callable

import numpy as np

from chistream.arrays import ComplexArray, IntArray, Mask, RealArray
from chistream.echoes.grappa import GrappaWeights
from chistream.echoes.grappa_ends import Served, served_lines, shifted

_NEGLIGIBLE = 1e-4
"""Of the largest eigenvalue: modes with less change nothing."""

_FOLDED = 1e-4
"""Of the largest: less in the point spread of a lattice is rounding."""


def grappa_noise(
    csm: ComplexArray, learnt: GrappaWeights, sampled: Mask, region: Mask
) -> RealArray:
    r"""Compute the noise of echoes that GRAPPA filled and sensitivities combined.

    .. math:: \sigma^2 = \frac{1}{N} \sum_{\mathbf l} \Big\| u_0 + \sum_j b_{\mathbf l j}\, u_j
              \Big\|^2, \qquad
              u_{j c'} = \sum_c \frac{\overline{s_c}}{\|s\|^2}\, w_{c j c'}(x)\,
              e^{-2 \pi i \mathbf q_j \mathbf r}

    over the sampled lines l, with :math:`u_0` the sensitivities themselves and b 1 where the line
    serves another one as its source j, else 0; N lines are a full k-space.

    Parameters
    ----------
    csm
        Sensitivities ``(coils, z, y, x)`` that combine the coils.
    learnt
        Weights of `learn_grappa`.
    sampled
        Lines of an echo that hold data ``(kz, ky)``.
    region
        Lines that were filled ``(kz, ky)``.

    Returns
    -------
    RealArray
        Standard deviation ``(z, y, x)`` float32 of a combined echo whose k-space has noise of unit
        variance; zero where sensitivities are zero. With sensitivities of root-sum-of-squares 1 a
        full k-space gives 1, and without lines beside the lattice the map of :math:`g` is this
        over :math:`\sqrt R`.

    Raises
    ------
    ValueError
        If shapes do not fit.

    Notes
    -----
    Exact for any region, its ends, and lines that were sampled beside the lattice; only noise in
    the weights themselves is not in it. The sum over lines needs no line: it is a quadratic form
    in the products of b, of which few eigenvectors matter.

    References
    ----------
    .. [1] Breuer FA, et al. General formulation for quantitative G-factor calculation in GRAPPA
       reconstructions. Magn Reson Med. 2009;62(3):739-746. doi:10.1002/mrm.22066
    """
    _check(csm, learnt.lattice, sampled, region)
    n_coils, nz, ny, nx = csm.shape
    served = [one for one in served_lines(learnt, sampled) if (one.lines & region & ~sampled).any()]
    modes = _modes(_services(served, sampled & learnt.lattice, region & ~sampled))
    n_beside = np.count_nonzero(sampled & ~learnt.lattice)
    offsets = [np.zeros((1, 2), int)] + [one.kernel.sources for one in served]
    waves = _waves(np.concatenate(offsets), (nz, ny)).reshape(-1, nz * ny).T
    variance = np.empty((nz, ny, nx), np.float32)
    for x in range(nx):
        weights = [np.eye(n_coils, dtype=np.complex64)[:, None]]
        weights += [one.kernel.weights[x] for one in served]
        over_sources = np.concatenate(weights, axis=1)
        maps = csm[..., x].reshape(n_coils, -1)
        parts = (maps.conj().T @ over_sources.reshape(n_coils, -1)).reshape(
            nz * ny, -1, n_coils
        ) * waves[..., None]
        found = modes @ parts
        through = np.sum(found.real**2 + found.imag**2, axis=(1, 2))
        variance[..., x] = (through + n_beside * _power(maps)).reshape(nz, ny)
    power = _power(csm)
    scale = power * np.float32(np.sqrt(sampled.size))
    noise: RealArray = np.where(power > 0, np.sqrt(variance) / np.where(power > 0, scale, 1), 0)
    return noise


def sense_noise(csm: ComplexArray, lattice: Mask, *, strength: float = 2e-4) -> RealArray:
    r"""Compute the noise of echoes that SENSE unfolds from a lattice.

    .. math:: \sigma_a^2 = \left[ (A + \lambda)^{-1} A (A + \lambda)^{-1} \right]_{aa}, \qquad
              A_{ab} = \frac{1}{R} \sum_c \overline{s_c(\mathbf r_a)}\, s_c(\mathbf r_b)

    over the voxels :math:`\mathbf r_a` that fold onto each other.

    Parameters
    ----------
    csm
        Sensitivities ``(coils, z, y, x)``.
    lattice
        Places of the undersampling ``(kz, ky)``, of the grid of ``csm``.
    strength
        Regularisation :math:`\lambda` of `solve_sense`, >= 0.

    Returns
    -------
    RealArray
        Standard deviation ``(z, y, x)`` float32 in the unit of `grappa_noise`; zero where
        sensitivities are zero. The map of :math:`g` is this over :math:`\sqrt R`.

    Raises
    ------
    ValueError
        If shapes do not fit, the strength is negative, or the lattice's steps do not divide the
        grid, so that no closed form exists: use `replicated_noise`.

    Notes
    -----
    Lines that were sampled beside the lattice make noise less than this.

    References
    ----------
    .. [1] Pruessmann KP, Weiger M, Scheidegger MB, Boesiger P. SENSE: sensitivity encoding for fast
       MRI. Magn Reson Med. 1999;42(5):952-962.
       doi:10.1002/(SICI)1522-2594(199911)42:5<952::AID-MRM16>3.0.CO;2-S
    """
    _check(csm, lattice, lattice, lattice)
    if strength < 0:
        raise ValueError(f"strength must not be negative, got {strength}")
    shifts, spread = _folding(lattice)
    nz, ny, nx = csm.shape[1:]
    deviation = np.empty((nz, ny, nx), np.float32)
    eye = np.eye(len(shifts))
    for x in range(nx):
        folded = np.array([np.roll(csm[..., x], (-z, -y), (1, 2)) for z, y in shifts])
        gram = np.einsum("aczy,bczy->zyab", folded.conj(), folded) * spread
        # A dark voxel has neither signal nor noise: any diagonal keeps its row from the others.
        is_dark = np.einsum("zyaa->zya", gram).real <= 0
        inverse = np.linalg.inv(gram + eye * (strength + is_dark)[..., None, :])
        noise = inverse[..., :1, :] @ gram @ inverse[..., :, :1]
        deviation[..., x] = np.sqrt(np.maximum(noise[..., 0, 0].real, 0))
    return deviation


def replicated_noise(
    reconstruct: Callable[[ComplexArray], ComplexArray],
    sampled: Mask,
    size: tuple[int, int],
    *,
    n_replicas: int = 64,
    seed: int = 0,
) -> RealArray:
    """Measure the noise of any linear reconstruction on replicas of pure noise.

    Parameters
    ----------
    reconstruct
        Takes hybrid k-space ``(replicas, coils, kz, ky, x)`` of unit noise, zero where nothing was
        sampled, and returns ``(replicas, z, y, x)``; its weights are those of the scan.
    sampled
        Lines of an echo that hold data ``(kz, ky)``.
    size
        Coils, and samples along x.
    n_replicas
        Replicas, >= 2. The standard error of the result is 1 part in ``2 sqrt(n_replicas)``.
    seed
        Of the noise.

    Returns
    -------
    RealArray
        Standard deviation ``(z, y, x)`` float32 in the unit of `grappa_noise`.

    Raises
    ------
    ValueError
        If there are fewer than two replicas.

    References
    ----------
    .. [1] Robson PM, Grant AK, Madhuranthakam AJ, et al. Comprehensive quantification of
       signal-to-noise ratio and g-factor for image-based and k-space-based parallel imaging
       reconstructions. Magn Reson Med. 2008;60(4):895-907. doi:10.1002/mrm.21728
    """
    if n_replicas < 2:
        raise ValueError(f"n_replicas must be at least 2, got {n_replicas}")
    rng = np.random.default_rng(seed)
    n_coils, nx = size
    power = np.zeros((*sampled.shape, nx), np.float32)
    for _ in range(n_replicas):  # one at a time bounds the memory
        parts = rng.standard_normal((2, 1, n_coils, *sampled.shape, nx), np.float32)
        noise = (parts[0] + 1j * parts[1]) * np.float32(np.sqrt(0.5)) * sampled[:, :, None]
        power += _power(reconstruct(noise))
    return np.sqrt(power / n_replicas)


def _services(served: list[Served], serving: Mask, wanted: Mask) -> RealArray:
    """Tell which sampled lines of the lattice serve as which source ``(1 + sources, lines)``."""
    rows = [np.ones(np.count_nonzero(serving))]
    for kernel, lines, _ in served:
        around = shifted(lines & wanted, -kernel.sources)
        rows += [target[serving].astype(float) for target in around]
    return np.array(rows)


def _modes(services: RealArray) -> RealArray:
    """Find few weighted sums ``(modes, n)`` whose energy is that over all lines."""
    values, vectors = np.linalg.eigh(services @ services.T)
    is_large = values > _NEGLIGIBLE * values[-1]
    modes: RealArray = (np.sqrt(values[is_large]) * vectors[:, is_large]).T.astype(np.float32)
    return modes


def _check(csm: ComplexArray, *masks: Mask) -> None:
    if csm.ndim != 4 or any(mask.shape != csm.shape[1:3] for mask in masks):
        raise ValueError(
            f"csm {csm.shape} must be (coils, z, y, x), and masks of lines "
            f"{[mask.shape for mask in masks]} its (z, y)"
        )


def _power(images: ComplexArray) -> RealArray:
    """Sum energy over the first axis."""
    power: RealArray = (images.real**2 + images.imag**2).sum(axis=0)
    return power


def _waves(sources: IntArray, size: tuple[int, int]) -> ComplexArray:
    """Make the wave ``(sources, z, y)`` in the image that each shift of k-space is."""
    z, y = (
        np.exp(-2j * np.pi * np.outer(shifts, np.arange(n) - n // 2) / n)
        for shifts, n in zip(sources.T, size, strict=True)
    )
    waves: ComplexArray = (z[:, :, None] * y[:, None, :]).astype(np.complex64)
    return waves


def _folding(lattice: Mask) -> tuple[IntArray, ComplexArray]:
    """Find what folds onto a voxel: shifts ``(n, 2)``, itself first, and weights ``(n, n)``."""
    spread = np.fft.ifft2(np.fft.ifftshift(lattice))
    shifts = np.argwhere(np.abs(spread) > _FOLDED * np.abs(spread[0, 0]))
    if len(shifts) != round(lattice.size / np.count_nonzero(lattice)):
        raise ValueError(
            f"the steps of a lattice with {np.count_nonzero(lattice)} of {lattice.size} lines do "
            "not divide its grid"
        )
    between = (shifts[:, None] - shifts[None, :]) % lattice.shape
    return shifts, spread[between[..., 0], between[..., 1]]
