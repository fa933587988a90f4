"""How long a message of the wire format is, as its first bytes say.

Every message is a 16-bit id, a prefix of fixed length that tells the size of the rest, and the
rest. All numbers are little-endian.

==== ============= ========================= ============================================
id   message       prefix                    rest
==== ============= ========================= ============================================
1    CONFIG_FILE                             1024 bytes, padded with NUL
2    CONFIG_TEXT   uint32 length             text
3    HEADER        uint32 length             XML
4    CLOSE
5    TEXT          uint32 length             text
6    QUERY         uint64 reserved, uint64   text
                   correlation, uint64 length
7    RESPONSE      uint64 correlation,       text
                   uint64 length
8    ERROR         uint64 length             text
1008 ACQUISITION   head (340 bytes)          trajectory float32 ``(samples, dimensions)``,
                                             samples complex64 ``(coils, samples)``
1022 IMAGE         head (198 bytes), uint64  attributes, pixels ``(channels, z, y, x)``
                   length of the attributes
1026 WAVEFORM      head (40 bytes)           uint32 ``(channels, samples)``
==== ============= ========================= ============================================

References
----------
.. [1] ISMRM Raw Data Format, the MRD streaming protocol.
   https://github.com/ismrmrd/ismrmrd/blob/master/doc/mrd_streaming_protocol.md
.. [2] Gadgetron 4.7.2, ``core/MessageID.h`` and ``apps/gadgetron/connection`` (ids 6, 7 and 8).
   https://github.com/gadgetron/gadgetron
"""

import struct
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from chistream.errors import MessageTooLarge, ProtocolError, UnknownMessage
from chistream.stream.limits import Limits
from chistream.stream.messages import (
    ACQUISITION_HEAD,
    IMAGE_HEAD,
    PIXEL_DTYPES,
    WAVEFORM_HEAD,
    DataType,
    Head,
    MessageId,
)

Bytes: TypeAlias = npt.NDArray[np.uint8]
"""Memory ``(bytes,)``."""

CONFIG_FILE_BYTES = 1024
ID_BYTES = 2

UINT16 = struct.Struct("<H")
UINT32 = struct.Struct("<I")
UINT64 = struct.Struct("<Q")
QUERY_PREFIX = struct.Struct("<QQQ")
RESPONSE_PREFIX = struct.Struct("<QQ")

ACQUISITION_START = np.dtype([("id", "<u2"), ("head", ACQUISITION_HEAD)])
"""What every readout begins with on the wire, 342 bytes."""

ACQUISITION_SIZES = struct.Struct("<2xQ24xHxxH136xH")
"""Of ACQUISITION_HEAD: flags, number of samples, active channels, trajectory dimensions. Reading
these four numbers so takes a tenth of the time that fields of a NumPy record take."""

COMPRESSED = 0b1111 << 52
"""ACQ_COMPRESSION1 to 4 (flags 53 to 56): the size of such samples is not in their head."""

_FOREIGN_NAMES = {
    1018: "DICOM_WITHNAME",
    1019: "DEPENDENCY_QUERY",
    1023: "RECONDATA",
    1024: "IMAGE_ARRAY",
    1030: "NDARRAY",
    1050: "BUCKET",
    1051: "BUNDLE",
}


_ALIGNMENT = 64
"""Of a cache line [bytes], and of the widest vector instructions."""


def message_bytes(memory: Bytes, limits: Limits) -> int | None:
    """Return how long the message is that begins here.

    Parameters
    ----------
    memory
        The bytes that have come so far, from the id on.
    limits
        What is accepted.

    Returns
    -------
    int or None
        Length of the whole message [bytes], its id included; None if too few bytes have come to
        know.

    Raises
    ------
    UnknownMessage
        If no message has this id.
    MessageTooLarge
        If the message announces more than the limits accept.
    ProtocolError
        If the prefix makes no sense: an unknown pixel type, compressed samples.
    """
    if len(memory) < ID_BYTES:
        return None
    n_prefix, rest_bytes = _KINDS[message_id(memory)]
    rest_at = ID_BYTES + n_prefix
    if len(memory) < rest_at:
        return None
    total = rest_at + rest_bytes(memory[ID_BYTES:rest_at], limits)
    _check("bytes in one message", total, limits.message_bytes)
    return total


def prefix_bytes(memory: Bytes) -> int:
    """Return how many bytes from the id on must come before the length of a message is known.

    Parameters
    ----------
    memory
        The bytes that have come so far, from the id on.

    Returns
    -------
    int
        The length of the id and the prefix, or of the id alone if that is not complete [bytes].
    """
    return ID_BYTES + (_KINDS[message_id(memory)][0] if len(memory) >= ID_BYTES else 0)


def message_id(memory: Bytes) -> MessageId:
    """Return the id of the message that begins here.

    Parameters
    ----------
    memory
        At least the two bytes of the id.

    Returns
    -------
    MessageId
        The id.

    Raises
    ------
    UnknownMessage
        If no message has this id.
    """
    (number,) = UINT16.unpack_from(memory.data)
    try:
        return MessageId(number)
    except ValueError:
        name = _FOREIGN_NAMES.get(number)
        meaning = f" ({name}, which only Gadgetron's own nodes exchange)" if name else ""
        raise UnknownMessage(f"no message has the id {number}{meaning}") from None


def own_memory(n_bytes: int, start: Bytes) -> Bytes:
    """Allocate memory for one message, so that its large array can stay where it arrives.

    Parameters
    ----------
    n_bytes
        Length of the message [bytes].
    start
        Its first bytes, from the id to the end of the prefix at least.

    Returns
    -------
    Bytes
        Uninitialised memory ``(n_bytes,)``, placed such that pixels or samples are aligned.

    Raises
    ------
    MessageTooLarge
        If the machine has not so much memory.
    """
    array_at = _array_at(start)
    try:
        block = np.empty(n_bytes + _ALIGNMENT, np.uint8)
    except MemoryError:
        raise MessageTooLarge(f"{n_bytes} bytes announced, more than there is memory") from None
    address = block.__array_interface__["data"][0]
    skipped = -(address + array_at) % _ALIGNMENT
    return block[skipped : skipped + n_bytes]


def head_of(memory: Bytes, layout: np.dtype[Any]) -> Head:
    """Return a copy of the head that begins here.

    Parameters
    ----------
    memory
        Bytes from the head on.
    layout
        ACQUISITION_HEAD, IMAGE_HEAD or WAVEFORM_HEAD.

    Returns
    -------
    Head
        The record.
    """
    head: Head = memory[: layout.itemsize].copy().view(layout)[0]
    return head


def attribute_bytes(prefix: Bytes) -> int:
    """Return the length of an image's attributes [bytes].

    Parameters
    ----------
    prefix
        Bytes from the head of the image on.

    Returns
    -------
    int
        What the 64-bit length says; ``attribute_string_len`` in the head is often wrong.
    """
    n_bytes: int = UINT64.unpack_from(prefix.data, IMAGE_HEAD.itemsize)[0]
    return n_bytes


def pixel_shape(head: Head) -> tuple[int, int, int, int]:
    """Return the shape of an image's pixels.

    Parameters
    ----------
    head
        Record of IMAGE_HEAD, whose ``matrix_size`` is in the order x, y, z.

    Returns
    -------
    tuple
        ``(channels, z, y, x)``.
    """
    x, y, z = (int(n) for n in head["matrix_size"])
    return int(head["channels"]), z, y, x


def pixel_dtype(head: Head) -> np.dtype[Any]:
    """Return the type of an image's pixels.

    Parameters
    ----------
    head
        Record of IMAGE_HEAD.

    Returns
    -------
    numpy.dtype
        Little-endian.

    Raises
    ------
    ProtocolError
        If the head names a type that MRD does not have.
    """
    number = int(head["data_type"])
    if number not in PIXEL_DTYPES:
        raise ProtocolError(f"an image has the data type {number}; known are 1 to 8")
    return PIXEL_DTYPES[DataType(number)]


def _array_at(start: Bytes) -> int:
    prefix, at = start[ID_BYTES:], prefix_bytes(start)
    match message_id(start):
        case MessageId.ACQUISITION:
            _, n_samples, _, dimensions = ACQUISITION_SIZES.unpack_from(prefix.data)
            return at + 4 * int(n_samples * dimensions)
        case MessageId.IMAGE:
            return at + attribute_bytes(prefix)
        case _:
            return at


def _check(what: str, announced: int, accepted: int) -> None:
    if announced > accepted:
        raise MessageTooLarge(f"{announced} {what} announced, {accepted} accepted")


def _no_rest(_prefix: Bytes, _limits: Limits) -> int:
    return 0


def _config_file_rest(_prefix: Bytes, _limits: Limits) -> int:
    return CONFIG_FILE_BYTES


def _short_text_rest(prefix: Bytes, limits: Limits) -> int:
    return _text_bytes(UINT32.unpack_from(prefix.data)[0], limits)


def _long_text_rest(prefix: Bytes, limits: Limits) -> int:
    # The length is the last of the one to three numbers that Gadgetron's messages begin with.
    return _text_bytes(UINT64.unpack_from(prefix.data, len(prefix) - UINT64.size)[0], limits)


def _text_bytes(announced: int, limits: Limits) -> int:
    _check("bytes of text", announced, limits.text_bytes)
    return announced


def _acquisition_rest(prefix: Bytes, limits: Limits) -> int:
    flags, n_samples, n_channels, dimensions = ACQUISITION_SIZES.unpack_from(prefix.data)
    _check("samples in a readout", n_samples, limits.samples)
    _check("channels in a readout", n_channels, limits.channels)
    if flags & COMPRESSED:
        raise ProtocolError(
            "the samples are compressed (ACQ_COMPRESSION flags); send them uncompressed"
        )
    n_bytes: int = n_samples * (4 * dimensions + 8 * n_channels)
    return n_bytes


def _waveform_rest(prefix: Bytes, limits: Limits) -> int:
    head = head_of(prefix, WAVEFORM_HEAD)
    n_samples, n_channels = int(head["number_of_samples"]), int(head["channels"])
    _check("samples in a waveform", n_samples, limits.samples)
    _check("channels in a waveform", n_channels, limits.channels)
    return 4 * n_samples * n_channels


def _image_rest(prefix: Bytes, limits: Limits) -> int:
    head = head_of(prefix, IMAGE_HEAD)
    shape = pixel_shape(head)
    _check("channels in an image", shape[0], limits.channels)
    n_pixels = shape[0] * shape[1] * shape[2] * shape[3]
    _check("pixels in an image", n_pixels, limits.image_pixels)
    n_attributes = _text_bytes(attribute_bytes(prefix), limits)
    return n_attributes + n_pixels * pixel_dtype(head).itemsize


_KINDS: dict[MessageId, tuple[int, Callable[[Bytes, Limits], int]]] = {
    MessageId.CONFIG_FILE: (0, _config_file_rest),
    MessageId.CONFIG_TEXT: (UINT32.size, _short_text_rest),
    MessageId.HEADER: (UINT32.size, _short_text_rest),
    MessageId.CLOSE: (0, _no_rest),
    MessageId.TEXT: (UINT32.size, _short_text_rest),
    MessageId.QUERY: (QUERY_PREFIX.size, _long_text_rest),
    MessageId.RESPONSE: (RESPONSE_PREFIX.size, _long_text_rest),
    MessageId.ERROR: (UINT64.size, _long_text_rest),
    MessageId.ACQUISITION: (ACQUISITION_HEAD.itemsize, _acquisition_rest),
    MessageId.IMAGE: (IMAGE_HEAD.itemsize + UINT64.size, _image_rest),
    MessageId.WAVEFORM: (WAVEFORM_HEAD.itemsize, _waveform_rest),
}
"""Of every message, the length of the prefix and what that says of the length of the rest."""
