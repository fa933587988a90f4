"""What the coils see, learnt on a coarse grid by the method that a person chose."""

from chistream.arrays import ComplexArray, Size, Vector, size_of
from chistream.echoes.calibration import low_resolution
from chistream.echoes.coil_images import coarse_along_x, reconstruct_coil_images, resize
from chistream.echoes.coil_offsets import estimate_offset_maps
from chistream.echoes.espirit import estimate_espirit
from chistream.echoes.options import Sensitivities
from chistream.echoes.sensitivities import estimate_sensitivities, refine_sensitivities

_COARSE = (32, 48, 64)
"""Largest grid ``(z, y, x)`` that sensitivities are learnt on."""

_ECHOES_FOR_COILS = 2
"""The first echoes have signal enough; the others would only take time."""

_SIGMA: Vector = (5.0, 10.0, 10.0)
"""Deviation that smooths phase offsets ``(z, y, x)`` [voxels of the whole grid]."""

_LEAST_SIGMA = 0.5


def learn_coils(
    hybrid: ComplexArray,
    learnt_from: ComplexArray,
    method: Sensitivities = "adaptive",
    TE: tuple[float, ...] = (),
    reversed_echoes: tuple[bool, ...] = (),
) -> ComplexArray:
    """Learn sensitivities on a coarse grid, and interpolate them.

    Parameters
    ----------
    hybrid
        Hybrid k-space ``(echoes, coils, kz, ky, x)`` whose coils are wanted.
    learnt_from
        Centre of it, or of a calibration scan ``(echoes, coils, kz, ky, x)``.
    method
        How; see `EchoOptions`.
    TE, reversed_echoes
        Echo times [s] and polarities, for phase offsets.

    Returns
    -------
    ComplexArray
        Sensitivities ``(coils, z, y, x)`` complex64, all echoes' own.

    Raises
    ------
    ReconstructionError
        If the echoes have no offsets to learn: one echo, or none that ASPIRE can use.

    Notes
    -----
    Coils vary over centimetres: on a grid of some 6 mm their maps combine with the same signal to
    noise ratio within 0.05 %, and take a twelfth of the time.
    """
    size = size_of(hybrid)
    z, y, x = (min(n, largest) for n, largest in zip(size, _COARSE, strict=True))
    if method in {"adaptive", "espirit"}:
        learnt_from = learnt_from[:_ECHOES_FOR_COILS]
    nz, ny, nx = (min(n, m) for n, m in zip(size_of(learnt_from), (z, y, size[2]), strict=True))
    block = coarse_along_x(resize(learnt_from, (nz, ny, nx)), x)
    if method == "espirit":
        return refine_sensitivities(estimate_espirit(block, (z, y)), size)
    images = reconstruct_coil_images(low_resolution(block, (z, y)))
    if method == "adaptive":
        csm = estimate_sensitivities(images, _neighbourhood(size))
    else:
        n_echoes = len(images)  # of a calibration scan perhaps fewer
        is_reversed = reversed_echoes[:n_echoes] or None
        sigma = _coarse_sigma((z, y, x), size)
        csm = estimate_offset_maps(
            images, TE[:n_echoes], method=method, is_reversed=is_reversed, sigma=sigma
        )
    return refine_sensitivities(csm, size)


def _neighbourhood(size: Size) -> Size:
    """Return the block that coils covary in [voxels]: as wide on a coarse grid as on a fine one."""
    y, x = (3 if n > largest else 5 for n, largest in zip(size[1:], _COARSE[1:], strict=True))
    return 3, y, x


def _coarse_sigma(coarse: Size, size: Size) -> Vector:
    z, y, x = (
        max(_LEAST_SIGMA, sigma * n / whole)
        for sigma, n, whole in zip(_SIGMA, coarse, size, strict=True)
    )
    return z, y, x
