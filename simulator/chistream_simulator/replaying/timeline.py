"""The order and the times in which a scanner sends what a raw file holds."""

import threading
import time
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from chistream.errors import ChiStreamError
from chistream.stream.files import read_messages
from chistream.stream.messages import SECONDS_PER_TICK, Acquisitions, Image, Message, Waveform

_TICKS_PER_DAY = round(24 * 3600 / SECONDS_PER_TICK)
_LONGEST_PAUSE_SECONDS = 5.0


class Clock(Protocol):
    """The time that a replay keeps to."""

    def now(self) -> float:
        """Return the time [s], from any start."""

    def wait(self, seconds: float, ended: threading.Event) -> None:
        """Let so much time pass [s], or less if ``ended`` is set meanwhile."""


class SystemClock:
    """The machine's own time."""

    def now(self) -> float:
        """Return the time [s], from any start."""
        return time.monotonic()

    def wait(self, seconds: float, ended: threading.Event) -> None:
        """Let so much time pass [s], or less if ``ended`` is set meanwhile."""
        ended.wait(seconds)


def scan_messages(
    path: str | Path, group: str = "dataset", *, waveforms: bool = True
) -> Iterator[Message]:
    """Read a file in the order a scanner would send it.

    Parameters
    ----------
    path
        ISMRMRD file.
    group
        HDF5 group of the scan.
    waveforms
        Whether to give waveforms too.

    Yields
    ------
    Message
        The header, readouts with each waveform before the first readout that is not earlier, then
        images.
    """
    found = read_messages(path, group, images=False) if waveforms else iter(())
    pending = (message for message in found if isinstance(message, Waveform))
    yield from _interleaved(read_messages(path, group, waveforms=False), pending)


def parse_speed(speed: str | float) -> float:
    """Read a speed as a factor of real time.

    Raises
    ------
    ChiStreamError
        If it is neither ``max`` nor ``realtime`` nor a positive number.

    Examples
    --------
    >>> parse_speed("max"), parse_speed("realtime"), parse_speed("2.5")
    (inf, 1.0, 2.5)
    """
    try:
        factor = {"max": float("inf"), "realtime": 1.0}.get(str(speed)) or float(speed)
    except ValueError:
        factor = 0.0
    if not factor > 0:
        raise ChiStreamError(f"speed {speed!r}: give max, realtime, or a factor such as 10")
    return factor


class Pacing:
    """Holds messages back until their time has come.

    Parameters
    ----------
    factor
        How many times faster than the time stamps; infinite for no waiting.
    clock
        Time to keep to.

    Notes
    -----
    A pause of more than five seconds in the time stamps takes five: a noise scan is often minutes
    older than the scan. Readouts out of order are sent at once.
    """

    def __init__(self, factor: float, clock: Clock) -> None:
        self.clock = clock
        self._factor = factor

    def paced(self, messages: Iterable[Message], ended: threading.Event) -> Iterator[Message]:
        """Yield messages, runs of readouts cut by their time stamps, each when it is due.

        Parameters
        ----------
        messages
            What to send.
        ended
            Ends the waiting, and the iteration, when set.
        """
        due, latest = self.clock.now(), None
        for part in self._parts(messages):
            ticks = _ticks_of(part)
            if ticks is not None:
                pause = 0 if latest is None else max(0, _ticks_from(latest, ticks))
                due += min(pause * SECONDS_PER_TICK, _LONGEST_PAUSE_SECONDS) / self._factor
                latest = ticks if latest is None or pause else latest
                self._wait_until(due, ended)
            if ended.is_set():
                return
            yield part

    def _parts(self, messages: Iterable[Message]) -> Iterator[Message]:
        for message in messages:
            if isinstance(message, Acquisitions) and np.isfinite(self._factor):
                stamps = message.heads["acquisition_time_stamp"]
                bounds = [0, *(np.flatnonzero(np.diff(stamps.astype(int))) + 1), len(message)]
                yield from (_part(message, a, b) for a, b in pairwise(bounds))
            else:
                yield message

    def _wait_until(self, due: float, ended: threading.Event) -> None:
        seconds = due - self.clock.now()
        if seconds > 0:
            self.clock.wait(seconds, ended)


def _interleaved(messages: Iterator[Message], waveforms: Iterator[Waveform]) -> Iterator[Message]:
    waveform = next(waveforms, None)
    for message in messages:
        rest = message
        while isinstance(rest, Acquisitions) and waveform is not None:
            n_before = _n_before(rest, waveform)
            if n_before == len(rest):
                break
            if n_before:
                yield _part(rest, 0, n_before)
            yield waveform
            rest, waveform = _part(rest, n_before, len(rest)), next(waveforms, None)
        if isinstance(rest, Image) and waveform is not None:
            yield waveform
            yield from waveforms
            waveform = None
        yield rest
    if waveform is not None:
        yield waveform
    yield from waveforms


def _n_before(run: Acquisitions, waveform: Waveform) -> int:
    """Count the readouts at the front of a run that are earlier than a waveform."""
    stamps = run.heads["acquisition_time_stamp"].astype(int)
    later = np.flatnonzero(_ticks_from(int(waveform.head["time_stamp"]), stamps) >= 0)
    return int(later[0]) if len(later) else len(run)


def _part(run: Acquisitions, begin: int, end: int) -> Acquisitions:
    return Acquisitions(run.heads[begin:end], run.samples[begin:end], run.trajectories[begin:end])


def _ticks_of(message: Message) -> int | None:
    match message:
        case Acquisitions():
            return int(message.heads["acquisition_time_stamp"][0])
        case Waveform():
            return int(message.head["time_stamp"])
        case _:
            return None


def _ticks_from(early: int, late: Any) -> Any:  # noqa: ANN401  (a number or an array of them)
    """Count ticks from one time stamp to another, which may lie beyond midnight."""
    half_a_day = _TICKS_PER_DAY // 2
    return (late - early + half_a_day) % _TICKS_PER_DAY - half_a_day
