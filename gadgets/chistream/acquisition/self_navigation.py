"""Breathing from the centre of k-space, where a scan measures a line of it again and again."""

from typing import NamedTuple

import numpy as np
from typing_extensions import override

from chistream.acquisition.lines import Line, Lines
from chistream.acquisition.navigator import most_frequent
from chistream.acquisition.positions import BELT_RANGE, Track
from chistream.arrays import RealArray

BAND = (0.1, 0.5)
"""Frequencies of breathing [Hz]."""

LONGEST_INTERVAL = 2.0
"""Visits farther apart [s] do not show how a patient breathes."""

FEWEST_VISITS = 20
"""Measurements of the line that its breathing is learnt from: four breaths, once a heartbeat."""

_OFTEN = 0.9
"""Part of the intervals between visits that must be short enough: triggers may be missed."""

_DOMINANCE = 2.0
"""Variance of the first component over the second below which no breathing is seen."""

_POINTS = 32
"""Places along x that each coil's projection is averaged to, at most."""

_QUANTILES = (0.05, 0.95)


class Respiration(NamedTuple):
    """How breathing shows in the projections of one line.

    Parameters
    ----------
    mean, weights
        Of the projection's points ``(coils * points,)``.
    low, high
        Signal that the range of breathing begins and ends with.
    inspires
        +1 if the signal grows with inspiration, else -1.
    reference
        Displacement of end-expiration [mm], before it is subtracted.
    """

    mean: RealArray
    weights: RealArray
    low: float
    high: float
    inspires: float
    reference: float

    def displacements(self, projections: RealArray) -> RealArray:
        """Displacement from end-expiration ``(n,)`` [mm] of projections ``(n, points)``."""
        signal = (projections - self.mean) @ self.weights
        return _displacements(signal, self.low, self.high, self.inspires) - self.reference


class SelfTrack(Track):
    """Displacements from the line that the scan measures most often, once a heartbeat or more.

    No flag tells such lines, so their counters do: it is the line of the first echo with most
    measurements, and it must come every 2 s or oftener. Where the centre lies need not be known.

    Its unit is that of a belt: the range of the signal stands for 12 mm. An estimated factor of the
    heart is relative to that, and so corrects itself.

    Parameters
    ----------
    bandwidth
        As in `Track`.
    """

    method = "self-navigated"

    def __init__(self, bandwidth: float) -> None:
        super().__init__(bandwidth)
        self._visits: dict[Line, list[float]] = {}
        self._most: Line | None = None
        self._pending: list[Lines] = []
        self._times: list[float] = []
        self._projections: list[RealArray] = []
        self._learnt: Respiration | None = None

    def __len__(self) -> int:
        times = self.times()
        return len(times) if _are_frequent(times) else 0

    @property
    @override
    def is_learnt(self) -> bool:
        return self._learnt is not None

    @property
    @override
    def reference(self) -> float | None:
        return None if self._learnt is None else self._learnt.reference

    def add(self, lines: Lines) -> None:
        """Take note of imaging readouts; those of the repeated line are kept as projections."""
        if self.is_learnt:
            self._keep(lines)
            return
        self._pending.append(lines)
        for line, time in zip(lines.addresses, lines.times.tolist(), strict=True):
            if line.echo == 0:
                visits = self._visits.setdefault(line, [])
                visits.append(time)
                self._most = self._more_often(line)

    def forget(self) -> None:
        """Let go the samples that were kept: positions come from elsewhere, or from nowhere."""
        self._pending.clear()

    @override
    def learn(self, until: float, noise_variances: RealArray | None) -> bool:
        if not len(self):
            return False
        for lines in self._pending:
            self._keep(lines)
        times, projections = self._by_time()
        is_known = times <= until
        self._learnt = learn_respiration(times[is_known], projections[is_known], self._bandwidth)
        self._pending.clear()
        return self.is_learnt

    @override
    def times(self) -> RealArray:
        if self.is_learnt:
            return np.sort(self._times)
        return np.sort(self._visits[self._most]) if self._most is not None else np.zeros(0)

    @override
    def by_time(self) -> tuple[RealArray, RealArray]:
        times, projections = self._by_time()
        if self._learnt is None:
            return times, np.full(len(times), np.nan)
        return times, self._learnt.displacements(projections)

    @override
    def starts(self, times: RealArray) -> RealArray:
        # The line may lie anywhere in a heartbeat: readouts take the nearest visit.
        return np.concatenate([[-np.inf], (times[:-1] + times[1:]) / 2])[: len(times)]

    def _by_time(self) -> tuple[RealArray, RealArray]:
        order = np.argsort(self._times, kind="stable")
        return np.array(self._times)[order], np.array(self._projections)[order]

    def _keep(self, lines: Lines) -> None:
        for i, line in enumerate(lines.addresses):
            if line == self._most:
                self._times.append(float(lines.times[i]))
                self._projections.append(_projection(np.abs(lines.values[i])))

    def _more_often(self, line: Line) -> Line:
        """Choose the line with more visits; of equals the first by counters, in any order."""
        most = line if self._most is None else self._most
        return max((most, line), key=lambda one: (len(self._visits[one]), *(-n for n in one)))


def learn_respiration(
    times: RealArray, projections: RealArray, bandwidth: float
) -> Respiration | None:
    """Find what of repeated projections is breathing.

    Parameters
    ----------
    times
        Of the projections ``(n,)``, ascending [s].
    projections
        Magnitudes ``(n, points)`` of all coils.
    bandwidth
        Width [mm] within which positions count as equally frequent.

    Returns
    -------
    Respiration | None
        None if there are fewer than 20, or nothing in them dominates at 0.1 to 0.5 Hz.

    Notes
    -----
    The first principal component over places and coils of what lies in the band of breathing is
    the direction; the signal along it is taken with all its frequencies, since end-expiration may
    drift [1]_. End-expiration is where the chest dwells: the end of the range that the most
    frequent value lies nearer to.

    References
    ----------
    .. [1] Zhang T, Cheng JY, Chen Y, Nishimura DG, Pauly JM, Vasanawala SS. Robust self-navigated
       body MRI using dense coil arrays. Magn Reson Med. 2016;76(1):197-205. doi:10.1002/mrm.25858
    """
    if len(times) < FEWEST_VISITS:
        return None
    mean = projections.mean(axis=0)
    _, spread, directions = np.linalg.svd(_in_band(times, projections - mean), full_matrices=False)
    if spread[0] ** 2 <= _DOMINANCE * spread[1] ** 2:
        return None
    weights = directions[0]
    signal = (projections - mean) @ weights
    low, high = (float(q) for q in np.quantile(signal, _QUANTILES))
    # Scaled as if it grew with inspiration, the signal dwells at 0; otherwise at the other end.
    rest = most_frequent(_displacements(signal, low, high, 1.0), bandwidth)
    inspires = 1.0 if rest > -0.5 * BELT_RANGE else -1.0
    reference = most_frequent(_displacements(signal, low, high, inspires), bandwidth)
    return Respiration(mean, weights, low, high, inspires, reference)


def _in_band(times: RealArray, values: RealArray) -> RealArray:
    """Filter values ``(n, points)`` to the band of breathing, on a regular grid of times."""
    step = float(np.median(np.diff(times)))
    regular = np.arange(times[0], times[-1] + 0.5 * step, step)
    later = np.clip(np.searchsorted(times, regular), 1, len(times) - 1)
    before, gap = later - 1, np.diff(times)[later - 1]
    part = np.clip((regular - times[before]) / np.where(gap > 0, gap, 1.0), 0, 1)[:, None]
    spectrum = np.fft.rfft((1 - part) * values[before] + part * values[later], axis=0)
    frequencies = np.fft.rfftfreq(len(regular), step)
    spectrum[(frequencies < BAND[0]) | (frequencies > BAND[1])] = 0
    filtered: RealArray = np.fft.irfft(spectrum, len(regular), axis=0)
    return filtered


def _displacements(signal: RealArray, low: float, high: float, inspires: float) -> RealArray:
    """Scale a signal to the range of breathing [mm]; inspiration moves the diaphragm down."""
    start = low if inspires > 0 else high
    return -BELT_RANGE * inspires * (signal - start) / (high - low)


def _projection(magnitude: RealArray) -> RealArray:
    """Average magnitudes ``(coils, x)`` along x to a few points, all coils in a row."""
    n = magnitude.shape[1]
    edges = np.unique(np.linspace(0, n, _POINTS + 1).astype(int))[:-1]
    points: RealArray = np.add.reduceat(magnitude, edges, axis=1, dtype=float)
    return points.ravel()


def _are_frequent(times: RealArray) -> bool:
    if len(times) < FEWEST_VISITS:
        return False
    return float(np.quantile(np.diff(times), _OFTEN)) <= LONGEST_INTERVAL
