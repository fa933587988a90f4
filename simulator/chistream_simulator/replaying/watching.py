"""What a person sees of a replay while it runs."""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException, ElementTree
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text as RichText
from typing_extensions import Self

from chistream.stream.messages import Image, Message, PeerError, Text
from chistream_simulator.replaying.results import ScanResult

Tell = Callable[[str, float], None]


class Watcher(Protocol):
    """Told what happens, from the threads of all sessions."""

    def began(self, scan: ScanResult) -> None:
        """Take note that a session is connected."""

    def sent(self, scan: ScanResult) -> None:
        """Take note of what has left; the counts of the scan say how much."""

    def came(self, scan: ScanResult, message: Message, seconds: float) -> None:
        """Take note of what has come, at some time since the connection [s]."""

    def ended(self, scan: ScanResult) -> None:
        """Take note that a session is over."""


class Silence:
    """Watches, and shows nothing."""

    def began(self, scan: ScanResult) -> None:
        """Take note that a session is connected."""

    def sent(self, scan: ScanResult) -> None:
        """Take note of what has left."""

    def came(self, scan: ScanResult, message: Message, seconds: float) -> None:
        """Take note of what has come."""

    def ended(self, scan: ScanResult) -> None:
        """Take note that a session is over."""


class Fractions(Silence):
    """Tells the fraction of readouts sent to somebody who wants to know no more.

    Parameters
    ----------
    tell
        Called with what is replayed, and the fraction, 0 to 1.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def sent(self, scan: ScanResult) -> None:
        """Take note of what has left."""
        self._tell(
            f"replay {Path(scan.path).name}", scan.n_readouts / max(scan.n_total, scan.n_readouts)
        )


class Display:
    """A row for each client, which changes as the scan goes on, and lines for what the server says.

    Parameters
    ----------
    console
        Where to show it. Rows and texts are shown on a terminal only.
    verbose
        Whether to write a line for every text, image and fault, on a terminal or not.
    hidden
        Whether to show nothing at all.
    """

    def __init__(self, console: Console, *, verbose: bool = False, hidden: bool = False) -> None:
        self._verbose = verbose and not hidden
        self._is_live = console.is_terminal and not hidden
        self._rows: dict[int, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            TextColumn("{task.fields[state]}"),
            BarColumn(bar_width=20),
            TextColumn("{task.completed:.0f}/{task.total:.0f} readouts"),
            _Rate(),
            TextColumn("{task.fields[beats]} heartbeats"),
            TextColumn("{task.fields[images]} images"),
            TextColumn("{task.fields[texts]} messages"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not self._is_live,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def began(self, scan: ScanResult) -> None:
        """Take note that a session is connected."""
        if scan.client in self._rows:
            self._progress.remove_task(self._rows[scan.client])
        self._rows[scan.client] = self._progress.add_task(
            _name(scan), total=scan.n_total, **_fields(scan, "sending")
        )

    def sent(self, scan: ScanResult) -> None:
        """Take note of what has left."""
        self._show(scan, "waiting" if scan.is_sent else "sending")

    def came(self, scan: ScanResult, message: Message, seconds: float) -> None:
        """Take note of what has come."""
        self._show(scan, "waiting" if scan.is_sent else "sending")
        match message:
            case Text(text) | PeerError(text) if self._is_live or self._verbose:
                self._write(scan, seconds, text)
            case Image() if self._verbose:
                self._write(scan, seconds, _of_image(message))

    def ended(self, scan: ScanResult) -> None:
        """Take note that a session is over."""
        self._show(scan, "done" if scan.succeeded else "failed")
        if self._verbose:
            for fault in scan.faults:
                self._write(scan, scan.total, fault.summary())

    def _show(self, scan: ScanResult, state: str) -> None:
        self._progress.update(
            self._rows[scan.client],
            completed=scan.n_readouts,
            **_fields(scan, state),
        )

    def _write(self, scan: ScanResult, seconds: float, words: str) -> None:
        self._progress.console.print(
            f"{_name(scan)} {seconds:8.3f} s  {words}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


class _Rate(ProgressColumn):
    """Readouts a second."""

    def render(self, task: Task) -> RichText:
        """Draw the speed of a row."""
        speed = task.finished_speed or task.speed
        return RichText("" if speed is None else f"{speed:.0f}/s", justify="right")


def _fields(scan: ScanResult, state: str) -> dict[str, Any]:
    return {
        "state": state,
        "beats": scan.beats.n_beats,
        "images": scan.n_images,
        "texts": len(scan.texts),
    }


def _name(scan: ScanResult) -> str:
    return f"{scan.session} {Path(scan.path).name}"


def _of_image(image: Image) -> str:
    """Describe an image in a line: its series and number, its name if it has one, its size."""
    x, y, z = image.head["matrix_size"].tolist()
    name = _series_name(image.attributes)
    series, index = image.head["image_series_index"], image.head["image_index"]
    return f"image {series}.{index}{name and ' ' + name} {x} x {y} x {z} {image.pixels.dtype}"


def _series_name(attributes: str) -> str:
    """Return the series' description; attributes of other servers may be anything."""
    try:
        root = ElementTree.fromstring(attributes)
    except (ParseError, DefusedXmlException, ValueError):
        return ""
    for meta in root.iter("meta"):
        if meta.findtext("name") == "SeriesDescription":
            return meta.findtext("value") or ""
    return ""
