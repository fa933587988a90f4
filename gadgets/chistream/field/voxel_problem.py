"""The voxels of an image as one problem: each fitted by itself, and again where that swapped."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from chistream.arrays import ComplexArray, Mask, RealArray
from chistream.field.echo_fit import noise_from_misfit
from chistream.field.echo_train import lags
from chistream.field.fat_displacement import Seen
from chistream.field.ideal import Separated, separate_signals
from chistream.field.noise import estimate_noise
from chistream.field.separability import FieldStart

LARGEST_JUMP = 0.25
"""Steps of the field beyond this part of one over the echo spacing are taken for swaps."""

_TOLERATED_EXCESS = 0.05
"""Part of its energy that a voxel may fit worse without it, to join its neighbours."""


@dataclass(frozen=True)
class VoxelProblem:
    """The echoes of the voxels of a mask, and the model they are fitted with.

    Parameters
    ----------
    signals
        Complex echoes ``(voxels, echoes)``.
    TE
        True echo times ``(echoes,)`` [s].
    precession
        What has become of fat's signal at each echo ``(echoes,)``.
    mask
        The voxels ``(z, y, x)``.
    fit_decay
        Whether R2* is fitted, or left out.
    """

    signals: ComplexArray
    TE: RealArray
    precession: ComplexArray
    mask: Mask
    fit_decay: bool

    @classmethod
    def of(
        cls,
        echoes: ComplexArray,
        TE: RealArray,
        precession: ComplexArray,
        mask: Mask,
        *,
        fit_decay: bool,
    ) -> "VoxelProblem":
        """Pick the voxels of a mask."""
        signals = np.ascontiguousarray(echoes[:, mask].T)
        return cls(signals, TE, precession, mask, fit_decay)

    def on(self, echoes: ComplexArray, mask: Mask) -> "VoxelProblem":
        """Take other echoes ``(echoes, z, y, x)`` and voxels."""
        return self.of(echoes, self.TE, self.precession, mask, fit_decay=self.fit_decay)

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

    def fit_image(self, start: FieldStart) -> Separated:
        """Fit all voxels, and those that swapped alone once more."""
        return self.retry(self.fit(start.frequency[self.mask], start.r2star[self.mask]))

    def seen(self, fit: Separated) -> Seen:
        """Lay a fit onto the grid."""
        columns = (fit.frequency, np.maximum(fit.r2star, 0), fit.water, fit.fat)
        return Seen(*(on_grid(column, self.mask) for column in columns))

    def retry(self, fit: Separated) -> Separated:
        """Fit voxels that jump away from their neighbours once more, from the neighbours' field.

        Accepted where the echoes do not speak against it: then it was a swap.
        """
        around = _neighbours_mean(fit.frequency, np.abs(fit.water + fit.fat), self.mask)
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


def on_grid(column: RealArray | ComplexArray, mask: Mask) -> npt.NDArray[Any]:
    """Lay one value for each voxel of a mask onto the grid, 0 elsewhere."""
    volume = np.zeros(mask.shape, dtype=np.complex64 if np.iscomplexobj(column) else np.float32)
    volume[mask] = column
    return volume
