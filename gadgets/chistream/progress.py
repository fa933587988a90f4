"""What a running scan tells of itself, to whoever listens where it runs."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

Figures: TypeAlias = Mapping[str, Any]
Listener: TypeAlias = Callable[[Figures], None]

INTERVAL = 1.0
"""Shortest time between two reports [s]."""

LARGEST_PART = 0.01
"""Part of the time that making reports may take."""

_LISTENER: ContextVar[Listener | None] = ContextVar("progress", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Let a listener hear of the scan that runs inside the block.

    Parameters
    ----------
    listener
        Called with plain JSON values.
    """
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


class Reporter:
    """Reports how far a scan is, seldom enough to cost nothing.

    Parameters
    ----------
    figures
        Makes a report; called once a second, or less often if it takes more than 10 ms.
    clock
        Monotonic time [s].
    """

    def __init__(
        self, figures: Callable[[], Figures], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._figures, self._clock = figures, clock
        self._due = clock() + INTERVAL

    def tell(self) -> None:
        """Report, if it is time and somebody listens."""
        start = self._clock()
        if start < self._due:
            return
        listener = _LISTENER.get()
        if listener is not None:
            listener(self._figures())
        end = self._clock()
        self._due = end + max(INTERVAL, (end - start) / LARGEST_PART)
