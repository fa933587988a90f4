"""What is taken out of the lines of k-space once all are in: motion, and a drifting frequency."""

from dataclasses import dataclass, replace

import numpy as np

from chistream.acquisition.centre import shift_lines_to_centre, shift_to_centre
from chistream.acquisition.frequency_drift import (
    FrequencyDrift,
    estimate_drift,
    is_told_apart,
    remove_drift,
)
from chistream.acquisition.gating import GatingReport
from chistream.acquisition.kspace import KSpace
from chistream.acquisition.motion_bins import MotionBin
from chistream.acquisition.plan import AcquisitionOptions, EncodingPlan
from chistream.acquisition.tracking import (
    CentralLines,
    HeartMotion,
    SlabAxes,
    estimate_motion,
    shift_back,
)
from chistream.arrays import ComplexArray, Mask, RealArray, Vector

_NOT_TOLD_APART = (
    "A drift of the centre frequency was not looked for: the diaphragm moved one way all the time, "
    "and the two cannot be told apart."
)


@dataclass(eq=False)
class LineCorrections:
    """Corrections that are found once, and hold for all lines of a scan.

    Parameters
    ----------
    plan
        How the scan encodes its volume.
    options
        What a person chose.
    superior
        Direction towards the head along ``(z, y, x)``; None if it is not known.
    centre
        Counters ``(z, y)`` of the centre of k-space.
    """

    plan: EncodingPlan
    options: AcquisitionOptions
    superior: Vector | None
    centre: tuple[int, int]

    def __post_init__(self) -> None:
        self._motion: HeartMotion | None = None
        self._drift: FrequencyDrift | None = None
        self._when: RealArray = np.zeros(0)
        self._frequencies: RealArray = np.zeros(0)

    def track(
        self,
        hybrid: ComplexArray,
        positions: RealArray | None,
        lines: CentralLines,
        gating: GatingReport,
    ) -> GatingReport:
        """Shift lines back by the heart's displacement, if that is asked for and possible.

        Parameters
        ----------
        hybrid
            ``(echoes, coils, z, y, x)``, centred; changed in place.
        positions
            Displacement of the diaphragm for each line ``(echoes, z, y)`` [mm], by counters; None
            without gating.
        lines
            What the heart's motion is estimated from.
        gating
            The report.

        Returns
        -------
        GatingReport
            With the factor that was used.
        """
        options, axes = self.options.gating, self._axes
        if options.tracking == "off" or positions is None or axes is None:
            return gating
        motion: HeartMotion | None = HeartMotion(
            options.tracking_factor - options.prospective_tracking
        )
        if options.tracking == "estimate":
            size = self.plan.encoded_size[:2]
            motion = estimate_motion(replace(lines, centre=self.centre), size, axes)
        if motion is None:
            return gating
        self._motion = motion
        self._shift_back(hybrid, positions)
        return replace(gating, tracking_factor=motion.factor + options.prospective_tracking)

    def remove_drift(
        self,
        hybrid: ComplexArray,
        sampled: Mask,
        times: RealArray | None,
        positions: RealArray | None,
    ) -> tuple[float | None, tuple[str, ...]]:
        """Take a drift of the centre frequency out of lines.

        Parameters
        ----------
        hybrid
            ``(echoes, coils, z, y, x)``, centred; changed in place.
        sampled
            Lines that hold data ``(echoes, z, y)``, centred.
        times, positions
            When each line was measured, and where the diaphragm was ``(echoes, z, y)``, by
            counters [s] and [mm]; None if it is not known.

        Returns
        -------
        span : float | None
            Largest less smallest offset that was taken out [Hz]; None if none was.
        warnings : tuple[str, ...]
            What a person should know.
        """
        TE = self.plan.echo_times[: len(hybrid)]
        if not self.options.removes_drift or len(TE) < len(hybrid) or times is None:
            return None, ()
        when = shift_lines_to_centre(times[:1], self.centre)[0]
        where = None
        if positions is not None:
            where = shift_lines_to_centre(positions[:1], self.centre)[0]
            if not is_told_apart(when, where, sampled):
                return None, (_NOT_TOLD_APART,)
        drift = estimate_drift(hybrid, sampled, TE, when, where)
        if drift is None:
            return None, ()
        remove_drift(hybrid, TE, drift)
        self._remember(drift, when, where, sampled[0])
        return drift.span, ()

    def correct_bin(self, kspace: KSpace, scales: RealArray, n_echoes: int) -> MotionBin:
        """Correct the lines of a bin as those of the window were.

        Parameters
        ----------
        kspace
            The bin's lines; spent.
        scales
            What to multiply each echo with ``(echoes,)``.
        n_echoes
            Echoes that were measured.

        Returns
        -------
        MotionBin
            Centred.
        """
        measured: RealArray = kspace.counts[:n_echoes].astype(float)
        counts = shift_lines_to_centre(measured, self.centre)
        positions, times = kspace.positions[:n_echoes], kspace.times[:n_echoes]
        hybrid = kspace.mean(scales)[:n_echoes]
        for volume in hybrid:
            shift_to_centre(volume, self.centre)
        if self._motion is not None:
            self._shift_back(hybrid, positions)
        if self._drift is not None:
            self._follow(hybrid, times, positions)
        return MotionBin(hybrid, counts, float(positions[measured > 0].mean()))

    @property
    def _axes(self) -> SlabAxes | None:
        spacing = self.plan.voxel_size
        if spacing is None or self.superior is None:
            return None
        return SlabAxes(self.superior, spacing)

    def _shift_back(self, hybrid: ComplexArray, positions: RealArray) -> None:
        axes, motion = self._axes, self._motion
        if axes is not None and motion is not None:
            where = shift_lines_to_centre(positions[: len(hybrid)], self.centre)
            shift_back(hybrid, where, motion, axes)

    def _remember(
        self, drift: FrequencyDrift, when: RealArray, where: RealArray | None, known: Mask
    ) -> None:
        """Keep the drift as a function of time, for lines at other times."""
        breathing = 0.0 if where is None else drift.per_mm * where
        order = np.argsort(when[known])
        self._drift = drift
        self._when = when[known][order]
        self._frequencies = (drift.offsets - breathing)[known][order]

    def _follow(self, hybrid: ComplexArray, times: RealArray, positions: RealArray) -> None:
        drift = self._drift
        if drift is not None:
            when, where = (shift_lines_to_centre(a[:1], self.centre)[0] for a in (times, positions))
            offsets = np.interp(when, self._when, self._frequencies) + drift.per_mm * where
            TE = self.plan.echo_times[: len(hybrid)]
            remove_drift(hybrid, TE, replace(drift, offsets=offsets.astype(np.float32)))
