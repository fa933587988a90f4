"""Where the diaphragm was, by time: from navigators, from what the scanner says, from a belt."""

from abc import ABC, abstractmethod

import numpy as np
from typing_extensions import override

from chistream.acquisition.gating_options import Estimator
from chistream.acquisition.navigator import Template, learn_template, measure, most_frequent
from chistream.acquisition.readouts import Readout
from chistream.acquisition.runs import RunLog
from chistream.arrays import ComplexArray, RealArray

BELT_RANGE = 12.0
"""What the range of a belt's signal stands for [mm]: it has no unit of its own, and this is how far
the diaphragm moves in quiet breathing."""

_BELT_QUANTILES = (0.05, 0.95)

_AFTER_LINES = 1e-6
"""A belt's reading at the end of a heartbeat counts as a navigator just after it [s]."""


class Track(ABC):
    """Displacements of the diaphragm at certain times.

    Parameters
    ----------
    bandwidth
        Width [mm] within which positions count as equally frequent.
    """

    method: str

    def __init__(self, bandwidth: float) -> None:
        self._bandwidth = bandwidth
        self.n_unusable = 0

    @property
    @abstractmethod
    def reference(self) -> float | None:
        """End-expiration in the track's own displacements [mm], once it is learnt."""

    @property
    @abstractmethod
    def is_learnt(self) -> bool:
        """Whether end-expiration is known."""

    @abstractmethod
    def learn(self, until: float, noise_variances: RealArray | None) -> bool:
        """Learn end-expiration from what was measured up to a time.

        Parameters
        ----------
        until
            Time of the last measurement to learn from [s].
        noise_variances
            Noise of each coil ``(coils,)``, or None.

        Returns
        -------
        bool
            False if nothing usable was measured until then.
        """

    @abstractmethod
    def times(self) -> RealArray:
        """Return the times of all measurements, ascending [s]."""

    @abstractmethod
    def by_time(self) -> tuple[RealArray, RealArray]:
        """Return times [s], ascending, and displacements [mm] of all measurements."""

    def starts(self, times: RealArray) -> RealArray:
        """Return from when on each measurement ``(n,)`` stands for the readouts that come [s]."""
        return times

    def covers(self, time: float) -> bool:  # noqa: ARG002
        """Tell whether all that was measured until a time [s] is in, as far as one can know."""
        return True

    def settled(self) -> float:
        """Return the time before which no later measurement can change a heartbeat [s]."""
        times = self.times()
        return float(times[-2]) if len(times) > 1 else -np.inf


class NavigatorTrack(Track):
    """Navigator readouts as they come, until end-expiration is learnt; displacements from then on.

    Parameters
    ----------
    column
        Length of the navigator's column [mm].
    bandwidth
        As in `Track`.
    estimator
        How profiles are compared.
    """

    method = "navigator"

    def __init__(
        self, column: float, bandwidth: float, estimator: Estimator = "correlation"
    ) -> None:
        super().__init__(bandwidth)
        self._column, self._estimator = column, estimator
        self._times: list[float] = []
        self._samples: dict[int, ComplexArray] = {}
        self._measured: list[float] = []
        self._snr: list[float] = []
        self._template: Template | None = None

    def __len__(self) -> int:
        return len(self._times)

    @property
    @override
    def is_learnt(self) -> bool:
        return self._template is not None

    @property
    @override
    def reference(self) -> float | None:
        return None if self._template is None else self._template.first

    @property
    def snr(self) -> float | None:
        """Median quality of the profiles, None before any was measured."""
        return float(np.median(self._snr)) if self._snr else None

    def add(self, readout: Readout, time: float) -> None:
        """Take in a navigator readout; one that is not finite keeps only its time."""
        self._times.append(time)
        self._measured.append(np.nan)
        if np.isfinite(readout.samples).all() and readout.samples.any():
            self._samples[len(self._times) - 1] = np.array(readout.samples)
            if self._template is not None:
                self._measure(self._template)
        else:
            self.n_unusable += 1

    @override
    def learn(self, until: float, noise_variances: RealArray | None) -> bool:
        order = sorted((self._times[i], i) for i in self._samples if self._times[i] <= until)
        if not order:
            return False
        shape = self._samples[order[0][1]].shape
        chosen = np.stack([self._samples[i] for _, i in order if self._samples[i].shape == shape])
        if noise_variances is not None and len(noise_variances) != shape[0]:
            noise_variances = None
        self._template = learn_template(
            chosen, self._column, self._bandwidth, noise_variances, self._estimator
        )
        self._shape = shape
        self._measure(self._template)
        return True

    @override
    def times(self) -> RealArray:
        return np.sort(self._times)

    @override
    def by_time(self) -> tuple[RealArray, RealArray]:
        times = np.array(self._times)
        order = np.argsort(times, kind="stable")
        return times[order], np.array(self._measured)[order]

    def _measure(self, template: Template) -> None:
        for index, samples in self._samples.items():
            if samples.shape != self._shape:
                self.n_unusable += 1
                continue
            found = measure(samples[None], template)
            self._measured[index] = float(found.displacement[0])
            self._snr.append(float(found.snr[0]))
            self.n_unusable += bool(np.isnan(found.displacement[0]))
        self._samples.clear()


class ReportedTrack(Track):
    """Positions that the scanner wrote into the heads of its readouts, one for each heartbeat.

    Parameters
    ----------
    log
        The runs of readouts.
    unit
        Millimetres towards the head for each unit of the number.
    bandwidth
        As in `Track`.
    """

    method = "reported"

    def __init__(self, log: RunLog, unit: float, bandwidth: float) -> None:
        super().__init__(bandwidth)
        self._log, self._unit = log, unit
        self._reference: float | None = None
        self._is_learnt = False

    @property
    @override
    def is_learnt(self) -> bool:
        return self._is_learnt

    @property
    @override
    def reference(self) -> float | None:
        return self._reference

    @override
    def learn(self, until: float, noise_variances: RealArray | None) -> bool:
        positions = self._positions()[self.times() <= until]
        known = positions[np.isfinite(positions)]
        if known.size:
            self._reference = most_frequent(known, self._bandwidth)
        # Without positions there may still be the scanner's verdict.
        self._is_learnt = bool(positions.size)
        return self._is_learnt

    @override
    def times(self) -> RealArray:
        return np.array([run.start for run in self._log.runs()])

    @override
    def by_time(self) -> tuple[RealArray, RealArray]:
        return self.times(), self._positions() - (self._reference or 0.0)

    def _positions(self) -> RealArray:
        return self._unit * np.array([run.position for run in self._log.runs()])


class BeltTrack(Track):
    """The waveform of a belt around the chest, read before and after each heartbeat's lines.

    Parameters
    ----------
    log
        The runs of readouts.
    bandwidth
        As in `Track`.
    """

    method = "respiration"

    def __init__(self, log: RunLog, bandwidth: float) -> None:
        super().__init__(bandwidth)
        self._log = log
        self._pieces: list[tuple[float, RealArray, RealArray]] = []
        self._range: tuple[float, float] | None = None
        self._reference = 0.0

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    @override
    def is_learnt(self) -> bool:
        return self._range is not None

    @property
    @override
    def reference(self) -> float | None:
        return self._reference if self.is_learnt else None

    def add(self, start: float, step: float, values: RealArray) -> None:
        """Take in a piece of the waveform ``(n,)``, n >= 1, that starts at a time [s]."""
        self._pieces.append((start, start + step * np.arange(len(values)), values))

    @override
    def learn(self, until: float, noise_variances: RealArray | None) -> bool:
        times, values = self._waveform()
        known = values[times <= until]
        low, high = np.quantile(known, _BELT_QUANTILES) if known.size else (0.0, 0.0)
        starts = self.times()[::2]
        if not high > low or not (starts <= until).any():
            return False
        self._range = (float(low), float(high))
        self._reference = self._rest(starts[starts <= until])
        return True

    @override
    def times(self) -> RealArray:
        runs = self._log.runs()
        return np.array([t for run in runs for t in (run.start, run.end + _AFTER_LINES)])

    @override
    def by_time(self) -> tuple[RealArray, RealArray]:
        times = self.times()
        return times, self._displacements(times) - self._reference

    @override
    def covers(self, time: float) -> bool:
        return self._last_time >= time

    @override
    def settled(self) -> float:
        return min(super().settled(), self._last_time)

    @property
    def _last_time(self) -> float:
        return max((float(times[-1]) for _, times, _ in self._pieces), default=-np.inf)

    def _waveform(self) -> tuple[RealArray, RealArray]:
        pieces = sorted(self._pieces, key=lambda piece: piece[0])
        if not pieces:
            return np.zeros(0), np.zeros(0)
        return (np.concatenate([p[1] for p in pieces]), np.concatenate([p[2] for p in pieces]))

    def _displacements(self, times: RealArray) -> RealArray:
        """Breathing in fills the chest and moves the diaphragm down."""
        low, high = self._range or (0.0, 1.0)
        known, values = self._waveform()
        inside = np.interp(times, known, values, left=np.nan, right=np.nan)
        return -BELT_RANGE * (inside - low) / (high - low)

    def _rest(self, starts: RealArray) -> float:
        found = self._displacements(starts)
        known = found[np.isfinite(found)]
        return most_frequent(known, self._bandwidth) if known.size else 0.0
