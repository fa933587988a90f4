"""A worker's signs of life: which stage it is in, and since when nothing has moved."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

BEAT_SECONDS = 0.5
WAITING, RECEIVING = "waiting", "acquisition"


class Pulse:
    """Tells from a thread of its own, twice a second, what the session's own thread is doing.

    A process that is stopped, or stuck outside of Python, falls silent; one whose chain makes no
    progress says so. Both are for the supervisor to judge.

    Parameters
    ----------
    send
        Takes the figures.
    beat_seconds
        Time between two beats [s].
    clock
        Monotonic time [s].
    """

    def __init__(
        self,
        send: Callable[[Mapping[str, Any]], None],
        beat_seconds: float = BEAT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._beat_seconds = beat_seconds
        self._clock = clock
        self._stage = RECEIVING
        self._stage_since = self._moved = clock()
        self._is_waiting = False
        self._stages: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Beat until the block ends."""
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()

    @property
    def stages(self) -> dict[str, float]:
        """Durations of the stages that are over [s]."""
        return dict(self._stages)

    def move(self) -> None:
        """Take note of progress."""
        self._moved = self._clock()

    def enter(self, stage: str) -> None:
        """Take note that a stage begins, and the one before is over."""
        now = self._clock()
        spent = self._stages.get(self._stage, 0.0) + now - self._stage_since
        self._stages[self._stage] = round(spent, 3)
        self._stage, self._stage_since, self._moved = stage, now, now

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Take note that the block waits for the client."""
        self._is_waiting = True
        try:
            yield
        finally:
            self._moved = self._clock()
            self._is_waiting = False

    def figures(self) -> dict[str, Any]:
        """Return the stage, and for how long [s] nothing has moved while it should."""
        still = 0.0 if self._is_waiting else self._clock() - self._moved
        return {"stage": self._stage, "still": round(still, 3)}

    def _beat(self) -> None:
        while not self._stop.wait(self._beat_seconds):
            self._send(self.figures())
