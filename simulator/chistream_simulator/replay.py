"""A scanner's part: raw files are streamed to an MRD server, and what it returns is kept.

What is sent is what a FIRE client sends: the chain's name, the header, the settings as text, data,
CLOSE. Images are received meanwhile, as a scanner does, and no file is ever in memory as a whole.
"""

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py

from chistream.errors import ChiStreamError, FileFormatError
from chistream.service.wire import receive, send
from chistream.stream.codec import MessageReader
from chistream.stream.files import MessageWriter
from chistream.stream.messages import (
    Acquisitions,
    Close,
    ConfigFile,
    Header,
    Image,
    Message,
    PeerError,
    Text,
)
from chistream_simulator.timeline import Clock, Pacing, SystemClock, parse_speed, scan_messages

_LOOK_UP_SECONDS = 0.25
_CONNECT_SECONDS = 10.0

Progress = Callable[[str, float], None]


class ReplayError(ChiStreamError):
    """The server did not do its part."""


@dataclass
class ScanResult:
    """What came of one file.

    Parameters
    ----------
    path
        The raw file.
    n_readouts
        Readouts sent.
    n_images
        Images received.
    texts
        What the server said.
    is_sent
        Whether the whole scan was sent.
    is_closed
        Whether the server ended with CLOSE.
    first_image, last_image
        Time of the first and the last image after the last readout was sent [s]; negative if the
        image came earlier, None without images.
    total
        Time from the connection to its end [s].
    """

    path: Path
    n_readouts: int = 0
    n_images: int = 0
    texts: list[str] = field(default_factory=list)
    is_sent: bool = False
    is_closed: bool = False
    first_image: float | None = None
    last_image: float | None = None
    total: float = 0.0

    @property
    def succeeded(self) -> bool:
        """Whether the server took the whole scan, reported no error and ended with CLOSE."""
        has_error = any(text.startswith(("ERR", "CRITICAL")) for text in self.texts)
        return self.is_sent and self.is_closed and not has_error

    def as_dict(self) -> dict[str, Any]:
        """Return the result as JSON takes it."""
        return {
            "raw": str(self.path),
            "succeeded": self.succeeded,
            "readouts": self.n_readouts,
            "images": self.n_images,
            "texts": self.texts,
            "closed": self.is_closed,
            "seconds_to_first_image": _rounded(self.first_image),
            "seconds_to_last_image": _rounded(self.last_image),
            "seconds": _rounded(self.total),
        }

    def summary(self) -> str:
        """Return the result as lines for people."""
        line = f"{self.path}: {self.n_readouts} readouts in {self.total:.2f} s, "
        line += f"{self.n_images} images"
        if self.first_image is not None and self.last_image is not None:
            line += f", the first {self.first_image:.2f} s and the last {self.last_image:.2f} s"
            line += " after the last readout"
        if not self.is_closed:
            line += "; the server ended without CLOSE"
        elif not self.is_sent:
            line += "; the server ended before it had the whole scan"
        return "\n".join([line, *self.texts])


@dataclass(frozen=True)
class ReplayResult:
    """What came of all files, in their order."""

    scans: tuple[ScanResult, ...]

    @property
    def succeeded(self) -> bool:
        """Whether every scan succeeded."""
        return all(scan.succeeded for scan in self.scans)

    def as_dict(self) -> dict[str, Any]:
        """Return the result as JSON takes it."""
        return {"succeeded": self.succeeded, "scans": [scan.as_dict() for scan in self.scans]}

    def summary(self) -> str:
        """Return the result as lines for people."""
        return "\n".join(scan.summary() for scan in self.scans)


def replay(
    paths: Sequence[str | Path],
    *,
    host: str = "127.0.0.1",
    port: int = 9002,
    config: str = "cardiac_qsm",
    settings_json: str | None = None,
    speed: str | float = "max",
    waveforms: bool = True,
    out: str | Path | None = None,
    group: str = "dataset",
    timeout: float = 600.0,
    progress: Progress | None = None,
    clock: Clock | None = None,
) -> ReplayResult:
    """Stream raw files to a server, one session each, and keep what it returns.

    Parameters
    ----------
    paths
        ISMRMRD files.
    host, port
        The server; any that speaks MRD.
    config
        Name of the chain to ask for.
    settings_json
        Settings as JSON text, sent right after the header; None sends no text.
    speed
        ``"max"``, ``"realtime"`` (by the readouts' time stamps), or a factor of real time.
    waveforms
        Whether to send waveforms, each between the readouts of its time.
    out
        ISMRMRD file for the returned images, in the group ``dataset``; of several files each in a
        group named for its raw file. It is replaced. None keeps none.
    group
        HDF5 group of the scan in each raw file.
    timeout
        Longest time the server may take no data, or send nothing once it has all [s].
    progress
        Told how many of the files' readouts have been sent.
    clock
        Time to keep to; the default is the machine's.

    Returns
    -------
    ReplayResult
        Counts, texts and times of each file.

    Raises
    ------
    ReplayError
        If ``out`` is one of the raw files, the server cannot be reached, or it stays silent for
        longer than it may. Images received before are in ``out``.
    ProtocolError
        If what the server sends is no MRD.
    FileFormatError
        If a file holds no scan.
    ChiStreamError
        If the speed is none.
    OSError
        If a file cannot be read or written.
    """
    pacing = Pacing(parse_speed(speed), clock or SystemClock())
    _refuse_raw_as_output(paths, out)
    scans = []
    for number, path in enumerate(map(Path, paths)):
        # What can fail does so before the file of an earlier replay is replaced.
        messages = _messages(path, group, config, settings_json, waveforms=waveforms)
        told = _telling(progress, path, _count_readouts(path, group))
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(_connect(host, port))
            writer = None
            if out is not None:
                name = "dataset" if len(paths) == 1 else f"{number + 1}_{path.stem}"
                writer = stack.enter_context(MessageWriter(out, name, append=number > 0))
            exchange = _Exchange(ScanResult(path), writer, pacing, timeout)
            scans.append(exchange.run(connection, messages, told))
    return ReplayResult(tuple(scans))


def parse_address(address: str) -> tuple[str, int]:
    """Split ``host:port``; the port may be missing.

    Parameters
    ----------
    address
        Like ``localhost:9002`` or ``[::1]:9002``.

    Returns
    -------
    tuple[str, int]
        Host, and port or MRD's own, 9002.

    Raises
    ------
    ReplayError
        If the port is no number.

    Examples
    --------
    >>> parse_address("scanner:9102"), parse_address("scanner"), parse_address("[::1]:9102")
    (('scanner', 9102), ('scanner', 9002), ('::1', 9102))
    """
    host, colon, port = address.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = address, "9002"
    if not port.isdecimal() or int(port) > 65535:
        raise ReplayError(f"{address!r} is no address: write host:port")
    return host.strip("[]"), int(port)


class _Exchange:
    """One session: this thread sends, another receives meanwhile."""

    def __init__(
        self, result: ScanResult, writer: MessageWriter | None, pacing: Pacing, timeout: float
    ) -> None:
        self._result = result
        self._writer = writer
        self._pacing = pacing
        self._timeout = timeout
        self._ended = threading.Event()
        self._image_times: list[float] = []
        self._last_readout = 0.0
        self._last_sign: float | None = None

    def run(
        self, connection: socket.socket, messages: Iterable[Message], told: Callable[[int], None]
    ) -> ScanResult:
        result, clock = self._result, self._pacing.clock
        start = self._last_readout = clock.now()
        # A timeout belongs to the object, not to the connection: each direction has its own.
        with ThreadPoolExecutor(1) as threads, connection.dup() as outgoing:
            outgoing.settimeout(self._timeout)
            connection.settimeout(min(self._timeout, _LOOK_UP_SECONDS))
            listening = threads.submit(self._listen, connection)
            try:
                self._send(outgoing, messages, told)
                self._last_sign = time.monotonic()
                listening.result()
            finally:
                # Whatever happened here, the other thread must not listen any longer.
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        result.total = clock.now() - start
        if self._image_times:
            result.first_image = self._image_times[0] - self._last_readout
            result.last_image = self._image_times[-1] - self._last_readout
        return result

    def _send(
        self, outgoing: socket.socket, messages: Iterable[Message], told: Callable[[int], None]
    ) -> None:
        try:
            for message in self._pacing.paced(messages, self._ended):
                send(outgoing, message)
                if isinstance(message, Acquisitions):
                    self._last_readout = self._pacing.clock.now()
                    self._result.n_readouts += len(message)
                    told(self._result.n_readouts)
            if not self._ended.is_set():
                send(outgoing, Close())
                self._result.is_sent = True
        except TimeoutError:
            raise ReplayError(f"the server has taken no data for {self._timeout:g} s") from None
        except ConnectionError:
            pass  # the server has ended the session; what it said before is still being read

    def _listen(self, connection: socket.socket) -> None:
        reader = MessageReader()
        try:
            while self._hears(connection, reader):
                pass
        finally:
            self._ended.set()

    def _hears(self, connection: socket.socket, reader: MessageReader) -> bool:
        """Take what comes, and tell whether more may come."""
        try:
            for message in receive(connection, reader):
                self._take(message)
                if self._result.is_closed:
                    return False
        except TimeoutError:
            self._check_patience()
            return True
        except ConnectionError:
            pass
        return False

    def _take(self, message: Message) -> None:
        if self._last_sign is not None:
            self._last_sign = time.monotonic()
        match message:
            case Close():
                self._result.is_closed = True
            case Text(text):
                self._result.texts.append(text)
            case PeerError(text):
                self._result.texts.append(f"ERROR    {text}")
            case Image():
                self._result.n_images += 1
                self._image_times.append(self._pacing.clock.now())
        if self._writer is not None:
            self._writer.write(message)

    def _check_patience(self) -> None:
        if self._last_sign is not None and time.monotonic() - self._last_sign >= self._timeout:
            raise ReplayError(f"the server has been silent for {self._timeout:g} s")


def _refuse_raw_as_output(paths: Sequence[str | Path], out: str | Path | None) -> None:
    for path in paths:
        if out is not None and Path(out).resolve() == Path(path).resolve():
            raise ReplayError(f"{out} is the raw data: name another file for the returned images")


def _messages(
    path: Path, group: str, config: str, settings_json: str | None, *, waveforms: bool
) -> Iterator[Message]:
    scan = scan_messages(path, group, waveforms=waveforms)
    header = next(scan, None)
    if not isinstance(header, Header):
        raise FileFormatError(f"{path} has images but no header: there is no scan to replay")
    settings = [] if settings_json is None else [Text(settings_json)]
    return itertools.chain([ConfigFile(config), header, *settings], scan)


def _connect(host: str, port: int) -> socket.socket:
    try:
        connection = socket.create_connection((host, port), _CONNECT_SECONDS)
    except OSError as error:
        raise ReplayError(f"no server can be reached at {host}:{port}: {error}") from None
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _count_readouts(path: Path, group: str) -> int:
    with h5py.File(path, "r", locking=False) as file:
        stored = file.get(f"{group}/data")
        return len(stored) if isinstance(stored, h5py.Dataset) else 0


def _telling(progress: Progress | None, path: Path, total: int) -> Callable[[int], None]:
    def tell(n_readouts: int) -> None:
        if progress is not None:
            progress(f"replay {path.name}", n_readouts / max(total, n_readouts))

    return tell


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
