"""Clients as the supervisor sees them: kept at hand while a worker serves them, then let go."""

import contextlib
import resource
import selectors
import socket
import sys
import time

from chistream.service.control import Position, StreamPosition

_SCRATCH_BYTES = 2**18
_OWN_FILES = 48  # standard streams, listener, journal, spare workers, what starting one takes
_FILES_PER_CLIENT = 4  # its connection, the worker's control socket, the position, one to spare


class Client:
    """An accepted connection, as long as the supervisor has a part in it.

    Parameters
    ----------
    connection
        The accepted socket. A worker gets a duplicate; this one stays, so that the client of a
        dead worker can still be told.
    session
        Id of the session in the log.
    address
        Address of the client; empty for a scan that is run again.

    Attributes
    ----------
    n_workers
        Workers it has been handed to; the second if the first died before it began.
    """

    def __init__(self, connection: socket.socket, session: str, address: str = "") -> None:
        self.connection = connection
        self.address = address
        self.session = session
        self.n_workers = 0
        self._position: StreamPosition | None = None

    def fileno(self) -> int:
        """Descriptor of the connection."""
        return self.connection.fileno()

    @property
    def position(self) -> Position:
        """Where the stream to the client stands."""
        return Position.UNTOUCHED if self._position is None else self._position.value

    def share_position(self) -> int:
        """Return a memory file that tells where the stream stands; the caller closes it."""
        fd = StreamPosition.create_fd()
        self._position = StreamPosition(fd)
        self.n_workers += 1
        return fd

    def close(self) -> None:
        """Give everything back."""
        if self._position is not None:
            self._position.close()
        self.connection.close()


class Farewells:
    """Connections whose session is over, until their clients have hung up.

    A socket closed with unread input sends a reset, and a reset can destroy what was sent before:
    the last images, the reason, CLOSE. So our side is shut down, and what still comes is read and
    thrown away until the client closes or its time is up.

    Parameters
    ----------
    selector
        Where to watch the connections.
    linger_seconds
        Time each client gets [s].
    """

    def __init__(self, selector: selectors.BaseSelector, linger_seconds: float) -> None:
        self._selector = selector
        self._linger_seconds = linger_seconds
        self._deadlines: dict[Client, float] = {}
        self._scratch = bytearray(_SCRATCH_BYTES)

    def __len__(self) -> int:
        return len(self._deadlines)

    def prepare(self) -> None:
        """Load what `say` needs; later there may be no memory or descriptor left to load it."""
        _last_words("", ends=True)

    def say(self, client: Client, reason: str | None) -> None:
        """End a client's stream, and keep its connection until it has been read.

        Parameters
        ----------
        client
            The client; handed over.
        reason
            Sent as text, followed by CLOSE, where the stream still needs one and can take it; None
            if the client has been told already.
        """
        with contextlib.suppress(OSError):
            client.connection.settimeout(0.0)
            if client.position <= Position.BETWEEN:
                client.connection.send(_last_words(reason, ends=True))
            client.connection.shutdown(socket.SHUT_WR)
        self._deadlines[client] = time.monotonic() + self._linger_seconds
        self._selector.register(client, selectors.EVENT_READ, lambda: self._discard(client))

    def next_deadline(self) -> float | None:
        """Monotonic time at which `expire` has something to do, None if there is nobody."""
        return min(self._deadlines.values(), default=None)

    def expire(self, now: float) -> None:
        """Close the connections of clients whose time is up."""
        for client in [c for c, deadline in self._deadlines.items() if deadline <= now]:
            self._let_go(client)

    def hasten(self, seconds: float) -> None:
        """Give everybody at most so much more time [s]."""
        latest = time.monotonic() + seconds
        self._deadlines = {c: min(deadline, latest) for c, deadline in self._deadlines.items()}

    def _discard(self, client: Client) -> None:
        try:
            if client.connection.recv_into(self._scratch):
                return
        except BlockingIOError:
            return
        except OSError:
            pass  # reset by the client: over as well
        self._let_go(client)

    def _let_go(self, client: Client) -> None:
        del self._deadlines[client]
        self._selector.unregister(client)
        client.close()


def tell(client: Client, reason: str) -> None:
    """Say something to a client whose worker has died, if its stream can take it."""
    with contextlib.suppress(OSError):
        client.connection.settimeout(0.0)
        if client.position <= Position.BETWEEN:
            client.connection.send(_last_words(reason, ends=False))


def _last_words(reason: str | None, *, ends: bool) -> bytes:
    # Loaded here, because a service is to listen at once, and this takes a moment.
    from chistream.stream.codec import encode
    from chistream.stream.messages import Close, Text

    text = b"" if reason is None else b"".join(encode(Text(reason)))
    return text + b"".join(encode(Close())) if ends else text


def count_servable_clients() -> int:
    """Count the clients for which this process has descriptors enough.

    Accepting more would leave none for their workers, and nobody would be served.

    Returns
    -------
    int
        At least 1.
    """
    n_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if n_files == resource.RLIM_INFINITY:
        return sys.maxsize
    return max(1, (n_files - _OWN_FILES) // _FILES_PER_CLIENT)
