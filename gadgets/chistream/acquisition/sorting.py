"""The order of work: hold what cannot be judged yet, sort the rest into k-space."""

from collections.abc import Callable

import numpy as np

from chistream.acquisition.gating import (
    GatingReport,
    Heartbeats,
    NavigatorTrack,
    heartbeat_of,
    judge_heartbeats,
    report_gating,
    report_ungated,
)
from chistream.acquisition.kspace import KSpace
from chistream.acquisition.lines import Lines
from chistream.acquisition.plan import AcquisitionOptions, EncodingPlan
from chistream.acquisition.readouts import Readout
from chistream.arrays import RealArray

_UNMATCHED = (False, np.inf)


class Sorter:
    """Judges readouts by their heartbeats and puts them into k-space.

    End-expiration is learnt from as many readouts as k-space has lines; until then they are held,
    and k-space is still empty. From then on the reference stays, each heartbeat is judged as soon
    as its navigators are in, and every line holds one value only. Memory is therefore that of
    k-space, plus a few heartbeats and the navigators' profiles.

    Readouts that arrive out of time order cannot be judged before the last one is in: a shuffled
    and gated scan is held as a whole, and gives the same result.

    Parameters
    ----------
    plan
        Sizes of the scan.
    options
        Window and switch of the navigator.
    noise_variances
        Gives the noise of each coil ``(coils,)`` when end-expiration is learnt, or None.
    """

    def __init__(
        self,
        plan: EncodingPlan,
        options: AcquisitionOptions,
        noise_variances: Callable[[], RealArray | None],
    ) -> None:
        self._plan, self._options = plan, options
        self._noise_variances = noise_variances
        self._navigators = NavigatorTrack(options.navigator_fov, options.navigator_window)
        self._held: list[Lines] = []
        self._line_times: list[RealArray] = []
        self._latest = -np.inf
        self._in_order = True
        self._is_gated = options.navigator_enabled
        self._kspace: KSpace | None = None
        self.n_late_navigators = 0
        self.n_without_navigator = 0

    @property
    def n_unusable_navigators(self) -> int:
        """Navigator readouts that were not finite, empty or of another shape."""
        return self._navigators.n_unusable

    def take_navigator(self, readout: Readout, time: float) -> None:
        """Take in a navigator readout, unless gating is off."""
        if not self._is_gated:
            self.n_late_navigators += self._options.navigator_enabled and not len(self._navigators)
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
        if self._navigators.is_learnt:
            self._release()
        elif sum(map(len, self._line_times)) >= self._n_lines:
            self._end_learning()

    def finish(self) -> tuple[KSpace | None, GatingReport]:
        """Judge and sort what is still held.

        Returns
        -------
        kspace : KSpace | None
            None if there was no imaging readout at all.
        report : GatingReport
            What gating did.
        """
        window = self._options.navigator_window
        if self._is_gated and not self._navigators.is_learnt:
            self._is_gated = self._learn()
        if not self._is_gated:
            self._put_all()
            return self._kspace, report_ungated(self._why_ungated(), window)
        beats, times = self._judge()
        while self._held:
            self._put(self._held.pop(), beats, times)
        filled = 0 if self._kspace is None else int(self._kspace.is_filled_from_rejected.sum())
        return self._kspace, report_gating(beats, window, self._navigators.reference, filled)

    @property
    def _n_lines(self) -> int:
        return self._plan.n_echoes * self._plan.encoded_size[0] * self._plan.encoded_size[1]

    def _why_ungated(self) -> str:
        if not self._options.navigator_enabled:
            return "gating is switched off"
        if self.n_late_navigators:
            return "the first navigator readout came after a whole k-space without any"
        if not len(self._navigators):
            return "the scan has no navigator readouts"
        return "no navigator readout could be used"

    def _notice(self, times: list[float] | RealArray) -> bool:
        """Keep track of time; tell whether these times step back."""
        sequence = np.concatenate([[self._latest], times])
        steps_back = bool((np.diff(sequence) < 0).any())
        self._in_order = self._in_order and not steps_back
        self._latest = float(sequence.max())
        return steps_back

    def _end_learning(self) -> None:
        if len(self._navigators) and not self._in_order:
            return
        if len(self._navigators) and self._learn():
            self._release()
        else:
            self._is_gated = False
            self._put_all()

    def _learn(self) -> bool:
        """Learn from the first readouts in time, however they arrived."""
        times = np.sort(np.concatenate(self._line_times)) if self._line_times else np.zeros(0)
        until = times[self._n_lines - 1] if len(times) >= self._n_lines else np.inf
        return self._navigators.learn(until, self._noise_variances())

    def _judge(self) -> tuple[Heartbeats, RealArray]:
        times, measured = self._navigators.by_time()
        beats = judge_heartbeats(
            times,
            measured,
            np.concatenate(self._line_times) if self._line_times else np.zeros(0),
            window=self._options.navigator_window,
            max_change=self._options.navigator_max_change,
        )
        return beats, times

    def _release(self) -> None:
        """Sort what no later navigator can change: it may follow a heartbeat, not two."""
        beats, times = self._judge()
        horizon = times[-2] if len(times) > 1 else -np.inf
        waiting = [lines for lines in self._held if lines.times.max() >= horizon]
        ready = [lines for lines in self._held if lines.times.max() < horizon]
        self._held = waiting
        while ready:  # what is sorted is let go at once
            self._put(ready.pop(), beats, times)

    def _put(self, lines: Lines, beats: Heartbeats, navigator_times: RealArray) -> None:
        kspace = self._room_for(lines)
        index = heartbeat_of(lines.times, navigator_times)
        for i, (beat, address) in enumerate(zip(index, lines.addresses, strict=True)):
            is_accepted, distance = (
                (beats.is_accepted[beat], beats.distance[beat]) if beat >= 0 else _UNMATCHED
            )
            self.n_without_navigator += beat < 0
            if is_accepted:
                kspace.accept(address, lines.values[i])
            else:
                kspace.stand_in(address, lines.values[i], distance, lines.times[i])

    def _put_all(self) -> None:
        while self._held:
            lines = self._held.pop()
            kspace = self._room_for(lines)
            for address, values in zip(lines.addresses, lines.values, strict=True):
                kspace.accept(address, values)

    def _room_for(self, lines: Lines) -> KSpace:
        if self._kspace is None:
            _, n_coils, nx = lines.values.shape
            nz, ny, _ = self._plan.encoded_size
            self._kspace = KSpace(self._plan.n_echoes, n_coils, (nz, ny, nx))
        return self._kspace
