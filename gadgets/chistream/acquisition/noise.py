"""Noise of the receivers: its covariance from noise readouts, and its removal."""

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
        Whether k-space was whitened with a noise scan. If not, its unit is arbitrary.
    covariance
        Covariance ``(coils, coils)`` of the noise of one imaging sample before whitening, from
        the noise scan and scaled to the first echo's dwell time; empty ``(0, 0)`` if not measured.
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


class NoiseScan:
    """Noise readouts, summed up as they come; holds one matrix.

    The mean is not subtracted: the receiver's offset is part of what disturbs an image.
    """

    def __init__(self) -> None:
        self._sum: ComplexArray = np.zeros((0, 0), np.complex128)
        self.n_samples = 0
        self.n_skipped = 0
        self.dwell_time = 0.0

    def add(self, samples: ComplexArray, dwell_time: float) -> None:
        """Add one noise readout ``(coils, samples)`` with its dwell time [s].

        Readouts that are empty or not finite, or that differ in coils or dwell time from the
        first one, are counted as skipped.
        """
        if not self.n_samples and samples.size:
            self._sum = np.zeros((len(samples), len(samples)), np.complex128)
            self.dwell_time = dwell_time
        fits = samples.size and len(samples) == len(self._sum) and dwell_time == self.dwell_time
        if not fits or not np.isfinite(samples).all():
            self.n_skipped += 1
            return
        wide = samples.astype(np.complex128)
        self._sum += wide @ wide.conj().T
        self.n_samples += samples.shape[1]

    @property
    def n_coils(self) -> int:
        """Number of coils, 0 without a noise readout."""
        return len(self._sum) if self.n_samples else 0

    @property
    def covariance(self) -> ComplexArray:
        """Covariance ``(coils, coils)`` of the noise readouts' own samples, float64."""
        return self._sum / max(self.n_samples, 1)

    @property
    def variances(self) -> RealArray:
        """Noise variance of each coil ``(coils,)``."""
        return np.real(np.diagonal(self.covariance))


def whiten(
    hybrid: ComplexArray, scan: NoiseScan, dwell_times: RealArray, bandwidth_ratio: float
) -> tuple[NoiseReport, tuple[str, ...]]:
    """Whiten k-space in place.

    Parameters
    ----------
    hybrid
        ``(echoes, coils, z, y, x)`` complex64; untouched if the noise was not measured.
    scan
        The noise readouts.
    dwell_times
        Dwell time of each echo ``(echoes,)`` [s]; 0 if unknown.
    bandwidth_ratio
        See `covariance_scale`.

    Returns
    -------
    report : NoiseReport
        What is known about the noise.
    warnings : tuple[str, ...]
        What a person should know.
    """
    n_coils = hybrid.shape[1]
    reason = _why_unusable(scan, n_coils)
    if reason:
        report = NoiseReport(
            measured=False,
            covariance=np.zeros((0, 0), np.complex128),
            n_samples=0,
            rank=0,
            reason=reason,
        )
        return report, (f"The noise was not whitened: {reason}.",)
    whitening, rank = whitening_matrix(scan.covariance)
    knows_dwell = scan.dwell_time > 0 and bool((dwell_times > 0).all())
    noise_dwell = scan.dwell_time if knows_dwell else 1.0
    scales = [
        covariance_scale(noise_dwell, float(dwell) if knows_dwell else 1.0, bandwidth_ratio)
        for dwell in dwell_times
    ]
    for volume, scale in zip(hybrid, scales, strict=True):
        matrix = (whitening / np.sqrt(scale)).astype(np.complex64)
        for z in range(volume.shape[1]):  # one partition at a time: no second k-space
            flat = volume[:, z].reshape(n_coils, -1)
            volume[:, z] = (matrix @ flat).reshape(volume[:, z].shape)
    report = NoiseReport(
        measured=True,
        covariance=scan.covariance * scales[0],
        n_samples=scan.n_samples,
        rank=rank,
        reason="",
    )
    return report, tuple(_noise_warnings(scan, n_coils - rank, knows_dwell))


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


def _why_unusable(scan: NoiseScan, n_coils: int) -> str:
    if not scan.n_coils:
        return "the scan has no noise readouts"
    if scan.n_coils != n_coils:
        return f"the noise scan has {scan.n_coils} coils, the image {n_coils}"
    if scan.n_samples < n_coils:
        return f"the noise scan has {scan.n_samples} samples for {n_coils} coils"
    if not scan.variances.any():
        return "the noise scan holds only zeros"
    return ""


def _noise_warnings(scan: NoiseScan, n_removed: int, knows_dwell: bool) -> list[str]:
    warnings = []
    if n_removed:
        dead = ", ".join(map(str, np.flatnonzero(scan.variances == 0))) or "none"
        warnings.append(
            f"{n_removed} of {scan.n_coils} coils have no noise of their own (without any: {dead}) "
            "and were left out."
        )
    if not knows_dwell:
        warnings.append("Dwell times are unknown: noise and image are taken to have the same.")
    if scan.n_skipped:
        warnings.append(f"{scan.n_skipped} noise readouts do not fit the others: left out.")
    return warnings
