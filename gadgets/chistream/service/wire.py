"""Messages through a socket."""

import socket
from collections.abc import Iterable, Iterator

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


def receive(connection: socket.socket, reader: MessageReader) -> Iterator[Message]:
    """Receive messages until the peer ends its side.

    Parameters
    ----------
    connection
        Where from; its timeout applies to each wait.
    reader
        Takes the bytes; memory of the messages is its own.

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
    while True:
        n_bytes = connection.recv_into(reader.get_buffer())
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
