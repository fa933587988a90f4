"""Streams in files: what ISMRMRD's own reader and writer make of ours, and we of theirs."""

import io
from pathlib import Path

import ismrmrd
import numpy as np
import pytest

from chistream.errors import FileFormatError, UnknownMessage
from chistream.raw_files import groups_in, kind_of_file, read_raw_file
from chistream.stream.codec import encode
from chistream.stream.files import MessageWriter
from chistream.stream.messages import (
    ACQUISITION_HEAD,
    IMAGE_HEAD,
    WAVEFORM_HEAD,
    Acquisitions,
    Close,
    ConfigFile,
    DataType,
    Header,
    Image,
    Message,
    Text,
    Waveform,
    new_head,
)
from chistream.stream.stream_files import StreamReader, StreamWriter, read_stream_file

XML = """<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
<experimentalConditions><H1resonanceFrequency_Hz>63870000</H1resonanceFrequency_Hz>
</experimentalConditions></ismrmrdHeader>"""


def readouts(n: int, n_samples: int = 7) -> Acquisitions:
    head = new_head(
        ACQUISITION_HEAD, number_of_samples=n_samples, active_channels=3, available_channels=3
    )
    samples = np.arange(n * 3 * n_samples).reshape(n, 3, n_samples) * np.complex64(1 + 2j)
    heads = np.repeat(np.array([head]), n)
    return Acquisitions(heads, samples.astype("c8"), np.zeros((n, n_samples, 0), "f4"))


def image(value: float = 3.5) -> Image:
    head = new_head(IMAGE_HEAD, data_type=DataType.FLOAT, matrix_size=(4, 3, 2), channels=1)
    attributes = "<ismrmrdMeta></ismrmrdMeta>"
    head["attribute_string_len"] = len(attributes)
    return Image(head, attributes, np.full((1, 2, 3, 4), value, np.float32))


def waveform() -> Waveform:
    head = new_head(WAVEFORM_HEAD, channels=2, number_of_samples=5, waveform_id=2)
    return Waveform(head, np.arange(10, dtype=np.uint32).reshape(2, 5))


SCAN: list[Message] = [Header(XML), readouts(4), waveform(), readouts(2, 9), image()]


def written(*messages: Message) -> bytes:
    target = io.BytesIO()
    with StreamWriter(target) as writer:
        for message in messages:
            writer.write(message)
    return target.getvalue()


class Pipe(io.RawIOBase):
    """Bytes that come in pieces, as through a pipe."""

    def __init__(self, content: bytes, piece: int) -> None:
        self._rest, self._piece = content, piece

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        n = min(self._piece, len(self._rest), len(buffer))
        buffer[:n], self._rest = self._rest[:n], self._rest[n:]
        return n


@pytest.mark.parametrize("piece", [1, 333, 10**6])
def test_what_is_written_is_read_however_the_pipe_cuts_it(piece: int) -> None:
    reader = StreamReader(Pipe(written(*SCAN), piece))
    messages = list(reader)
    assert not reader.cut
    assert messages[0] == SCAN[0]
    assert messages[-1] == SCAN[-1]
    n_readouts = sum(len(m) for m in messages if isinstance(m, Acquisitions))
    assert n_readouts == 6


def test_what_comes_after_close_is_not_looked_at() -> None:
    reader = StreamReader(io.BytesIO(written(Text("a")) + b"rubbish"))
    assert list(reader) == [Text("a")]
    assert not reader.cut


@pytest.mark.parametrize(("kept", "reason"), [(-2, "without CLOSE"), (-5, "inside IMAGE")])
def test_a_stream_that_was_cut_gives_what_is_whole_and_says_so(
    tmp_path: Path, kept: int, reason: str
) -> None:
    path = tmp_path / "cut"
    path.write_bytes(written(*SCAN)[:kept])
    *whole, last = read_stream_file(path)
    assert isinstance(last, Text)
    assert reason in last.text
    assert whole[0] == SCAN[0]
    assert sum(isinstance(m, Image) for m in whole) == (kept == -2)


def test_a_message_of_no_known_kind_is_an_error() -> None:
    with pytest.raises(UnknownMessage, match="1234"):
        list(StreamReader(io.BytesIO(written(Text("a"))[:-2] + b"\xd2\x04")))


def test_a_stream_ends_in_order_when_its_writer_fails_but_not_when_the_writing_does() -> None:
    for error, end in ((ValueError, written()), (BrokenPipeError, b"")):
        target = io.BytesIO()
        with pytest.raises(error), StreamWriter(target):
            raise error
        assert target.getvalue() == end


# -- ISMRMRD's own reader and writer ------------------------------------------------------------


def test_ismrmrd_reads_what_we_write() -> None:
    serialization = pytest.importorskip(
        "ismrmrd.serialization", reason="this ismrmrd has no serialization"
    )
    (header, *data) = serialization.ProtocolDeserializer(io.BytesIO(written(*SCAN))).deserialize()
    assert header.experimentalConditions.H1resonanceFrequency_Hz == 63870000
    assert [type(item) for item in data] == [
        *[ismrmrd.Acquisition] * 4,
        ismrmrd.Waveform,
        *[ismrmrd.Acquisition] * 2,
        ismrmrd.Image,
    ]
    run = SCAN[1]
    assert isinstance(run, Acquisitions)
    np.testing.assert_array_equal(data[3].data, run.samples[3])
    np.testing.assert_array_equal(data[-1].data, np.full((1, 2, 3, 4), 3.5))


def test_we_read_what_ismrmrd_writes(tmp_path: Path) -> None:
    serialization = pytest.importorskip(
        "ismrmrd.serialization", reason="this ismrmrd has no serialization"
    )
    path = tmp_path / "theirs.bin"
    acquisition = ismrmrd.Acquisition.from_array(np.ones((2, 5), np.complex64) * 2j)
    with serialization.ProtocolSerializer(str(path)) as serializer:
        serializer.serialize(serialization.ConfigFile("some chain"))
        serializer.serialize(ismrmrd.xsd.CreateFromDocument(XML))
        serializer.serialize(acquisition)
    assert kind_of_file(path) == "stream"
    header, run = read_raw_file(path)
    assert isinstance(header, Header)
    assert "63870000" in header.xml
    assert isinstance(run, Acquisitions)
    np.testing.assert_array_equal(run.samples[0], acquisition.data)


# -- told apart by content ----------------------------------------------------------------------


def test_files_are_told_apart_by_their_content(tmp_path: Path) -> None:
    stream, hdf5, other = tmp_path / "a.h5", tmp_path / "b.bin", tmp_path / "c.bin"
    stream.write_bytes(written(*SCAN))
    with MessageWriter(hdf5, "scan 2") as writer:
        for message in SCAN:
            writer.write(message)
    other.write_bytes(b"GIF89a")
    assert (kind_of_file(stream), kind_of_file(hdf5)) == ("stream", "hdf5")
    assert (groups_in(stream), groups_in(hdf5)) == (["dataset"], ["scan 2"])
    for path, group in ((stream, "dataset"), (hdf5, "scan 2")):
        kept = list(read_raw_file(path, group, waveforms=False, images=False))
        assert {type(m) for m in kept} == {Header, Acquisitions}
    with pytest.raises(FileFormatError, match="neither HDF5 nor an MRD stream"):
        kind_of_file(other)


def test_mrd_version_2_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "v2"
    path.write_bytes(b"yardl\x01\x00")
    assert kind_of_file(path) == "mrd2"


def test_the_configuration_of_a_stream_is_no_part_of_its_data(tmp_path: Path) -> None:
    path = tmp_path / "configured"
    path.write_bytes(b"".join(encode(ConfigFile("qsm"))) + written(*SCAN))
    assert isinstance(next(iter(read_raw_file(path))), Header)
    assert not any(isinstance(m, Close) for m in read_raw_file(path))
