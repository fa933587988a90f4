"""Readouts in, whitened k-space out: the stage's one entry."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from chistream.acquisition.calibration import CalibrationScan
from chistream.acquisition.centre import (
    CentreFinder,
    shift_lines_to_centre,
    shift_to_centre,
)
from chistream.acquisition.clock import Clock
from chistream.acquisition.completeness import find_missing
from chistream.acquisition.gating import GatingReport
from chistream.acquisition.lines import Line, ReadoutBatch
from chistream.acquisition.noise import NoiseReport, NoiseScan, whiten
from chistream.acquisition.plan import AcquisitionOptions, EncodingPlan
from chistream.acquisition.readouts import Readout, ReadoutKind, kind_of
from chistream.acquisition.sorting import Sorter
from chistream.acquisition.tracking import SlabAxes, estimate_factor, shift_back
from chistream.arrays import ComplexArray, Mask, RealArray, Vector
from chistream.errors import ReconstructionError

__all__ = ["AcquiredScan", "Acquisition", "AcquisitionOptions", "EncodingPlan"]

_LOW_EFFICIENCY = 0.25


class _Volume(NamedTuple):
    """Counters of which one 3D volume has one value each."""

    slice: int
    phase: int
    repetition: int
    set: int


@dataclass(frozen=True, eq=False)
class AcquiredScan:
    """A scan's k-space, and what became of its readouts.

    Parameters
    ----------
    hybrid
        ``(echoes, coils, z, y, x)`` complex64: image along x, with oversampling removed; k-space
        along z and y, centred at ``n // 2``. Unit: standard deviation of a complex noise sample,
        if the noise was measured.
    sampled
        Lines that hold data ``(echoes, z, y)``; the others are zero.
    region
        Part of k-space that the scan covers ``(z, y)``: lines that it left out in there are for
        parallel imaging to fill, those outside for partial Fourier.
    lattice
        Places ``(z, y)`` of a regular undersampling, all over k-space; everything without one.
    readout_support
        Samples of k-space along x that the readouts reached ``(x,)``; not all in asymmetric echoes.
    reversed_echoes
        Whether each echo was read backwards ``(echoes,)``.
    calibration
        A separate scan of the centre of k-space ``(echoes, coils, z, y, x)``, hybrid and whitened
        like ``hybrid`` and centred at ``n // 2`` too, zero where it has no line; None if there is
        none.
    noise
        What is known about the noise.
    gating
        What gating did.
    missing_lines
        Expected lines without data, by their counters.
    missing_fraction
        Their part of the expected lines, in [0, 1].
    n_readouts
        Readouts of each kind that came.
    warnings
        What a person should know, in plain words.
    """

    hybrid: ComplexArray
    sampled: Mask
    region: Mask
    lattice: Mask
    readout_support: Mask
    reversed_echoes: tuple[bool, ...]
    calibration: ComplexArray | None
    noise: NoiseReport
    gating: GatingReport
    missing_lines: tuple[Line, ...]
    missing_fraction: float
    n_readouts: dict[ReadoutKind, int]
    warnings: tuple[str, ...]


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
    Noise readouts may come at any time, so whitening waits for the end: it is a matrix over coils
    and commutes with everything that is done to a line before.
    """

    def __init__(self, plan: EncodingPlan, options: AcquisitionOptions | None = None) -> None:
        self._plan = plan
        self._options = AcquisitionOptions() if options is None else options
        self._noise = NoiseScan()
        self._batch = ReadoutBatch(plan.encoded_size[2], plan.kept_size[2])
        self._sorter = Sorter(plan, self._options.gating, self._noise_variances)
        self._waveforms: list[tuple[float, float, RealArray]] = []
        self._superior: Vector | None = None
        self._centre = CentreFinder()
        self._clock = Clock()
        self._calibration = CalibrationScan(plan)
        self._polarities: dict[int, set[bool]] = {}
        self._volume: _Volume | None = None
        self._dwell_times: dict[int, set[float]] = {}
        self._lengths: dict[int, int] = {}
        self._kinds: Counter[ReadoutKind] = Counter()
        self._skipped: Counter[str] = Counter()

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
        self._kinds[kind] += 1
        if self._options.phase_sign < 0:
            readout = replace(readout, samples=readout.samples.conj())
        is_calibration = kind is ReadoutKind.CALIBRATION
        if is_calibration and not self._plan.has_embedded_calibration:
            self._feed_calibration(readout)
        elif kind.is_imaging or is_calibration:
            self._feed_imaging(readout)
        elif kind is ReadoutKind.NAVIGATOR:
            # The sorter must see every line that came before its navigator.
            self._flush()
            self._sorter.take_navigator(readout, self._clock.time_of(readout))
        elif kind is ReadoutKind.NOISE:
            last = readout.samples.shape[1] - readout.discard_post
            self._noise.add(readout.samples[:, readout.discard_pre : last], readout.dwell_time)

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
        if self._batch.n_not_finite:
            self._skipped["samples that are not finite"] = self._batch.n_not_finite
        kspace, gating = self._sorter.finish()
        if kspace is None:
            kinds = ", ".join(f"{n} {kind.value}" for kind, n in self._kinds.items())
            others = f"only: {kinds}" if kinds else "nor any other"
            raise ReconstructionError("acquisition", f"no imaging readout came, {others}")
        self._refuse_many_skipped()
        centre, centre_warnings = self._centre.decide(self._plan, self._options.centre_source)
        # Headers may list more echo times than the sequence measured.
        n_echoes = int(np.flatnonzero(kspace.is_sampled.any(axis=(1, 2))).max()) + 1
        is_sampled = kspace.is_sampled[:n_echoes]
        missing = find_missing(is_sampled, self._plan, centre, self._options.max_missing_fraction)
        hybrid = kspace.mean()[:n_echoes]
        for echo, volume in enumerate(hybrid):  # one echo at a time: no second k-space
            hybrid[echo] = shift_to_centre(volume, centre)
        gating = self._track(hybrid, gating, centre)
        dwell_times, ratio = self._echo_dwell_times(), self._plan.noise_bandwidth_ratio
        noise, noise_warnings = whiten(hybrid, self._noise, dwell_times[:n_echoes], ratio)
        calibration = self._calibration.block(centre)
        if calibration is not None:
            whiten(calibration, self._noise, dwell_times[: len(calibration)], ratio)
        own = self._own_warnings(gating)
        return AcquiredScan(
            hybrid=hybrid,
            sampled=shift_lines_to_centre(is_sampled, centre),
            region=shift_lines_to_centre(missing.region, centre),
            lattice=shift_lines_to_centre(missing.lattice, centre),
            readout_support=self._batch.readout_support,
            reversed_echoes=tuple(self._polarities.get(e) == {True} for e in range(n_echoes)),
            calibration=calibration,
            noise=noise,
            gating=gating,
            missing_lines=missing.lines,
            missing_fraction=missing.fraction,
            n_readouts=dict(self._kinds),
            warnings=(
                *own,
                *self._echo_warnings(n_echoes),
                *noise_warnings,
                *centre_warnings,
                *missing.warnings,
            ),
        )

    def _feed_calibration(self, readout: Readout) -> None:
        address = self._address_of(readout)
        if address is not None:
            self._calibration.add(readout, address)

    def _feed_imaging(self, readout: Readout) -> None:
        self._refuse_second_volume(readout)
        time = self._clock.time_of(readout)
        address = self._address_of(readout)
        if address is None or not self._has_usual_length(readout):
            return
        self._centre.see(readout)
        if self._waveforms:
            self._pass_waveforms_on()
        self._sorter.take_head(readout, time)
        self._polarities.setdefault(address.echo, set()).add(readout.is_reversed)
        self._dwell_times.setdefault(address.echo, set()).add(readout.dwell_time)
        if self._batch.is_full:
            self._flush()
        self._batch.put(readout, address, time)

    def _has_usual_length(self, readout: Readout) -> bool:
        """Tell whether a readout is as long as the first of its echo; count it as left out if not.

        Where a shorter one belongs cannot be told: what its sender lost may be either end.
        """
        n = int(readout.samples.shape[1])
        usual = self._lengths.setdefault(readout.contrast, n)
        if n != usual:
            self._skipped[f"{n} samples where others of echo {readout.contrast} have {usual}"] += 1
        return n == usual

    def _address_of(self, readout: Readout) -> Line | None:
        """Return where a readout belongs; count it as left out if that is beyond k-space."""
        address = Line(readout.contrast, readout.encode_step_2, readout.encode_step_1)
        nz, ny, _ = self._plan.encoded_size
        if address.echo < self._plan.n_echoes and address.step_2 < nz and address.step_1 < ny:
            return address
        reason = f"counters beyond {self._plan.n_echoes} echoes, {nz} partitions, {ny} lines"
        self._skipped[reason] += 1
        return None

    def _pass_waveforms_on(self) -> None:
        for stamp, step, values in self._waveforms:
            self._sorter.take_respiration(self._clock.since_start(stamp), step, values)
        self._waveforms.clear()

    def _track(
        self, hybrid: ComplexArray, gating: GatingReport, centre: tuple[int, int]
    ) -> GatingReport:
        """Shift lines back by the heart's displacement, if that is asked for and possible."""
        options, positions = self._options.gating, self._sorter.line_positions
        fov = self._plan.encoded_fov
        if options.tracking == "off" or positions is None or fov is None or self._superior is None:
            return gating
        z, y, x = (f / n for f, n in zip(fov, self._plan.encoded_size, strict=True))
        axes = SlabAxes(self._superior, (z, y, x))
        factor: float | None = options.tracking_factor - options.prospective_tracking
        if options.tracking == "estimate":
            size = self._plan.encoded_size[:2]
            factor = estimate_factor(replace(self._sorter.central, centre=centre), size, axes)
        if factor is None:
            return gating
        shift_back(hybrid, shift_lines_to_centre(positions[: len(hybrid)], centre), factor, axes)
        return replace(gating, tracking_factor=factor + options.prospective_tracking)

    def _flush(self) -> None:
        self._sorter.take_lines(self._batch.take())

    def _refuse_second_volume(self, readout: Readout) -> None:
        volume = _Volume(readout.slice, readout.phase, readout.repetition, readout.set)
        if self._volume is None:
            self._volume = volume
        if volume != self._volume:
            (name, one, other) = next(
                (name, one, other)
                for name, one, other in zip(_Volume._fields, self._volume, volume, strict=True)
                if one != other
            )
            raise ReconstructionError(
                "acquisition",
                f"the scan has more than one {name} ({one} and {other}): only one 3D volume with "
                "its echoes can be reconstructed; send a single 3D slab without repetitions",
            )

    def _refuse_many_skipped(self) -> None:
        n_imaging = sum(n for kind, n in self._kinds.items() if kind.is_imaging)
        n_skipped = self._skipped.total()
        if n_skipped > self._options.max_missing_fraction * n_imaging:
            reasons = ", ".join(f"{n} with {reason}" for reason, n in self._skipped.items())
            raise ReconstructionError(
                "acquisition",
                f"{n_skipped} of {n_imaging} imaging readouts cannot be used: {reasons}",
            )

    def _noise_variances(self) -> RealArray | None:
        return self._noise.variances if self._noise.n_coils else None

    def _echo_dwell_times(self) -> RealArray:
        """Give the dwell time of each echo [s], 0 where its readouts disagree."""
        known = (self._dwell_times.get(echo, set()) for echo in range(self._plan.n_echoes))
        return np.array([next(iter(times)) if len(times) == 1 else 0.0 for times in known])

    def _echo_warnings(self, n_echoes: int) -> list[str]:
        if n_echoes == self._plan.n_echoes:
            return []
        return [f"Only {n_echoes} of the {self._plan.n_echoes} announced echoes were measured."]

    def _own_warnings(self, gating: GatingReport) -> list[str]:
        warnings = [f"{n} readouts: {note}." for note, n in self._batch.notes.items()]
        warnings += [f"{n} readouts were left out: {why}." for why, n in self._skipped.items()]
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
            (sorter.n_unusable_navigators, "navigator readouts could not be used"),
            (sorter.n_without_navigator, "readouts came before the first navigator"),
            (sorter.n_late_navigators, "navigator readouts came too late to be used"),
        )
        warnings += [f"{n} {what}." for n, what in counts if n]
        if gating.method != "ungated" and not self._clock.has_stamps:
            warnings.append("The readouts have no time stamps: their order of arrival was used.")
        return warnings
