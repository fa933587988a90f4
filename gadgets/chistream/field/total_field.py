"""The one entry of this stage: from complex echoes to the total field."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chistream.arrays import ComplexArray, Mask, RealArray
from chistream.field.echo_fit import fit_echoes
from chistream.field.echo_train import check_mask, check_train, lags
from chistream.field.masking import estimate_mask
from chistream.field.quality import phase_quality


@dataclass(frozen=True)
class FieldMaps:
    """What the echoes say of every voxel; maps ``(z, y, x)`` float32, 0 outside the mask.

    Parameters
    ----------
    frequency
        Total field relative to the scanner's frequency [Hz].
    frequency_sd
        Its standard deviation [Hz]; larger than the noise alone makes it where the model does
        not fit.
    r2star
        Decay rate [1/s], >= 0.
    mask
        Voxels with a field, bool.
    quality
        Coherence of the phase in space and over the echoes, in [0, 1], everywhere.
    phase_offset
        Phase at TE = 0 [rad], in [-pi, pi].
    amplitude
        Magnitude at TE = 0, in the unit of the echoes.
    residual
        Misfit in units of the noise, 1 where only noise is left.
    noise_sd
        Standard deviation of the noise in the real part of an echo, given or estimated.
    structure
        Image whose edges are those of the tissues.
    """

    frequency: RealArray
    frequency_sd: RealArray
    r2star: RealArray
    mask: Mask
    quality: RealArray
    phase_offset: RealArray
    amplitude: RealArray
    residual: RealArray
    noise_sd: float
    structure: RealArray


def estimate_field(
    echoes: ComplexArray,
    TE: npt.ArrayLike,
    mask: Mask | None = None,
    *,
    noise_sd: float | None = None,
    residual_limit: float = 3.0,
    unexplained_limit: float = 0.5,
) -> FieldMaps:
    """Estimate the field and its noise, R2* and where they can be trusted.

    Mask, unwrapping, non-linear fit, and a judgement of the fit.

    Parameters
    ----------
    echoes
        Complex echoes ``(echoes, z, y, x)``, at least two, phase growing with the field.
    TE
        Increasing echo times ``(echoes,)`` [s], evenly spaced or not.
    mask
        Voxels wanted ``(z, y, x)``; default `estimate_mask`.
    noise_sd
        Standard deviation of the noise in the real part of an echo; default: estimated.
    residual_limit
        Misfit in units of the noise above which `frequency_sd` is multiplied by the misfit: fat
        beside water, flow, motion. Noise alone passes 3 in fewer than 1e-10 of the voxels.
    unexplained_limit
        Root of the part of the signal's energy that the model leaves unexplained, above which
        nothing is known but the period: `frequency_sd` becomes at least the standard deviation
        of a frequency anywhere within 1/spacing. Such voxels stay in the mask, because a hole in
        the body would be taken for a source outside of it.

    Returns
    -------
    FieldMaps
        The maps.

    Raises
    ------
    ValueError
        If the shapes differ.
    ReconstructionError
        If there are fewer than two echoes, the echo times do not increase, or no voxel has signal.
    """
    train, times = check_train(echoes, TE)
    quality = phase_quality(train, times)
    if mask is None:
        mask = estimate_mask(train, times, quality=quality, noise_sd=noise_sd)
    mask = check_mask(check_mask(mask, train) & train.any(axis=0), train)
    fit = fit_echoes(train, times, mask, noise_sd=noise_sd)
    return FieldMaps(
        frequency=fit.frequency,
        frequency_sd=widened_sd(
            fit.frequency_sd,
            fit.residual,
            fit.relative_residual,
            times,
            residual_limit=residual_limit,
            unexplained_limit=unexplained_limit,
        ),
        r2star=fit.r2star,
        mask=mask,
        quality=quality,
        phase_offset=fit.phase_offset,
        amplitude=fit.amplitude,
        residual=fit.residual,
        noise_sd=fit.noise_sd,
        structure=fit.amplitude,
    )


def widened_sd(
    frequency_sd: RealArray,
    residual: RealArray,
    relative_residual: RealArray,
    TE: RealArray,
    *,
    residual_limit: float,
    unexplained_limit: float,
) -> RealArray:
    """Widen the standard deviation of the field where noise cannot explain the misfit.

    Parameters
    ----------
    frequency_sd
        Standard deviation that the noise causes ``(z, y, x)`` [Hz].
    residual
        Misfit ``(z, y, x)`` in units of the noise.
    relative_residual
        Root of the part of the energy that the model leaves unexplained ``(z, y, x)``.
    TE
        Echo times ``(echoes,)`` [s].
    residual_limit, unexplained_limit
        See `estimate_field`.

    Returns
    -------
    RealArray
        Standard deviation ``(z, y, x)`` [Hz] float32.
    """
    widened = np.where(residual > residual_limit, residual, 1) * frequency_sd
    # Uniform over one period: the standard deviation of a field of which nothing is known.
    unknown = 1 / (np.sqrt(12) * lags(TE)[0].spacing)
    lost = relative_residual > unexplained_limit
    return np.where(lost, np.maximum(widened, unknown), widened).astype(np.float32)
