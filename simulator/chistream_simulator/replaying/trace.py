"""When everything left and arrived: the timing trace of a replay, as compact JSON.

The file holds one object::

    {"format": "chistream-replay-trace", "version": 1,
     "server": "127.0.0.1:9002", "speed": 1.0 (null for max), "began": "2026-01-31T12:00:00+00:00",
     "sessions": [
       {"session": 1, "client": 1, "repetition": 1, "raw": "scan.h5", "group": "dataset",
        "succeeded": true, "error": null, "offset": 0.0,
        "events":   {"connected": 0.0, "header_sent": 0.001, "close_sent": 9.1,
                     "close_received": 9.4, "ended": 9.5},
        "readouts": {"sent": [...], "scan_counter": [...], "acquisition_time_stamp": [...]},
        "images":   {"received": [...], "image_series_index": [...], "image_index": [...]},
        "texts":    {"received": [...], "text": [...]},
        "faults":   [{"fault": "drop", "options": {...}, "seed": 0, "done": true,
                      "struck": {"at": [...], "readout": [...], "what": [...]}}]}]}

All times are seconds since the connection of their session; ``offset`` is when that was, since the
first connection of the replay; an event that did not happen is null. Columns of one object are of
equal length, one entry for each readout, image or text, in the order they left or arrived.
``acquisition_time_stamp`` is in ticks of 2.5 ms, as in the raw file, so that what was sent can be
held against what was due.

Readouts go out in runs. The time of each is when the last byte of its run was handed to the
network, so the readouts of one run share it; at ``--speed max`` a run has up to 256 readouts, with
pacing those of one time stamp. An image's time is when its last byte had arrived and been decoded.
"""

import json
from array import array
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from chistream.stream.messages import Acquisitions, Image

FORMAT = "chistream-replay-trace"
VERSION = 1

_DIGITS = 6  # microseconds
_EVENTS = ("connected", "header_sent", "close_sent", "close_received", "ended")


class SessionTrace:
    """The times of one session, in columns of numbers: 16 bytes a readout."""

    def __init__(self) -> None:
        self._events: dict[str, float | None] = dict.fromkeys(_EVENTS)
        self._sent = array("d")
        self._counters = array("I")
        self._stamps = array("I")
        self._received = array("d")
        self._series = array("I")
        self._indices = array("I")
        self._texts: list[tuple[float, str]] = []

    def event(self, name: str, seconds: float) -> None:
        """Note an event of the session.

        Parameters
        ----------
        name
            ``connected``, ``header_sent``, ``close_sent``, ``close_received`` or ``ended``.
        seconds
            Since the connection [s].
        """
        self._events[name] = seconds

    def readouts(self, run: Acquisitions, seconds: float) -> None:
        """Note that a run of readouts has left."""
        self._sent.frombytes(np.full(len(run), seconds).tobytes())
        for column, name in (
            (self._counters, "scan_counter"),
            (self._stamps, "acquisition_time_stamp"),
        ):
            column.frombytes(run.heads[name].astype(np.uintc).tobytes())

    def image(self, image: Image, seconds: float) -> None:
        """Note that an image has arrived."""
        self._received.append(seconds)
        self._series.append(int(image.head["image_series_index"]))
        self._indices.append(int(image.head["image_index"]))

    def text(self, text: str, seconds: float) -> None:
        """Note that a text has arrived."""
        self._texts.append((seconds, text))

    def as_dict(self) -> dict[str, Any]:
        """Return the columns as JSON takes them."""
        return {
            "events": {name: _rounded(seconds) for name, seconds in self._events.items()},
            "readouts": {
                "sent": _column(self._sent),
                "scan_counter": self._counters.tolist(),
                "acquisition_time_stamp": self._stamps.tolist(),
            },
            "images": {
                "received": _column(self._received),
                "image_series_index": self._series.tolist(),
                "image_index": self._indices.tolist(),
            },
            "texts": {
                "received": [_rounded(seconds) for seconds, _ in self._texts],
                "text": [text for _, text in self._texts],
            },
        }


def write_trace(
    path: Path, about: Mapping[str, Any], sessions: Iterable[Mapping[str, Any]]
) -> None:
    """Write a trace, a session at a time.

    Parameters
    ----------
    path
        File to write; replaced.
    about
        What all sessions have in common.
    sessions
        Each as JSON takes it; at least one column of one session is in memory as Python numbers.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    head = json.dumps({"format": FORMAT, "version": VERSION, **about})
    with path.open("w", encoding="utf-8") as file:
        file.write(f'{head[:-1]}, "sessions": [')
        for number, session in enumerate(sessions):
            file.write(",\n" if number else "\n")
            file.write(json.dumps(session))
        file.write("\n]}\n")


def _column(times: "array[float]") -> list[float]:
    rounded: list[float] = np.round(np.frombuffer(times), _DIGITS).tolist()
    return rounded


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, _DIGITS)
