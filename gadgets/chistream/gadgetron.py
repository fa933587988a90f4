"""ChiStream's chains as external gadgets of Gadgetron.

Gadgetron runs ``python -m gadgetron PORT chistream.gadgetron TARGET``, where TARGET is one of the
functions below, or connects to a `listen` that runs already. It sends the configuration of the
node, the header, the data and CLOSE; it takes images and CLOSE. A TEXT it takes for an offence, so
warnings go to the log, and a failure is an ERROR before CLOSE, once the input has been read:
earlier, Gadgetron would cut its client off in the middle of the scan.

References
----------
.. [1] Gadgetron 4.7.2, ``gadgetron/core/nodes/external`` and ``nodes/common/Serialization.cpp``.
   https://github.com/gadgetron/gadgetron
"""

import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from chistream.config import Settings, parse_settings_xml
from chistream.errors import (
    ChiStreamError,
    ReconstructionError,
    SettingsError,
    TruncatedMessage,
)
from chistream.stream.codec import MessageReader, encode
from chistream.stream.header import read_header
from chistream.stream.messages import Close, Image, Message, PeerError, Text

logger = logging.getLogger(__name__)

# Gadgetron's image reader dies of int16 and loses its place at 64-bit integers.
_PIXELS = (np.dtype("<u2"), np.dtype("<f4"))


class Connection(Protocol):
    """What we use of ``gadgetron.external.Connection``."""

    socket: Any
    """Its wrapper; ``socket.socket`` is the real one."""
    raw_bytes: Any
    """``config`` and ``header`` as they came."""


def cardiac_qsm(connection: Connection) -> None:
    """Run the chain ``cardiac_qsm`` on a connection from Gadgetron."""
    _serve(connection, "cardiac_qsm")


def qsm(connection: Connection) -> None:
    """Run the chain ``qsm`` on a connection from Gadgetron."""
    _serve(connection, "qsm")


def echoes(connection: Connection) -> None:
    """Run the chain ``echoes`` on a connection from Gadgetron."""
    _serve(connection, "echoes")


def passthrough(connection: Connection) -> None:
    """Run the chain ``passthrough`` on a connection from Gadgetron."""
    _serve(connection, "passthrough")


HANDLERS: dict[str, Callable[[Connection], None]] = {
    handler.__name__: handler for handler in (cardiac_qsm, qsm, echoes, passthrough)
}
"""The targets by name."""


def listen(
    port: int,
    chain: str = "cardiac_qsm",
    *,
    host: str = "127.0.0.1",
    on_listening: Callable[[str, int], None] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Wait for Gadgetron's ``<connect>``, each connection in a process of its own.

    Parameters
    ----------
    port
        Port to listen on; 0 takes any free port.
    chain
        Chain to run; one of HANDLERS.
    host
        Address to listen on.
    on_listening
        Called with host and port as soon as Gadgetron can connect.
    stop
        Set to end; looked at twice a second. Default: never.

    Raises
    ------
    SettingsError
        If there is no such chain.
    OSError
        If the address cannot be listened on.
    """
    if chain not in HANDLERS:
        raise SettingsError(f"no gadget is called {chain!r}; there are {', '.join(HANDLERS)}")
    stop = stop or threading.Event()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as listener:
        listener.settimeout(0.5)
        address = listener.getsockname()
        logger.info("listening on %s:%d for %s", address[0], address[1], chain)
        if on_listening is not None:
            on_listening(address[0], address[1])
        _accept_until(stop, listener, chain)


def install_chains(folder: Path) -> list[Path]:
    """Copy the chains' XML files to where Gadgetron looks for them.

    Parameters
    ----------
    folder
        Gadgetron's ``share/gadgetron/config``.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    OSError
        If the folder is missing or may not be written.
    """
    written = []
    for chain in HANDLERS:
        target = folder / f"chistream_{chain}.xml"
        target.write_text((files("chistream") / "chains" / f"{chain}.xml").read_text())
        written.append(target)
    return written


def _accept_until(stop: threading.Event, listener: socket.socket, chain: str) -> None:
    handlers: list[subprocess.Popen[bytes]] = []
    while not stop.is_set():
        # Asking a process whether it has ended also takes it off the system's list.
        handlers = [handler for handler in handlers if handler.poll() is None]
        try:
            connection, address = listener.accept()
        except TimeoutError:
            continue
        with connection:
            logger.info("connection from %s", address[0])
            handlers.append(_handle_in_process(connection, chain))
    for handler in handlers:
        handler.wait()


def _handle_in_process(connection: socket.socket, chain: str) -> subprocess.Popen[bytes]:
    fd = connection.fileno()
    command = [sys.executable, "-m", "chistream.gadgetron", str(fd), chain]
    return subprocess.Popen(command, pass_fds=[fd], stdin=subprocess.DEVNULL)  # noqa: S603


class _EndingSocket(socket.socket):
    """A socket whose end is an error; ``gadgetron`` would ask it for more for ever."""

    def recv(self, n_bytes: int, flags: int = 0, /) -> bytes:
        received = super().recv(n_bytes, flags)
        if n_bytes and not received:
            raise EOFError("the other side ended the connection")
        return received


def _handle_fd(fd: int, chain: str) -> None:
    from gadgetron.external import Connection as GadgetronConnection

    try:
        with _EndingSocket(fileno=fd) as peer, GadgetronConnection(peer) as connection:
            HANDLERS[chain](connection)
    except (EOFError, ConnectionError) as error:
        logger.error("%s: %s", chain, error)  # noqa: TRY400


class _Input(Iterator[Message]):
    """What Gadgetron sends, until its CLOSE.

    Not a generator: a chain that is given up would close it, and what it has not read could no
    longer be drained.
    """

    def __init__(self, peer: socket.socket) -> None:
        self._messages = _receive(peer)

    def __next__(self) -> Message:
        return next(self._messages)


def _serve(connection: Connection, chain: str) -> None:
    peer: socket.socket = connection.socket.socket
    messages = _Input(peer)
    try:
        _reconstruct(connection, chain, messages)
        _drain(messages)
    except (TruncatedMessage, OSError) as error:
        # Gadgetron itself has gone: nobody is left to take a result or a reason.
        logger.error("%s: %s", chain, error)  # noqa: TRY400
        return
    except ChiStreamError as error:
        logger.error("%s: %s", chain, error)  # noqa: TRY400
        reason = str(error)
    except Exception:
        logger.exception("%s failed", chain)
        reason = f"ChiStream's chain {chain} failed for a reason of its own; see the log."
    else:
        return
    _fail(peer, messages, reason)


def _reconstruct(connection: Connection, chain: str, messages: Iterator[Message]) -> None:
    settings, unknown = _settings_of(connection)
    if unknown:
        logger.warning("settings without meaning here, ignored: %s", ", ".join(unknown))
    header = read_header(connection.raw_bytes.header.decode(errors="replace"))
    # Loaded here: whoever only listens, or installs chain files, needs no stage.
    from chistream.chain import run_chain

    for message in run_chain(chain, header, settings, messages):
        if isinstance(message, Image):
            _send_image(connection, message)
        elif isinstance(message, Text):
            logger.warning("%s", message.text)


def _settings_of(connection: Connection) -> tuple[Settings, tuple[str, ...]]:
    xml = connection.raw_bytes.config.decode(errors="replace").strip("\0 \r\n\t")
    return parse_settings_xml(xml) if xml else (Settings(), ())


def _receive(peer: socket.socket) -> Iterator[Message]:
    # Our own reader takes over the socket: it is several times faster than one object a readout,
    # and it ends when the connection does.
    reader = MessageReader()
    while n_bytes := peer.recv_into(reader.get_buffer()):
        reader.received(n_bytes)
        for message in reader:
            if isinstance(message, Close):
                return
            yield message
    raise TruncatedMessage("Gadgetron ended the connection before its CLOSE")


def _send_image(connection: Connection, image: Image) -> None:
    if image.pixels.dtype not in _PIXELS:
        raise ReconstructionError(
            "series", f"Gadgetron takes uint16 and float32 images, not {image.pixels.dtype}"
        )
    connection.socket.socket.sendall(b"".join(encode(image, counted_nul=False)))


def _drain(messages: Iterator[Message]) -> None:
    for _ in messages:
        pass


def _fail(peer: socket.socket, messages: Iterator[Message], reason: str) -> None:
    """Report once the input has been read; CLOSE follows when the connection is closed."""
    try:
        _drain(messages)
        peer.sendall(b"".join(encode(PeerError(reason))))
    except (ChiStreamError, OSError) as error:
        logger.error("could not report the failure: %s", error)  # noqa: TRY400


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    _handle_fd(int(sys.argv[1]), sys.argv[2])
