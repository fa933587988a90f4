"""The part of the client for a scan that was kept: it is sent again, and the answer taken in."""

import contextlib
import logging
import socket
from collections.abc import Callable, Iterable
from threading import Thread

from chistream.errors import ChiStreamError

_LOG = logging.getLogger(__name__)
_BLOCK = 2**20


class Feeder:
    """Sends kept raw data as their client did, and takes in what comes back, in threads.

    Parameters
    ----------
    pieces
        The raw data; made in the thread that sends them. Where they end early, so does the stream.
    take
        Gets what comes back, piece by piece.

    Attributes
    ----------
    connection
        The other end: what a session gets in the place of its client. The caller closes it.
    """

    def __init__(self, pieces: Iterable[bytes], take: Callable[[bytes], None]) -> None:
        self.connection, self._own = socket.socketpair()
        self._pieces, self._take = pieces, take
        self._threads = [
            Thread(target=self._send, name="feeder", daemon=True),
            Thread(target=self._receive, name="answer", daemon=True),
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait until all that came back has been taken in; the connection must have been closed."""
        for thread in self._threads:
            thread.join()
        self._own.close()

    def _send(self) -> None:
        try:
            for piece in self._pieces:
                self._own.sendall(piece)
        except (ChiStreamError, OSError) as error:
            _LOG.warning("not all raw data were sent again: %s", error)
        with contextlib.suppress(OSError):
            self._own.shutdown(socket.SHUT_WR)

    def _receive(self) -> None:
        with contextlib.suppress(OSError):
            while piece := self._own.recv(_BLOCK):
                self._take(piece)
