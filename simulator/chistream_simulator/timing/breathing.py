"""How a patient breathes, drifts and coughs: the position of the diaphragm at any time."""

from dataclasses import dataclass, field

import numpy as np

from chistream.arrays import RealArray

_LEAD = 2
"""Breaths before time zero, so that a recording may start anywhere in one."""

_GASP, _GASP_WIDTH = -0.45, 0.15
_BURST_WIDTH = 0.08
_GASP_PART = 0.6
"""A cough: a gasp 0.45 s before the burst [s], as deep as this part of the burst is high."""

_COUGH_REACH = 2.0
"""Time around the burst outside which a cough is over [s]."""


@dataclass(frozen=True)
class Breathing:
    r"""Descent of the diaphragm below the end-expiratory position that the scan starts with.

    .. math:: d(t) = A_i \sin^{2p}\!\left(\pi \frac{t - t_i}{T_i}\right) + \dot d \, t
              + e(t) + \mathrm{coughs}(t)

    in breath i; a larger p dwells longer at end-expiration. No breath need end where the last one
    did: e goes straight from one end to the next. A cough is a gasp downwards and a burst upwards,
    above the end-expiratory position. Descents may be negative.

    Parameters
    ----------
    starts
        Times at which breaths start and the last one ends ``(n + 1,)`` [s], ascending.
    amplitudes
        A of each breath ``(n,)`` [mm].
    dwell
        p.
    drift
        Of the end-expiratory position, downwards [mm/s].
    coughs
        Times of the bursts ``(m,)`` [s], ascending.
    cough_amplitude
        Rise of the diaphragm in a burst [mm].
    ends
        e where breaths start and the last one ends ``(n + 1,)`` [mm]; empty: zero.

    References
    ----------
    .. [1] Lujan AE, et al. A method for incorporating organ motion due to breathing into 3D dose
       calculations. Med Phys. 1999;26(5):715-720. doi:10.1118/1.598577
    """

    starts: RealArray
    amplitudes: RealArray
    dwell: float
    drift: float = 0.0
    coughs: RealArray = field(default_factory=lambda: np.zeros(0))
    cough_amplitude: float = 0.0
    ends: RealArray = field(default_factory=lambda: np.zeros(0))

    def descent(self, times: RealArray) -> RealArray:
        """Descent of the diaphragm [mm] at some times [s]."""
        breath = np.searchsorted(self.starts, times, side="right") - 1
        breath = np.clip(breath, 0, len(self.amplitudes) - 1)
        length = self.starts[breath + 1] - self.starts[breath]
        phase = (times - self.starts[breath]) / length
        tidal = self.amplitudes[breath] * np.abs(np.sin(np.pi * phase)) ** (2 * self.dwell)
        ends = np.interp(times, self.starts, self.ends) if len(self.ends) else 0.0
        result: RealArray = tidal + ends + self.drift * times + self._coughing(times)
        return result

    def _coughing(self, times: RealArray) -> RealArray:
        if not len(self.coughs):
            return np.zeros(np.shape(times))
        # The nearest cough alone: coughs are kept farther apart than they last.
        after = np.clip(np.searchsorted(self.coughs, times), 0, len(self.coughs) - 1)
        before = np.maximum(after - 1, 0)
        since_after, since_before = times - self.coughs[after], times - self.coughs[before]
        near_after = np.abs(since_after) < np.abs(since_before)
        since = np.where(near_after, since_after, since_before)
        gasp = _GASP_PART * np.exp(-0.5 * ((since - _GASP) / _GASP_WIDTH) ** 2)
        burst = np.exp(-0.5 * (since / _BURST_WIDTH) ** 2)
        result: RealArray = self.cough_amplitude * (gasp - burst)
        return result


def breathe(
    duration: float,
    *,
    amplitude: float,
    period: float,
    dwell: float,
    irregularity: float,
    rng: np.random.Generator,
    drift: float = 0.0,
    cough_rate: float = 0.0,
    cough_amplitude: float = 0.0,
    end_jitter: float = 0.0,
) -> Breathing:
    """Make up a patient's breathing.

    Parameters
    ----------
    duration
        Time to cover, from 0 [s].
    amplitude
        Mean descent of the diaphragm [mm].
    period
        Mean length of a breath [s].
    dwell
        Exponent, see Breathing.
    irregularity
        Standard deviation of amplitude and period from breath to breath, relative; limited to
        twice that.
    rng
        Where chance comes from.
    drift
        Of the end-expiratory position, downwards [mm/min].
    cough_rate
        Coughs per minute, at random times at least two seconds apart.
    cough_amplitude
        Rise of the diaphragm in a cough [mm].
    end_jitter
        Standard deviation of where breaths end [mm]; limited to twice that.

    Returns
    -------
    Breathing
        The breaths.
    """
    shortest = period * (1 - 2 * irregularity)
    n = int(np.ceil(duration / shortest)) + 2 * _LEAD
    change = 1 + irregularity * np.clip(rng.standard_normal((2, n)), -2, 2)
    periods = period * change[0]
    starts = np.concatenate([[0.0], np.cumsum(periods)]) - period * (1 + rng.random())
    coughs = _cough_times(duration, cough_rate / 60, rng)
    ends = end_jitter * np.clip(rng.standard_normal(n + 1), -2, 2)
    return Breathing(
        starts, amplitude * change[1], dwell, drift / 60, coughs, cough_amplitude, ends
    )


def _cough_times(duration: float, rate: float, rng: np.random.Generator) -> RealArray:
    if rate == 0:
        return np.zeros(0)
    # Exponential waits on top of the time that a cough lasts, of the asked mean.
    mean_wait = max(1 / rate - _COUGH_REACH, 0.1 / rate)
    n = int(2 * duration * rate) + 20
    times = np.cumsum(_COUGH_REACH + rng.exponential(mean_wait, n))
    kept: RealArray = times[times < duration]
    return kept
