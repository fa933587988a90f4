"""From positions to verdicts: the one place that knows the scheme of gating."""

from dataclasses import replace

import numpy as np

from chistream.acquisition.beats import (
    Heartbeats,
    Verdict,
    heartbeat_of,
    judge_heartbeats,
    regular_triggers,
    usual_interval,
)
from chistream.acquisition.gating import BANDWIDTH
from chistream.acquisition.gating_options import GatingOptions
from chistream.acquisition.positions import Track
from chistream.acquisition.runs import RunLog
from chistream.acquisition.windows import FollowedReference
from chistream.arrays import Mask, RealArray


class Judge:
    """Judges heartbeats by the options; what it once said of a settled heartbeat stays.

    Parameters
    ----------
    options
        How to judge.
    log
        Runs of readouts: triggers, and the scanner's own verdicts.
    """

    def __init__(self, options: GatingOptions, log: RunLog) -> None:
        self._options, self._log = options, log
        self._followed = FollowedReference(BANDWIDTH * options.window)
        self._usual_rr: float | None = None

    def learn(self, until: float) -> None:
        """Learn the usual RR interval from the triggers up to a time [s]."""
        self._usual_rr = usual_interval(self._log.triggers(until))

    def judge(self, track: Track, line_times: RealArray) -> tuple[Heartbeats, RealArray, RealArray]:
        """Judge all heartbeats.

        Parameters
        ----------
        track
            Positions; end-expiration is learnt.
        line_times
            Times of all imaging readouts, in any order [s].

        Returns
        -------
        beats : Heartbeats
            One for each position.
        starts : RealArray
            From when on each stands for the readouts that come ``(n,)``, ascending [s].
        wanted : RealArray
            Middle of the window at each ``(n,)`` [mm].
        """
        times, measured = track.by_time()
        starts = track.starts(times)
        follows = self._options.scheme == "drift"
        wanted = self._followed.at(times, measured) if follows else np.zeros(len(times))
        beats = judge_heartbeats(
            starts,
            measured,
            line_times,
            window=self._options.window,
            max_change=self._options.max_change,
            wanted=wanted,
            is_regular=self._is_regular(times),
            is_kept=self._is_kept(times) if self._options.accepts != "none" else None,
        )
        return beats, starts, wanted

    def _is_regular(self, times: RealArray) -> Mask:
        triggers = self._log.triggers()
        regular = regular_triggers(triggers, self._usual_rr, self._options.rr_tolerance)
        if not len(triggers):
            return np.ones(len(times), bool)
        index = np.clip(heartbeat_of(times, triggers), 0, None)
        return regular[index]

    def _is_kept(self, times: RealArray) -> Mask:
        """Take the verdict of the first run that begins with a navigator or after it."""
        runs = self._log.runs()
        starts, kept = np.array([(run.start, run.kept) for run in runs]).reshape(-1, 2).T
        index = np.searchsorted(starts, times)
        found = np.append(kept, np.nan)[index]
        is_kept: Mask = np.nan_to_num(found) != 0
        return is_kept


def moved_window(beats: Heartbeats, low: float, high: float) -> Heartbeats:
    """Judge steady heartbeats once more, by another window.

    Parameters
    ----------
    beats
        The heartbeats.
    low, high
        Lowest and highest displacement that is accepted [mm].

    Returns
    -------
    Heartbeats
        With new verdicts.
    """
    inside = (beats.displacement >= low) & (beats.displacement <= high)
    moved = np.where(inside, int(Verdict.ACCEPTED), int(Verdict.WINDOW))
    return replace(beats, verdict=np.where(beats.is_steady, moved, beats.verdict))
