"""From the receiver's coils to white virtual coils: learnt while the scan runs, then applied."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from chistream.acquisition.compression import (
    CentralBlock,
    CoilMatrix,
    CompressionOptions,
    learn_coil_matrix,
)
from chistream.acquisition.edges import EdgeLines, estimate_covariance
from chistream.acquisition.lines import Lines
from chistream.acquisition.noise import NoiseReport, NoiseScan, whitening_matrix
from chistream.acquisition.plan import EncodingPlan
from chistream.arrays import ComplexArray, Mask, RealArray


@dataclass(frozen=True, eq=False)
class Whitened:
    """What whitening needs and what it leaves to be said.

    Parameters
    ----------
    matrix
        Makes the noise of the coils equal and independent ``(coils, coils)``.
    scales
        Variance of a whitened sample of each echo ``(echoes,)``.
    report
        What is known about the noise.
    warnings
        What a person should know.
    """

    matrix: ComplexArray
    scales: RealArray
    report: NoiseReport
    warnings: tuple[str, ...]


class Receiver:
    """Learns how coils are whitened and combined, and does it.

    The matrix is fixed as soon as the noise is known and the innermost lines of k-space are in;
    from then on lines are combined before they enter k-space. It is learnt from the first
    measurement by time of each central line up to that moment, and from the noise readouts taken
    before the first image: whoever gets all of that later, or in another order, learns the same.
    Without noise readouts, or if central lines arrive out of order, it is learnt at the end.

    Parameters
    ----------
    plan
        How the scan encodes its volume.
    options
        How coils are compressed.
    is_after
        Tells whether a time stamp [s] is later than a readout's time.
    """

    def __init__(
        self,
        plan: EncodingPlan,
        options: CompressionOptions,
        is_after: Callable[[float, float], bool],
    ) -> None:
        self.noise = NoiseScan()
        self._plan, self._options, self._is_after = plan, options, is_after
        self._block: CentralBlock | None = None
        self._edges: EdgeLines | None = None
        self._matrix: CoilMatrix | None = None
        self._start = np.inf
        self.n_coils = 0

    @property
    def is_fixed(self) -> bool:
        """Whether lines are combined already."""
        return self._matrix is not None

    def take_noise(self, samples: ComplexArray, dwell_time: float, time_stamp: float) -> None:
        """Take in a noise readout ``(coils, samples)``, unless it is too late."""
        if self.is_fixed:
            self.noise.n_late += samples.shape[1]
        else:
            self.noise.add(samples, dwell_time, time_stamp)

    def see(self, lines: Lines, centre: tuple[int, int], noise_scales: RealArray) -> bool:
        """Learn from imaging readouts.

        Parameters
        ----------
        lines
            The readouts.
        centre
            Counters ``(z, y)`` of the centre of k-space.
        noise_scales
            Variance of a sample of each echo, relative to one of the noise scan ``(echoes,)``.

        Returns
        -------
        bool
            Whether the matrix became known; it does once. K-space has to be combined then.
        """
        if not len(lines) or self.is_fixed:
            return False
        if self._block is None:
            keeps_samples = self._options.method != "off"
            self._block = CentralBlock(centre, self._plan.n_echoes, keeps_samples)
            self._edges = EdgeLines(self._plan, centre)
        self.n_coils = lines.values.shape[1]
        self._start = min(self._start, float(lines.times.min()))
        self._block.see(lines)
        if self.noise.why_unusable(self.n_coils):
            self._see_edges(lines)
            return False
        z, y, _ = self._plan.encoded_size
        if not self._block.is_in_order or np.isinf(self._block.complete_at((z, y))):
            return False
        self._settle_noise()
        self._fix(whitening_matrix(self.noise.covariance)[0], float(noise_scales[0]))
        return True

    def combine(self, values: ComplexArray) -> ComplexArray:
        """Combine the coils of lines ``(n, coils, x)``, as soon as it is known how."""
        return values if self._matrix is None else self._matrix.apply(values)

    def finish(self, dwell_times: RealArray, readout_support: Mask) -> tuple[Whitened, bool]:
        """Decide what is open still.

        Parameters
        ----------
        dwell_times
            Dwell time of each echo ``(echoes,)`` [s]; 0 if unknown.
        readout_support
            Samples of k-space along x that the readouts reached ``(x,)``.

        Returns
        -------
        whitened : Whitened
            About the noise.
        is_new : bool
            Whether the matrix became known now. K-space has to be combined then.
        """
        is_new = not self.is_fixed
        if is_new:
            self._settle_noise()
        whitened = self._whiten(dwell_times, readout_support)
        if is_new:
            level = float(whitened.scales[0]) if whitened.report.rank else 0.0
            self._fix(whitened.matrix, level)
        return whitened, is_new

    def _settle_noise(self) -> None:
        self.noise.leave_out(lambda stamp: self._is_after(stamp, self._start))

    def _see_edges(self, lines: Lines) -> None:
        if self._edges is not None:
            self._edges.see(lines)

    def _fix(self, whitening: ComplexArray, noise_variance: float) -> None:
        lines = np.zeros((0, 0, 0), np.complex64)
        if self._block is not None and self._options.method != "off":
            z, y, _ = self._plan.encoded_size
            lines = self._block.until(self._block.complete_at((z, y)))
        step_z, step_y = self._plan.acceleration
        self._matrix = learn_coil_matrix(
            lines, whitening, noise_variance, self._options, step_z * step_y
        )
        self._block = self._edges = None  # their lines are not needed any more

    def _whiten(self, dwell_times: RealArray, readout_support: Mask) -> Whitened:
        reason = self.noise.why_unusable(self.n_coils)
        if reason:
            return self._estimate(reason, dwell_times, readout_support)
        matrix, rank = whitening_matrix(self.noise.covariance)
        scales = self.noise.scales(dwell_times, self._plan.noise_bandwidth_ratio)
        report = NoiseReport(
            measured=True,
            covariance=self.noise.covariance * scales[0],
            n_samples=self.noise.n_samples,
            rank=rank,
            reason="",
        )
        knows_dwell = self.noise.knows_dwell(dwell_times)
        warnings = self.noise.warnings(self.n_coils - rank, knows_dwell=knows_dwell)
        return Whitened(matrix, scales, report, tuple(warnings))

    def _estimate(self, reason: str, dwell_times: RealArray, readout_support: Mask) -> Whitened:
        """Whiten with what the edges of k-space say, if they say anything."""
        none = np.zeros((0, 0), np.complex128)
        samples = none if self._edges is None else self._edges.samples(readout_support)
        covariance = estimate_covariance(samples) if samples.size else None
        if covariance is None:
            report = NoiseReport(
                measured=False, covariance=none, n_samples=0, rank=0, reason=reason
            )
            warning = f"The noise was not whitened: {reason}."
            identity = np.eye(self.n_coils, dtype=complex)
            return Whitened(identity, np.ones(len(dwell_times)), report, (warning,))
        matrix, rank = whitening_matrix(covariance)
        knows_dwell = bool((dwell_times > 0).all())
        scales = dwell_times[0] / dwell_times if knows_dwell else np.ones(len(dwell_times))
        report = NoiseReport(
            measured=False,
            covariance=covariance,
            n_samples=samples.shape[1],
            rank=rank,
            reason=reason,
            estimated=True,
        )
        warning = f"The noise was estimated from the edges of k-space: {reason}."
        return Whitened(matrix, scales, report, (warning,))
