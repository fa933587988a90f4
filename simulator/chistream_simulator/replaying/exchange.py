"""One session with a server: one thread sends, another receives meanwhile."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from chistream.service.wire import receive, send
from chistream.stream.codec import MessageReader, encode
from chistream.stream.messages import (
    Acquisitions,
    Close,
    ConfigText,
    Header,
    Image,
    Message,
    PeerError,
    Text,
)
from chistream_simulator.replaying.items import Damage, HangUp, Item, Pause, ReplayError
from chistream_simulator.replaying.results import ScanResult
from chistream_simulator.replaying.timeline import Pacing
from chistream_simulator.replaying.watching import Watcher

_LOOK_UP_SECONDS = 0.05
_CONNECT_SECONDS = 10.0
_LINGER_NOT = struct.pack("ii", 1, 0)


def connect(host: str, port: int) -> socket.socket:
    """Connect to a server.

    Raises
    ------
    ReplayError
        If it cannot be reached.
    """
    try:
        connection = socket.create_connection((host, port), _CONNECT_SECONDS)
    except OSError as error:
        raise ReplayError(f"no server can be reached at {host}:{port}: {error}") from None
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


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


class Exchange:
    """A session, from the connection to its end.

    Parameters
    ----------
    result
        Where counts, texts and times go.
    pacing
        Decides when what is sent.
    keep
        Takes every message that comes.
    watcher
        Told what happens.
    timeout
        Longest time the server may take no data, or send nothing once it has all [s].
    counted_nul
        Whether texts end in a NUL that their length counts.
    """

    def __init__(
        self,
        result: ScanResult,
        pacing: Pacing,
        keep: Callable[[Message], None],
        watcher: Watcher,
        *,
        timeout: float,
        counted_nul: bool = True,
    ) -> None:
        self._result = result
        self._pacing = pacing
        self._keep = keep
        self._watcher = watcher
        self._timeout = timeout
        self._counted_nul = counted_nul
        self._ended = threading.Event()
        self._is_gone = False
        self._is_reset = False
        self._connection: socket.socket | None = None
        self._image_times: list[float] = []
        self._start = 0.0
        self._last_sign: float | None = None

    def run(self, connection: socket.socket, items: Iterable[Item]) -> None:
        """Send everything, and receive until the server ends.

        Parameters
        ----------
        connection
            The server; shut down on return, and to be closed by the caller.
        items
            What to send, CLOSE included.

        Raises
        ------
        ReplayError
            If the server takes no data, or stays silent, for longer than it may.
        ProtocolError
            If what it sends is no MRD.
        OSError
            If what comes cannot be kept.
        """
        self._connection = connection
        self._start = self._result.connected = self._pacing.clock.now()
        self._event("connected")
        self._watcher.began(self._result)
        try:
            self._exchange(connection, items)
        finally:
            self._result.total = self._now()
            self._event("ended")
            if self._image_times:
                self._result.first_image = self._image_times[0] - self._result.sending
                self._result.last_image = self._image_times[-1] - self._result.sending

    def stop(self) -> None:
        """End the session now, from any thread."""
        self._is_gone = True
        self._ended.set()
        if self._connection is not None and not self._is_reset:
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)

    def _exchange(self, connection: socket.socket, items: Iterable[Item]) -> None:
        # A timeout belongs to the object, not to the connection: each direction has its own.
        with ThreadPoolExecutor(1) as threads, connection.dup() as outgoing:
            outgoing.settimeout(self._timeout)
            connection.settimeout(min(self._timeout, _LOOK_UP_SECONDS))
            listening = threads.submit(self._listen, connection)
            try:
                self._send_all(outgoing, items)
                if not self._is_gone:
                    self._last_sign = time.monotonic()
                    listening.result()
            finally:
                # Whatever happened here, the other thread must not listen any longer.
                self.stop()

    def _send_all(self, outgoing: socket.socket, items: Iterable[Item]) -> None:
        try:
            for item in self._pacing.paced(items, self._ended):
                self._send(outgoing, item)
        except TimeoutError:
            raise ReplayError(f"the server has taken no data for {self._timeout:g} s") from None
        except ConnectionError:
            pass  # the server has ended the session; what it said before is still being read

    def _send(self, outgoing: socket.socket, item: Item) -> None:
        match item:
            case Damage():
                self._result.faults[item.fault].struck.append((self._now(), item))
            case Pause(seconds):
                self._pacing.clock.wait(seconds, self._ended)
            case HangUp(how):
                self._hang_up(outgoing, how)
            case bytes():
                outgoing.sendall(item)
            case ConfigText() | Header() | Text() if not self._counted_nul:
                outgoing.sendall(b"".join(encode(item, counted_nul=False)))
                self._note_sent(item)
            case _:
                send(outgoing, item)
                self._note_sent(item)

    def _hang_up(self, outgoing: socket.socket, how: str) -> None:
        if how == "half":
            outgoing.shutdown(socket.SHUT_WR)
            return
        if how == "reset":
            # Closing the last handle of it then sends RST in the place of FIN.
            outgoing.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
            self._is_reset = True
        self._is_gone = True

    def _note_sent(self, message: Message) -> None:
        match message:
            case Acquisitions():
                self._result.sending = self._now()
                self._result.n_readouts += len(message)
                self._result.beats.count(message.heads)
                if self._result.trace is not None:
                    self._result.trace.readouts(message, self._result.sending)
            case Header():
                self._event("header_sent")
            case Close():
                self._result.is_sent = True
                self._event("close_sent")
        self._watcher.sent(self._result)

    def _listen(self, connection: socket.socket) -> None:
        reader = MessageReader()
        try:
            while not self._is_gone and self._hears(connection, reader):
                pass
        finally:
            self._ended.set()

    def _hears(self, connection: socket.socket, reader: MessageReader) -> bool:
        """Take what comes, and tell whether more may come."""
        try:
            for message in receive(connection, reader):
                self._take(message)
                if self._result.is_closed or self._is_gone:
                    return False
        except TimeoutError:
            self._check_patience()
            return True
        except ConnectionError:
            pass
        return False

    def _take(self, message: Message) -> None:
        now = self._now()
        if self._last_sign is not None:
            self._last_sign = time.monotonic()
        match message:
            case Close():
                self._result.is_closed = True
                self._event("close_received")
            case Text(text):
                self._take_text(text, now)
            case PeerError(text):
                self._take_text(f"ERROR    {text}", now)
            case Image():
                self._result.n_images += 1
                self._image_times.append(now)
                if self._result.trace is not None:
                    self._result.trace.image(message, now)
        self._watcher.came(self._result, message, now)
        self._keep(message)

    def _take_text(self, text: str, now: float) -> None:
        self._result.texts.append(text)
        if self._result.trace is not None:
            self._result.trace.text(text, now)

    def _check_patience(self) -> None:
        if self._last_sign is not None and time.monotonic() - self._last_sign >= self._timeout:
            raise ReplayError(f"the server has been silent for {self._timeout:g} s")

    def _event(self, name: str) -> None:
        if self._result.trace is not None:
            self._result.trace.event(name, self._now())

    def _now(self) -> float:
        return self._pacing.clock.now() - self._start
