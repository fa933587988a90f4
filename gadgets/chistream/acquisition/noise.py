"""Noise of the receivers: its covariance from noise readouts, and its removal."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from chistream.arrays import ComplexArray, RealArray

_SINGULAR = 1e-6
"""Noise directions with less than this part of the mean variance carry no signal of their own."""


@dataclass(frozen=True, eq=False)
class NoiseReport:
    """What is known about the noise of a scan.

    Parameters
    ----------
    measured
        Whether k-space was whitened with a noise scan.
    estimated
        Whether it was whitened with what the edges of k-space say of the noise. If it was neither
        measured nor estimated, the unit of k-space is arbitrary.
    covariance
        Covariance ``(coils, coils)`` of the noise of one imaging sample before whitening, of the
        first echo; empty ``(0, 0)`` if it is not known.
    n_samples
        Noise samples of each coil.
    rank
        Independent noise directions; fewer than coils if coils are dead or copies of others.
    reason
        Why the noise was not measured; empty if it was.
    """

    measured: bool
    covariance: ComplexArray
    n_samples: int
    rank: int
    reason: str
    estimated: bool = False


class NoiseScan:
    """Noise readouts, summed up as they come; holds one matrix for each time stamp.

    The mean is not subtracted: the receiver's offset is part of what disturbs an image.
    """

    def __init__(self) -> None:
        self._sums: dict[float, ComplexArray] = {}
        self._counts: dict[float, int] = {}
        self._n_coils = 0
        self.n_skipped = 0
        self.n_late = 0
        self.dwell_time = 0.0

    def add(self, samples: ComplexArray, dwell_time: float, time_stamp: float = 0.0) -> None:
        """Add one noise readout ``(coils, samples)`` with its dwell time and time stamp [s].

        Readouts that are empty or not finite, or that differ in coils or dwell time from the
        first one, are counted as skipped.
        """
        if not self._sums and samples.size:
            self._n_coils, self.dwell_time = len(samples), dwell_time
        fits = samples.size and len(samples) == self._n_coils and dwell_time == self.dwell_time
        if not fits or not np.isfinite(samples).all():
            self.n_skipped += 1
            return
        wide = samples.astype(np.complex128)
        self._sums[time_stamp] = self._sums.get(time_stamp, 0) + wide @ wide.conj().T
        self._counts[time_stamp] = self._counts.get(time_stamp, 0) + samples.shape[1]

    def leave_out(self, is_late: Callable[[float], bool]) -> None:
        """Leave out what was taken late, by its time stamp [s], unless that is all there is."""
        late = [stamp for stamp in self._sums if is_late(stamp)]
        if len(late) < len(self._sums):
            for stamp in late:
                self.n_late += self._counts.pop(stamp)
                del self._sums[stamp]

    @property
    def n_samples(self) -> int:
        """Samples of each coil."""
        return sum(self._counts.values())

    @property
    def n_coils(self) -> int:
        """Number of coils, 0 without a noise readout."""
        return self._n_coils if self._sums else 0

    @property
    def covariance(self) -> ComplexArray:
        """Covariance ``(coils, coils)`` of the noise readouts' own samples, float64."""
        total = np.zeros((self.n_coils, self.n_coils), np.complex128)
        for stamp in sorted(self._sums):  # in whatever order they came
            total += self._sums[stamp]
        return total / max(self.n_samples, 1)

    @property
    def variances(self) -> RealArray:
        """Noise variance of each coil ``(coils,)``."""
        return np.real(np.diagonal(self.covariance))

    def why_unusable(self, n_coils: int) -> str:
        """Say why an image of so many coils cannot be whitened; nothing if it can."""
        if not self.n_coils:
            return "the scan has no noise readouts"
        if self.n_coils != n_coils:
            return f"the noise scan has {self.n_coils} coils, the image {n_coils}"
        if self.n_samples < n_coils:
            return f"the noise scan has {self.n_samples} samples for {n_coils} coils"
        return "" if self.variances.any() else "the noise scan holds only zeros"

    def knows_dwell(self, dwell_times: RealArray) -> bool:
        """Tell whether the dwell times of noise and of all echoes ``(echoes,)`` are known."""
        return self.dwell_time > 0 and bool((dwell_times > 0).all())

    def scales(self, dwell_times: RealArray, bandwidth_ratio: float) -> RealArray:
        """Compute how much more noise a sample of each echo has ``(echoes,)``.

        Parameters
        ----------
        dwell_times
            Dwell time of each echo ``(echoes,)`` [s]; 0 if unknown: then all are taken as equal.
        bandwidth_ratio
            See `covariance_scale`.
        """
        if not self.knows_dwell(dwell_times):
            return np.full(len(dwell_times), covariance_scale(1.0, 1.0, bandwidth_ratio))
        return np.array(
            [covariance_scale(self.dwell_time, float(d), bandwidth_ratio) for d in dwell_times]
        )

    def warnings(self, n_removed: int, *, knows_dwell: bool) -> list[str]:
        """Say what a person should know who uses the noise for whitening."""
        warnings = []
        if n_removed:
            dead = ", ".join(map(str, np.flatnonzero(self.variances == 0))) or "none"
            warnings.append(
                f"{n_removed} of {self.n_coils} coils have no noise of their own (without any: "
                f"{dead}) and were left out."
            )
        if not knows_dwell:
            warnings.append("Dwell times are unknown: noise and image are taken to have the same.")
        if self.n_skipped:
            warnings.append(f"{self.n_skipped} noise readouts do not fit the others: left out.")
        if self.n_late:
            warnings.append(f"{self.n_late} samples of noise came after the image: left out.")
        return warnings


def covariance_scale(noise_dwell: float, image_dwell: float, bandwidth_ratio: float) -> float:
    r"""Compute how much more noise an imaging sample has than one of the noise scan.

    .. math:: \Psi_{image} = \Psi_{noise}\; \frac{\Delta t_{noise}}{\Delta t_{image}}\;
              \frac{1}{\rho}

    The variance of a sample grows with the receiver's bandwidth, 1 over the dwell time. The
    receiver's filter passes only the part :math:`\rho` of the nominal bandwidth of the noise scan,
    while an image, once its oversampling is cropped, lies in the flat part of its own filter.

    Parameters
    ----------
    noise_dwell, image_dwell
        Dwell times [s], > 0.
    bandwidth_ratio
        Equivalent noise bandwidth relative to the nominal one (relativeReceiverNoiseBandwidth).

    Returns
    -------
    float
        Factor on the covariance.

    References
    ----------
    .. [1] Kellman P, McVeigh ER. Image reconstruction in SNR units: a general method for SNR
       measurement. Magn Reson Med. 2005;54(6):1439-1447. doi:10.1002/mrm.20713

    Examples
    --------
    >>> round(covariance_scale(8e-6, 4e-6, 0.8), 6)
    2.5
    """
    return noise_dwell / (image_dwell * bandwidth_ratio)


def whitening_matrix(covariance: ComplexArray) -> tuple[ComplexArray, int]:
    r"""Compute the matrix that makes the noise of all coils equal and independent.

    .. math:: W = V \Lambda^{-1/2} V^H D^{-1/2}, \qquad
              D^{-1/2} \Psi D^{-1/2} = V \Lambda V^H

    Parameters
    ----------
    covariance
        Noise covariance ``(coils, coils)``; D is its diagonal.

    Returns
    -------
    whitening : ComplexArray
        Matrix ``(coils, coils)``; ``W covariance W^H`` is the identity. A whitened complex sample
        has variance 1, its real and imaginary parts 1/2 each.
    rank : int
        Independent noise directions. If it is below the number of coils, some coils are dead or
        copies of others: directions with no noise of their own are removed, not amplified, and
        ``W covariance W^H`` is a projection of that rank.

    Notes
    -----
    Every whitening matrix is this one times a unitary one, and leads to the same images. This one
    (symmetric, on the correlations) keeps each whitened coil closest to its own coil, so that maps
    and profiles stay recognisable, and does not care how different the coils' gains are.

    References
    ----------
    .. [1] Kessy A, Lewin A, Strimmer K. Optimal whitening and decorrelation. Am Stat.
       2018;72(4):309-314. doi:10.1080/00031305.2016.1277159
    """
    variance = np.real(np.diagonal(covariance))
    deviation = np.sqrt(np.where(variance > 0, variance, 1.0))
    correlation: ComplexArray = np.divide(covariance, np.outer(deviation, deviation))
    eigenvalues, vectors = np.linalg.eigh(correlation)
    used = eigenvalues > _SINGULAR
    inverse_root = np.where(used, 1 / np.sqrt(np.where(used, eigenvalues, 1.0)), 0.0)
    whitening: ComplexArray = (vectors * inverse_root) @ vectors.conj().T / deviation
    return whitening, int(used.sum())
