"""What a running scan tells of itself, to whoever listens where it runs."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
_REMARKS: ContextVar[Sequence[str]] = ContextVar("remarks", default=())


@contextmanager
def listening(listener: Listener, remarks: Sequence[str] = ()) -> Iterator[None]:
    """Let a listener hear of the scan that runs inside the block.

    Parameters
    ----------
    listener
        Called with plain JSON values.
    remarks
        What whoever runs the scan has to say about it, for the report; may still grow.
    """
    token, token_of_remarks = _LISTENER.set(listener), _REMARKS.set(remarks)
    try:
        yield
    finally:
        _LISTENER.reset(token)
        _REMARKS.reset(token_of_remarks)


def remarks() -> tuple[str, ...]:
    """Return what whoever runs this scan has to say about it so far, in words for a person."""
    return tuple(_REMARKS.get())


def announce_stage(stage: str) -> None:
    """Tell whoever listens that a stage begins."""
    listener = _LISTENER.get()
    if listener is not None:
        listener({"stage": stage})


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
