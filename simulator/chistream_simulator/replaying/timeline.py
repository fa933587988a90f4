"""The order and the times in which a scanner sends what a raw file holds."""

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from chistream.raw_files import read_raw_file
from chistream.stream.messages import (
    SECONDS_PER_TICK,
    Acquisitions,
    Heads,
    Image,
    Message,
    Waveform,
)
from chistream_simulator.replaying.items import Item, ReplayError, part, split

_TICKS_PER_DAY = round(24 * 3600 / SECONDS_PER_TICK)
_LONGEST_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_TICKS = round(_LONGEST_PAUSE_SECONDS / SECONDS_PER_TICK)
_SHORTEST_BEAT_TICKS = round(0.1 / SECONDS_PER_TICK)

WAVEFORM_ORDERS = ("interleaved", "first", "none")


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
    path: str | Path, group: str = "dataset", *, waveforms: str = "interleaved"
) -> Iterator[Message]:
    """Read a file in the order a scanner would send it.

    Parameters
    ----------
    path
        ISMRMRD file.
    group
        HDF5 group of the scan.
    waveforms
        ``interleaved``: each before the first readout that is not earlier, as Gadgetron's client
        sends them. ``first``: all before the readouts, as python-ismrmrd-server's client does.
        ``none``: left out.

    Yields
    ------
    Message
        The header, readouts with waveforms, then images.

    Raises
    ------
    ReplayError
        If there is no such order.
    FileFormatError
        If the file holds no such scan.
    """
    if waveforms not in WAVEFORM_ORDERS:
        raise ReplayError(f"waveforms {waveforms!r}: give {', '.join(WAVEFORM_ORDERS)}")
    messages = read_raw_file(path, group, waveforms=waveforms != "none")
    yield from _interleaved(messages) if waveforms == "interleaved" else messages


def parse_speed(speed: str | float) -> float:
    """Read a speed as a factor of real time.

    Raises
    ------
    ReplayError
        If it is neither ``max`` nor ``realtime`` nor a positive number.

    Examples
    --------
    >>> parse_speed("max"), parse_speed("realtime"), parse_speed("x10"), parse_speed("2.5")
    (inf, 1.0, 10.0, 2.5)
    """
    words = str(speed).strip().lower()
    try:
        factor = {"max": float("inf"), "realtime": 1.0}.get(words) or float(words.removeprefix("x"))
    except ValueError:
        factor = 0.0
    if not factor > 0:
        raise ReplayError(f"speed {speed!r}: give max, realtime, or a factor such as x10")
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
    The first readout sets the beginning: what comes before it is sent at once. A pause of more than
    five seconds in the time stamps takes five, since a noise scan is often minutes older than the
    scan. Readouts out of order are sent at once; stamps that fall back by more than five seconds
    begin anew. Midnight is no break.
    """

    def __init__(self, factor: float, clock: Clock) -> None:
        self.clock = clock
        self._factor = factor

    def paced(self, items: Iterable[Item], ended: threading.Event) -> Iterator[Item]:
        """Yield what is to be sent, runs of readouts cut by their time stamps, each when it is due.

        Parameters
        ----------
        items
            What to send.
        ended
            Ends the waiting, and the iteration, when set.
        """
        due, latest = self.clock.now(), None
        for item in self._parts(items):
            ticks = _ticks_of(item)
            if ticks is not None and (latest is not None or isinstance(item, Acquisitions)):
                step = 0 if latest is None else int(_ticks_from(latest, ticks))
                due += max(0, min(step, _LONGEST_PAUSE_TICKS)) * SECONDS_PER_TICK / self._factor
                if latest is None or step > 0 or step < -_LONGEST_PAUSE_TICKS:
                    latest = ticks
                self._wait_until(due, ended)
            if ended.is_set():
                return
            yield item

    def _parts(self, items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            if isinstance(item, Acquisitions) and np.isfinite(self._factor):
                stamps = item.heads["acquisition_time_stamp"]
                yield from split(item, (np.flatnonzero(np.diff(stamps.astype(int))) + 1).tolist())
            else:
                yield item

    def _wait_until(self, due: float, ended: threading.Event) -> None:
        seconds = due - self.clock.now()
        if seconds > 0:
            self.clock.wait(seconds, ended)


class BeatCounter:
    """Counts the heartbeats that readouts come from.

    A readout carries the time since the R peak that triggered it. A new heartbeat has begun when
    that time is shorter than before, or when it has grown by less than the time of day has: with
    one readout a beat, or missed triggers, it never falls. Readouts that carry none, such as noise,
    belong to no heartbeat.
    """

    def __init__(self) -> None:
        self.n_beats = 0
        self._last: tuple[int, int] | None = None

    def count(self, heads: Heads) -> None:
        """Take note of readouts, in the order they are sent.

        Parameters
        ----------
        heads
            Records of ACQUISITION_HEAD ``(n,)``.
        """
        since = heads["physiology_time_stamp"][:, 0].astype(int)
        times = heads["acquisition_time_stamp"].astype(int)[since > 0]
        since = since[since > 0]
        if not len(since):
            return
        if self._last is None:
            self.n_beats += 1
        else:
            since = np.concatenate([[self._last[0]], since])
            times = np.concatenate([[self._last[1]], times])
        later = _ticks_from(times[:-1], times[1:]) - np.diff(since)
        self.n_beats += int(np.sum((np.diff(since) < 0) | (later > _SHORTEST_BEAT_TICKS)))
        self._last = int(since[-1]), int(times[-1])


def _interleaved(messages: Iterator[Message]) -> Iterator[Message]:
    # A file gives its waveforms before its readouts: they wait, minutes of an ECG in megabytes.
    waiting: deque[Waveform] = deque()
    for message in messages:
        match message:
            case Waveform():
                waiting.append(message)
            case Acquisitions():
                yield from _among(message, waiting)
            case Image():
                yield from waiting
                waiting.clear()
                yield message
            case _:
                yield message
    yield from waiting


def _among(run: Acquisitions, waiting: deque[Waveform]) -> Iterator[Message]:
    """Cut a run where waveforms are due, and take these off those that wait."""
    while waiting and (n_before := _n_before(run, waiting[0])) < len(run):
        if n_before:
            yield part(run, 0, n_before)
        yield waiting.popleft()
        run = part(run, n_before, len(run))
    yield run


def _n_before(run: Acquisitions, waveform: Waveform) -> int:
    """Count the readouts at the front of a run that are earlier than a waveform."""
    stamps = run.heads["acquisition_time_stamp"].astype(int)
    later = np.flatnonzero(_ticks_from(int(waveform.head["time_stamp"]), stamps) >= 0)
    return int(later[0]) if len(later) else len(run)


def _ticks_of(item: Item) -> int | None:
    match item:
        case Acquisitions():
            return int(item.heads["acquisition_time_stamp"][0])
        case Waveform():
            return int(item.head["time_stamp"])
        case _:
            return None


def _ticks_from(early: Any, late: Any) -> Any:  # noqa: ANN401  (numbers or arrays of them)
    """Count ticks from one time stamp to another, which may lie beyond midnight."""
    half_a_day = _TICKS_PER_DAY // 2
    return (late - early + half_a_day) % _TICKS_PER_DAY - half_a_day
