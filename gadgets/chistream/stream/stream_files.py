"""MRD streams in files and pipes: the messages of the wire, one behind the other, then CLOSE.

There is nothing around them. The header comes first, or a configuration before it; readouts and
waveforms follow in the order of time, then images.

References
----------
.. [1] ISMRM Raw Data Format, ``ismrmrd_hdf5_to_stream`` and ``ismrmrd_stream_to_hdf5``.
   https://github.com/ismrmrd/ismrmrd/tree/master/utilities
"""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol

from typing_extensions import Self

from chistream.errors import TruncatedMessage
from chistream.stream.codec import MessageReader, encode
from chistream.stream.limits import Limits
from chistream.stream.messages import (
    Close,
    ConfigFile,
    ConfigText,
    Image,
    Message,
    Waveform,
)
from chistream.stream.texts import warning_text


class Source(Protocol):
    """What bytes are read from: an unbuffered file, a pipe."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill the front of the buffer with what there is; 0 at the end."""


class Target(Protocol):
    """What bytes are written to, all of them at once: a buffered file, a pipe."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Take all bytes."""

    def flush(self) -> object:
        """Hand them on."""


class StreamReader:
    """Read messages until CLOSE.

    Parameters
    ----------
    source
        Where from.
    limits
        What is accepted.

    Attributes
    ----------
    cut
        Why the stream ended before its CLOSE; empty as long as it did not. What came before is
        whole.
    """

    def __init__(self, source: Source, limits: Limits | None = None) -> None:
        self._source = source
        self._reader = MessageReader(limits)
        self.cut = ""

    def __iter__(self) -> Iterator[Message]:
        """Yield every message but CLOSE; bytes behind that are not looked at.

        Raises
        ------
        ProtocolError
            If the bytes are no MRD stream.
        """
        try:
            for message in self._messages():
                if isinstance(message, Close):
                    return
                yield message
        except TruncatedMessage as error:
            self.cut = str(error)
        else:
            self.cut = "the stream ends without CLOSE"

    def _messages(self) -> Iterator[Message]:
        while n_bytes := self._source.readinto(self._reader.get_buffer()):
            self._reader.received(n_bytes)
            yield from self._reader
        self._reader.feed_eof()
        yield from self._reader


class StreamWriter:
    """Write messages, and CLOSE behind the last.

    Parameters
    ----------
    target
        Where to.

    Notes
    -----
    Use it as a context manager: whatever ends it, the stream is whole. Texts end without NUL, as
    ISMRMRD's own tools write them.
    """

    def __init__(self, target: Target) -> None:
        self._target = target

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        # Nobody is left to be told of the end if what failed is the writing itself.
        if kind is None or not issubclass(kind, OSError):
            self.write(Close())

    def write(self, message: Message) -> None:
        """Write a message, and hand it on at once."""
        for piece in encode(message, counted_nul=False):
            self._target.write(piece)
        self._target.flush()


def read_stream_file(
    path: str | Path, *, waveforms: bool = True, images: bool = True, limits: Limits | None = None
) -> Iterator[Message]:
    """Read a file that holds an MRD stream.

    Parameters
    ----------
    path
        The file.
    waveforms, images
        Whether to give them too.
    limits
        What is accepted.

    Yields
    ------
    Message
        In the order of the file, but for a configuration: who reads a file chooses the chain. Of a
        file that was cut off, what is whole, then a text that says so.

    Raises
    ------
    ProtocolError
        If the bytes are no MRD stream.
    """
    wanted = {Waveform: waveforms, Image: images, ConfigFile: False, ConfigText: False}
    left_out = tuple(kind for kind, is_wanted in wanted.items() if not is_wanted)
    with Path(path).open("rb", buffering=0) as file:
        reader = StreamReader(file, limits)
        for message in reader:
            if not isinstance(message, left_out):
                yield message
    if reader.cut:
        yield warning_text(f"The file is incomplete: {reader.cut}.")
