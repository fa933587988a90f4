"""When the heart beats, how far it is contracted at any time, and which beats are triggers."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from chistream.arrays import IntArray, Mask, RealArray
from chistream_simulator.timing.breathing import Breathing

Q_TO_R = 0.04
"""From the onset of the QRS complex, which systolic time intervals count from, to its peak [s]."""

ISOVOLUMIC_RELAXATION = 0.06
RAPID_FILLING = 0.17
"""How long relaxation and rapid filling last after end-systole [s]."""

ATRIAL_SYSTOLE = 0.09
ATRIAL_KICK = 0.2
"""Before the next R peak the atria fill the ventricles beyond diastasis, for that long [s] and by
that part of their stroke."""

_COUPLING, _COUPLING_SPREAD = 0.6, 0.05
"""Interval before an ectopic beat, relative to the mean one."""


def end_systole(rr: RealArray) -> RealArray:
    r"""Time of end-systole after the R peak [s], for some RR intervals [s].

    .. math:: QS_2 = 546\,\mathrm{ms} - 2.1\,\mathrm{ms} \cdot HR

    less the time from Q to R; the heart rate HR is per minute.

    References
    ----------
    .. [1] Weissler AM, Harris WS, Schoenfeld CD. Systolic time intervals in heart failure in man.
       Circulation. 1968;37(2):149-159. doi:10.1161/01.CIR.37.2.149

    Examples
    --------
    >>> end_systole(np.array([0.6, 0.9, 1.2])).round(3).tolist()
    [0.296, 0.366, 0.401]
    """
    return 0.546 - 2.1e-3 * 60 / rr - Q_TO_R


def ejection_start(rr: RealArray) -> RealArray:
    r"""Time after the R peak at which the ventricles begin to empty [s].

    .. math:: PEP = QS_2 - LVET = 133\,\mathrm{ms} - 0.4\,\mathrm{ms} \cdot HR

    less the time from Q to R, from the same regressions as `end_systole`.
    """
    return 0.133 - 0.4e-3 * 60 / rr - Q_TO_R


@dataclass(frozen=True)
class Rhythm:
    """The beats of a heart.

    Parameters
    ----------
    peaks
        Times of the R peaks ``(n + 1,)`` [s], ascending, the first at 0.
    ectopic
        Whether each is one of an ectopic beat ``(n + 1,)``.
    seen
        Whether the trigger sees it ``(n + 1,)``; it sees the first one.
    """

    peaks: RealArray
    ectopic: Mask
    seen: Mask

    @property
    def triggers(self) -> RealArray:
        """Times of the R peaks that the scanner knows of [s]."""
        return self.peaks[self.seen]

    def since_trigger(self, times: RealArray) -> RealArray:
        """Time since the last R peak that the trigger saw [s]; what goes into the time stamps."""
        last = np.searchsorted(self.triggers, times, side="right") - 1
        since: RealArray = times - self.triggers[np.maximum(last, 0)]
        return since

    def contraction(self, times: RealArray) -> RealArray:
        """Contraction of the ventricles at some times [s].

        Parameters
        ----------
        times
            Any shape, between the first R peak and the last [s].

        Returns
        -------
        RealArray
            0 in diastasis, 1 at end-systole; down to -0.2 while the atria contract.

        Notes
        -----
        Each beat starts from where the last one has left the ventricles: after the kick, or, before
        an early beat, which has none, perhaps half filled.
        """
        beat = np.clip(np.searchsorted(self.peaks, times, side="right") - 1, 0, len(self.peaks) - 2)
        return self._level(times - self.peaks[beat], beat, self._starts[beat])

    @cached_property
    def _starts(self) -> RealArray:
        """Contraction ``(n,)`` at the beginning of each beat."""
        beats = np.arange(len(self.peaks) - 2)
        left = self._level(np.diff(self.peaks)[:-1], beats, np.full(len(beats), -ATRIAL_KICK))
        return np.concatenate([[-ATRIAL_KICK], left])

    def _level(self, since: RealArray, beat: IntArray, start: RealArray) -> RealArray:
        """Contraction at times since the R peaks of some beats, which began with a start."""
        rr = self.peaks[beat + 1] - self.peaks[beat]
        # The heart does not know when it will beat next: the last interval sets its systole.
        last = np.maximum(beat, 1)
        rate = self.peaks[last] - self.peaks[last - 1]
        begin, end = ejection_start(rate), end_systole(rate)
        emptied = np.sin(0.5 * np.pi * np.clip((since - begin) / (end - begin), 0, 1)) ** 2
        filled = np.clip((since - end - ISOVOLUMIC_RELAXATION) / RAPID_FILLING, 0, 1)
        # The squared cosine of a right angle is not quite 0.
        left = np.where(filled < 1, np.cos(0.5 * np.pi * filled) ** 2, 0.0)
        kicked = np.clip(1 - (rr - since) / ATRIAL_SYSTOLE, 0, 1) * ~self.ectopic[beat + 1]
        kick = ATRIAL_KICK * np.sin(0.5 * np.pi * kicked) ** 2
        level: RealArray = left * (start + (1 - start) * emptied) - kick
        return level


def make_rhythm(
    n: int,
    *,
    rr_interval: float,
    rr_jitter: float,
    rng: np.random.Generator,
    sinus_arrhythmia: float = 0.0,
    ectopic_rate: float = 0.0,
    missed_trigger_rate: float = 0.0,
    breathing: Breathing | None = None,
) -> Rhythm:
    """Make up the beats of a heart.

    Parameters
    ----------
    n
        Number of RR intervals.
    rr_interval
        Mean interval [s].
    rr_jitter
        Its standard deviation from beat to beat, relative; limited to three times that.
    rng
        Where chance comes from.
    sinus_arrhythmia
        How much an interval shortens in a mean inspiration against rest, relative.
    ectopic_rate
        Part of the beats that come early, never two in a row; the pause after one makes up for
        the time that it came early.
    missed_trigger_rate
        Part of the R peaks that the trigger does not see; it sees the first one.
    breathing
        What the sinus arrhythmia follows.

    Returns
    -------
    Rhythm
        n + 1 peaks, the first at 0.
    """
    intervals = rr_interval * (1 + rr_jitter * np.clip(rng.standard_normal(n), -3, 3))
    if sinus_arrhythmia and breathing is not None:
        # At the time that a beat without it would have: over a scan the changes cancel.
        descents = breathing.descent(np.cumsum(intervals))
        drawn = (descents - descents.mean()) / max(float(breathing.amplitudes.mean()), 1e-9)
        intervals *= 1 - sinus_arrhythmia * np.clip(drawn, -1, 1)
    ectopic = np.concatenate([[False], _apart(rng.random(n) < ectopic_rate)])
    early = np.flatnonzero(ectopic[:-1])
    coupling = _COUPLING + _COUPLING_SPREAD * np.clip(rng.standard_normal(len(early)), -2, 2)
    gained = (1 - coupling) * intervals[early - 1]
    intervals[early - 1] -= gained
    intervals[early] += gained
    seen = np.concatenate([[True], rng.random(n) >= missed_trigger_rate])
    return Rhythm(np.concatenate([[0.0], np.cumsum(intervals)]), ectopic, seen)


def _apart(wanted: Mask) -> Mask:
    """Drop every claim that directly follows another one that is kept."""
    kept = wanted.copy()
    for i in np.flatnonzero(wanted).tolist():
        kept[i] = i == 0 or not kept[i - 1]
    return kept
