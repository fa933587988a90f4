"""Files and pipes of MRD version 2, read and written as the messages of version 1.

References
----------
.. [1] MRD version 2. https://ismrmrd.github.io/mrd
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from chistream.errors import FileFormatError
from chistream.stream.messages import Acquisitions, Header, Image, Message, Waveform

try:
    import mrd

    from chistream.mrd2.data import (
        acquisition_items,
        acquisition_of,
        image_item,
        image_of,
        waveform_item,
        waveform_of,
    )
    from chistream.mrd2.headers import from_xml, to_xml
except ImportError as error:
    raise FileFormatError(
        "MRD version 2 needs the package mrd-python: pip install 'chistream[mrd2]'"
    ) from error

_UNSOUND = (
    BufferError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""All of these are ways in which the package tells of bytes that are not what they seem."""


def read_mrd2_file(
    path: str | Path, *, waveforms: bool = True, images: bool = True
) -> Iterator[Message]:
    """Read a file of MRD version 2 message by message.

    Parameters
    ----------
    path
        The file, in the binary encoding.
    waveforms, images
        Whether to give them too.

    Yields
    ------
    Message
        The header, if there is one, then the data in the order of the file. What is neither
        readout nor waveform nor image (buckets, arrays, reconstruction data) is passed over.

    Raises
    ------
    FileFormatError
        If the file is none of this version, or cut off.
    """
    with Path(path).open("rb") as file:
        try:
            yield from _messages(file, waveforms=waveforms, images=images)
        except _UNSOUND as error:
            raise FileFormatError(f"{path} is no sound file of MRD version 2: {error}") from error


def write_mrd2(target: BinaryIO | str, messages: Iterable[Message]) -> None:
    """Write messages as MRD version 2.

    Parameters
    ----------
    target
        A binary file, or the path of one.
    messages
        The header first, if there is one; readouts, waveforms and images. The others have no place
        in it and are passed over.

    Raises
    ------
    HeaderError
        If the header is no XML.
    """
    rest = iter(messages)
    first = next(rest, None)
    with mrd.BinaryMrdWriter(target) as writer:
        if isinstance(first, Header):
            writer.write_header(from_xml(first.xml))
        else:
            writer.write_header(None)
            rest = rest if first is None else chain([first], rest)
        writer.write_data(item for message in rest for item in _items(message))


def _messages(file: BinaryIO, *, waveforms: bool, images: bool) -> Iterator[Message]:
    # Not as a context manager: that would complain of data left unread, and hide why.
    reader = mrd.BinaryMrdReader(file)
    header = reader.read_header()
    if header is not None:
        yield Header(to_xml(header))
    for item in reader.read_data():
        if isinstance(item, mrd.StreamItem.Acquisition):
            yield acquisition_of(item.value)
        elif isinstance(item, mrd.StreamItem.WaveformUint32):
            if waveforms:
                yield waveform_of(item.value)
        elif images and isinstance(item.value, mrd.Image):
            yield image_of(item.value)


def _items(message: Message) -> Iterator[Any]:
    match message:
        case Acquisitions():
            yield from acquisition_items(message)
        case Waveform():
            yield waveform_item(message)
        case Image():
            yield image_item(message)
        case _:
            pass
