"""Whatever way the bytes arrive, the same messages come out."""

import itertools
import struct
import tracemalloc
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chistream.errors import MessageTooLarge, ProtocolError, TruncatedMessage, UnknownMessage
from chistream.stream.codec import MessageReader, encode
from chistream.stream.limits import Limits
from chistream.stream.messages import (
    ACQUISITION_HEAD,
    IMAGE_HEAD,
    PIXEL_DTYPES,
    WAVEFORM_HEAD,
    Acquisitions,
    Close,
    ConfigFile,
    ConfigText,
    DataType,
    Header,
    Image,
    Message,
    PeerError,
    Query,
    Response,
    Text,
    Waveform,
    new_head,
)


def acquisitions(
    n: int, n_coils: int, n_samples: int, dimensions: int = 0, seed: int = 0
) -> Acquisitions:
    """Make readouts of any content, NaN among it."""
    rng = np.random.default_rng(seed)
    heads = rng.integers(0, 256, (n, ACQUISITION_HEAD.itemsize), np.uint8).view(ACQUISITION_HEAD)
    heads = heads.reshape(n)
    heads["flags"] &= 2**52 - 1
    heads["number_of_samples"], heads["active_channels"] = n_samples, n_coils
    heads["trajectory_dimensions"] = dimensions
    samples = rng.integers(0, 256, (n, n_coils, n_samples * 8), np.uint8).view(np.complex64)
    trajectories = rng.standard_normal((n, n_samples, dimensions)).astype(np.float32)
    return Acquisitions(heads, samples, trajectories)


def image(
    shape: tuple[int, int, int, int], data_type: DataType, attributes: str = "<ismrmrdMeta/>"
) -> Image:
    """Make an image ``(channels, z, y, x)`` of any content."""
    rng = np.random.default_rng(int(data_type))
    dtype = PIXEL_DTYPES[data_type]
    pixels = rng.integers(0, 256, (*shape[:3], shape[3] * dtype.itemsize), np.uint8).view(dtype)
    head = new_head(
        IMAGE_HEAD,
        data_type=data_type,
        channels=shape[0],
        matrix_size=shape[:0:-1],
        field_of_view=(300, 200, 100),
        attribute_string_len=len(attributes.encode()),
    )
    return Image(head, attributes, pixels.reshape(shape))


def waveform(n_channels: int, n_samples: int) -> Waveform:
    """Make a waveform."""
    head = new_head(WAVEFORM_HEAD, channels=n_channels, number_of_samples=n_samples, waveform_id=2)
    samples = np.arange(n_channels * n_samples, dtype=np.uint32)
    return Waveform(head, samples.reshape(n_channels, n_samples))


EVERY_KIND: list[Message] = [
    ConfigFile("cardiac_qsm"),
    ConfigText("<configuration/>"),
    Query(2**63, "gadgetron::info"),
    Response(7, "ChiStream"),
    Header("<ismrmrdHeader>\N{GREEK SMALL LETTER CHI}</ismrmrdHeader>"),
    Text('{"parameters": {}}'),
    waveform(5, 3),
    acquisitions(3, 2, 5),
    acquisitions(2, 2, 5, dimensions=3),
    acquisitions(1, 4, 900),
    Text(""),
    image((2, 1, 3, 4), DataType.USHORT),
    image((1, 5, 7, 11), DataType.CXDOUBLE, attributes=""),
    PeerError("no"),
    Close(),
]


def joined(messages: Iterable[Message], **options: bool) -> bytes:
    """Encode messages one after the other."""
    return b"".join(piece for message in messages for piece in encode(message, **options))


def read(*pieces: bytes, **options: Any) -> list[Message]:  # noqa: ANN401
    """Read a whole stream that arrives in these pieces."""
    reader = MessageReader(**options)
    received: list[Message] = []
    for piece in pieces:
        reader.feed(piece)
        received += reader
    reader.feed_eof()
    return [*received, *reader]


def one_by_one(messages: Iterable[Message]) -> list[Message]:
    """Take runs of readouts apart, since where a run ends depends on the cuts."""
    apart: list[Message] = []
    for message in messages:
        if isinstance(message, Acquisitions):
            heads, samples, trajectories = message.heads, message.samples, message.trajectories
            apart += [
                Acquisitions(heads[i : i + 1], samples[i : i + 1], trajectories[i : i + 1])
                for i in range(len(message))
            ]
        else:
            apart.append(message)
    return apart


def set_number(stream: bytes, at: int, layout: str, value: int) -> bytes:
    """Overwrite one number of a stream."""
    changed = bytearray(stream)
    struct.pack_into(layout, changed, at, value)
    return bytes(changed)


@pytest.mark.parametrize("counted_nul", [True, False])
@pytest.mark.parametrize("message", EVERY_KIND, ids=lambda message: type(message).__name__)
def test_what_is_encoded_is_decoded(message: Message, counted_nul: bool) -> None:
    assert read(joined([message], counted_nul=counted_nul)) == [message]


@settings(deadline=None)
@given(
    chosen=st.lists(st.sampled_from(EVERY_KIND), max_size=8),
    cuts=st.lists(st.integers(0, 60_000), max_size=30),
    buffer_bytes=st.sampled_from([1024, 4096, 2**20]),
)
def test_the_cuts_of_the_network_do_not_show(
    chosen: list[Message], cuts: list[int], buffer_bytes: int
) -> None:
    stream = joined(chosen)
    bounds = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = (stream[a:b] for a, b in itertools.pairwise(bounds))
    assert one_by_one(read(*pieces, buffer_bytes=buffer_bytes)) == one_by_one(chosen)


def test_single_bytes_make_the_same_messages() -> None:
    stream = joined(EVERY_KIND)
    pieces = (stream[i : i + 1] for i in range(len(stream)))
    assert one_by_one(read(*pieces, buffer_bytes=1024)) == one_by_one(EVERY_KIND)


@pytest.mark.parametrize("buffer_bytes", [1024, 5000, 2**20])
def test_a_network_that_fills_the_buffer_itself_makes_the_same_messages(buffer_bytes: int) -> None:
    rng = np.random.default_rng(1)
    stream = memoryview(joined(EVERY_KIND * 20))
    reader = MessageReader(buffer_bytes=buffer_bytes)
    received: list[Message] = []
    while stream:
        buffer = reader.get_buffer()
        n_bytes = min(len(stream), int(rng.integers(1, len(buffer) + 1)))
        buffer[:n_bytes] = stream[:n_bytes]
        reader.received(n_bytes)
        stream = stream[n_bytes:]
        received += reader
    assert one_by_one(received) == one_by_one(EVERY_KIND * 20)


def test_readouts_of_one_shape_come_as_one_run() -> None:
    assert read(joined([acquisitions(7, 2, 5)])) == [acquisitions(7, 2, 5)]


@pytest.mark.parametrize(
    "other",
    [
        *[(1, 3, 5, 0), (1, 2, 4, 0), (1, 2, 5, 1), (1, 1, 10, 0)],
        *[(1, 258, 5, 0), (1, 2, 261, 0), (1, 2, 5, 256)],
    ],
)
def test_a_run_ends_where_the_shape_changes(other: tuple[int, int, int, int]) -> None:
    sent: list[Message] = [acquisitions(4, 2, 5), acquisitions(*other), acquisitions(2, 2, 5)]
    assert read(joined(sent)) == sent


def test_a_run_ends_at_another_message_that_looks_like_a_readout_but_for_its_id() -> None:
    readouts = acquisitions(1, 2, 5)
    readouts.heads["flags"] = 0
    stream = joined([readouts])
    text = struct.pack("<HI", 5, len(stream) - 6) + stream[6:]
    assert read(stream + text + stream) == [readouts, Text(""), readouts]


@pytest.mark.parametrize("buffer_bytes", [1024, 2**20])
def test_messages_stay_what_they_were_when_more_bytes_come(buffer_bytes: int) -> None:
    reader = MessageReader(buffer_bytes=buffer_bytes)
    kept: list[Message] = []
    for seed in range(30):
        reader.feed(joined([acquisitions(3, 2, 5, seed=seed), waveform(2, seed + 1)]))
        kept += reader
    expected: list[Message] = []
    for seed in range(30):
        expected += [acquisitions(3, 2, 5, seed=seed), waveform(2, seed + 1)]
    assert one_by_one(kept) == one_by_one(expected)


def test_samples_and_pixels_are_aligned_contiguous_and_writeable() -> None:
    sent = [acquisitions(3, 2, 5, dimensions=1), acquisitions(1, 3, 2000, dimensions=2)]
    sent_images = [
        image((1, 2, 3, 5), data_type, "<ismrmrdMeta>%s</ismrmrdMeta>" % ("x" * n))
        for data_type, n in itertools.product(DataType, (1, 2000))
    ]
    for message in read(joined([*sent, *sent_images, waveform(3, 7)]), buffer_bytes=1024):
        arrays: tuple[npt.NDArray[Any], ...] = ()
        match message:
            case Acquisitions(_, samples, trajectories):
                arrays = samples, trajectories
            case Image(_, _, pixels):
                arrays = (pixels,)
            case Waveform(_, samples):
                arrays = (samples,)
        assert arrays
        assert all(array.flags.carray for array in arrays)


def test_a_large_message_is_received_where_it_stays() -> None:
    reader = MessageReader(buffer_bytes=1024)
    stream = joined([image((1, 10, 20, 30), DataType.FLOAT)])
    reader.feed(stream[:300])
    assert list(reader) == []
    assert len(reader.get_buffer()) == len(stream) - 300


def test_memory_does_not_grow_with_the_stream() -> None:
    reader = MessageReader(buffer_bytes=2**16)
    stream = joined([acquisitions(8, 4, 64), image((1, 20, 30, 40), DataType.FLOAT)])
    tracemalloc.start()
    try:
        for _ in range(200):
            reader.feed(stream)
            assert sum(1 for _ in reader) >= 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20


def test_the_buffer_shrinks_again_after_bytes_that_nobody_asked_for() -> None:
    reader = MessageReader(buffer_bytes=1024)
    for _ in range(100):
        reader.feed(joined([waveform(4, 100)]))
    assert len(list(reader)) == 100
    assert len(reader.get_buffer()) <= 1024


@pytest.mark.parametrize("message", EVERY_KIND, ids=lambda message: type(message).__name__)
def test_a_stream_may_end_only_between_messages(message: Message) -> None:
    stream = joined([message])
    n_bytes = len(stream) // len(one_by_one([message]))
    cuts = {1, 2, 3, len(stream) // 2, len(stream) - 1}
    for kept in (cut for cut in cuts if cut % n_bytes and cut < len(stream)):
        reader = MessageReader(buffer_bytes=1024)
        reader.feed(stream[:kept])
        reader.feed_eof()
        received: list[Message] = []
        with pytest.raises(TruncatedMessage, match="bytes early"):
            received.extend(iter(reader))
        assert len(one_by_one(received)) == kept // n_bytes


@pytest.mark.parametrize(
    ("kept", "complaint"),
    [
        (1, "at least 1 bytes early, inside the id"),
        (4, "at least 2 bytes early, inside TEXT"),
        (8, "3 bytes early, inside TEXT"),
    ],
)
def test_a_truncated_stream_names_what_is_missing(kept: int, complaint: str) -> None:
    with pytest.raises(TruncatedMessage, match=complaint):
        read(joined([Text("scan")])[:kept])


def test_a_truncated_large_message_names_what_is_missing() -> None:
    stream = joined([image((1, 10, 20, 30), DataType.FLOAT)])
    with pytest.raises(TruncatedMessage, match="1000 bytes early, inside IMAGE"):
        read(stream[:-1000], buffer_bytes=1024)


TOO_LARGE = [
    (joined([Text("")]), 2, "<I", 2**30, "1073741824 bytes of text"),
    (joined([Header("")]), 2, "<I", 2**24 + 1, "bytes of text"),
    (joined([ConfigText("")]), 2, "<I", 2**32 - 1, "bytes of text"),
    (joined([Query(1, "")]), 18, "<Q", 2**63, "bytes of text"),
    (joined([Response(1, "")]), 10, "<Q", 2**25, "bytes of text"),
    (joined([PeerError("")]), 2, "<Q", 2**25, "bytes of text"),
    (joined([acquisitions(1, 0, 0)]), 2 + 38, "<H", 1025, "1025 channels in a readout"),
    (joined([image((1, 1, 1, 1), DataType.FLOAT)]), 2 + 34, "<H", 1025, "channels in an image"),
    (joined([image((1, 1, 1, 1), DataType.FLOAT)]), 200, "<Q", 2**25, "bytes of text"),
    (joined([waveform(1, 1)]), 2 + 30, "<H", 1025, "channels in a waveform"),
]


@pytest.mark.parametrize(
    ("stream", "at", "layout", "value", "complaint"), TOO_LARGE, ids=lambda value: str(value)[:20]
)
def test_sizes_are_refused_before_they_are_read_or_allocated(
    stream: bytes, at: int, layout: str, value: int, complaint: str
) -> None:
    reader = MessageReader()
    reader.feed(set_number(stream, at, layout, value))
    tracemalloc.start()
    try:
        with pytest.raises(MessageTooLarge, match=complaint):
            next(iter(reader))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**17


@pytest.mark.parametrize(
    ("message", "limits", "complaint"),
    [
        (acquisitions(1, 2, 9), Limits(samples=8), "9 samples in a readout announced, 8 accepted"),
        (waveform(2, 9), Limits(samples=8), "9 samples in a waveform"),
        (image((1, 3, 3, 3), DataType.FLOAT), Limits(image_pixels=26), "27 pixels in an image"),
        (acquisitions(1, 2, 9, 3), Limits(message_bytes=500), "594 bytes in one message"),
        (image((1, 3, 3, 3), DataType.FLOAT), Limits(message_bytes=300), "bytes in one message"),
    ],
)
def test_limits_are_the_callers(message: Message, limits: Limits, complaint: str) -> None:
    assert read(joined([message])) == [message]
    with pytest.raises(MessageTooLarge, match=complaint):
        read(joined([message]), limits=limits)


def test_a_size_beyond_the_memory_of_the_machine_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = MessageReader(buffer_bytes=1024)
    reader.feed(joined([image((1, 3, 30, 30), DataType.FLOAT)])[:300])

    def no_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(np, "empty", no_memory)
    with pytest.raises(MessageTooLarge, match="than there is memory"):
        list(reader)


@pytest.mark.parametrize(
    ("number", "complaint"), [(0, "id 0$"), (999, "id 999$"), (1030, "NDARRAY"), (1050, "BUCKET")]
)
def test_an_unknown_id_is_a_protocol_error(number: int, complaint: str) -> None:
    with pytest.raises(UnknownMessage, match=complaint):
        read(struct.pack("<H", number))


def test_messages_before_an_error_are_not_lost_and_the_error_stays() -> None:
    reader = MessageReader()
    reader.feed(joined([Text("one"), acquisitions(2, 1, 3)]) + b"\xff\xff")
    messages = iter(reader)
    assert [next(messages), next(messages)] == [Text("one"), acquisitions(2, 1, 3)]
    for _ in range(2):
        with pytest.raises(UnknownMessage):
            list(reader)


@pytest.mark.parametrize("text", ["ok", "", "\N{GREEK SMALL LETTER CHI}"])
def test_a_text_may_end_with_a_counted_nul_or_without(text: str) -> None:
    with_nul, without = joined([Text(text)]), joined([Text(text)], counted_nul=False)
    assert len(with_nul) == len(without) + 1
    assert read(with_nul) == read(without) == [Text(text)]


def test_a_text_ends_at_its_first_nul() -> None:
    assert read(b"\x05\x00\x06\x00\x00\x00ok\x00\xff\x00x") == [Text("ok")]


def test_attributes_may_end_with_a_nul() -> None:
    sent = image((1, 1, 2, 3), DataType.SHORT, "<ismrmrdMeta/>")
    stream = bytearray(joined([sent]))
    struct.pack_into("<Q", stream, 200, 15)
    stream.insert(208 + 14, 0)
    assert read(bytes(stream)) == [sent]


def test_the_64_bit_length_of_the_attributes_counts_and_not_the_one_in_the_head() -> None:
    sent = image((1, 1, 2, 3), DataType.SHORT)
    (received,) = read(set_number(joined([sent]), 2 + 194, "<I", 12345))
    assert isinstance(received, Image)
    assert received.attributes == sent.attributes
    assert joined([received]) == joined([sent])


@pytest.mark.parametrize(
    "stream",
    [
        joined([ConfigFile("\u00e4")]),
        joined([Text("\u00e4")]),
        joined([PeerError("\u00e4")]),
        joined([image((1, 1, 1, 1), DataType.FLOAT, "\u00e4")]),
    ],
)
def test_a_text_that_is_not_utf_8_is_a_protocol_error(stream: bytes) -> None:
    with pytest.raises(ProtocolError, match="UTF-8"):
        read(stream.replace("\u00e4".encode(), b"\xe4a"))


@pytest.mark.parametrize("number", [0, 9])
def test_an_unknown_pixel_type_is_a_protocol_error(number: int) -> None:
    stream = joined([image((1, 1, 1, 1), DataType.FLOAT)])
    with pytest.raises(ProtocolError, match=f"data type {number}"):
        read(set_number(stream, 4, "<H", number))


@pytest.mark.parametrize("flag", [53, 54, 55, 56])
@pytest.mark.parametrize("position", [0, 1])
def test_compressed_samples_are_refused(flag: int, position: int) -> None:
    message = acquisitions(2, 1, 3)
    message.heads["flags"][position] |= np.uint64(1 << (flag - 1))
    with pytest.raises(ProtocolError, match="compressed"):
        read(joined([message]))


@pytest.mark.parametrize("flag", [52, 57, 64])
def test_other_flags_do_not_end_a_run(flag: int) -> None:
    message = acquisitions(3, 1, 3)
    message.heads["flags"][1] |= np.uint64(1 << (flag - 1))
    assert read(joined([message])) == [message]


def test_a_readout_may_be_empty() -> None:
    sent = [acquisitions(2, 0, 5), acquisitions(3, 4, 0), acquisitions(2, 0, 0, 2)]
    assert read(joined(sent)) == sent


def test_no_readouts_take_no_bytes() -> None:
    assert encode(acquisitions(0, 2, 5)) == []


@pytest.mark.parametrize("large", [acquisitions(2, 64, 512, 1), acquisitions(1, 64, 512)])
def test_large_readouts_are_sent_from_where_they_are(large: Acquisitions) -> None:
    pieces = encode(large)
    shared = [p for p in pieces if np.shares_memory(np.frombuffer(p, np.uint8), large.samples)]
    assert len(shared) == len(large)
    assert one_by_one(read(b"".join(pieces))) == one_by_one([large])


def test_pixels_are_sent_from_where_they_are() -> None:
    sent = image((1, 3, 4, 5), DataType.CXFLOAT)
    assert np.shares_memory(np.frombuffer(encode(sent)[-1], np.uint8), sent.pixels)


def test_arrays_need_not_be_contiguous() -> None:
    sent = image((2, 3, 4, 5), DataType.FLOAT)
    turned = Image(sent.head, sent.attributes, np.asfortranarray(sent.pixels))
    readouts = acquisitions(4, 2, 6)
    strided = Acquisitions(readouts.heads[::2], readouts.samples[::2], readouts.trajectories[::2])
    assert read(joined([turned, strided])) == [sent, strided]


def test_a_chain_name_that_does_not_fit_is_refused() -> None:
    assert read(joined([ConfigFile("q" * 1023)])) == [ConfigFile("q" * 1023)]
    with pytest.raises(ValueError, match="takes 1024 of 1023 bytes"):
        encode(ConfigFile("q" * 1024))


def test_what_a_text_cannot_carry_becomes_a_question_mark() -> None:
    assert read(joined([Text("a\0b\udc80c")])) == [Text("a?b?c")]


def with_changed_head(message: Acquisitions, name: str) -> Acquisitions:
    """Return readouts of which one head does not tell the truth."""
    heads = message.heads.copy()
    heads[name][-1] += 1
    return Acquisitions(heads, message.samples, message.trajectories)


READOUTS = acquisitions(2, 2, 5, 1)
IMAGE = image((1, 2, 3, 4), DataType.FLOAT)


@pytest.mark.parametrize(
    "wrong",
    [
        with_changed_head(READOUTS, "number_of_samples"),
        with_changed_head(READOUTS, "active_channels"),
        with_changed_head(READOUTS, "trajectory_dimensions"),
        Acquisitions(READOUTS.heads[:1], READOUTS.samples, READOUTS.trajectories),
        Acquisitions(READOUTS.heads, READOUTS.samples, READOUTS.trajectories[:, :4]),
        Acquisitions(READOUTS.heads, READOUTS.samples.astype("c16"), READOUTS.trajectories),
        Image(IMAGE.head, "", IMAGE.pixels.swapaxes(2, 3)),
        Image(IMAGE.head, "", IMAGE.pixels.astype(np.float64)),
        Waveform(waveform(2, 3).head, waveform(3, 2).samples),
    ],
)
def test_heads_and_arrays_must_agree(wrong: Message) -> None:
    with pytest.raises(ValueError, match=r"head.? says?"):
        encode(wrong)


def test_a_buffer_too_small_for_a_head_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1024"):
        MessageReader(buffer_bytes=1023)


@pytest.mark.parametrize("is_large", [False, True])
def test_more_bytes_than_the_buffer_holds_cannot_have_been_received(is_large: bool) -> None:
    reader = MessageReader(buffer_bytes=1024)
    if is_large:
        reader.feed(joined([image((1, 10, 20, 30), DataType.FLOAT)])[:300])
        list(reader)
    with pytest.raises(ValueError, match="received into a buffer"):
        reader.received(len(reader.get_buffer()) + 1)
