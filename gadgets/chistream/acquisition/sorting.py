"""The order of work: hold what cannot be judged yet, sort the rest into k-space."""

import math
from collections.abc import Callable

import numpy as np

from chistream.acquisition.beats import Heartbeats, Verdict, heartbeat_of
from chistream.acquisition.candidates import Offer
from chistream.acquisition.gating import BANDWIDTH, GatingReport, report_gating, report_ungated
from chistream.acquisition.gating_options import GatingOptions, field_reader
from chistream.acquisition.judging import Judge, moved_window
from chistream.acquisition.kspace import KSpace
from chistream.acquisition.lines import Lines
from chistream.acquisition.motion_bins import MotionBins
from chistream.acquisition.plan import EncodingPlan
from chistream.acquisition.positions import BeltTrack, NavigatorTrack, ReportedTrack, Track
from chistream.acquisition.readouts import Readout
from chistream.acquisition.runs import Run, RunLog
from chistream.acquisition.self_navigation import SelfTrack
from chistream.acquisition.tracking import CentralLines
from chistream.acquisition.windows import choose_window
from chistream.arrays import ComplexArray, RealArray, Size

_LEARNT_FROM = 80
"""Navigators that end-expiration is learnt from: two a heartbeat, some ten breaths."""

_SOFTNESS = 1 / 4
"""Deviation of the soft weights, as a part of the window: its ends count an eighth."""

_SOFT_REACH = 1.0
"""Distance, as a part of the window, beyond which a measurement only stands in."""


class Sorter:
    """Judges readouts by their heartbeats and puts them into k-space.

    End-expiration is learnt from the first 80 navigators, or from as many readouts as k-space has
    lines if that is less; until then readouts are held, and k-space is still empty. From then on
    the reference stays, each heartbeat is judged as soon as its navigators are in, and every line
    holds one value only. Memory is therefore that of k-space, plus a few heartbeats and the
    navigators' profiles; schemes that choose their window at the end keep as much again in reserve.

    Readouts that arrive out of time order cannot be judged before the last one is in: a shuffled
    and gated scan is held as a whole, and gives the same result.

    Parameters
    ----------
    plan
        Sizes of the scan.
    options
        How to gate.
    noise_variances
        Gives the noise of each coil ``(coils,)`` when end-expiration is learnt, or None.
    combine
        Makes of lines ``(n, coils, x)`` what k-space is to hold of them.
    """

    def __init__(
        self,
        plan: EncodingPlan,
        options: GatingOptions,
        noise_variances: Callable[[], RealArray | None],
        combine: Callable[[ComplexArray], ComplexArray],
    ) -> None:
        self._plan, self._options = plan, options
        self._combine = combine
        self._noise_variances = noise_variances
        self._log = RunLog()
        bandwidth = BANDWIDTH * options.window
        self._navigators = NavigatorTrack(options.column, bandwidth, options.estimator)
        self._belt = BeltTrack(self._log, bandwidth)
        self._reported = ReportedTrack(self._log, options.unit, bandwidth)
        self._self = SelfTrack(bandwidth)
        self._judge = Judge(options, self._log)
        self._read_position = field_reader(options.source)
        self._read_verdict = field_reader(options.accepts)
        self._track: Track | None = None
        self._held: list[Lines] = []
        self._line_times: list[RealArray] = []
        self._n_seen = 0
        self._latest = -np.inf
        self._in_order = True
        self._is_gated = options.is_on
        self._kspace: KSpace | None = None
        self.central = CentralLines(plan.centre)
        self.bins = MotionBins(options.n_outer_bins, options.window)
        self.n_late_navigators = 0
        self.n_without_navigator = 0

    @property
    def kspace(self) -> KSpace | None:
        """K-space as it is now; None before the first line is in."""
        return self._kspace

    @property
    def n_unusable_navigators(self) -> int:
        """Navigator readouts that were not finite, empty, of another shape, or too noisy."""
        return self._navigators.n_unusable

    @property
    def line_positions(self) -> RealArray | None:
        """Mean displacement at each line ``(echoes, z, y)`` [mm]; None without gating."""
        return self._kspace.positions if self._is_gated and self._kspace is not None else None

    @property
    def line_times(self) -> RealArray | None:
        """Mean time of each line ``(echoes, z, y)`` [s]; None before there is any."""
        return None if self._kspace is None else self._kspace.times

    def take_head(self, readout: Readout, time: float) -> None:
        """Take note of what the head of an imaging readout says of its heartbeat."""
        if self._is_gated:
            since = readout.time_since_trigger
            self._log.note(
                Run(
                    time,
                    time,
                    time - since if since > 0 else np.nan,
                    np.nan if self._read_position is None else self._read_position(readout),
                    np.nan if self._read_verdict is None else self._read_verdict(readout),
                )
            )

    def take_respiration(self, start: float, step: float, values: RealArray) -> None:
        """Take in a piece of a belt's waveform ``(n,)`` from a time on [s], in steps [s]."""
        if self._is_gated and len(values) and np.isfinite(values).all():
            self._belt.add(start, step, values)

    def take_navigator(self, readout: Readout, time: float) -> None:
        """Take in a navigator readout, unless gating is off."""
        if not self._is_gated:
            self.n_late_navigators += self._options.is_on and not len(self._navigators)
            return
        is_late = self._notice([time]) and self._navigators.is_learnt
        self.n_late_navigators += is_late
        self._navigators.add(readout, time)

    def take_lines(self, lines: Lines) -> None:
        """Take in imaging readouts, in hybrid space."""
        if not len(lines):
            return
        self._notice(lines.times)
        self._held.append(lines)
        if not self._is_gated:
            self._put_all()
            return
        self._line_times.append(lines.times)
        self._n_seen += len(lines)
        if self._navigates_itself:
            self._self.add(lines)
        if self._track is not None:
            self._release(self._track)
        elif self._n_seen >= self._n_lines or self._n_positions > _LEARNT_FROM + 1:
            self._end_learning()

    def recombine(self, combine: Callable[[ComplexArray], ComplexArray]) -> None:
        """Combine the coils of all that is in k-space; what is held has not been combined yet."""
        if self._kspace is not None:
            self._kspace.recombine(combine)
            self.bins.recombine(combine)

    def progress(self) -> GatingReport:
        """Sum up what gating did so far; k-space stays as it is."""
        if self._track is None:
            waiting = "end-expiration is not known yet" if self._is_gated else self._why_ungated()
            return self._ungated(waiting)
        beats, _, wanted = self._judge.judge(self._track, self._times_of_lines())
        return self._report(beats, self._window_at(wanted))

    def finish(self) -> tuple[KSpace | None, GatingReport]:
        """Judge and sort what is still held.

        Returns
        -------
        kspace : KSpace | None
            None if there was no imaging readout at all.
        report : GatingReport
            What gating did.
        """
        if self._is_gated and self._track is None:
            self._is_gated = self._learn()
        if self._track is None:
            self._put_all()
            return self._kspace, self._ungated(self._why_ungated())
        beats, starts, wanted = self._judge.judge(self._track, self._times_of_lines())
        while self._held:
            self._put(self._held.pop(), beats, starts)
        window = self._window_at(wanted)
        if self._options.chooses_window and self._kspace is not None:
            candidates = self._kspace.candidates()
            window = choose_window(*candidates, self._options.scheme, window)
            beats = moved_window(beats, *window)
            self._kspace.decide(*window)
        return self._kspace, self._report(beats, window)

    @property
    def _shape(self) -> Size:
        """Lines of k-space ``(echoes, z, y)``."""
        return self._plan.n_echoes, *self._plan.encoded_size[:2]

    @property
    def _n_lines(self) -> int:
        return math.prod(self._shape)

    @property
    def _n_positions(self) -> int:
        track = self._wanted_track()
        return 0 if track is None else len(track.times())

    @property
    def _completeness(self) -> float:
        """Part of the lines that limits and acceleration announce that has been accepted."""
        (first_z, last_z), (first_y, last_y) = self._plan.limits or (
            (0, self._plan.encoded_size[0] - 1),
            (0, self._plan.encoded_size[1] - 1),
        )
        n_places = (last_z - first_z + 1) * (last_y - first_y + 1)
        expected = self._plan.n_echoes * n_places / math.prod(self._plan.acceleration)
        accepted = 0 if self._kspace is None else self._kspace.n_accepted
        return min(1.0, accepted / expected)

    @property
    def _navigates_itself(self) -> bool:
        """Whether positions come, or may come, from the lines themselves."""
        if self._track is not None:
            return self._track is self._self
        has_other = len(self._navigators) or len(self._belt)
        source = self._options.source
        return source == "self" or (source == "auto" and not has_other)

    def _wanted_track(self) -> Track | None:
        """Tell where positions come from, as far as there are any."""
        source = self._options.source
        if self._options.is_reported:
            return self._reported
        if source in {"auto", "profile"} and len(self._navigators):
            return self._navigators
        if source in {"auto", "respiration"} and len(self._belt):
            return self._belt
        if source in {"auto", "self"} and len(self._self):
            return self._self
        return self._reported if self._options.accepts != "none" else None

    def _ungated(self, reason: str) -> GatingReport:
        return report_ungated(reason, self._options.window, self._completeness)

    def _why_ungated(self) -> str:
        if not self._options.is_on:
            return "gating is switched off"
        if self.n_late_navigators:
            return "the first navigator readout came after a whole k-space without any"
        if self._options.source == "respiration":
            return "the scan has no usable respiratory waveform"
        if len(self._navigators):
            return "no navigator readout could be used"
        if len(self._self):
            return "the repeated lines of k-space show no breathing"
        if self._options.source == "self":
            return "no line of k-space is measured again in every heartbeat"
        return "the scan has no navigator readouts"

    def _notice(self, times: list[float] | RealArray) -> bool:
        """Keep track of time; tell whether these times step back."""
        sequence = np.concatenate([[self._latest], times])
        steps_back = bool((np.diff(sequence) < 0).any())
        self._in_order = self._in_order and not steps_back
        self._latest = float(sequence.max())
        return steps_back

    def _end_learning(self) -> None:
        track = self._wanted_track()
        # Waveforms may follow all readouts; lines out of order may yet turn out to be repeated.
        may_come = self._options.source == "respiration" or (
            self._navigates_itself and not self._in_order
        )
        if track is None and not may_come:
            self._is_gated = False
            self._put_all()
        if track is None or not self._in_order or not track.covers(self._until(track)):
            return
        if self._learn():
            self._release(track)
        else:
            self._is_gated = False
            self._put_all()

    def _until(self, track: Track) -> float:
        """Time up to which is learnt, however readouts arrived."""
        lines = np.sort(np.concatenate(self._line_times)) if self._line_times else np.zeros(0)
        ends = [lines[self._n_lines - 1]] if len(lines) >= self._n_lines else []
        positions = track.times()
        ends += [positions[_LEARNT_FROM - 1]] if len(positions) >= _LEARNT_FROM else []
        return float(min(ends, default=np.inf))

    def _learn(self) -> bool:
        track = self._wanted_track()
        if track is None:
            return False
        until = self._until(track)
        if track.learn(until, self._noise_variances()):
            self._judge.learn(until)
            times, found = track.by_time()
            self.bins.learn(found[times <= until])
            self._track = track
            if track is not self._self:
                self._self.forget()
        return self._track is not None

    def _times_of_lines(self) -> RealArray:
        if self._track is self._navigators:
            return np.concatenate(self._line_times) if self._line_times else np.zeros(0)
        return np.array([t for run in self._log.runs() for t in (run.start, run.end)])

    def _release(self, track: Track) -> None:
        """Sort what no later navigator can change: it may follow a heartbeat, not two."""
        horizon = track.settled()
        waiting = [lines for lines in self._held if lines.times.max() >= horizon]
        if len(waiting) == len(self._held):
            return
        beats, starts, _ = self._judge.judge(track, self._times_of_lines())
        ready = [lines for lines in self._held if lines.times.max() < horizon]
        self._held = waiting
        while ready:  # what is sorted is let go at once
            self._put(ready.pop(), beats, starts)

    def _put(self, lines: Lines, beats: Heartbeats, starts: RealArray) -> None:
        kspace, combined = self._room_for(lines)
        index, is_steady = heartbeat_of(lines.times, starts), beats.is_steady
        for i, (beat, line) in enumerate(zip(index, lines.addresses, strict=True)):
            self.n_without_navigator += beat < 0
            when, values = float(lines.times[i]), combined[i]
            if beat < 0:
                kspace.offer(line, values, Offer(np.inf, when, np.nan, is_steady=False))
                continue
            position = float(beats.displacement[beat])
            steady = bool(is_steady[beat])
            # What the scanner rejected counts here alone: it moved, and tells how far.
            tells_motion = steady or self._options.accepts != "none"
            if tells_motion and self._options.tracking == "estimate":
                first = line._replace(echo=line.echo % self._plan.n_echoes)
                self.central.see(first, when, position, lines.values[i])
            if beats.verdict[beat] == Verdict.WINDOW:
                self.bins.see(line, values, position, when, self._shape)
            weight = self._weight(beats, int(beat))
            if weight:
                kspace.weigh(line, values, position, weight, time=when)
                continue
            kspace.offer(line, values, Offer(float(beats.distance[beat]), when, position, steady))

    def _weight(self, beats: Heartbeats, beat: int) -> float:
        """How much a heartbeat counts as it comes; 0 if its line has to wait for a better one."""
        if self._options.chooses_window:
            return 0.0
        if self._options.scheme != "soft" or self._options.accepts != "none":
            return float(beats.is_accepted[beat])
        distance = beats.distance[beat]
        if not beats.is_steady[beat] or distance > _SOFT_REACH * self._options.window:
            return 0.0
        return float(np.exp(-0.5 * (distance / (_SOFTNESS * self._options.window)) ** 2))

    def _window_at(self, wanted: RealArray) -> tuple[float, float]:
        middle = float(wanted[-1]) if len(wanted) else 0.0
        return middle - self._options.window / 2, middle + self._options.window / 2

    def _report(self, beats: Heartbeats, window: tuple[float, float]) -> GatingReport:
        track = self._track or self._navigators
        kspace = self._kspace
        return report_gating(
            beats,
            method=track.method,
            scheme=self._options.scheme,
            window=window,
            reference=track.reference,
            filled_from_rejected=0 if kspace is None else int(kspace.is_filled_from_rejected.sum()),
            navigator_snr=self._navigators.snr if track is self._navigators else None,
            completeness=self._completeness,
        )

    def _put_all(self) -> None:
        self._self.forget()
        while self._held:
            lines = self._held.pop()
            kspace, combined = self._room_for(lines)
            each = zip(lines.addresses, combined, lines.times.tolist(), strict=True)
            for address, values, when in each:
                kspace.weigh(address, values, 0.0, time=when)

    def _room_for(self, lines: Lines) -> tuple[KSpace, ComplexArray]:
        combined = self._combine(lines.values)
        if self._kspace is None:
            _, n_coils, nx = combined.shape
            nz, ny, _ = self._plan.encoded_size
            self._kspace = KSpace(
                self._plan.n_echoes,
                n_coils,
                (nz, ny, nx),
                keeps_reserve=self._is_gated and self._options.chooses_window,
            )
        return self._kspace, combined
