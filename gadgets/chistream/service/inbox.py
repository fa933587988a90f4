"""What came from the client and waits for the chain."""

import threading
from collections import deque
from collections.abc import Iterator

from chistream.stream.messages import Acquisitions, Image, Message, Waveform


class Inbox:
    """A queue of messages between the receiving thread and the chain, bounded in bytes.

    When it is full the receiving thread waits, the socket's buffer fills, and TCP holds the client
    back.

    Parameters
    ----------
    max_bytes
        Bytes of samples and pixels that may wait; one message more is always taken.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._items: deque[Message | Exception] = deque()
        self._n_bytes = 0
        self._is_ended = False
        self._changed = threading.Condition()

    def put(self, item: Message | Exception) -> None:
        """Append a message, waiting for room, or an error to be raised in its place."""
        with self._changed:
            self._changed.wait_for(lambda: self._n_bytes <= self._max_bytes)
            self._items.append(item)
            self._n_bytes += _n_bytes(item)
            self._changed.notify_all()

    def end(self) -> None:
        """Take note that nothing more will come."""
        with self._changed:
            self._is_ended = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Message]:
        """Yield messages as they come, until the end; iterate again after an error to go on.

        Raises
        ------
        Exception
            What was put in the place of a message.
        """
        while (item := self._take()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item

    def drain(self) -> None:
        """Wait for the end and drop everything that comes before it, errors too."""
        while self._take() is not None:
            pass

    def _take(self) -> Message | Exception | None:
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._is_ended)
            if not self._items:
                return None
            item = self._items.popleft()
            self._n_bytes -= _n_bytes(item)
            self._changed.notify_all()
            return item


def _n_bytes(item: Message | Exception) -> int:
    match item:
        case Acquisitions() | Waveform():
            return item.samples.nbytes
        case Image():
            return item.pixels.nbytes
        case _:
            return 0
