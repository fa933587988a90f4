"""Gadgetron's side of the socket, as its C++ nodes speak to an external module."""

import encodings.idna  # noqa: F401  (two threads that load it at once can fail)
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from chistream.external.reading import GadgetReader, Item
from chistream.stream.codec import encode
from chistream.stream.messages import (
    ACQUISITION_HEAD,
    IMAGE_HEAD,
    Acquisitions,
    Image,
    Message,
    new_head,
)

PATIENCE = 60.0
CONFIG = '<configuration><property name="strength" value="{}"/></configuration>'
HEADER = """<?xml version="1.0" encoding="UTF-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
  <measurementInformation><patientPosition>HFS</patientPosition></measurementInformation>
  <experimentalConditions><H1resonanceFrequency_Hz>63870000</H1resonanceFrequency_Hz></experimentalConditions>
  <encoding>
    <encodedSpace><matrixSize><x>8</x><y>4</y><z>2</z></matrixSize>
      <fieldOfView_mm><x>80</x><y>40</y><z>20</z></fieldOfView_mm></encodedSpace>
    <reconSpace><matrixSize><x>4</x><y>4</y><z>2</z></matrixSize>
      <fieldOfView_mm><x>40</x><y>40</y><z>20</z></fieldOfView_mm></reconSpace>
    <encodingLimits/>
    <trajectory>cartesian</trajectory>
  </encoding>
  <sequenceParameters><TE>4.0999999</TE><TE>8.2</TE></sequenceParameters>
</ismrmrdHeader>"""


def text(message_id: int, content: str) -> bytes:
    """Encode CONFIG (2) or HEADER (3) as Gadgetron does: no NUL, and none counted."""
    payload = content.encode()
    return struct.pack("<HI", message_id, len(payload)) + payload


def readouts(n: int) -> Acquisitions:
    heads = np.repeat(
        np.array([new_head(ACQUISITION_HEAD, number_of_samples=8, active_channels=2)]), n
    )
    return Acquisitions(heads, np.ones((n, 2, 8), np.complex64), np.zeros((n, 8, 0), np.float32))


def image(value: int) -> Image:
    head = new_head(IMAGE_HEAD, data_type=1, matrix_size=(4, 3, 2), channels=1)
    return Image(head, "<ismrmrdMeta></ismrmrdMeta>", np.full((1, 2, 3, 4), value, np.uint16))


def wire(*messages: Message) -> bytes:
    return b"".join(piece for m in messages for piece in encode(m, counted_nul=False))


class Peer:
    """What Gadgetron is to an external gadget, once they are connected."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.socket.settimeout(PATIENCE)
        self._reader = GadgetReader()

    def begin(self, config: str = "<configuration/>", header: str = HEADER) -> None:
        self.socket.sendall(text(2, config) + text(3, header))

    def say(self, *messages: Message) -> None:
        self.socket.sendall(wire(*messages))

    def hear(self) -> Iterator[Item]:
        while n_bytes := self.socket.recv_into(self._reader.get_buffer()):
            self._reader.received(n_bytes)
            yield from self._reader.items()

    def hear_all(self) -> list[Item]:
        return list(self.hear())

    def nothing_comes(self) -> bool:
        self.socket.settimeout(0.1)
        try:
            return not self.socket.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(PATIENCE)


class Gadget:
    """``python -m gadgetron PORT MODULE TARGET``, started as Gadgetron starts it."""

    def __init__(self, folder: Path, module: str, target: str) -> None:
        path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        self._log = folder / f"{target}.log"
        with socket.create_server(("127.0.0.1", 0)) as listener, self._log.open("wb") as log:
            port = str(listener.getsockname()[1])
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gadgetron", port, module, target],
                env={**os.environ, "PYTHONPATH": path},
                stderr=log,
            )
            listener.settimeout(PATIENCE)
            connection, _ = listener.accept()
        self.peer = Peer(connection)

    @property
    def log(self) -> str:
        return self._log.read_text()


def wait_until(claim: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not claim():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def kinds(messages: list[Item]) -> list[type]:
    return [type(m) for m in messages]
