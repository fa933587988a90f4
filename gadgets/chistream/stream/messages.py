"""The messages of MRD version 1, as values.

Fixed headers are NumPy records whose layouts are those of the ISMRMRD C structures, byte for byte;
pixel and sample data are plain arrays. Acquisitions come in runs of one shape, since that is how
they can be read fast: a single readout is a run of one.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from chistream.arrays import ComplexArray, RealArray

Head: TypeAlias = np.void
"""One record of ACQUISITION_HEAD, IMAGE_HEAD or WAVEFORM_HEAD; ``head["field"]`` reads and sets."""

Heads: TypeAlias = npt.NDArray[np.void]
"""Records of one kind ``(n,)``."""


SECONDS_PER_TICK = 2.5e-3
"""Unit of the time stamps of readouts and waveforms: since midnight, or since the trigger [s]."""


class MessageId(IntEnum):
    """The ids of the wire format (little-endian uint16 before every message)."""

    CONFIG_FILE = 1
    CONFIG_TEXT = 2
    HEADER = 3
    CLOSE = 4
    TEXT = 5
    QUERY = 6
    RESPONSE = 7
    ERROR = 8
    ACQUISITION = 1008
    IMAGE = 1022
    WAVEFORM = 1026


class DataType(IntEnum):
    """Pixel types of an image, as its header numbers them."""

    USHORT = 1
    SHORT = 2
    UINT = 3
    INT = 4
    FLOAT = 5
    DOUBLE = 6
    CXFLOAT = 7
    CXDOUBLE = 8


class ImageType(IntEnum):
    """What an image shows, as its header numbers it."""

    MAGNITUDE = 1
    PHASE = 2
    REAL = 3
    IMAG = 4
    COMPLEX = 5
    RGB = 6


PIXEL_DTYPES: dict[DataType, np.dtype[Any]] = {
    DataType.USHORT: np.dtype("<u2"),
    DataType.SHORT: np.dtype("<i2"),
    DataType.UINT: np.dtype("<u4"),
    DataType.INT: np.dtype("<i4"),
    DataType.FLOAT: np.dtype("<f4"),
    DataType.DOUBLE: np.dtype("<f8"),
    DataType.CXFLOAT: np.dtype("<c8"),
    DataType.CXDOUBLE: np.dtype("<c16"),
}

_COUNTERS = np.dtype(
    [
        ("kspace_encode_step_1", "<u2"),
        ("kspace_encode_step_2", "<u2"),
        ("average", "<u2"),
        ("slice", "<u2"),
        ("contrast", "<u2"),
        ("phase", "<u2"),
        ("repetition", "<u2"),
        ("set", "<u2"),
        ("segment", "<u2"),
        ("user", "<u2", (8,)),
    ]
)

ACQUISITION_HEAD = np.dtype(
    [
        ("version", "<u2"),
        ("flags", "<u8"),
        ("measurement_uid", "<u4"),
        ("scan_counter", "<u4"),
        ("acquisition_time_stamp", "<u4"),
        ("physiology_time_stamp", "<u4", (3,)),
        ("number_of_samples", "<u2"),
        ("available_channels", "<u2"),
        ("active_channels", "<u2"),
        ("channel_mask", "<u8", (16,)),
        ("discard_pre", "<u2"),
        ("discard_post", "<u2"),
        ("center_sample", "<u2"),
        ("encoding_space_ref", "<u2"),
        ("trajectory_dimensions", "<u2"),
        ("sample_time_us", "<f4"),
        ("position", "<f4", (3,)),
        ("read_dir", "<f4", (3,)),
        ("phase_dir", "<f4", (3,)),
        ("slice_dir", "<f4", (3,)),
        ("patient_table_position", "<f4", (3,)),
        ("idx", _COUNTERS),
        ("user_int", "<i4", (8,)),
        ("user_float", "<f4", (8,)),
    ]
)
"""340 bytes, packed to 2; every field as in ismrmrd.h."""

IMAGE_HEAD = np.dtype(
    [
        ("version", "<u2"),
        ("data_type", "<u2"),
        ("flags", "<u8"),
        ("measurement_uid", "<u4"),
        ("matrix_size", "<u2", (3,)),
        ("field_of_view", "<f4", (3,)),
        ("channels", "<u2"),
        ("position", "<f4", (3,)),
        ("read_dir", "<f4", (3,)),
        ("phase_dir", "<f4", (3,)),
        ("slice_dir", "<f4", (3,)),
        ("patient_table_position", "<f4", (3,)),
        ("average", "<u2"),
        ("slice", "<u2"),
        ("contrast", "<u2"),
        ("phase", "<u2"),
        ("repetition", "<u2"),
        ("set", "<u2"),
        ("acquisition_time_stamp", "<u4"),
        ("physiology_time_stamp", "<u4", (3,)),
        ("image_type", "<u2"),
        ("image_index", "<u2"),
        ("image_series_index", "<u2"),
        ("user_int", "<i4", (8,)),
        ("user_float", "<f4", (8,)),
        ("attribute_string_len", "<u4"),
    ]
)
"""198 bytes, packed to 2; ``matrix_size`` and ``field_of_view`` [mm] are in the order x, y, z."""

WAVEFORM_HEAD = np.dtype(
    {
        "names": [
            "version",
            "flags",
            "measurement_uid",
            "scan_counter",
            "time_stamp",
            "number_of_samples",
            "channels",
            "sample_time_us",
            "waveform_id",
        ],
        "formats": ["<u2", "<u8", "<u4", "<u4", "<u4", "<u2", "<u2", "<f4", "<u2"],
        "offsets": [0, 8, 16, 20, 24, 28, 30, 32, 36],
        "itemsize": 40,
    }
)
"""40 bytes, naturally aligned."""


def new_head(layout: np.dtype[Any], **values: Any) -> Head:  # noqa: ANN401
    """Make a zeroed head and set fields of it.

    Parameters
    ----------
    layout
        ACQUISITION_HEAD, IMAGE_HEAD or WAVEFORM_HEAD.
    **values
        Fields by name; those of ``idx`` by their own names too.

    Returns
    -------
    Head
        The record, with ``version`` 1.

    Raises
    ------
    ValueError
        If the layout has no such field.

    Examples
    --------
    >>> head = new_head(ACQUISITION_HEAD, number_of_samples=256, contrast=2)
    >>> int(head["number_of_samples"]), int(head["idx"]["contrast"])
    (256, 2)
    """
    head: Head = np.zeros(1, layout)[0]
    head["version"] = 1
    names = layout.names or ()
    for name, value in values.items():
        if name in names:
            head[name] = value
        else:
            head["idx"][name] = value
    return head


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """The chain to run, by name (at most 1023 bytes of UTF-8)."""

    name: str


@dataclass(frozen=True, slots=True)
class ConfigText:
    """The chain to run, as text (Gadgetron: the XML of the node)."""

    text: str


@dataclass(frozen=True, slots=True)
class Header:
    """The XML header of the scan."""

    xml: str


@dataclass(frozen=True, slots=True)
class Close:
    """The last message of either side."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text for people; right after the header, JSON settings."""

    text: str


@dataclass(frozen=True, slots=True)
class Query:
    """A question to the server (Gadgetron), such as ``gadgetron::info``."""

    correlation_id: int
    query: str


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to a query."""

    correlation_id: int
    response: str


@dataclass(frozen=True, slots=True)
class PeerError:
    """An error of an external Gadgetron module, never sent to a scanner."""

    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Acquisitions:
    """A run of consecutive readouts of one shape.

    Parameters
    ----------
    heads
        Records of ACQUISITION_HEAD ``(n,)``.
    samples
        Complex samples ``(n, coils, samples)`` complex64. May be a view of the receive buffer
        with gaps between the readouts, but is safe to keep.
    trajectories
        ``(n, samples, dimensions)`` float32; ``dimensions`` is 0 without a trajectory.
    """

    heads: Heads
    samples: ComplexArray
    trajectories: RealArray

    def __len__(self) -> int:
        return len(self.heads)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Acquisitions)
            and self.heads.tobytes() == other.heads.tobytes()
            and _same(self.samples, other.samples)
            and _same(self.trajectories, other.trajectories)
        )

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """An image: head, meta attributes as XML text, and pixels ``(channels, z, y, x)``."""

    head: Head
    attributes: str
    pixels: npt.NDArray[Any] = field(repr=False)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Image)
            and self.head.tobytes() == other.head.tobytes()
            and self.attributes == other.attributes
            and _same(self.pixels, other.pixels)
        )

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True, eq=False)
class Waveform:
    """A stretch of a physiological signal: head and samples ``(channels, samples)`` uint32."""

    head: Head
    samples: npt.NDArray[np.uint32] = field(repr=False)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Waveform)
            and self.head.tobytes() == other.head.tobytes()
            and _same(self.samples, other.samples)
        )

    __hash__ = None  # type: ignore[assignment]


Message: TypeAlias = (
    ConfigFile
    | ConfigText
    | Header
    | Close
    | Text
    | Query
    | Response
    | PeerError
    | Acquisitions
    | Image
    | Waveform
)


def _same(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    # Bytes, not values: NaN samples are equal to themselves on a wire.
    return (
        one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    )
