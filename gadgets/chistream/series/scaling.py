"""Physical values as the integers that scanners and DICOM take."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chistream.arrays import Mask
from chistream.series.volumes import Kind, Volume

SCANNER_BITS = 12


@dataclass(frozen=True, eq=False)
class StoredVolume:
    """Integers and the way back: ``physical = (slope * stored + intercept) * scale``.

    Parameters
    ----------
    pixels
        Stored values ``(z, y, x)`` or ``(3, y, x)`` uint16.
    slope, intercept
        The rescale of the series' unit.
    scale
        What one unit of the rescaled values is in the reconstruction's own arbitrary units; 1
        wherever there are physical units.
    padded
        Whether stored 0 means that there is no value.
    """

    pixels: npt.NDArray[np.uint16]
    slope: float = 1.0
    intercept: float = 0.0
    scale: float = 1.0
    padded: bool = False


def quantise(volume: Volume, bits: int = SCANNER_BITS) -> StoredVolume:
    """Store a volume in unsigned integers without clipping anything.

    Parameters
    ----------
    volume
        What to store.
    bits
        Bits that may be used, 12 or up to 16; more bits, finer steps over the same range.

    Returns
    -------
    StoredVolume
        Values within half a step of the physical ones. Signed series: zero is stored as
        ``2**(bits - 1)``, values as 1 and more, and 0 where there is no value (outside the mask,
        or not finite); the slope is the step of the series, doubled until the largest value fits.
        Arbitrary units: 0 to the largest number, and ``slope`` 1, so that integer windows suit any
        signal level. Labels and pictures: as they are.

    Raises
    ------
    ValueError
        If ``bits`` is not 12-16.

    Examples
    --------
    >>> from chistream.physics.geometry import Geometry
    >>> chi = np.array([[[-90.0, 0.0, 1800.0, 2500.0]]])
    >>> stored = quantise(Volume("QSM", chi, Geometry((1, 1, 4), (1.0, 1.0, 1.0))))
    >>> stored.slope, stored.intercept, stored.pixels[0, 0].tolist()
    (2.0, -4096.0, [2003, 2048, 2948, 3298])
    """
    if not SCANNER_BITS <= bits <= 16:
        raise ValueError(f"bits must be 12 to 16, got {bits}")
    if volume.series.kind is Kind.SIGNED:
        return _store_signed(volume, bits)
    if volume.series.kind is Kind.ARBITRARY:
        return _store_arbitrary(volume, bits)
    return StoredVolume(volume.values.astype(np.uint16))


def _store_signed(volume: Volume, bits: int) -> StoredVolume:
    zero = 1 << (bits - 1)
    valid = volume.valid
    values = np.where(valid, volume.values, 0).astype(np.float64)
    slope = volume.series.step / (1 << (bits - SCANNER_BITS))
    largest = float(np.max(np.abs(values), initial=0.0))
    while np.rint(largest / slope) > zero - 1:
        slope *= 2
    pixels = _padded(np.rint(values / slope) + zero, valid)
    return StoredVolume(pixels, slope, -slope * zero, padded=True)


def _store_arbitrary(volume: Volume, bits: int) -> StoredVolume:
    values = np.where(volume.valid, volume.values, 0).astype(np.float64)
    largest = max(float(np.max(values, initial=0.0)), volume.full_scale or 0.0)
    scale = largest / ((1 << bits) - 1) or 1.0
    return StoredVolume(np.rint(values / scale).astype(np.uint16), scale=scale)


def _padded(stored: npt.NDArray[np.float64], valid: Mask) -> npt.NDArray[np.uint16]:
    pixels: npt.NDArray[np.uint16] = np.where(valid, stored, 0).astype(np.uint16)
    return pixels
