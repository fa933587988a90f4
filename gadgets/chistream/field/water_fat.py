"""Complex echoes to water, fat, field and R2*."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from chistream.arrays import ComplexArray, IntArray, Mask, RealArray, Vector
from chistream.errors import ReconstructionError
from chistream.field.echo_train import STAGE, check_mask, check_train
from chistream.field.fat_displacement import FatReadout, put_back
from chistream.field.global_field import find_global_field
from chistream.field.ideal import Separated
from chistream.field.in_phase import find_in_phase_field
from chistream.field.masking import estimate_mask
from chistream.field.quality import phase_quality
from chistream.field.separability import FieldCost
from chistream.field.shift_update import update_fat_shift
from chistream.field.swaps import centre_regions, echo_period, join_periods
from chistream.field.total_field import FieldMaps, widened_sd
from chistream.field.voxel_problem import VoxelProblem, on_grid
from chistream.physics.constants import PPM
from chistream.physics.fat import FAT_SPECTRA, FatSpectrum

Initialisation = Literal["global", "in_phase"]

MIN_ECHOES = 3

_LEAST_BRIGHT = 0.02
"""Smallest magnitude of tissue, relative to that of its surroundings."""

_DARKEST = 0.1
"""Magnitudes below this part of the median are all alike."""

_TINY = float(np.finfo(float).tiny)


@dataclass(frozen=True)
class WaterFatMaps(FieldMaps):
    """Field maps, and what is water and what is fat; maps ``(z, y, x)``, 0 outside the mask.

    Parameters
    ----------
    water, fat
        Complex amplitudes at TE = 0, complex64, in the unit of the echoes.
    fat_fraction
        Part of the signal at TE = 0 that is fat's, from noise below 0 to above 1.
    fat_shift
        What was added to the shifts of the spectrum [ppm], 0 where it was not fitted.
    """

    water: ComplexArray
    fat: ComplexArray
    fat_fraction: RealArray
    fat_shift: RealArray


def estimate_water_fat(
    echoes: ComplexArray,
    TE: npt.ArrayLike,
    h1_frequency: float,
    voxel_size: Vector,
    mask: Mask | None = None,
    *,
    spectrum: FatSpectrum = FAT_SPECTRA["hamilton6"],
    initialisation: Initialisation = "global",
    fit_decay: bool = True,
    bandwidth: float | None = None,
    shift_regions: IntArray | None = None,
    noise_sd: float | None = None,
    smoothness: float = 3e-3,
    residual_limit: float = 3.0,
    unexplained_limit: float = 0.5,
) -> WaterFatMaps:
    r"""Separate water and fat, and estimate the field and its noise, and R2*.

    .. math:: s_e = \left(\rho_w + \rho_f \sum_p a_p e^{i 2 \pi \delta_p f_0 TE_e}\right)
              e^{(i 2 \pi f - R_2^*) TE_e}

    Parameters
    ----------
    echoes
        Complex echoes ``(echoes, z, y, x)``, at least three, phase growing with the field.
    TE
        True, increasing echo times ``(echoes,)`` [s], from the excitation on, evenly spaced or not.
    h1_frequency
        The scanner's proton frequency f0 [Hz].
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm].
    mask
        Voxels wanted ``(z, y, x)``; by default all with signal, however dim beside fat.
    spectrum
        Peaks of fat.
    initialisation
        ``global``: all fields are tried in all voxels at once (`find_global_field`);
        ``in_phase``: echoes between which fat turns by whole cycles are unwrapped
        (`find_in_phase_field`).
    fit_decay
        Whether water and fat have one R2*, fitted; otherwise none.
    bandwidth
        Of the readout per voxel along x [Hz], negative if all echoes were read backwards. With it,
        fat and what else is off resonance is put back to where it lies (`put_back`).
    shift_regions
        Numbers ``(z, y, x)`` of regions, from 1, whose fat may lie elsewhere than the spectrum has
        it (`update_fat_shift`); 0 where it may not. By default there are none.
    noise_sd
        Standard deviation of the noise in the real part of an echo; default: estimated.
    smoothness
        Cost of a slope of the field in the global initialisation [mm/Hz], > 0.
    residual_limit, unexplained_limit
        When a misfit widens the standard deviation of the field, see `estimate_field`.

    Returns
    -------
    WaterFatMaps
        The maps. The residual is in units of the noise, 0 for three echoes, which leave no
        freedom.

    Raises
    ------
    ValueError
        If the shapes differ.
    ReconstructionError
        If there are fewer than three echoes, the echo times do not increase, no voxel has signal,
        or the initialisation asked for is impossible with these echo times.

    Notes
    -----
    Evenly spaced echoes leave the field open by multiples of one over their spacing. Within each
    region of the mask the fitted field is unwrapped in space (`join_periods`). The largest
    region of the mask takes the one that brings its median closest to 0 Hz, each other region the
    one that brings it closest to the field of the largest where the two come nearest.

    The fat fraction divides the larger of water and fat by the magnitude of their sum, so that
    noise in the smaller one does not turn into a positive bias (magnitude discrimination).

    References
    ----------
    .. [1] Yu H, et al. Multiecho water-fat separation and simultaneous R2* estimation with
       multifrequency fat spectrum modeling. Magn Reson Med. 2008;60(5):1122-1134.
       doi:10.1002/mrm.21737
    .. [2] Liu CY, et al. Fat quantification with IDEAL gradient echo imaging: correction of bias
       from T1 and noise. Magn Reson Med. 2007;58(2):354-364. doi:10.1002/mrm.21301
    """
    train, times = check_train(echoes, TE)
    if len(times) < MIN_ECHOES:
        raise ReconstructionError(
            STAGE, f"water and fat need at least {MIN_ECHOES} echoes, got {len(times)}"
        )
    quality = phase_quality(train, times)
    wanted = _wanted(train, times, mask, noise_sd)
    cost = FieldCost(times, spectrum.precession(times, h1_frequency))
    if initialisation == "global":
        start = find_global_field(
            train, cost, wanted, voxel_size, h1_frequency, smoothness=smoothness
        )
    else:
        start = find_in_phase_field(train, cost, wanted, spectrum.main_shift * PPM * h1_frequency)
    problem = VoxelProblem.of(train, times, cost.precession, wanted, fit_decay=fit_decay)
    fit = problem.fit_image(start)
    if bandwidth is not None:
        readout = FatReadout.of(times, train.shape[-1], spectrum, h1_frequency, bandwidth)
        train, start = put_back(train, readout, problem.seen(fit))
        problem = problem.on(train, _wanted(train, times, mask, noise_sd))
        fit = problem.fit_image(start)
    mask = problem.mask
    shift = np.zeros(mask.shape, dtype=np.float32)
    if shift_regions is not None:
        fit, shift = _shifted(problem, fit, shift_regions, spectrum, h1_frequency)
    noise_sd = problem.noise_sd(fit, train) if noise_sd is None else noise_sd
    maps = _maps(problem, fit, noise_sd)
    period = echo_period(times)
    if period is not None:
        joined = join_periods(maps["frequency"], maps["amplitude"], mask, period)
        centred = centre_regions(joined, maps["amplitude"], mask, period)
        maps["frequency"] = centred.astype(np.float32)
    sd = widened_sd(
        maps["frequency_sd"],
        maps["residual"],
        maps.pop("relative_residual"),
        times,
        residual_limit=residual_limit,
        unexplained_limit=unexplained_limit,
    )
    return WaterFatMaps(
        **{**maps, "frequency_sd": sd},
        mask=mask,
        quality=quality,
        noise_sd=noise_sd,
        structure=_structure(train, mask),
        fat_shift=shift,
    )


def _wanted(echoes: ComplexArray, TE: RealArray, mask: Mask | None, noise_sd: float | None) -> Mask:
    """Check the mask that was given, or find the voxels with signal.

    Fat is five to ten times as bright as tissue in short TR, and breaks the coherence of the
    phase around it: neither says where tissue ends.
    """
    if mask is None:
        mask = estimate_mask(
            echoes, TE, noise_sd=noise_sd, relative_threshold=_LEAST_BRIGHT, min_quality=0.0
        )
    return check_mask(check_mask(mask, echoes) & echoes.any(axis=0), echoes)


def _structure(echoes: ComplexArray, mask: Mask) -> RealArray:
    """Make an image in which the walls of dim tissue are as sharp as the borders of bright fat.

    The logarithm of the root mean square over the echoes, which has less noise than amplitudes
    that were extrapolated to TE = 0; 0 outside the mask and in its darkest voxels.
    """
    magnitude = np.sqrt(np.mean(np.abs(echoes) ** 2, axis=0))
    floor = _DARKEST * max(float(np.median(magnitude[mask])), _TINY)
    structure: RealArray = np.log(np.maximum(magnitude / floor, 1)).astype(np.float32)
    return np.where(mask, structure, 0)


def _shifted(
    problem: VoxelProblem,
    fit: Separated,
    regions: IntArray,
    spectrum: FatSpectrum,
    h1_frequency: float,
) -> tuple[Separated, RealArray]:
    """Fit the shift of fat in each region."""
    mask = problem.mask
    shift = np.zeros(mask.shape, dtype=np.float32)
    for number in np.unique(regions[mask & (regions > 0)]):
        voxels = np.flatnonzero(regions[mask] == number)
        found = update_fat_shift(
            problem.signals[voxels],
            problem.TE,
            spectrum,
            h1_frequency,
            fit.at(voxels),
            fit_decay=problem.fit_decay,
        )
        fit = fit.replaced(voxels, found.separated)
        shift[mask & (regions == number)] = found.offset
    return fit, shift


def _maps(problem: VoxelProblem, fit: Separated, noise_sd: float) -> dict[str, Any]:
    """Lay what was fitted onto the grid."""
    total = fit.water + fit.fat
    freedom, misfit = problem.freedom, fit.misfit
    residual = np.sqrt(misfit / (freedom * noise_sd**2)) if freedom and noise_sd else 0 * misfit
    unexplained = np.sqrt(np.minimum(misfit / np.maximum(problem.energy, _TINY), 1))
    columns = {
        "frequency": fit.frequency,
        "frequency_sd": noise_sd * fit.unit_sd,
        "r2star": np.maximum(fit.r2star, 0),
        "phase_offset": np.angle(total),
        "amplitude": np.abs(total),
        "residual": residual,
        "relative_residual": unexplained,
        "water": fit.water,
        "fat": fit.fat,
        "fat_fraction": fat_fraction(fit.water, fit.fat),
    }
    return {name: on_grid(column, problem.mask) for name, column in columns.items()}


def fat_fraction(water: ComplexArray, fat: ComplexArray) -> RealArray:
    """Divide fat by the sum of water and fat, without the bias of noise.

    Parameters
    ----------
    water, fat
        Complex amplitudes at TE = 0, of one shape.

    Returns
    -------
    RealArray
        Fat's part, of that shape, between -0.5 and 1.5 at the utmost; 0 where there is neither.

    Examples
    --------
    >>> fat_fraction(np.array([3.0 + 0j, 1j]), np.array([1.0 + 0j, 3j])).round(2)
    array([0.25, 0.75])
    """
    total = np.abs(water + fat)
    known = total > 0
    water_part, fat_part = (
        np.divide(np.abs(part), total, out=np.zeros(total.shape), where=known)
        for part in (water, fat)
    )
    # The larger one is far from zero, where the magnitude of noise has a mean of its own.
    fraction = np.where(water_part > fat_part, 1 - water_part, fat_part)
    limited: RealArray = np.where(known, np.clip(fraction, -0.5, 1.5), 0)
    return limited
