"""Arrays among Gadgetron's nodes: byte for byte what its own Python module reads and writes."""

import io
import struct
from typing import Any

import ismrmrd
import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("gadgetron", reason="Gadgetron's Python module is not installed")

from gadgetron.types import image_array, recon_data

from chistream.errors import MessageTooLarge, ProtocolError, TruncatedMessage
from chistream.external import arrays
from chistream.external.arrays import ImageArray, ReconData, encode_image_array
from chistream.external.reading import GadgetReader, Item
from chistream.stream.codec import encode
from chistream.stream.messages import (
    ACQUISITION_HEAD,
    IMAGE_HEAD,
    WAVEFORM_HEAD,
    Acquisitions,
    Close,
    Text,
    Waveform,
    new_head,
)


class Pipe(io.BytesIO):
    """What ``gadgetron`` reads from and writes to."""

    def read(self, n: int | None = -1, /) -> bytes:
        taken = super().read(n)
        assert n in (None, -1, len(taken))
        return taken


def images(n: int = 2) -> ImageArray:
    rng = np.random.default_rng(n)
    pixels = rng.standard_normal((1, 2, n, 3, 4, 5, 6, 2)).astype(np.float32)
    heads = rng.integers(0, 9, (1, 2, n, IMAGE_HEAD.itemsize), np.uint8).view(IMAGE_HEAD)[..., 0]
    readouts = np.zeros(3, ACQUISITION_HEAD)
    readouts["scan_counter"] = 5, 6, 7
    attributes = tuple(f"<ismrmrdMeta>{i} \u03c7</ismrmrdMeta>" for i in range(2 * n))
    return ImageArray(pixels.view(np.complex64)[..., 0], heads, attributes, readouts)


def read(*pieces: bytes) -> list[Item]:
    reader = GadgetReader()
    received: list[Item] = []
    for piece in pieces:
        reader.feed(piece)
        received += reader.items()
    reader.feed_eof()
    return [*received, *reader.items()]


def joined(sent: ImageArray) -> bytes:
    return b"".join(encode_image_array(sent))


def same(one: Item, other: ImageArray) -> bool:
    return (
        isinstance(one, ImageArray)
        and np.array_equal(one.pixels, other.pixels)
        and one.heads.tobytes() == other.heads.tobytes()
        and one.heads.shape == other.heads.shape
        and one.readout_heads.tobytes() == other.readout_heads.tobytes()
    )


@pytest.mark.filterwarnings("ignore:A builtin ctypes object:RuntimeWarning")  # gadgetron's own
def test_gadgetron_reads_what_we_write() -> None:
    sent = images()
    source = Pipe(joined(sent)[2:])
    found = image_array.read_image_array(source)
    assert not source.read()
    np.testing.assert_array_equal(found.data, sent.pixels.T)
    assert bytes(found.headers[1, 1, 0]) == sent.heads[0, 1, 1].tobytes()
    assert found.meta[0] == "<ismrmrdMeta>0 &#967;</ismrmrdMeta>"
    assert found.acq_headers.ravel()[2].scan_counter == 7


def test_we_read_what_gadgetron_writes() -> None:
    sent = images()
    theirs = image_array.ImageArray(
        data=sent.pixels.T,
        headers=objects(sent.heads.T, ismrmrd.ImageHeader),
        meta=["<a/>"] * 4,
    )
    target = Pipe()
    image_array.write_image_array(target, theirs)
    (found,) = read(target.getvalue())
    assert isinstance(found, ImageArray)
    np.testing.assert_array_equal(found.pixels, sent.pixels)
    assert found.heads.tobytes() == sent.heads.tobytes()
    assert found.attributes == ("<a/>",) * 4
    assert not len(found.readout_heads)


def objects(records: npt.NDArray[np.void], kind: Any) -> npt.NDArray[np.object_]:  # noqa: ANN401
    array = np.empty(records.shape, object)
    for place in np.ndindex(*records.shape):
        array[place] = kind.from_buffer_copy(records[place].tobytes())
    return array


def recon_buffer(n_e1: int) -> recon_data.ReconBuffer:
    rng = np.random.default_rng(n_e1)
    heads = np.zeros((n_e1, 3, 2, 1, 1), ACQUISITION_HEAD)
    heads["scan_counter"] = np.arange(heads.size).reshape(heads.shape)
    shape = (7, n_e1, 3, 4, 2, 1, 1)
    data = rng.standard_normal((*shape, 2)).astype(np.float32).view(np.complex64)[..., 0]
    return recon_data.ReconBuffer(
        data=np.asfortranarray(data),
        trajectory=np.zeros((2, 7), np.float32),
        density=None,
        headers=objects(heads, ismrmrd.AcquisitionHeader),
        sampling_description=recon_data.SamplingDescription(),
    )


def recon_bytes() -> tuple[bytes, recon_data.ReconData]:
    both = recon_data.ReconBit(recon_buffer(5), recon_buffer(2))
    theirs = recon_data.ReconData([both, recon_data.ReconBit(recon_buffer(1))])
    target = Pipe()
    recon_data.write_recon_data(target, theirs)
    return target.getvalue(), theirs


def test_we_read_the_k_space_that_gadgetron_writes() -> None:
    content, theirs = recon_bytes()
    (found,) = read(content)
    assert isinstance(found, ReconData)
    (buffer, reference), (other, nothing) = found.bits
    assert nothing is None
    assert reference is not None
    first, second = theirs
    written_buffers = (first.data, first.ref, second.data)
    for ours, written in zip((buffer, reference, other), written_buffers, strict=True):
        np.testing.assert_array_equal(ours.samples, written.data.T)
        counters = [[head.scan_counter for head in row] for row in written.headers[:, :, 1, 0, 0]]
        np.testing.assert_array_equal(ours.heads["scan_counter"][0, 0, 1].T, counters)


@pytest.mark.parametrize("n_bytes", [1, 3, 64, 1000, 10**7])
def test_the_cuts_of_the_network_do_not_show(n_bytes: int) -> None:
    heads = np.array([new_head(ACQUISITION_HEAD, number_of_samples=4, active_channels=2)])
    run = Acquisitions(heads, np.ones((1, 2, 4), np.complex64), np.zeros((1, 4, 0), np.float32))
    content = b"".join(encode(run)) + joined(images(1)) + recon_bytes()[0] + joined(images(3))
    content += b"".join(encode(Text("x"))) + b"".join(encode(Close()))
    pieces = [content[i : i + n_bytes] for i in range(0, len(content), n_bytes)]
    found = read(*pieces)
    assert [type(item) for item in found] == [
        Acquisitions,
        ImageArray,
        ReconData,
        ImageArray,
        Text,
        Close,
    ]
    assert same(found[1], images(1))
    assert same(found[3], images(3))


@pytest.mark.parametrize("kept", [2, 3, 9, 30, 100, -1])
def test_an_array_may_not_end_early(kept: int) -> None:
    with pytest.raises(TruncatedMessage, match="inside an array"):
        read(joined(images())[:kept])


def test_a_message_of_the_wire_may_not_end_early_either() -> None:
    with pytest.raises(TruncatedMessage, match="inside TEXT"):
        read(joined(images()), b"".join(encode(Text("hello")))[:-2])


def test_waveforms_in_an_array_are_passed_over() -> None:
    sent = images(1)
    head = new_head(WAVEFORM_HEAD, channels=2, number_of_samples=5)
    waveform = Waveform(head, np.zeros((2, 5), np.uint32))
    content = joined(sent)
    tail = 1 + 8 * 6 + 3 * ACQUISITION_HEAD.itemsize
    with_waveform = (
        content[: -tail - 1]
        + b"\1"
        + struct.pack("<Q", 1)
        + b"".join(encode(waveform))[2:]
        + content[-tail:]
    )
    (found,) = read(with_waveform)
    assert same(found, sent)


def test_an_array_of_no_axes_is_empty() -> None:
    nothing = struct.pack("<HQQQBB", 1024, 0, 0, 0, 0, 0)
    with pytest.raises(ProtocolError, match="0 attributes"):
        read(nothing)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (struct.pack("<HQ", 1024, 17), "17 items announced, 16 accepted"),
        (struct.pack("<HQQQ", 1024, 2, 2**40, 2**30), "bytes announced"),
        (struct.pack("<HQQ", 1024, 1, 2**33), "bytes announced"),
        (struct.pack("<HQ", 1023, 2**40), "items announced"),
    ],
)
def test_what_is_too_large_is_refused_before_it_is_read(
    content: bytes, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "MAX_ARRAY_BYTES", 2**34)
    with pytest.raises(MessageTooLarge, match=reason):
        read(content)


def test_more_than_there_is_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "MAX_ARRAY_BYTES", 2**63)
    with pytest.raises(MessageTooLarge, match="more than there is memory"):
        read(struct.pack("<HQQ", 1024, 1, 2**56))


def test_heads_must_fit_their_samples() -> None:
    content, _ = recon_bytes()
    found = content.index(struct.pack("<QQQQQQ", 5, 5, 3, 2, 1, 1))
    with pytest.raises(ProtocolError, match="comes with"):
        read(content[: found + 8] + struct.pack("<QQ", 3, 5) + content[found + 24 :])
