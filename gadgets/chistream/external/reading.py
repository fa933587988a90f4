"""Bytes from Gadgetron to messages: those of the scanner's wire, and those among its nodes."""

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

from chistream.errors import MessageTooLarge, TruncatedMessage
from chistream.external.arrays import PARSERS, ImageArray, Parser, ReconData
from chistream.stream.codec import MessageReader
from chistream.stream.framing import ID_BYTES, UINT16, Bytes
from chistream.stream.messages import Message

Item: TypeAlias = Message | ImageArray | ReconData
"""What an external gadget may be sent."""


class GadgetReader(MessageReader):
    """A `MessageReader` that knows IMAGE_ARRAY and RECONDATA too.

    Its arrays arrive in memory of their own. Iterate `items`, not the reader.
    """

    _parser: Parser | None = None

    def items(self) -> Iterator[Item]:
        """Yield everything that is complete.

        Raises
        ------
        ProtocolError
            If the bytes are no such stream, or end inside a message.
        """
        while (item := self._next_item()) is not None:
            yield item
        if self._eof:
            self._check_end()

    def _next_item(self) -> Item | None:
        if self._parser is None and not self._begins_array():
            return self._next()
        while self._large is not None and self._n_large == len(self._large):
            memory, self._large = self._large, None
            try:
                self._want(self._running().send(memory))
            except StopIteration as stop:
                self._parser = None
                item: Item = stop.value
                return item
        return None

    def _begins_array(self) -> bool:
        pending = self._buffer[self._start : self._end]
        if self._large is not None or len(pending) < ID_BYTES:
            return False
        (kind,) = UINT16.unpack_from(pending.data)
        if kind not in PARSERS:
            return False
        self._start += ID_BYTES
        self._parser = PARSERS[kind]()
        self._want(next(self._parser))
        return True

    def _running(self) -> Parser:
        assert self._parser is not None  # noqa: S101
        return self._parser

    def _want(self, n_bytes: int) -> None:
        """Provide memory for what comes next, and move into it what has come already."""
        try:
            memory: Bytes = np.empty(n_bytes, np.uint8)
        except MemoryError:
            raise MessageTooLarge(f"{n_bytes} bytes announced, more than there is memory") from None
        pending = self._buffer[self._start : self._end]
        n_here = min(n_bytes, len(pending))
        memory[:n_here] = pending[:n_here]
        self._start += n_here
        self._large, self._n_large = memory, n_here

    def _check_end(self) -> None:
        if self._parser is not None:
            raise TruncatedMessage("the stream ends inside an array")
        super()._check_end()
