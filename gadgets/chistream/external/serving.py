"""One connection from Gadgetron: its items in, images and arrays out, and an end in order.

A TEXT Gadgetron takes for an offence, so warnings go to the log, and a failure is an ERROR before
CLOSE, once the input has been read: earlier, Gadgetron would cut its client off in the middle of
the scan.
"""

import logging
import socket
import sys
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from chistream.config import Settings, parse_settings_xml
from chistream.errors import ChiStreamError, ReconstructionError, TruncatedMessage
from chistream.external.arrays import ImageArray, encode_image_array
from chistream.external.guard import EndingSocket
from chistream.external.reading import GadgetReader, Item
from chistream.stream.codec import encode
from chistream.stream.header import read_header
from chistream.stream.messages import Close, Image, PeerError, Text

logger = logging.getLogger(__name__)

# Gadgetron's image reader dies of int16 and loses its place at 64-bit integers.
_PIXELS = (np.dtype("<u2"), np.dtype("<f4"))


class Connection(Protocol):
    """What we use of ``gadgetron.external.Connection``."""

    socket: Any
    """Its wrapper; ``socket.socket`` is the real one."""
    raw_bytes: Any
    """``config`` and ``header`` as they came."""


class _Input(Iterator[Item]):
    """What Gadgetron sends, until its CLOSE.

    Not a generator: a chain that is given up would close it, and what it has not read could no
    longer be drained.
    """

    def __init__(self, peer: socket.socket) -> None:
        self._items = _receive(peer)

    def __next__(self) -> Item:
        return next(self._items)


def serve(connection: Connection, node: str) -> None:
    """Run a node on a connection from Gadgetron, to its end.

    Parameters
    ----------
    connection
        From Gadgetron; config and header have been read.
    node
        A chain or a part of one, as `chistream.external.nodes.run_node` takes it.
    """
    peer: socket.socket = connection.socket.socket
    items = _Input(peer)
    try:
        _reconstruct(connection, node, items)
        _drain(items)
    except (TruncatedMessage, OSError) as error:
        # Gadgetron itself has gone: nobody is left to take a result or a reason.
        logger.error("%s: %s", node, error)  # noqa: TRY400
        return
    except ChiStreamError as error:
        logger.error("%s: %s", node, error)  # noqa: TRY400
        reason = str(error)
    except Exception:
        logger.exception("%s failed", node)
        reason = f"ChiStream's chain {node} failed for a reason of its own; see the log."
    else:
        return
    _fail(peer, items, reason)


def handle_fd(fd: int, node: str) -> None:
    """Serve the connection of an inherited descriptor."""
    from gadgetron.external import Connection as GadgetronConnection

    try:
        with EndingSocket(fileno=fd) as peer, GadgetronConnection(peer) as connection:
            serve(connection, node)
    except (EOFError, ConnectionError) as error:
        logger.error("%s: %s", node, error)  # noqa: TRY400


def _reconstruct(connection: Connection, node: str, items: Iterator[Item]) -> None:
    settings, unknown = _settings_of(connection)
    if unknown:
        logger.warning("settings without meaning here, ignored: %s", ", ".join(unknown))
    header = read_header(connection.raw_bytes.header.decode(errors="replace"))
    # Loaded here: whoever only listens, or installs chain files, needs no stage.
    from chistream.external.nodes import run_node

    for item in run_node(node, header, settings, items):
        if isinstance(item, Image):
            _send_image(connection, item)
        elif isinstance(item, ImageArray):
            for piece in encode_image_array(item):
                connection.socket.socket.sendall(piece)
        elif isinstance(item, Text):
            logger.warning("%s", item.text)


def _settings_of(connection: Connection) -> tuple[Settings, tuple[str, ...]]:
    xml = connection.raw_bytes.config.decode(errors="replace").strip("\0 \r\n\t")
    return parse_settings_xml(xml) if xml else (Settings(), ())


def _receive(peer: socket.socket) -> Iterator[Item]:
    # Our own reader takes over the socket: it is several times faster than one object a readout,
    # and it ends when the connection does.
    reader = GadgetReader()
    while n_bytes := peer.recv_into(reader.get_buffer()):
        reader.received(n_bytes)
        for item in reader.items():
            if isinstance(item, Close):
                return
            yield item
    raise TruncatedMessage("Gadgetron ended the connection before its CLOSE")


def _send_image(connection: Connection, image: Image) -> None:
    if image.pixels.dtype not in _PIXELS:
        raise ReconstructionError(
            "series", f"Gadgetron takes uint16 and float32 images, not {image.pixels.dtype}"
        )
    connection.socket.socket.sendall(b"".join(encode(image, counted_nul=False)))


def _drain(items: Iterator[Item]) -> None:
    for _ in items:
        pass


def _fail(peer: socket.socket, items: Iterator[Item], reason: str) -> None:
    """Report once the input has been read; CLOSE follows when the connection is closed."""
    try:
        _drain(items)
        peer.sendall(b"".join(encode(PeerError(reason))))
    except (ChiStreamError, OSError) as error:
        logger.error("could not report the failure: %s", error)  # noqa: TRY400


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    handle_fd(int(sys.argv[1]), sys.argv[2])
