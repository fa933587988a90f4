"""The stage's one entry: k-space, however it was sampled, to one complex image per echo."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from chistream.arrays import ComplexArray, Mask, RealArray, Size
from chistream.echoes.apodization import apodize, remove_ringing
from chistream.echoes.calibration import calibration_block
from chistream.echoes.coil_images import to_recon_grid
from chistream.echoes.coil_model import learn_coils
from chistream.echoes.combination import combine_kspace
from chistream.echoes.early_weights import EarlyWeights
from chistream.echoes.extrapolation import extrapolate_kspace
from chistream.echoes.gfactor import grappa_noise, sense_noise
from chistream.echoes.grappa_filling import apply_grappa
from chistream.echoes.options import EchoOptions
from chistream.echoes.partial_fourier import complete_kspace
from chistream.echoes.regularised import solve_regularised
from chistream.echoes.sense import solve_sense


class Reconstructed(NamedTuple):
    """What became of k-space.

    Parameters
    ----------
    echoes
        ``(echoes, z, y, x)`` complex64. All echoes are combined alike, so that the phase between
        them is the object's own.
    warnings
        What a person should know.
    noise
        Standard deviation of an echo's noise ``(z, y, x)`` float32, for a k-space with noise of
        unit variance in every sample; None if it was not asked for or is not known.
    """

    echoes: ComplexArray
    warnings: tuple[str, ...] = ()
    noise: RealArray | None = None


@dataclass(frozen=True, eq=False)
class Sampling:
    """What a scan sampled.

    Parameters
    ----------
    sampled
        Lines that hold data ``(echoes, kz, ky)``; the others are zero.
    region
        Part of k-space that the scan covers ``(kz, ky)``. Parallel imaging fills the lines that
        were left out in it.
    lattice
        Places of a regular undersampling ``(kz, ky)``, all over k-space; everything without one.
    readout_support
        Samples of k-space along x that the readouts reached ``(x,)``.
    calibration
        A separate scan of the centre of k-space ``(echoes, coils, kz, ky, x)``, centred at
        ``n // 2`` and zero where it has no line; None if there is none.
    middle
        The fully sampled middle of an undersampled k-space as it was before its lines were
        corrected, which GRAPPA learns from if there is no calibration scan; None: as it is now.
    TE
        Echo times [s], which sensitivities from phase offsets need.
    reversed_echoes
        Whether each echo was read backwards.
    """

    sampled: Mask
    region: Mask
    lattice: Mask
    readout_support: Mask
    calibration: ComplexArray | None = None
    TE: tuple[float, ...] = ()
    reversed_echoes: tuple[bool, ...] = ()
    middle: ComplexArray | None = None

    @property
    def is_complete(self) -> bool:
        """Whether every line of the region was sampled in every echo."""
        return not (self.region & ~self.sampled).any()

    @property
    def support(self) -> Mask:
        """What will be known of k-space ``(kz, ky, kx)`` once the region is filled."""
        return self.region[:, :, None] & self.readout_support


def reconstruct_echoes(
    hybrid: ComplexArray,
    sampling: Sampling,
    recon_size: Size,
    kept_size: Size | None = None,
    options: EchoOptions | None = None,
    early: EarlyWeights | None = None,
) -> Reconstructed:
    """Reconstruct one complex image for each echo.

    Parameters
    ----------
    hybrid
        Whitened hybrid k-space ``(echoes, coils, kz, ky, x)``: k-space along z and y, centred at
        ``n // 2``; image along x. GRAPPA fills it in place.
    sampling
        What of it was sampled.
    recon_size
        Size of the image ``(z, y, x)``.
    kept_size
        Voxels of the encoded grid that the image's field of view covers ``(z, y, x)``; None: as in
        `to_recon_grid`.
    options
        What a person chose.
    early
        Weights of GRAPPA that were learnt while the scan went on; it is spent.

    Returns
    -------
    Reconstructed
        The echoes, what a person should know, and the map of their noise if it was asked for.
    """
    options = EchoOptions() if options is None else options
    early = EarlyWeights() if early is None else early
    early.settle()
    # The threads are ours: BLAS threads under them wait for each other as soon as another process
    # takes a core, and cost hundreds of times the work.
    with threadpool_limits(1, "blas"):
        echoes, warnings, noise = _combine(hybrid, sampling, options, early)
    if options.partial_fourier == "pocs":
        echoes = complete_kspace(echoes, sampling.support)
    if options.gibbs_filter == "subvoxel":
        echoes = remove_ringing(echoes, sampling.support)
    elif options.gibbs_filter != "none":
        echoes = apodize(echoes, sampling.support, options.gibbs_filter, options.gibbs_width)
    if noise is not None:
        noise = to_recon_grid(noise.astype(np.complex64), recon_size, kept_size).real
    elif options.noise_map:
        warnings += ("The noise of the echoes is not known: their reconstruction has no formula.",)
    return Reconstructed(to_recon_grid(echoes, recon_size, kept_size), warnings, noise)


def _combine(
    hybrid: ComplexArray, sampling: Sampling, options: EchoOptions, early: EarlyWeights
) -> Reconstructed:
    """Combine the coils on the encoded grid, and fill what was left out."""
    block = _calibration(hybrid, sampling)
    is_filled = not sampling.is_complete and options.parallel_imaging != "none"
    if block is None:
        warning = "The centre of k-space was not sampled fully: what is missing is zero."
        csm = learn_coils(hybrid, hybrid)
        return Reconstructed(combine_kspace(hybrid, csm), (warning,) if is_filled else ())
    if not is_filled:
        is_extended = _extend(hybrid, sampling, options)
        csm = _learn_from_all(hybrid, block, sampling, options)
        has_formula = options.noise_map and not is_extended
        noise = _noise_of_zeros(csm, sampling) if has_formula else None
        return Reconstructed(combine_kspace(hybrid, csm), noise=noise)
    method = options.parallel_imaging
    if method == "grappa" or (method == "auto" and not sampling.lattice.all()):
        return _fill_lattice(hybrid, block, sampling, options, early)
    csm = learn_coils(hybrid, block, options.sensitivities, sampling.TE, sampling.reversed_echoes)
    warnings = _not_extended(sampling, options)
    if method == "low_rank" or method == "wavelet":
        return Reconstructed(solve_regularised(hybrid, sampling.sampled, csm, method), warnings)
    echoes = solve_sense(hybrid, sampling.sampled, csm)
    return Reconstructed(echoes, warnings, _noise_of_sense(csm, sampling, options))


def _fill_lattice(
    hybrid: ComplexArray,
    block: ComplexArray,
    sampling: Sampling,
    options: EchoOptions,
    early: EarlyWeights,
) -> Reconstructed:
    """Fill a lattice in place, as a second k-space would be the largest thing in memory.

    Weights come from lines as they were measured: those are known before the motion is that they
    are corrected for. Measured on a breathing chest (2 x 2 CAIPIRINHA, SNR 30, displaced by up to
    2.3 mm at the heart), the phase between echoes is off by 0.4030 rad RMS in the heart, noise
    included, and by 0.4024 rad with weights from corrected lines.
    """
    own = None if sampling.calibration is not None else sampling.middle
    learnt = early.weights(block if own is None else own, sampling.lattice)
    apply_grappa(hybrid, sampling.sampled, sampling.region, learnt)
    is_extended = _extend(hybrid, sampling, options)
    csm = _learn_from_all(hybrid, block, sampling, options)
    echoes = combine_kspace(hybrid, csm)
    if is_extended or not options.noise_map:
        return Reconstructed(echoes)
    noise = grappa_noise(csm, learnt, sampling.sampled[0], sampling.region)
    return Reconstructed(echoes, noise=noise * _part_read(sampling))


def _extend(hybrid: ComplexArray, sampling: Sampling, options: EchoOptions) -> bool:
    """Fill what lies outside the region in place, if that was asked for, and tell whether."""
    is_extended = options.partial_fourier == "predict" and not sampling.region.all()
    if is_extended:
        extrapolate_kspace(hybrid, sampling.region)
    return is_extended


def _not_extended(sampling: Sampling, options: EchoOptions) -> tuple[str, ...]:
    """Say that what lies outside the region stays zero: no coil's k-space is whole."""
    if options.partial_fourier != "predict" or sampling.region.all():
        return ()
    return (
        "The part of k-space that was not covered is zero: only GRAPPA leaves all coils' lines to "
        "predict it from.",
    )


def _learn_from_all(
    hybrid: ComplexArray, block: ComplexArray, sampling: Sampling, options: EchoOptions
) -> ComplexArray:
    """Learn the coils of a k-space that is filled: that is as good as sampled, and there is more.

    ESPIRiT alone looks at how lines predict each other, which filled ones do by design.
    """
    method = options.sensitivities
    source = block if method == "espirit" else hybrid
    return learn_coils(hybrid, source, method, sampling.TE, sampling.reversed_echoes)


def _noise_of_zeros(csm: ComplexArray, sampling: Sampling) -> RealArray:
    """Noise where what was not sampled is zero: less of it, and the same all over."""
    part = np.sqrt(sampling.sampled[0].mean()) * _part_read(sampling)
    noise: RealArray = np.where(np.any(csm != 0, axis=0), part, 0).astype(np.float32)
    return noise


def _noise_of_sense(
    csm: ComplexArray, sampling: Sampling, options: EchoOptions
) -> RealArray | None:
    """Noise of a lattice that SENSE unfolded, if it is one and its steps divide the grid."""
    if not options.noise_map or not np.array_equal(sampling.sampled[0], sampling.lattice):
        return None
    try:
        return sense_noise(csm, sampling.lattice) * _part_read(sampling)
    except ValueError:
        return None


def _part_read(sampling: Sampling) -> np.float32:
    """Root of the part of the readout that asymmetric echoes reach."""
    return np.float32(np.sqrt(sampling.readout_support.mean()))


def _calibration(hybrid: ComplexArray, sampling: Sampling) -> ComplexArray | None:
    """Return the fully sampled centre, of a scan of its own if there is one."""
    separate = sampling.calibration
    if separate is None:
        return calibration_block(hybrid, sampling.sampled)
    has_line: Mask = np.any(separate != 0, axis=(1, 4))
    return calibration_block(separate, has_line)
