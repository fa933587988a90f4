"""Where there is tissue whose phase means something."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from chistream.arrays import ComplexArray, Mask, RealArray
from chistream.errors import ReconstructionError
from chistream.field.echo_train import STAGE, check_train
from chistream.field.noise import estimate_noise
from chistream.field.quality import phase_quality

_SHADING_WIDTH = 0.1
_BRIGHT = 0.4


def estimate_mask(
    echoes: ComplexArray,
    TE: npt.ArrayLike,
    *,
    quality: RealArray | None = None,
    noise_sd: float | None = None,
    noise_factor: float = 5.0,
    relative_threshold: float = 0.2,
    min_quality: float = 0.2,
    min_region: float = 0.01,
    max_hole: int = 20,
) -> Mask:
    """Find the voxels with signal and with coherent phase.

    Parameters
    ----------
    echoes
        Complex echoes ``(echoes, z, y, x)``, at least two.
    TE
        Increasing echo times ``(echoes,)`` [s].
    quality
        Phase quality ``(z, y, x)``; default `phase_quality` of the echoes.
    noise_sd
        Standard deviation of the noise in the real part of an echo; default `estimate_noise`.
    noise_factor
        Smallest magnitude accepted, in units of the noise.
    relative_threshold
        Smallest magnitude accepted, as a part of the level of the tissue around, in [0, 1).
    min_quality
        Smallest phase quality accepted, the mean of 3x3x3 voxels of `phase_quality` weighted
        by magnitude, in [0, 1).
    min_region
        Smallest region kept, as a part of the largest; 0 keeps all.
    max_hole
        Largest hole that is filled [voxels]; 0 fills none. Lungs are no holes.

    Returns
    -------
    Mask
        Tissue ``(z, y, x)``.

    Raises
    ------
    ReconstructionError
        If there are fewer than two echoes, or no voxel passes.

    Notes
    -----
    Magnitude is the root mean square over the echoes. The threshold is relative to the tissue
    around (`tissue_level`), not Otsu's: where all is tissue, as inside a head, Otsu's method
    would split tissue. Voxels brighter than 0.4 of the level are kept whatever their phase does,
    because water beside fat breaks the coherence in the middle of the body; dimmer ones have to be
    coherent, which lungs are not. The result depends on the echoes alone: nothing is random.
    """
    train, times = check_train(echoes, TE)
    magnitude = np.sqrt(np.mean(np.abs(train) ** 2, axis=0))
    if noise_sd is None:
        noise_sd = estimate_noise(train)
    signal = (magnitude > noise_factor * noise_sd) & (magnitude > 0)
    level = tissue_level(magnitude, signal)
    if quality is None:
        quality = phase_quality(train, times)
    coherent = magnitude > relative_threshold * level
    coherent &= _smoothed(quality, magnitude) > min_quality
    mask = signal & (coherent | (magnitude > _BRIGHT * level))
    mask = fill_holes(keep_regions(mask, min_region), max_hole)
    if not mask.any():
        raise ReconstructionError(
            STAGE, f"no voxel has signal: brightest {magnitude.max():.3g}, noise {noise_sd:.3g}"
        )
    return mask


def _smoothed(quality: RealArray, magnitude: RealArray) -> RealArray:
    """Average over 3x3x3 voxels, weighted by magnitude: air beside the skin says nothing of it."""
    total = ndimage.uniform_filter(magnitude.astype(np.float64), 3, mode="nearest")
    weighted = ndimage.uniform_filter(quality * magnitude.astype(np.float64), 3, mode="nearest")
    smoothed: RealArray = weighted / np.maximum(total, np.finfo(float).tiny)
    return smoothed


def tissue_level(magnitude: RealArray, signal: Mask) -> RealArray:
    """Estimate how bright tissue is at every place, through the shading of the coils.

    A wide weighted mean in which every voxel counts with the square of its magnitude, so that
    the dark lungs say little about the level in their middle.

    Parameters
    ----------
    magnitude
        Magnitude ``(z, y, x)``.
    signal
        Voxels above the noise ``(z, y, x)``.

    Returns
    -------
    RealArray
        Level ``(z, y, x)``, in the unit of the magnitude.
    """
    bright = np.where(signal, magnitude, 0).astype(np.float64)
    peak = bright.max() or 1.0
    bright /= peak
    # Across the image, not along z: a slab is thin there, and the coils see it as one.
    widths = [_SHADING_WIDTH * max(magnitude.shape[1:])] * 3
    blur = [
        ndimage.gaussian_filter(bright**power, widths, mode="nearest", truncate=3)
        for power in (2, 3)
    ]
    floor = np.finfo(float).tiny
    level: RealArray = peak * blur[1] / np.maximum(blur[0], floor)
    return level


def keep_regions(mask: Mask, min_region: float) -> Mask:
    """Remove the regions that are small beside the largest.

    Parameters
    ----------
    mask
        Voxels ``(z, y, x)``.
    min_region
        Smallest size kept, as a part of the largest.

    Returns
    -------
    Mask
        The regions that are large enough ``(z, y, x)``; neighbours share a face.
    """
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    kept = sizes >= max(min_region * sizes.max(), 1)
    regions: Mask = kept[labels]
    return regions


def fill_holes(mask: Mask, max_hole: int) -> Mask:
    """Fill the small holes of a mask.

    Parameters
    ----------
    mask
        Voxels ``(z, y, x)``.
    max_hole
        Largest hole that is filled [voxels].

    Returns
    -------
    Mask
        The mask and its small holes ``(z, y, x)``.
    """
    labels, _ = ndimage.label(~mask)
    small = np.bincount(labels.ravel()) <= max_hole
    small[0] = True
    filled: Mask = small[labels]
    return filled
