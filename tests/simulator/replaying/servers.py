"""Servers that do what a test's script says, and small scans to send them."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np

from chistream.errors import ChiStreamError
from chistream.stream.codec import MessageReader, encode
from chistream.stream.files import MessageWriter
from chistream.stream.messages import (
    ACQUISITION_HEAD,
    IMAGE_HEAD,
    WAVEFORM_HEAD,
    Acquisitions,
    Close,
    Header,
    Image,
    Message,
    Waveform,
    new_head,
)

PATIENCE = 20.0
Script: TypeAlias = Callable[["Session"], None]
Serve: TypeAlias = Callable[["Script"], "Server"]


def readouts(stamps: list[int], first_counter: int = 0) -> Acquisitions:
    n = len(stamps)
    heads = np.repeat(
        np.array([new_head(ACQUISITION_HEAD, number_of_samples=6, active_channels=2)]), n
    )
    heads["acquisition_time_stamp"] = stamps
    heads["scan_counter"] = first_counter + np.arange(n)
    samples = np.arange(12 * n, dtype=np.complex64).reshape(n, 2, 6)
    return Acquisitions(heads, samples, np.zeros((n, 6, 0), np.float32))


def waveform(stamp: int) -> Waveform:
    head = new_head(WAVEFORM_HEAD, number_of_samples=3, channels=2, time_stamp=stamp)
    return Waveform(head, np.full((2, 3), stamp, np.uint32))


def image(value: int) -> Image:
    head = new_head(
        IMAGE_HEAD, data_type=1, matrix_size=(4, 3, 2), channels=1, image_series_index=1
    )
    return Image(head, "<ismrmrdMeta></ismrmrdMeta>", np.full((1, 2, 3, 4), value, np.uint16))


def write_scan(
    path: Path, *messages: Message, group: str = "dataset", xml: str = "<ismrmrdHeader/>"
) -> Path:
    with MessageWriter(path, group) as writer:
        writer.write(Header(xml))
        for message in messages:
            writer.write(message)
    return path


class Session:
    """What a server has of one client."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.connection.settimeout(PATIENCE)
        self.reader = MessageReader()
        self.heard: list[Message] = []

    def hear(self, until: type[Message] | None = Close) -> None:
        """Listen until such a message has come, or the client ends its side."""
        while until is None or not any(isinstance(m, until) for m in self.heard):
            n_bytes = self.connection.recv_into(self.reader.get_buffer())
            if not n_bytes:
                self.reader.feed_eof()
                self.heard += self.reader
                return
            self.reader.received(n_bytes)
            self.heard += self.reader

    def say(self, *messages: Message) -> None:
        self.connection.sendall(b"".join(piece for m in messages for piece in encode(m)))


class Server:
    """A server whose sessions, each in a thread, do as the script says."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.sessions: list[Session] = []
        self.errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def heard(self) -> list[Message]:
        """What the last client has said."""
        return self.sessions[-1].heard

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.sessions.append(Session(connection))
            thread = threading.Thread(target=self._serve, args=(self.sessions[-1],), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _serve(self, session: Session) -> None:
        with session.connection:
            try:
                self._script(session)
            except (ChiStreamError, OSError) as error:
                self.errors.append(error)


def answer_with(*messages: Message) -> Script:
    def script(session: Session) -> None:
        session.hear()
        session.say(*messages)

    return script


class FakeClock:
    """A clock that a wait moves on at once."""

    def __init__(self) -> None:
        self.time = 100.0
        self.waits: list[float] = []

    def now(self) -> float:
        return self.time

    def wait(self, seconds: float, _ended: threading.Event) -> None:
        self.waits.append(seconds)
        self.time += seconds


def joined(messages: list[Message]) -> tuple[list[int], list[int]]:
    """Return the counters of the readouts and the stamps of the waveforms, in their order."""
    counters = [
        int(c) for m in messages if isinstance(m, Acquisitions) for c in m.heads["scan_counter"]
    ]
    return counters, [int(m.head["time_stamp"]) for m in messages if isinstance(m, Waveform)]
