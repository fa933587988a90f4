"""Readouts in, whitened k-space out: the stage's one entry."""

from dataclasses import replace

import numpy as np

from chistream.acquisition.acquired import AcquiredScan
from chistream.acquisition.calibration import CalibrationScan
from chistream.acquisition.centre import (
    CentreFinder,
    shift_lines_to_centre,
    shift_to_centre,
)
from chistream.acquisition.clock import Clock
from chistream.acquisition.completeness import find_missing
from chistream.acquisition.foresight import Foresight, Middle
from chistream.acquisition.gating import GatingReport
from chistream.acquisition.kspace import KSpace
from chistream.acquisition.line_corrections import LineCorrections
from chistream.acquisition.lines import Lines, ReadoutBatch
from chistream.acquisition.observations import Observations
from chistream.acquisition.plan import AcquisitionOptions, EncodingPlan
from chistream.acquisition.readouts import Readout, ReadoutKind, kind_of
from chistream.acquisition.receiver import Receiver, Whitened
from chistream.acquisition.repetitions import align_repetitions
from chistream.acquisition.sorting import Sorter
from chistream.acquisition.spikes import SpikeFilter
from chistream.arrays import ComplexArray, Mask, RealArray, Vector
from chistream.errors import ReconstructionError
from chistream.physics.middle import complete_middle

__all__ = ["AcquiredScan", "Acquisition", "AcquisitionOptions", "EncodingPlan"]

_LOW_EFFICIENCY = 0.25


class Acquisition:
    """Turns readouts into k-space while they arrive.

    Parameters
    ----------
    plan
        How the scan encodes its volume.
    options
        What a person chose.

    Notes
    -----
    Whitening and the compression of coils are one matrix over coils, which commutes with everything
    that is done to a line: they are applied on the way into k-space as soon as they are known, and
    at the end otherwise.
    """

    def __init__(self, plan: EncodingPlan, options: AcquisitionOptions | None = None) -> None:
        self._plan = plan
        self._options = AcquisitionOptions() if options is None else options
        self._clock = Clock()
        self._receiver = Receiver(plan, self._options.compression, self._is_after)
        self._batch = ReadoutBatch(plan.encoded_size[2], plan.kept_size[2])
        self._sorter = Sorter(
            plan, self._options.gating, self._noise_variances, self._receiver.combine
        )
        self._waveforms: list[tuple[float, float, RealArray]] = []
        self._superior: Vector | None = None
        self._centre = CentreFinder()
        self._calibration = CalibrationScan(plan)
        self._foresight = Foresight(plan)
        self._seen = Observations(plan)
        self._spikes = SpikeFilter(plan.kept_size[2] / plan.encoded_size[2])
        self._n_spikes = 0

    def feed(self, readout: Readout) -> None:
        """Take in one readout of any kind; its samples are copied.

        Parameters
        ----------
        readout
            The readout.

        Raises
        ------
        ReconstructionError
            If the scan is no single 3D volume, or its readouts do not fit each other.
        """
        kind = kind_of(readout.flags)
        self._seen.kinds[kind] += 1
        if self._options.phase_sign < 0:
            readout = replace(readout, samples=readout.samples.conj())
        if kind.is_imaging:  # nearly all are
            self._feed_imaging(readout)
        elif kind is ReadoutKind.CALIBRATION:
            if self._plan.has_embedded_calibration:
                self._feed_imaging(readout)
            else:
                self._feed_calibration(readout)
        elif kind is ReadoutKind.NAVIGATOR:
            # The sorter must see every line that came before its navigator.
            self._flush()
            self._sorter.take_navigator(readout, self._clock.time_of(readout))
        elif kind is ReadoutKind.NOISE:
            last = readout.samples.shape[1] - readout.discard_post
            samples = readout.samples[:, readout.discard_pre : last]
            self._receiver.take_noise(samples, readout.dwell_time, readout.time_stamp)

    def feed_respiration(self, time_stamp: float, step: float, values: RealArray) -> None:
        """Take in a piece of the waveform of a belt around the chest; more is breathing in.

        Parameters
        ----------
        time_stamp
            Time of its first sample since midnight [s].
        step
            Time between samples [s].
        values
            Samples ``(n,)``, in any unit.
        """
        self._waveforms.append((time_stamp, step, values))
        if self._clock.has_started:
            self._pass_waveforms_on()

    def orient(self, superior: Vector) -> None:
        """Say how the volume lies in the patient, which correcting its motion needs.

        Parameters
        ----------
        superior
            Components of the direction towards the head along ``(z, y, x)``.
        """
        self._superior = superior

    def progress(self) -> GatingReport:
        """Tell what gating did so far: efficiency, window, drift, histogram, completeness.

        Returns
        -------
        GatingReport
            Of the readouts that came; the scan goes on.
        """
        return self._sorter.progress()

    def settled_middle(self) -> Middle | None:
        """Return the middle of an undersampled k-space once, as soon as it seems to be final.

        Returns
        -------
        Middle | None
            What weights of parallel imaging can be learnt from while the scan goes on; None if
            there is nothing new. If it changes after all, it is returned once more.
        """
        kspace = self._sorter.kspace
        if kspace is None or self._plan.acceleration == (1, 1) or not self._receiver.is_fixed:
            return None
        if not self._foresight.is_due(self._seen.kinds.total()):
            return None
        scales = self._receiver.noise.scales(
            self._seen.dwell_times(), self._plan.noise_bandwidth_ratio
        )
        centre = self._centre.stated(self._plan, self._options.centre_source)
        return self._foresight.look(
            kspace,
            centre,
            1 / np.sqrt(scales),
            lambda: self._calibration_block(centre, scales),
        )

    def finish(self) -> AcquiredScan:
        """Judge and sort what is still held, and whiten.

        Returns
        -------
        AcquiredScan
            K-space and reports. The acquisition is spent.

        Raises
        ------
        ReconstructionError
            If there is no imaging readout, more lines are missing than allowed, or the centre of
            k-space cannot be told.
        """
        self._flush()
        seen = self._seen
        if self._batch.n_not_finite:
            seen.skipped["samples that are not finite"] = self._batch.n_not_finite
        kspace, gating = self._sorter.finish()
        if kspace is None:
            kinds = ", ".join(f"{n} {kind.value}" for kind, n in seen.kinds.items())
            others = f"only: {kinds}" if kinds else "nor any other"
            raise ReconstructionError("acquisition", f"no imaging readout came, {others}")
        seen.refuse_many_skipped(self._options.max_missing_fraction)
        whitened = self._whiten(kspace)
        phases = self._average_repetitions(kspace)
        centre, centre_warnings = self._centre.decide(self._plan, self._options.centre_source)
        # Headers may list more echo times than the sequence measured.
        n_echoes = int(np.flatnonzero(kspace.is_sampled.any(axis=(1, 2))).max()) + 1
        is_sampled = kspace.is_sampled[:n_echoes]
        missing = find_missing(is_sampled, self._plan, centre, self._options.max_missing_fraction)
        scales, sorter = 1 / np.sqrt(whitened.scales), self._sorter
        positions, times = sorter.line_positions, sorter.line_times
        line_weights = shift_lines_to_centre(kspace.accepted_weights[:n_echoes], centre)
        hybrid = kspace.mean(scales)[:n_echoes]
        for volume in hybrid:
            shift_to_centre(volume, centre)
        is_sampled = shift_lines_to_centre(is_sampled, centre)
        middle = self._middle(hybrid, is_sampled)
        corrections = LineCorrections(self._plan, self._options, self._superior, centre)
        gating = corrections.track(hybrid, positions, sorter.central, gating)
        drift, drift_warnings = corrections.remove_drift(hybrid, is_sampled, times, positions)
        return AcquiredScan(
            hybrid=hybrid,
            sampled=is_sampled,
            region=shift_lines_to_centre(missing.region, centre),
            lattice=shift_lines_to_centre(missing.lattice, centre),
            readout_support=self._batch.readout_support,
            reversed_echoes=seen.reversed_echoes(n_echoes),
            calibration=self._calibration_block(centre, whitened.scales),
            noise=whitened.report,
            n_coils=self._receiver.n_coils,
            repetition_phases=phases[:, :n_echoes],
            gating=gating,
            frequency_drift=drift,
            bins=tuple(
                corrections.correct_bin(one, scales, n_echoes) for one in sorter.bins.kspaces()
            ),
            line_weights=line_weights,
            middle=middle,
            missing_lines=missing.lines,
            missing_fraction=missing.fraction,
            n_readouts=dict(seen.kinds),
            warnings=(
                *self._own_warnings(gating),
                *self._echo_warnings(n_echoes, len(phases)),
                *whitened.warnings,
                *centre_warnings,
                *missing.warnings,
                *drift_warnings,
            ),
        )

    def _feed_calibration(self, readout: Readout) -> None:
        address = self._seen.address_of(readout)
        if address is not None:
            self._calibration.add(readout, address)

    def _feed_imaging(self, readout: Readout) -> None:
        self._seen.refuse_second_volume(readout)
        time = self._clock.time_of(readout)
        address = self._seen.address_of(readout)
        if address is None or not self._seen.has_usual_length(readout):
            return
        self._centre.see(readout)
        if self._waveforms:
            self._pass_waveforms_on()
        self._sorter.take_head(readout, time)
        self._seen.note(readout)
        if self._options.removes_spikes:
            samples, n = self._spikes.clean(readout.samples)
            if n:
                readout = replace(readout, samples=samples)
                self._n_spikes += n
        if self._batch.is_full:
            self._flush()
        self._batch.put(readout, address, time)

    def _pass_waveforms_on(self) -> None:
        for stamp, step, values in self._waveforms:
            self._sorter.take_respiration(self._clock.since_start(stamp), step, values)
        self._waveforms.clear()

    def _middle(self, hybrid: ComplexArray, is_sampled: Mask) -> ComplexArray | None:
        """Keep the middle of an undersampled k-space as it is now."""
        bounds = None if self._plan.acceleration == (1, 1) else complete_middle(is_sampled)
        return None if bounds is None else hybrid[:, :, bounds[0], bounds[1]].copy()

    def _flush(self) -> None:
        lines = self._batch.take()
        if not self._receiver.is_fixed and len(lines):
            self._learn_coils(lines)
        self._sorter.take_lines(lines)

    def _learn_coils(self, lines: Lines) -> None:
        dwell, ratio = self._seen.dwell_times(), self._plan.noise_bandwidth_ratio
        centre = self._centre.stated(self._plan, self._options.centre_source)
        if self._receiver.see(lines, centre, self._receiver.noise.scales(dwell[:1], ratio)):
            self._sorter.recombine(self._receiver.combine)

    def _whiten(self, kspace: KSpace) -> Whitened:
        """Combine the coils of k-space if that waited for the end."""
        whitened, is_new = self._receiver.finish(
            self._seen.dwell_times(), self._batch.readout_support
        )
        if is_new:
            kspace.recombine(self._receiver.combine)
            self._sorter.bins.recombine(self._receiver.combine)
        return whitened

    def _average_repetitions(self, kspace: KSpace) -> RealArray:
        """Make one k-space of all repetitions; return the phase that each had."""
        if kspace.n_repetitions == 1:
            return np.zeros((1, self._plan.n_echoes))
        phases = align_repetitions(kspace, self._seen.reference_repetition)
        kspace.fold()
        return phases

    def _calibration_block(self, centre: tuple[int, int], scales: RealArray) -> ComplexArray | None:
        """Return the calibration scan, of the same coils as k-space."""
        return self._calibration.block(centre, self._receiver.combine, 1 / np.sqrt(scales))

    def _noise_variances(self) -> RealArray | None:
        noise = self._receiver.noise
        return noise.variances if noise.n_coils else None

    def _is_after(self, stamp: float, time: float) -> bool:
        """Tell whether a time stamp [s] is later than a time since the first readout [s]."""
        return self._clock.has_stamps and self._clock.since_start(stamp) > time

    def _echo_warnings(self, n_echoes: int, n_repetitions: int) -> list[str]:
        warnings = []
        if n_echoes < self._plan.n_echoes:
            warnings.append(
                f"Only {n_echoes} of the {self._plan.n_echoes} announced echoes were measured."
            )
        if n_repetitions > 1:
            warnings.append(f"{n_repetitions} repetitions were averaged as complex data.")
        return warnings

    def _own_warnings(self, gating: GatingReport) -> list[str]:
        warnings = [f"{n} readouts: {note}." for note, n in self._batch.notes.items()]
        warnings += [f"{n} readouts were left out: {why}." for why, n in self._seen.skipped.items()]
        sorter = self._sorter
        if gating.method == "ungated":
            # Who switched gating off knows; the report repeats it, but it is no fault.
            if self._options.gating.is_on:
                warnings.append(f"The scan was not gated: {gating.reason}.")
        elif gating.efficiency is None or gating.efficiency < _LOW_EFFICIENCY:
            warnings.append(
                f"Only {gating.n_accepted} of {gating.n_heartbeats} heartbeats were accepted."
            )
        if gating.filled_from_rejected:
            warnings.append(
                f"{gating.filled_from_rejected} lines come from rejected heartbeats: no accepted "
                "one measured them."
            )
            if self._options.gating.tracking != "off" and gating.tracking_factor is None:
                warnings.append("They were not shifted: how far the heart moved is not known.")
        counts = (
            (self._n_spikes, "sparks were taken out of readouts"),
            (sorter.n_unusable_navigators, "navigator readouts could not be used"),
            (sorter.n_without_navigator, "readouts came before the first navigator"),
            (sorter.n_late_navigators, "navigator readouts came too late to be used"),
        )
        warnings += [f"{n} {what}." for n, what in counts if n]
        if gating.method != "ungated" and not self._clock.has_stamps:
            warnings.append("The readouts have no time stamps: their order of arrival was used.")
        return warnings
