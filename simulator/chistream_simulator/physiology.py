"""How a patient breathes, and when the heart beats."""

from dataclasses import dataclass

import numpy as np

from chistream.arrays import RealArray

_LEAD = 2
"""Breaths before time zero, so that a recording may start anywhere in one."""


@dataclass(frozen=True)
class Breathing:
    r"""Descent of the diaphragm below its end-expiratory position.

    .. math:: d(t) = A_i \sin^{2p}\!\left(\pi \frac{t - t_i}{T_i}\right)

    in breath i; a larger p dwells longer at end-expiration.

    Parameters
    ----------
    starts
        Times at which breaths start and the last one ends ``(n + 1,)`` [s], ascending.
    amplitudes
        A of each breath ``(n,)`` [mm].
    dwell
        p.

    References
    ----------
    .. [1] Lujan AE, et al. A method for incorporating organ motion due to breathing into 3D dose
       calculations. Med Phys. 1999;26(5):715-720. doi:10.1118/1.598577
    """

    starts: RealArray
    amplitudes: RealArray
    dwell: float

    def descent(self, times: RealArray) -> RealArray:
        """Descent of the diaphragm [mm] at some times [s]."""
        breath = np.searchsorted(self.starts, times, side="right") - 1
        breath = np.clip(breath, 0, len(self.amplitudes) - 1)
        length = self.starts[breath + 1] - self.starts[breath]
        phase = (times - self.starts[breath]) / length
        result: RealArray = self.amplitudes[breath] * np.sin(np.pi * phase) ** (2 * self.dwell)
        return result


def breathe(
    duration: float,
    *,
    amplitude: float,
    period: float,
    dwell: float,
    irregularity: float,
    rng: np.random.Generator,
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
    return Breathing(starts, amplitude * change[1], dwell)


def heartbeats(
    n: int, *, rr_interval: float, rr_jitter: float, rng: np.random.Generator
) -> RealArray:
    """Make up the times of R peaks.

    Parameters
    ----------
    n
        Number of heartbeats.
    rr_interval
        Mean interval [s].
    rr_jitter
        Its standard deviation, relative; limited to three times that.
    rng
        Where chance comes from.

    Returns
    -------
    RealArray
        Times of n + 1 peaks [s], the first at 0.
    """
    change = 1 + rr_jitter * np.clip(rng.standard_normal(n), -3, 3)
    return np.concatenate([[0.0], np.cumsum(rr_interval * change)])
