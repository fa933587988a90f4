"""Our bytes are those of the ismrmrd package, in both directions."""

import ctypes
import io
import struct
from typing import Any

import ismrmrd
import numpy as np
import pytest

from chistream.stream.codec import MessageReader, encode
from chistream.stream.messages import (
    ACQUISITION_HEAD,
    IMAGE_HEAD,
    WAVEFORM_HEAD,
    Acquisitions,
    Close,
    ConfigFile,
    ConfigText,
    DataType,
    Image,
    Message,
    Text,
    Waveform,
)

serialization = pytest.importorskip(
    "ismrmrd.serialization", reason="this version of ismrmrd has no serializer of streams"
)
if not hasattr(serialization, "ConfigFile"):
    pytest.skip("this version of ismrmrd has no config messages", allow_module_level=True)

LAYOUTS = [
    (ACQUISITION_HEAD, ismrmrd.AcquisitionHeader),
    (IMAGE_HEAD, ismrmrd.ImageHeader),
    (WAVEFORM_HEAD, ismrmrd.WaveformHeader),
]
# The package maps data type 4 to the C long of the machine, eight bytes: its int32 is not MRD's.
IMAGE_TYPES = [data_type for data_type in DataType if data_type is not DataType.INT]


def random_head(layout: Any, seed: int, **values: Any) -> Any:  # noqa: ANN401
    """Fill a C structure with random bytes, but for some fields; its padding is zero."""
    source = np.random.default_rng(seed).integers(0, 256, ctypes.sizeof(layout), np.uint8)
    random = layout.from_buffer_copy(source.tobytes())
    head = layout()
    for name, *_ in layout._fields_:
        setattr(head, name, getattr(random, name))
    for name, value in values.items():
        setattr(head, name, value)
    return head


def peer_acquisition(n_coils: int, n_samples: int, dimensions: int) -> Any:  # noqa: ANN401
    head = random_head(
        ismrmrd.AcquisitionHeader,
        n_samples,
        number_of_samples=n_samples,
        active_channels=n_coils,
        trajectory_dimensions=dimensions,
        flags=1 << 22,
    )
    rng = np.random.default_rng(2)
    acquisition = ismrmrd.Acquisition(head)
    acquisition.data[:] = rng.standard_normal((n_coils, n_samples, 2)).view(complex)[..., 0]
    acquisition.traj[:] = rng.standard_normal((n_samples, dimensions))
    return acquisition


def peer_image(data_type: DataType, attributes: dict[str, str]) -> Any:  # noqa: ANN401
    head = random_head(
        ismrmrd.ImageHeader, int(data_type), data_type=data_type, channels=2, matrix_size=(5, 4, 3)
    )
    image = ismrmrd.Image(head, meta=ismrmrd.Meta(attributes))
    image.data[:] = np.arange(120).reshape(2, 3, 4, 5)
    return image


def peer_waveform() -> Any:  # noqa: ANN401
    head = random_head(ismrmrd.WaveformHeader, 5, number_of_samples=7, channels=3)
    waveform = ismrmrd.Waveform(head)
    waveform.data[:] = np.arange(21).reshape(3, 7)
    return waveform


def written(item: Any) -> bytes:  # noqa: ANN401
    """Serialize with the package, CLOSE included."""
    stream = io.BytesIO()
    with serialization.ProtocolSerializer(stream) as serializer:
        serializer.serialize(item)
        content = stream.getvalue()
    assert stream.getvalue() == content + struct.pack("<H", 4)
    return stream.getvalue()


def read_one(stream: bytes) -> Message:
    reader = MessageReader()
    reader.feed(stream)
    reader.feed_eof()
    message, close = reader
    assert close == Close()
    return message


def ours(message: Message) -> bytes:
    pieces = [*encode(message, counted_nul=False), *encode(Close())]
    return b"".join(pieces)


DATA = [
    *(peer_acquisition(*shape) for shape in [(3, 8, 0), (2, 7, 3), (1, 1, 2), (16, 256, 0)]),
    *(peer_image(data_type, {"DataRole": "Quantitative"}) for data_type in IMAGE_TYPES),
    peer_image(DataType.USHORT, {"ImageComments": "\N{GREEK SMALL LETTER CHI} map"}),
    peer_waveform(),
]


@pytest.mark.parametrize(("layout", "structure"), LAYOUTS)
def test_heads_lie_as_in_the_c_structures(layout: Any, structure: Any) -> None:  # noqa: ANN401
    assert layout.itemsize == ctypes.sizeof(structure)
    for name, *_ in structure._fields_:
        field, offset = layout.fields[name][:2]
        assert (offset, field.itemsize) == (
            getattr(structure, name).offset,
            getattr(structure, name).size,
        )


@pytest.mark.parametrize("item", DATA, ids=lambda item: type(item).__name__)
def test_bytes_of_the_package_come_back_as_they_were(item: Any) -> None:  # noqa: ANN401
    assert ours(read_one(written(item))) == written(item)


@pytest.mark.parametrize("item", DATA, ids=lambda item: type(item).__name__)
def test_values_of_the_package_are_read_as_they_are(item: Any) -> None:  # noqa: ANN401
    message = read_one(written(item))
    match message:
        case Acquisitions(heads, samples, trajectories):
            assert heads.tobytes() == bytes(item.getHead())
            assert int(heads[0]["idx"]["contrast"]) == item.idx.contrast
            np.testing.assert_array_equal(samples[0], item.data)
            np.testing.assert_array_equal(trajectories[0], item.traj)
        case Image(head, attributes, pixels):
            assert head["matrix_size"].tolist() == list(item.matrix_size)
            assert ismrmrd.Meta.deserialize(attributes) == item.meta
            np.testing.assert_array_equal(pixels, item.data)
        case Waveform(head, samples):
            assert int(head["waveform_id"]) == item.waveform_id
            np.testing.assert_array_equal(samples, item.data)
        case _:
            pytest.fail(f"not data: {message}")


@pytest.mark.parametrize("item", DATA, ids=lambda item: type(item).__name__)
def test_the_package_reads_our_bytes(item: Any) -> None:  # noqa: ANN401
    stream = ours(read_one(written(item)))
    (received,) = serialization.ProtocolDeserializer(io.BytesIO(stream)).deserialize()
    assert type(received) is type(item)
    np.testing.assert_array_equal(received.data, item.data)
    assert written(received) == written(item)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (serialization.ConfigFile("cardiac_qsm"), ConfigFile("cardiac_qsm")),
        (serialization.ConfigText("<configuration/>"), ConfigText("<configuration/>")),
        ("DEBUG   \N{GREEK SMALL LETTER CHI}", Text("DEBUG   \N{GREEK SMALL LETTER CHI}")),
        ("", Text("")),
    ],
)
def test_texts_are_those_of_the_package(item: str, message: Message) -> None:
    assert ours(message) == written(item)
    assert read_one(written(item)) == message
    (received,) = serialization.ProtocolDeserializer(io.BytesIO(ours(message))).deserialize()
    assert received == item


def test_int32_images_are_those_of_the_standard() -> None:
    sent = read_one(written(peer_image(DataType.UINT, {})))
    assert isinstance(sent, Image)
    head = sent.head.copy()
    head["data_type"] = DataType.INT
    stream = ours(Image(head, sent.attributes, -sent.pixels.astype(np.int32)))
    assert len(stream) == len(ours(sent))
    received = read_one(stream)
    assert isinstance(received, Image)
    assert received.pixels.dtype == np.int32
    assert received.pixels.min() == -119
