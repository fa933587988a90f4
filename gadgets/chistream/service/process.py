"""The process of the service among others: its signals, and how it says that it is there."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType


@contextlib.contextmanager
def signals_stop(stop: Callable[[], None]) -> Iterator[None]:
    """Let SIGTERM and SIGINT stop the service; only the main thread may have handlers.

    Parameters
    ----------
    stop
        Called for each signal; must do next to nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(_signal: int, _frame: FrameType | None) -> None:
        stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def announce(path: Path, words: str) -> None:
    """Write a file in one go, so that whoever waits for it never reads half of it."""
    partial = path.with_suffix(".partial")
    partial.write_text(words)
    partial.rename(path)
