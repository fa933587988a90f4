"""K-space in bins of the diaphragm's position, to one complex image per echo."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.ndimage import distance_transform_edt

from chistream.arrays import ComplexArray, Mask, RealArray, Size, Vector, size_of
from chistream.echoes.coil_images import to_recon_grid
from chistream.echoes.early_weights import EarlyWeights
from chistream.echoes.motion_bins import Bin, Registration, combine_bins
from chistream.echoes.options import EchoOptions
from chistream.echoes.reconstruction import Reconstructed, Sampling, reconstruct_echoes


class LinesOfBin(Protocol):
    """Lines that were measured in one range of positions."""

    @property
    def hybrid(self) -> ComplexArray:
        """``(echoes, coils, kz, ky, x)``, of the same coils as those of the window."""

    @property
    def counts(self) -> RealArray:
        """Measurements of each line ``(echoes, kz, ky)``."""


@dataclass(frozen=True, eq=False)
class BinnedLines:
    """What was measured outside the window.

    Parameters
    ----------
    bins
        Lines by position; they are borrowed, and come back as they were.
    weights
        How much of each line of the window ``(echoes, kz, ky)`` was accepted.
    voxel_size
        Of the encoded grid ``(z, y, x)`` [mm].
    registration
        How bins are registered.
    """

    bins: Sequence[LinesOfBin]
    weights: RealArray
    voxel_size: Vector
    registration: Registration


def reconstruct_with_bins(
    hybrid: ComplexArray,
    sampling: Sampling,
    recon_size: Size,
    kept_size: Size | None,
    options: EchoOptions,
    early: EarlyWeights | None,
    lines: BinnedLines,
) -> Reconstructed:
    """Reconstruct the window and each bin, and combine them.

    Lines that a bin did not measure are those of the window; what undersampling left out, parallel
    imaging fills bin by bin. See `combine_bins` for the rest.

    Parameters
    ----------
    hybrid, sampling, recon_size, kept_size, options, early
        As in `reconstruct_echoes`.
    lines
        The bins; without any, this is `reconstruct_echoes`.

    Returns
    -------
    Reconstructed
        The map of noise, if there is one, is that of the window alone.
    """
    if not lines.bins:
        return reconstruct_echoes(hybrid, sampling, recon_size, kept_size, options, early)
    encoded = size_of(hybrid)
    echoes, warnings, noise = reconstruct_echoes(hybrid, sampling, encoded, None, options, early)
    bins = []
    for one in lines.bins:
        with _exchanged(hybrid, one):
            own = reconstruct_echoes(hybrid, sampling, encoded, None, options).echoes
        bins.append(Bin(own, _everywhere(one.counts[0], sampling)))
    level = float(np.sqrt(sampling.readout_support.mean()))
    weights = _everywhere(lines.weights[0], sampling)
    combined = combine_bins(
        echoes, weights, bins, sampling.TE, lines.voxel_size, level, lines.registration
    )
    if noise is not None:
        noise = to_recon_grid(noise.astype(np.complex64), recon_size, kept_size).real
    return Reconstructed(to_recon_grid(combined, recon_size, kept_size), warnings, noise)


@contextmanager
def _exchanged(hybrid: ComplexArray, one: LinesOfBin) -> Iterator[None]:
    """Put the lines of a bin in place of the window's: another k-space would be too large."""
    _exchange(hybrid, one)
    try:
        yield
    finally:
        _exchange(hybrid, one)


def _exchange(hybrid: ComplexArray, one: LinesOfBin) -> None:
    for echo, counts in enumerate(one.counts):
        measured: Mask = counts > 0
        held = hybrid[echo][:, measured]
        hybrid[echo][:, measured] = one.hybrid[echo][:, measured]
        one.hybrid[echo][:, measured] = held


def _everywhere(numbers: RealArray, sampling: Sampling) -> RealArray:
    """Give lines ``(kz, ky)`` that undersampling left out the number of the nearest one."""
    sampled = sampling.sampled[0]
    places = distance_transform_edt(~sampled, return_distances=False, return_indices=True)
    filled: RealArray = np.where(sampling.region, numbers[tuple(places)], 0.0)
    return filled
