"""Messages through a socket."""

import socket
from collections.abc import Callable, Iterable, Iterator

from chistream.stream.codec import MessageReader, encode
from chistream.stream.messages import Message

_MAX_PIECES = 64


def send(connection: socket.socket, message: Message) -> None:
    """Send one message, all of it.

    Parameters
    ----------
    connection
        Where to; its timeout applies to each stretch without progress, not to the whole.
    message
        What.

    Raises
    ------
    OSError
        If the peer has gone, or (TimeoutError) takes nothing.
    """
    pieces = [memoryview(piece) for piece in encode(message) if len(piece)]
    while pieces:
        n_bytes = connection.sendmsg(pieces[:_MAX_PIECES])
        pieces = _without_front(pieces, n_bytes)


def receive(
    connection: socket.socket,
    reader: MessageReader,
    keep: Callable[[memoryview], None] | None = None,
    patience: Callable[[], float] | None = None,
) -> Iterator[Message]:
    """Receive messages until the peer ends its side.

    Parameters
    ----------
    connection
        Where from; its timeout applies to each wait.
    reader
        Takes the bytes; memory of the messages is its own.
    keep
        Gets every byte before any message is made of it. Of a TCP connection the bytes are taken
        off only after that: whoever is killed in between has not lost them.
    patience
        Asked before each wait how long it may be [s].

    Yields
    ------
    Message
        Whatever comes, CLOSE included; the caller decides when to stop.

    Raises
    ------
    ProtocolError
        If the bytes are no MRD stream, or end inside a message.
    OSError
        If the connection breaks, or (TimeoutError) stays silent.
    """
    can_peek = keep is not None and connection.family != socket.AF_UNIX
    while True:
        if patience is not None:
            connection.settimeout(patience())
        buffer = reader.get_buffer()
        n_bytes = connection.recv_into(buffer, 0, socket.MSG_PEEK if can_peek else 0)
        if n_bytes and keep is not None:
            keep(buffer[:n_bytes])
        if n_bytes and can_peek:
            # The kernel drops what is here already: no second copy.
            connection.recv_into(buffer, n_bytes, socket.MSG_TRUNC)
        if not n_bytes:
            reader.feed_eof()
            yield from reader
            return
        reader.received(n_bytes)
        yield from reader


def _without_front(pieces: Iterable[memoryview], n_bytes: int) -> list[memoryview]:
    rest = []
    for piece in pieces:
        taken = min(n_bytes, piece.nbytes)
        n_bytes -= taken
        if taken < piece.nbytes:
            rest.append(piece.cast("B")[taken:] if taken else piece)
    return rest
