"""Complex echoes to water, fat, field and R2*."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from chistream.arrays import ComplexArray, IntArray, Mask, RealArray, Vector
from chistream.errors import ReconstructionError
from chistream.field.echo_fit import noise_from_misfit
from chistream.field.echo_train import STAGE, check_mask, check_train, lags
from chistream.field.global_field import find_global_field
from chistream.field.ideal import Separated, separate_signals
from chistream.field.in_phase import find_in_phase_field
from chistream.field.masking import estimate_mask
from chistream.field.noise import estimate_noise
from chistream.field.quality import phase_quality
from chistream.field.separability import FieldCost
from chistream.field.shift_update import update_fat_shift
from chistream.field.swaps import centre_regions, echo_period
from chistream.field.total_field import FieldMaps, widened_sd
from chistream.physics.constants import PPM
from chistream.physics.fat import FAT_SPECTRA, FatSpectrum

Initialisation = Literal["global", "in_phase"]

MIN_ECHOES = 3

LARGEST_JUMP = 0.25
"""Steps of the field beyond this part of one over the echo spacing are taken for swaps."""

_TOLERATED_EXCESS = 0.05
"""Part of its energy that a voxel may fit worse without it, to join its neighbours."""

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
    Evenly spaced echoes leave the field open by multiples of one over their spacing. The largest
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
    if mask is None:
        mask = _mask(train, times, noise_sd)
    mask = check_mask(check_mask(mask, train) & train.any(axis=0), train)
    cost = FieldCost(times, spectrum.precession(times, h1_frequency))
    if initialisation == "global":
        start = find_global_field(
            train, cost, mask, voxel_size, h1_frequency, smoothness=smoothness
        )
    else:
        start = find_in_phase_field(train, cost, mask, spectrum.main_shift * PPM * h1_frequency)
    problem = _Problem(np.ascontiguousarray(train[:, mask].T), times, cost.precession, fit_decay)
    fit = problem.fit(start.frequency[mask], start.r2star[mask])
    fit = problem.retry(fit, mask)
    shift = np.zeros(mask.shape, dtype=np.float32)
    if shift_regions is not None:
        fit, shift = _shifted(problem, fit, mask, shift_regions, spectrum, h1_frequency)
    if noise_sd is None:
        noise_sd = problem.noise_sd(fit, train)
    maps = _maps(problem, fit, mask, noise_sd)
    period = echo_period(times)
    if period is not None:
        centred = centre_regions(maps["frequency"], maps["amplitude"], mask, period)
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


@dataclass(frozen=True)
class _Problem:
    """The echoes of the voxels ``(voxels, echoes)``, and the model they are fitted with."""

    signals: ComplexArray
    TE: RealArray
    precession: ComplexArray
    fit_decay: bool

    @property
    def freedom(self) -> int:
        """Degrees of freedom that the fit leaves."""
        return 2 * len(self.TE) - 5 - int(self.fit_decay)

    @property
    def energy(self) -> RealArray:
        """Energy of each voxel ``(voxels,)``."""
        energy: RealArray = np.sum(np.abs(self.signals).astype(np.float64) ** 2, axis=1)
        return energy

    def fit(self, frequency: RealArray, r2star: RealArray, where: Mask | None = None) -> Separated:
        """Fit all voxels, or some, from their start."""
        signals = self.signals if where is None else self.signals[where]
        return separate_signals(
            signals,
            self.TE,
            self.precession,
            frequency.astype(np.float64),
            r2star.astype(np.float64) * self.fit_decay,
            fit_decay=self.fit_decay,
        )

    def retry(self, fit: Separated, mask: Mask) -> Separated:
        """Fit voxels that jump away from their neighbours once more, from the neighbours' field.

        Accepted where the echoes do not speak against it: then it was a swap.
        """
        around = _neighbours_mean(fit.frequency, np.abs(fit.water + fit.fat), mask)
        jumps = np.abs(fit.frequency - around) > LARGEST_JUMP / lags(self.TE)[0].spacing
        if not jumps.any():
            return fit
        again = self.fit(around[jumps], np.maximum(fit.r2star[jumps], 0), jumps)
        nearer = np.abs(again.frequency - around[jumps]) < np.abs(fit.frequency - around)[jumps]
        excess = again.misfit - fit.misfit[jumps]
        accepted = nearer & (excess < _TOLERATED_EXCESS * self.energy[jumps])
        return fit.replaced(np.flatnonzero(jumps)[accepted], again, accepted)

    def noise_sd(self, fit: Separated, echoes: ComplexArray) -> float:
        """Estimate the noise from what the fit leaves, if it leaves any freedom."""
        if self.freedom > 0:
            return noise_from_misfit(fit.misfit, self.freedom)
        return estimate_noise(echoes)


def _mask(echoes: ComplexArray, TE: RealArray, noise_sd: float | None) -> Mask:
    """Find the voxels with signal.

    Fat is five to ten times as bright as tissue in short TR, and breaks the coherence of the
    phase around it: neither says where tissue ends.
    """
    return estimate_mask(
        echoes, TE, noise_sd=noise_sd, relative_threshold=_LEAST_BRIGHT, min_quality=0.0
    )


def _structure(echoes: ComplexArray, mask: Mask) -> RealArray:
    """Make an image in which the walls of dim tissue are as sharp as the borders of bright fat.

    The logarithm of the root mean square over the echoes, which has less noise than amplitudes
    that were extrapolated to TE = 0; 0 outside the mask and in its darkest voxels.
    """
    magnitude = np.sqrt(np.mean(np.abs(echoes) ** 2, axis=0))
    floor = _DARKEST * max(float(np.median(magnitude[mask])), _TINY)
    structure: RealArray = np.log(np.maximum(magnitude / floor, 1)).astype(np.float32)
    return np.where(mask, structure, 0)


def _neighbours_mean(values: RealArray, weights: RealArray, mask: Mask) -> RealArray:
    """Average over the 3x3x3 voxels around each voxel, itself left out."""
    weight = np.zeros(mask.shape)
    weight[mask] = weights
    product = np.zeros(mask.shape)
    product[mask] = weights * values
    total, weighted = (
        ndimage.uniform_filter(volume, 3, mode="constant") - volume / 27
        for volume in (weight, product)
    )
    known = total[mask] > 1e-6 * weights
    mean: RealArray = np.where(known, weighted[mask] / np.where(known, total[mask], 1), values)
    return mean


def _shifted(
    problem: _Problem,
    fit: Separated,
    mask: Mask,
    regions: IntArray,
    spectrum: FatSpectrum,
    h1_frequency: float,
) -> tuple[Separated, RealArray]:
    """Fit the shift of fat in each region."""
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


def _maps(problem: _Problem, fit: Separated, mask: Mask, noise_sd: float) -> dict[str, Any]:
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
    return {name: _on_grid(column, mask) for name, column in columns.items()}


def _on_grid(column: RealArray | ComplexArray, mask: Mask) -> npt.NDArray[Any]:
    volume = np.zeros(mask.shape, dtype=np.complex64 if np.iscomplexobj(column) else np.float32)
    volume[mask] = column
    return volume


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
