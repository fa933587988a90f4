"""Bytes to messages and back, without a socket in sight."""

from collections.abc import Iterator

import numpy as np

from chistream.errors import TruncatedMessage
from chistream.stream.decoding import decode_acquisitions, decode_message
from chistream.stream.encoding import encode
from chistream.stream.framing import (
    ID_BYTES,
    Bytes,
    message_bytes,
    message_id,
    own_memory,
    prefix_bytes,
)
from chistream.stream.limits import Limits
from chistream.stream.messages import Message, MessageId

__all__ = ["BUFFER_BYTES", "MIN_BUFFER_BYTES", "MessageReader", "encode"]

BUFFER_BYTES = 2**20
"""Default size of the receive buffer: large enough for runs, small enough to stay in the cache."""

MIN_BUFFER_BYTES = 1024
"""Half of it must hold any id with its prefix."""


class MessageReader:
    r"""Turn a byte stream, cut anywhere, into messages.

    Give it the bytes, in either of two ways: let the network write into ``get_buffer()`` and tell
    ``received()`` how much came, or hand over bytes with ``feed()``. After each, iterate the reader
    for the messages that are complete. Consecutive readouts of one shape come as one
    ``Acquisitions``. All arrays are safe to keep.

    After an error the reader is spent: the stream has no next message to find, and iterating it
    raises the same error again.

    Parameters
    ----------
    limits
        What is accepted; a peer announcing more is refused before any of it is read.
    buffer_bytes
        Size of the receive buffer [bytes], at least 1024. A message of more than a quarter of it
        gets memory of its own, which the network fills and which then carries its arrays: no copy.

    Notes
    -----
    Memory: the receive buffer and the one message that is arriving, as long as the reader is
    iterated after every ``received()``; bytes that are fed without that are kept.

    Examples
    --------
    >>> reader = MessageReader()
    >>> for piece in (b"\x05\x00\x05\x00", b"\x00\x00hello\x04", b"\x00"):
    ...     reader.feed(piece)
    ...     print(list(reader))
    []
    [Text(text='hello')]
    [Close()]
    """

    def __init__(self, limits: Limits | None = None, *, buffer_bytes: int = BUFFER_BYTES) -> None:
        if buffer_bytes < MIN_BUFFER_BYTES:
            raise ValueError(
                f"buffer_bytes must be at least {MIN_BUFFER_BYTES}, got {buffer_bytes}"
            )
        self._limits = limits or Limits()
        self._buffer_bytes = buffer_bytes
        self._buffer: Bytes = np.empty(buffer_bytes, np.uint8)
        self._start = 0
        self._end = 0
        self._large: Bytes | None = None
        self._n_large = 0
        self._eof = False

    def get_buffer(self) -> memoryview:
        """Return where the next bytes belong.

        Returns
        -------
        memoryview
            Writable, never empty; good until the next call of any method.
        """
        if self._large is not None and self._n_large < len(self._large):
            return self._large.data[self._n_large :]
        self._make_room()
        return self._buffer.data[self._end :]

    def received(self, n_bytes: int) -> None:
        """Take note that so many bytes have been written to the front of ``get_buffer()``.

        Parameters
        ----------
        n_bytes
            How many.

        Raises
        ------
        ValueError
            If the buffer was not that long.
        """
        if self._large is not None and self._n_large < len(self._large):
            room = len(self._large) - self._n_large
            self._n_large += min(n_bytes, room)
        else:
            room = len(self._buffer) - self._end
            self._end += min(n_bytes, room)
        if not 0 <= n_bytes <= room:
            raise ValueError(f"{n_bytes} bytes received into a buffer of {room}")

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take in bytes.

        Parameters
        ----------
        data
            Any number of them.
        """
        left = memoryview(data).cast("B")
        while left:
            buffer = self.get_buffer()
            n_bytes = min(len(buffer), len(left))
            buffer[:n_bytes] = left[:n_bytes]
            self.received(n_bytes)
            left = left[n_bytes:]

    def feed_eof(self) -> None:
        """Take note that no more bytes will come."""
        self._eof = True

    def __iter__(self) -> Iterator[Message]:
        """Yield every message that is complete.

        Raises
        ------
        ProtocolError
            If the bytes are no MRD stream, or end inside a message.
        """
        while (message := self._next()) is not None:
            yield message
        if self._eof:
            self._check_end()

    def _next(self) -> Message | None:
        if self._large is not None:
            return self._take_large(self._large)
        pending = self._buffer[self._start : self._end]
        n_bytes = message_bytes(pending, self._limits)
        if n_bytes is None:
            return None
        if n_bytes > len(pending):
            if n_bytes > self._buffer_bytes // 4:
                self._move_out(pending, n_bytes)
            return None
        return self._take(pending, n_bytes)

    def _take(self, pending: Bytes, n_bytes: int) -> Message:
        if message_id(pending) is MessageId.ACQUISITION:
            run = decode_acquisitions(pending, n_bytes)
            self._start += len(run) * n_bytes
            return run
        memory = own_memory(n_bytes, pending)
        memory[:] = pending[:n_bytes]
        message = decode_message(memory)
        self._start += n_bytes
        return message

    def _take_large(self, memory: Bytes) -> Message | None:
        if self._n_large < len(memory):
            return None
        message = decode_message(memory)
        self._large = None
        return message

    def _move_out(self, pending: Bytes, n_bytes: int) -> None:
        self._large = own_memory(n_bytes, pending)
        self._large[: len(pending)] = pending
        self._n_large = len(pending)
        self._start = self._end = 0

    def _make_room(self) -> None:
        """Keep half of the buffer free at its end, and what is pending in one piece."""
        n_pending = self._end - self._start
        if not n_pending:
            self._start = self._end = 0
        size = len(self._buffer)
        has_room = size - self._end >= self._buffer_bytes // 2
        is_wasteful = size > max(self._buffer_bytes, 4 * n_pending)
        if has_room and not is_wasteful:
            return
        fitting = max(self._buffer_bytes, 2 * n_pending)
        buffer = self._buffer if size == fitting else np.empty(fitting, np.uint8)
        buffer[:n_pending] = self._buffer[self._start : self._end]
        self._buffer, self._start, self._end = buffer, 0, n_pending

    def _check_end(self) -> None:
        if self._large is not None:
            self._truncated(self._large, len(self._large) - self._n_large, "")
        pending = self._buffer[self._start : self._end]
        if not len(pending):
            return
        n_bytes = message_bytes(pending, self._limits)
        at_least = "" if n_bytes else "at least "
        self._truncated(pending, (n_bytes or prefix_bytes(pending)) - len(pending), at_least)

    def _truncated(self, start: Bytes, n_missing: int, at_least: str) -> None:
        where = message_id(start).name if len(start) >= ID_BYTES else "the id of a message"
        raise TruncatedMessage(f"the stream ends {at_least}{n_missing} bytes early, inside {where}")
