"""A reconstruction between two pipes."""

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from chistream.errors import ChiStreamError, FileFormatError, SettingsError, TruncatedMessage
from chistream.offline import reconstruct_files
from chistream.piping import reconstruct_stream
from chistream.stream.codec import encode
from chistream.stream.files import read_messages
from chistream.stream.messages import Close, ConfigFile, Image, Message, Text
from chistream.stream.stream_files import StreamReader


@pytest.fixture(scope="module")
def scan(tiny_raw: Path) -> list[Message]:
    return list(read_messages(tiny_raw))


def stream(*messages: Message) -> bytes:
    pieces = (piece for m in (*messages, Close()) for piece in encode(m, counted_nul=False))
    return b"".join(pieces)


def through(content: bytes, **options: object) -> tuple[list[Message], list[str]]:
    said: list[str] = []
    target = io.BytesIO()
    n_messages = reconstruct_stream(io.BytesIO(content), target, said.append, **options)  # type: ignore[arg-type]
    returned = list(returned_in(target.getvalue()))
    assert n_messages == len(returned) - 1
    return returned, said


def returned_in(content: bytes) -> Iterator[Message]:
    reader = StreamReader(io.BytesIO(content))
    yield from reader
    assert not reader.cut


@pytest.mark.slow
def test_images_follow_the_header_as_it_came(scan: list[Message]) -> None:
    returned, said = through(stream(*scan), chain="echoes")
    assert returned[0] == scan[0]
    assert {type(m) for m in returned[1:]} == {Image}
    assert said == []


def test_the_stream_may_name_the_chain_and_carry_settings(scan: list[Message]) -> None:
    header, *data = scan
    settings = Text('{"parameters": {"shoesize": 43}}')
    returned, said = through(stream(ConfigFile("passthrough"), header, settings, data[-1]))
    assert returned == [header, data[-1]]
    assert any("shoesize" in words for words in said)
    _, said = through(stream(ConfigFile("no such"), header, data[-1]), chain="passthrough")
    assert said == []


@pytest.mark.slow
def test_the_command_s_settings_win(scan: list[Message]) -> None:
    header, *data = scan
    asked = Text('{"parameters": {"profile": "scanner", "gating": "none"}}')
    content = stream(ConfigFile("echoes"), header, asked, *data)
    for values, dtype in (({}, np.uint16), ({"profile": "research"}, np.float32)):
        returned, _ = through(content, values=values)
        assert {m.pixels.dtype for m in returned if isinstance(m, Image)} == {np.dtype(dtype)}
    with pytest.raises(SettingsError, match="shoesize"):
        through(content, values={"shoesize": "43"})


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (stream(Text("a")), "header"), (stream(ConfigFile("qsm")), "empty")],
)
def test_without_a_header_there_is_no_scan(content: bytes, reason: str) -> None:
    with pytest.raises(FileFormatError, match=reason):
        through(content)


def test_an_unknown_chain_is_told(scan: list[Message]) -> None:
    said: list[str] = []
    target = io.BytesIO()
    with pytest.raises(ChiStreamError):
        reconstruct_stream(io.BytesIO(stream(scan[0])), target, said.append, chain="brew")
    assert "brew" in said[0]
    assert list(returned_in(target.getvalue())) == [scan[0]]


def test_a_scan_that_was_cut_is_reconstructed_and_then_complained_of(scan: list[Message]) -> None:
    target = io.BytesIO()
    content = stream(scan[0], scan[1])[:-2]
    with pytest.raises(TruncatedMessage, match="without CLOSE"):
        reconstruct_stream(io.BytesIO(content), target, print, chain="passthrough")
    assert list(returned_in(target.getvalue())) == [scan[0], scan[1]]


@pytest.mark.slow
def test_the_command_fits_into_a_pipe_and_gives_what_the_file_gives(
    scan: list[Message], tmp_path: Path
) -> None:
    raw = tmp_path / "scan.mrd"
    raw.write_bytes(stream(*scan))
    command = [sys.executable, "-m", "chistream", "stream", "--config", "echoes"]
    with raw.open("rb") as source:
        run = subprocess.run(command, stdin=source, capture_output=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    assert b"images" in run.stderr
    piped = [m for m in returned_in(run.stdout) if isinstance(m, Image)]
    (result,) = reconstruct_files(
        [raw], tmp_path, formats=("mrd",), chain="echoes", values={"profile": "scanner"}
    )
    assert result.error is None
    kept = [m for m in read_messages(tmp_path / "images.h5") if isinstance(m, Image)]
    assert len(piped) == len(kept)
    for one, other in zip(piped, kept, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)


@pytest.mark.slow
def test_the_command_says_what_is_wrong(scan: list[Message]) -> None:
    command = [sys.executable, "-m", "chistream", "stream", "--config", "echoes"]
    run = subprocess.run(
        command, input=stream(scan[0]), capture_output=True, timeout=60, check=False
    )
    assert run.returncode == 1
    assert b"no imaging readout" in run.stderr
    assert list(returned_in(run.stdout)) == [scan[0]]


@pytest.mark.slow
def test_a_pipe_that_nobody_reads_ends_the_command(scan: list[Message]) -> None:
    command = [sys.executable, "-m", "chistream", "stream", "--config", "passthrough"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        assert run.stdout is not None
        run.stdout.close()
        run.stdout = None
        _, words = run.communicate(stream(*scan), timeout=60)
    assert run.returncode == 1
    assert b"nobody takes the images" in words
    assert b"Traceback" not in words
