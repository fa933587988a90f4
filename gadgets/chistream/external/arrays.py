"""The messages that only Gadgetron's own nodes exchange: buffered k-space and arrays of images.

An array is its number of axes and their lengths (uint64 each), fastest first, and its elements. A
part that may be missing follows a byte that says whether it is there. All numbers are
little-endian.

==== =========== ===========================================================================
id   message     parts
==== =========== ===========================================================================
1023 RECONDATA   number of bits (uint64); each: a buffer, and a buffer of reference lines or
                 none. A buffer: samples complex64 ``(RO, E1, E2, CHA, N, S, LOC)``, trajectory
                 or none, density or none, heads of readouts ``(E1, E2, N, S, LOC)``, 56 bytes
                 on the sampling
1024 IMAGE_ARRAY pixels complex64 ``(X, Y, Z, CHA, N, S, LOC)``, heads of images
                 ``(N, S, LOC)``, number of attributes (uint64) and each with its length
                 (uint64), waveforms or none, heads of readouts or none
==== =========== ===========================================================================

References
----------
.. [1] Gadgetron 4.7.2, ``core/readers`` and ``toolboxes/mri_core/mri_core_data.h``.
   https://github.com/gadgetron/gadgetron
"""

import math
import struct
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from chistream.arrays import ComplexArray
from chistream.errors import MessageTooLarge, ProtocolError
from chistream.stream.framing import UINT16, UINT64, Bytes
from chistream.stream.messages import (
    ACQUISITION_HEAD,
    IMAGE_HEAD,
    WAVEFORM_HEAD,
    Heads,
)

RECON_DATA_ID = 1023
IMAGE_ARRAY_ID = 1024

MAX_ARRAY_BYTES = 2**36
"""Most bytes of one array that are taken: k-space of a large scan has some 10 GB."""

_MAX_AXES = 16
_MAX_ITEMS = 2**20
_MAX_ATTRIBUTE_BYTES = 2**24
_SAMPLING_BYTES = 56

Parser: TypeAlias = Generator[int, Bytes, Any]
"""Yields how many bytes it needs next, is sent exactly those, returns what they mean."""


@dataclass(frozen=True, eq=False)
class ImageArray:
    """Images of one size, as Gadgetron's nodes hand them on.

    Parameters
    ----------
    pixels
        ``(locations, s, n, coils, z, y, x)`` complex64; what n and s count, the heads tell.
    heads
        Records of IMAGE_HEAD ``(locations, s, n)``.
    attributes
        Meta attributes as XML, one for each head or none at all.
    readout_heads
        Records of ACQUISITION_HEAD of readouts that the images were made of ``(n_heads,)``.
    """

    pixels: ComplexArray = field(repr=False)
    heads: Heads = field(repr=False)
    attributes: tuple[str, ...] = ()
    readout_heads: Heads = field(default_factory=lambda: np.zeros(0, ACQUISITION_HEAD), repr=False)


@dataclass(frozen=True, eq=False)
class ReconBuffer:
    """K-space sorted into a grid.

    Parameters
    ----------
    samples
        ``(locations, s, n, coils, e2, e1, readout)`` complex64.
    heads
        Records of ACQUISITION_HEAD ``(locations, s, n, e2, e1)``; zero where nothing was measured.
    """

    samples: ComplexArray = field(repr=False)
    heads: Heads = field(repr=False)


@dataclass(frozen=True, eq=False)
class ReconData:
    """Buffers of an encoding space each: its lines, and its reference lines if there are any."""

    bits: tuple[tuple[ReconBuffer, ReconBuffer | None], ...]


def parse_image_array() -> Parser:
    """Parse the parts of IMAGE_ARRAY; returns an `ImageArray`."""
    pixels = yield from _array(np.dtype("<c8"), 7)
    heads = yield from _array(IMAGE_HEAD, 3)
    n_attributes = yield from _count(_MAX_ITEMS)
    attributes = []
    for _ in range(n_attributes):
        attributes.append((yield from _text()))  # noqa: PERF401  (no yield in a comprehension)
    if (yield from _is_present()):
        yield from _skip_waveforms()
    readout_heads = np.zeros(0, ACQUISITION_HEAD)
    if (yield from _is_present()):
        readout_heads = (yield from _array(ACQUISITION_HEAD, 1)).ravel()
    if pixels.shape[:3] != heads.shape or len(attributes) not in (0, heads.size):
        raise ProtocolError(
            f"an array of {pixels.shape} pixels comes with {heads.shape} heads and "
            f"{len(attributes)} attributes"
        )
    return ImageArray(pixels, heads, tuple(attributes), readout_heads)


def parse_recon_data() -> Parser:
    """Parse the parts of RECONDATA; returns `ReconData`."""
    n_bits = yield from _count(_MAX_ITEMS)
    bits = []
    for _ in range(n_bits):
        buffer = yield from _buffer()
        reference = (yield from _buffer()) if (yield from _is_present()) else None
        bits.append((buffer, reference))
    return ReconData(tuple(bits))


PARSERS: dict[int, Callable[[], Parser]] = {
    RECON_DATA_ID: parse_recon_data,
    IMAGE_ARRAY_ID: parse_image_array,
}
"""By the id of the message."""


def encode_image_array(images: ImageArray) -> list[bytes | memoryview]:
    """Encode an array of images.

    Parameters
    ----------
    images
        What to send. Attributes are written in ASCII, other characters as references: Gadgetron's
        Python module reads nothing else.

    Returns
    -------
    list of bytes-like
        Pieces to send one after the other.
    """
    attributes = [text.encode("ascii", "xmlcharrefreplace") for text in images.attributes]
    n_heads = len(images.readout_heads)
    pieces: list[bytes | memoryview] = [
        UINT16.pack(IMAGE_ARRAY_ID),
        _axes(images.pixels.shape),
        np.ascontiguousarray(images.pixels, "<c8").data.cast("B"),
        _axes(images.heads.shape),
        images.heads.tobytes(),
        UINT64.pack(len(attributes)),
        *(UINT64.pack(len(text)) + text for text in attributes),
        b"\0",  # no waveforms
        b"\1" if n_heads else b"\0",
    ]
    if n_heads:
        pieces += [_axes((1, 1, 1, 1, n_heads)), images.readout_heads.tobytes()]
    return pieces


def _axes(shape: tuple[int, ...]) -> bytes:
    return struct.pack(f"<{1 + len(shape)}Q", len(shape), *shape[::-1])


def _buffer() -> Parser:
    samples = yield from _array(np.dtype("<c8"), 7)
    for _ in ("trajectory", "density"):
        if (yield from _is_present()):
            yield from _array(np.dtype("<f4"), 1)
    heads = yield from _array(ACQUISITION_HEAD, 5)
    yield _SAMPLING_BYTES
    grid = (*samples.shape[:3], *samples.shape[4:6])
    if heads.shape != grid:
        raise ProtocolError(f"a buffer of {samples.shape} samples comes with {heads.shape} heads")
    return ReconBuffer(samples, heads)


def _array(dtype: np.dtype[Any], n_axes: int) -> Parser:
    """Read an array; returns it with its slowest axis first, and at least ``n_axes`` of them."""
    n = yield from _count(_MAX_AXES)
    shape = tuple(struct.unpack(f"<{n}Q", (yield UINT64.size * n).data))[::-1]
    n_bytes = math.prod(shape) * dtype.itemsize if shape else 0
    if n_bytes > MAX_ARRAY_BYTES:
        raise MessageTooLarge(f"an array of {n_bytes} bytes announced, {MAX_ARRAY_BYTES} accepted")
    memory: Bytes = yield n_bytes
    array: npt.NDArray[Any] = memory.view(dtype).reshape(shape or 0)
    return array.reshape((1,) * (n_axes - array.ndim) + array.shape)


def _skip_waveforms() -> Parser:
    for _ in range((yield from _count(_MAX_ITEMS))):
        head = (yield WAVEFORM_HEAD.itemsize).view(WAVEFORM_HEAD)[0]
        yield 4 * int(head["channels"]) * int(head["number_of_samples"])


def _text() -> Parser:
    n_bytes = yield from _count(_MAX_ATTRIBUTE_BYTES)
    return (yield n_bytes).tobytes().split(b"\0", 1)[0].decode(errors="replace")


def _count(most: int) -> Parser:
    (n,) = UINT64.unpack((yield UINT64.size).data)
    if n > most:
        raise MessageTooLarge(f"{n} items announced, {most} accepted")
    return n


def _is_present() -> Parser:
    return bool((yield 1)[0])
