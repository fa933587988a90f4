"""When readouts were measured, in seconds from the first one."""

from chistream.acquisition.readouts import Readout

_DAY = 86400.0


class Clock:
    """Time of each readout; across midnight, and by order of arrival if there are no stamps."""

    def __init__(self) -> None:
        self._start: float | None = None
        self._n_seen = 0
        self.has_stamps = False

    @property
    def has_started(self) -> bool:
        """Whether a readout came."""
        return self._start is not None

    def since_start(self, time_stamp: float) -> float:
        """Return seconds from the first readout to a time of day, negative before it."""
        return (time_stamp - (self._start or 0.0) + _DAY / 2) % _DAY - _DAY / 2

    def time_of(self, readout: Readout) -> float:
        """Return seconds since the first readout, negative before it."""
        if self._start is None:
            self._start = readout.time_stamp
        time = self.since_start(readout.time_stamp)
        self._n_seen += 1
        self.has_stamps = self.has_stamps or time != 0
        return time if self.has_stamps else 1e-6 * self._n_seen
