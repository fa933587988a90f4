"""What every test of a service needs: a small scan, and a peer that behaves or does not."""

import socket
import time
from collections.abc import Callable
from typing import ClassVar, Protocol

import numpy as np

from chistream.stream.codec import MessageReader, encode
from chistream.stream.messages import (
    ACQUISITION_HEAD,
    Acquisitions,
    Close,
    ConfigFile,
    Header,
    Image,
    Message,
    Text,
    new_head,
)

PATIENCE = 30.0
HEADER = Header("""<?xml version="1.0"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
  <experimentalConditions><H1resonanceFrequency_Hz>63870000</H1resonanceFrequency_Hz></experimentalConditions>
  <encoding>
    <encodedSpace><matrixSize><x>8</x><y>4</y><z>2</z></matrixSize>
      <fieldOfView_mm><x>80</x><y>40</y><z>20</z></fieldOfView_mm></encodedSpace>
    <reconSpace><matrixSize><x>4</x><y>4</y><z>2</z></matrixSize>
      <fieldOfView_mm><x>40</x><y>40</y><z>20</z></fieldOfView_mm></reconSpace>
    <encodingLimits/>
    <trajectory>cartesian</trajectory>
  </encoding>
  <sequenceParameters><TE>4.1</TE><TE>8.2</TE></sequenceParameters>
</ismrmrdHeader>""")


class Addressed(Protocol):
    """Something that can be connected to."""

    address: tuple[str, int]


def wait_until(claim: Callable[[], bool], patience: float = PATIENCE) -> None:
    deadline = time.monotonic() + patience
    while not claim():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def readouts(n: int, n_coils: int = 2, n_samples: int = 8) -> Acquisitions:
    head = new_head(
        ACQUISITION_HEAD,
        number_of_samples=n_samples,
        active_channels=n_coils,
        available_channels=n_coils,
    )
    samples = np.ones((n, n_coils, n_samples), np.complex64)
    return Acquisitions(np.repeat(np.array([head]), n), samples, np.zeros((n, n_samples, 0), "f4"))


def wire(*messages: Message) -> bytes:
    return b"".join(piece for message in messages for piece in encode(message))


class Peer:
    """A client that says and hears exactly what the test wants."""

    opened: ClassVar[list["Peer"]] = []

    def __init__(self, service: Addressed, source: str = "") -> None:
        self.socket = socket.create_connection(service.address, PATIENCE, (source, 0))
        self._reader = MessageReader()
        self._heard: list[Message] = []
        self.opened.append(self)

    def say(self, *messages: Message) -> None:
        self.socket.sendall(wire(*messages))

    def begin(self, chain: str) -> None:
        """Open a scan; the empty settings let its chain start before the first readout."""
        self.say(ConfigFile(chain), HEADER, Text(""))

    def hear(self) -> Message | None:
        """Return the next message, None at the end."""
        while not self._heard:
            n_bytes = self.socket.recv_into(self._reader.get_buffer())
            if not n_bytes:
                self._reader.feed_eof()
                return next(iter(self._reader), None)
            self._reader.received(n_bytes)
            self._heard += self._reader
        return self._heard.pop(0)

    def hear_all(self) -> list[Message]:
        """Listen to the end, and hang up."""
        with self.socket:
            return list(iter(self.hear, None))

    def hear_pid(self) -> int:
        text = self.hear()
        assert isinstance(text, Text)
        return int(text.text.removeprefix("pid "))

    def scan(self, chain: str, *data: Message) -> list[Message]:
        """Do a whole session as a well-behaved client does."""
        self.say(ConfigFile(chain), HEADER, *(data or [readouts(3)]), Close())
        return self.hear_all()


def kinds(messages: list[Message]) -> list[type]:
    return [type(message) for message in messages]


def words(message: Message | None) -> str:
    assert isinstance(message, Text)
    return message.text


def index(message: Message) -> int:
    assert isinstance(message, Image)
    return int(message.head["image_index"])
