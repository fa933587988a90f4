"""The rest of a scan whose worker has died: taken in, and kept, so that it can be run again.

A scanner that sees CLOSE stops sending, and what it has not sent is lost. So its client is told at
once, but CLOSE waits until the client has ended its stream, and what comes until then goes where
the rest already is. No byte is missing in between: a worker takes bytes off the connection only
after they are on disk, and the kernel knows how many it has taken off.
"""

import contextlib
import fcntl
import logging
import queue
import socket
import struct
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from chistream.errors import ChiStreamError
from chistream.service.clients import Client
from chistream.service.control import SpoolOrder
from chistream.service.limits import SessionLimits
from chistream.service.spool import SpoolWriter

_LOG = logging.getLogger(__name__)
_BLOCK = 2**18
_INFO_BYTES, _RECEIVED_AT, _CLOSE_WAIT = 192, 128, 8
"""Of Linux' struct tcp_info: enough of it, where tcpi_bytes_received is, a state with FIN."""


class Boundaries:
    r"""Finds the end of a stream of messages without making messages of it.

    Parameters
    ----------
    limits
        What is accepted.

    Examples
    --------
    >>> boundaries = Boundaries(SessionLimits())
    >>> [boundaries.ends_in(piece) for piece in (b"\5\0\3\0\0", b"\0abc\4", b"\0")]
    [False, False, True]
    """

    def __init__(self, limits: SessionLimits) -> None:
        self._limits = limits.sizes
        self._pending = b""
        self._left = 0

    def ends_in(self, piece: bytes) -> bool:
        """Take in a piece; tell whether a CLOSE is complete by now.

        Raises
        ------
        ProtocolError
            If this is no stream of messages.
        """
        # Loaded here, because the supervisor is to listen at once, and this takes a moment.
        import numpy as np

        from chistream.stream.framing import message_bytes, message_id
        from chistream.stream.messages import MessageId

        at = min(self._left, len(piece))
        self._left -= at
        if self._left:
            return False
        stretch = self._pending + piece[at:]
        memory = np.frombuffer(stretch, np.uint8)
        start = 0
        while (n_bytes := message_bytes(memory[start:], self._limits)) is not None:
            if message_id(memory[start:]) is MessageId.CLOSE:
                return True
            start += n_bytes
            if start >= len(memory):
                break
        self._left = max(0, start - len(memory))
        self._pending = stretch[start:]
        return False


def bytes_taken(connection: socket.socket) -> int | None:
    """Return how many bytes have been taken off a TCP connection; None for any other."""
    if connection.family == socket.AF_UNIX:
        return None
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
    (received,) = struct.unpack_from("<Q", info, _RECEIVED_AT)
    waiting = int.from_bytes(fcntl.ioctl(connection, termios.FIONREAD, bytes(4)), "little")
    # The end of the stream counts as a byte received, but not as one that waits.
    return int(received) - waiting - (info[0] == _CLOSE_WAIT)


@dataclass(frozen=True, slots=True)
class Salvaged:
    """A client whose stream has ended, and how many bytes of it are kept."""

    client: Client
    n_bytes: int


class Salvage:
    """Takes in what clients still send whose workers have died, each in a thread of its own.

    Parameters
    ----------
    limits
        How long to wait for a client.
    on_end
        Called, from such a thread, when `take` has something to give.
    """

    def __init__(self, limits: SessionLimits, on_end: Callable[[], None]) -> None:
        self._limits = limits
        self._on_end = on_end
        self._ended: queue.SimpleQueue[Salvaged] = queue.SimpleQueue()
        self._clients: set[Client] = set()

    def __len__(self) -> int:
        return len(self._clients)

    def begin(self, client: Client, order: SpoolOrder) -> bool:
        """Begin, if there is anything to go on with; the client is handed over then.

        Parameters
        ----------
        client
            Whose worker has died.
        order
            Where its bytes are kept.

        Returns
        -------
        bool
            Whether it has begun: not if the bytes are not kept, or some are missing.
        """
        taken = bytes_taken(client.connection)
        try:
            spool = SpoolWriter(Path(order.path), order.fsync, order.fsync_seconds, resumed=True)
        except OSError:
            return False
        if taken is None or not 0 < taken <= spool.n_bytes:
            spool.close()
            return False
        self._clients.add(client)
        Thread(target=self._run, args=(client, spool, spool.n_bytes - taken), daemon=True).start()
        return True

    def take(self) -> Salvaged | None:
        """Return the next client whose stream has ended; None if there is none."""
        try:
            salvaged = self._ended.get_nowait()
        except queue.Empty:
            return None
        self._clients.discard(salvaged.client)
        return salvaged

    def hasten(self) -> None:
        """End all of them soon."""
        for client in self._clients:
            with contextlib.suppress(OSError):
                client.connection.shutdown(socket.SHUT_RD)

    def _run(self, client: Client, spool: SpoolWriter, n_known: int) -> None:
        try:
            self._take_in(client.connection, spool, n_known)
        except (ChiStreamError, OSError) as error:
            _LOG.warning("the rest was not kept: %s", error, extra={"session": client.session})
        spool.close()
        self._ended.put(Salvaged(client, spool.n_bytes))
        self._on_end()

    def _take_in(self, connection: socket.socket, spool: SpoolWriter, n_known: int) -> None:
        boundaries = Boundaries(self._limits)
        if any(boundaries.ends_in(piece) for piece in spool.pieces()):
            return
        deadline = time.monotonic() + self._limits.session_seconds
        connection.settimeout(self._limits.idle_seconds)
        while piece := connection.recv(_BLOCK):
            if time.monotonic() > deadline:
                return
            new = piece[n_known:]
            n_known = max(0, n_known - len(piece))
            if new:
                spool.append(memoryview(new))
            if new and boundaries.ends_in(new):
                return
