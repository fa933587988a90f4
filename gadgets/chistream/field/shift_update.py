"""How far the spectrum of fat in a region lies from where it was assumed.

In a voxel of fat alone a shift of fat is a field; only voxels with both water and fat tell the two
apart. All of a region answer together.
"""

from dataclasses import dataclass

import numpy as np

from chistream.arrays import ComplexArray, Mask, RealArray
from chistream.errors import ReconstructionError
from chistream.field.echo_train import STAGE
from chistream.field.ideal import Separated, separate_signals
from chistream.physics.constants import hz_to_ppm
from chistream.physics.fat import FatSpectrum

_MIXED = 0.1
_MIN_VOXELS = 20
_MAX_UPDATES = 8
_SETTLED_PPM = 1e-4
_LARGEST_UPDATE_PPM = 0.3


@dataclass(frozen=True)
class FatShift:
    """What a region says of its fat.

    Parameters
    ----------
    offset
        Of all peaks from the spectrum that was assumed [ppm].
    offset_sd
        Its standard deviation for noise of 1 in the real part of an echo [ppm].
    separated
        The fit with the spectrum moved there.
    """

    offset: float
    offset_sd: float
    separated: Separated


def update_fat_shift(
    signals: ComplexArray,
    TE: RealArray,
    spectrum: FatSpectrum,
    h1_frequency: float,
    start: Separated,
    *,
    fit_decay: bool = True,
) -> FatShift:
    """Fit one offset of fat's spectrum together with all voxels of a region.

    Parameters
    ----------
    signals
        Complex echoes of the region ``(voxels, echoes)``, at least four.
    TE
        True echo times ``(echoes,)`` [s].
    spectrum
        The spectrum assumed.
    h1_frequency
        The scanner's proton frequency [Hz].
    start
        The fit with that spectrum.
    fit_decay
        Whether R2* is fitted.

    Returns
    -------
    FatShift
        The offset and the fit with it.

    Raises
    ------
    ReconstructionError
        If there are fewer than four echoes, or fewer than 20 voxels hold at least a tenth of each
        of water and fat.

    Notes
    -----
    Gauss-Newton: what a shift of fat does to the echoes, less what water, fat, field and R2* of
    each voxel can imitate, against what the fit has left. Water's temperature, the shape of the
    fat's compartments and the bulk susceptibility around them all end up in the offset.

    References
    ----------
    .. [1] Dimov AV, et al. Joint estimation of chemical shift and quantitative susceptibility
       mapping (chemical QSM). Magn Reson Med. 2015;73(6):2100-2110. doi:10.1002/mrm.25328
    """
    if len(TE) < 4:
        raise ReconstructionError(STAGE, f"fat's shift needs at least 4 echoes, got {len(TE)}")
    offset, fit = 0.0, start
    information = 0.0
    for _ in range(_MAX_UPDATES):
        mixed = _mixed(fit)
        if np.count_nonzero(mixed) < _MIN_VOXELS:
            raise ReconstructionError(
                STAGE,
                f"fat's shift needs {_MIN_VOXELS} voxels with water and fat, "
                f"found {np.count_nonzero(mixed)}",
            )
        precession = spectrum.shifted(offset).precession(TE, h1_frequency)
        gradient, information = _slope(signals[mixed], TE, precession, fit, mixed)
        step = hz_to_ppm(gradient / information, h1_frequency)
        offset += float(np.clip(step, -_LARGEST_UPDATE_PPM, _LARGEST_UPDATE_PPM))
        moved = spectrum.shifted(offset).precession(TE, h1_frequency)
        fit = separate_signals(signals, TE, moved, fit.frequency, fit.r2star, fit_decay=fit_decay)
        if abs(step) < _SETTLED_PPM:
            break
    return FatShift(offset, hz_to_ppm(1 / float(np.sqrt(information)), h1_frequency), fit)


def _mixed(fit: Separated) -> Mask:
    """Find the voxels with enough of both."""
    water, fat = np.abs(fit.water), np.abs(fit.fat)
    mixed: Mask = np.minimum(water, fat) > _MIXED * (water + fat)
    return mixed


def _slope(
    signals: ComplexArray, TE: RealArray, precession: ComplexArray, fit: Separated, where: Mask
) -> tuple[float, float]:
    """Sum gradient and information on fat's shift [Hz] over voxels."""
    rate = 2j * np.pi * fit.frequency[where] - fit.r2star[where]
    turned = np.exp(np.multiply.outer(rate, TE))
    turned_fat = turned * precession
    water = fit.water[where, None] * turned
    fat = fit.fat[where, None] * turned_fat
    imitable = np.stack([turned, turned_fat, TE * (water + fat)], axis=2)
    basis, _ = np.linalg.qr(imitable)
    effect = 2j * np.pi * TE * fat
    effect -= (basis @ (basis.conj().swapaxes(1, 2) @ effect[:, :, None]))[:, :, 0]
    rest = signals - water - fat
    return float(np.sum(effect.conj() * rest).real), float(np.sum(np.abs(effect) ** 2))
