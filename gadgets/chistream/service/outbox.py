"""What goes to the client, sent by a thread of its own."""

import contextlib
import logging
import queue
import socket
import threading

from chistream.service.control import Position, StreamPosition
from chistream.service.wire import send
from chistream.stream.messages import Close, Message

_LOG = logging.getLogger(__name__)


class Outbox:
    """Sends messages in order, without ever holding up who puts them.

    A client may send its whole scan before it reads the first image, and the chain may compute for
    a minute after it made one. Neither works if the thread that reads, or the one that computes,
    waits for a full socket; so what is made is kept here until the client takes it.

    Parameters
    ----------
    connection
        The client.
    position
        Where the stream stands, for whoever has to end it if this process cannot.
    delivery_seconds
        Longest time the client may take nothing [s]; then it counts as gone.
    """

    def __init__(
        self, connection: socket.socket, position: StreamPosition, delivery_seconds: float
    ) -> None:
        # Python keeps a timeout per object, not per connection: the receiving side has its own.
        self._connection = connection.dup()
        self._connection.settimeout(delivery_seconds)
        self._position = position
        self._messages: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._gone = threading.Event()
        self._thread = threading.Thread(target=self._deliver, name="outbox", daemon=True)
        self._thread.start()

    @property
    def is_client_gone(self) -> bool:
        """Whether the client can no longer be reached; what is put then is dropped."""
        return self._gone.is_set()

    def put(self, message: Message) -> None:
        """Send a message as soon as those before it are sent."""
        self._messages.put(message)

    def close(self) -> None:
        """Send CLOSE, end our side, and wait until all is sent or the client is gone.

        May be called again after an interruption, to go on waiting.
        """
        self._messages.put(Close())
        self._thread.join()
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)
        self._connection.close()

    def finish(self) -> None:
        """Send what has been put and no CLOSE: somebody else will end the stream."""
        self._messages.put(None)
        self._thread.join()
        self._connection.close()

    def _deliver(self) -> None:
        is_open = True
        while is_open and (message := self._messages.get()) is not None:
            is_open = not isinstance(message, Close)
            if not self.is_client_gone:
                self._send(message, Position.BETWEEN if is_open else Position.CLOSED)

    def _send(self, message: Message, position_after: Position) -> None:
        self._position.value = Position.INSIDE
        try:
            send(self._connection, message)
        except OSError as error:
            _LOG.warning("the client takes no more: %s", error)
            self._gone.set()
            position_after = Position.CLOSED
        self._position.value = position_after
