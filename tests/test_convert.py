"""Raw data in one form are raw data in every other."""

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chistream import cli
from chistream.raw_files import kind_of_file, read_raw_file, write_raw_file
from chistream.stream.messages import Acquisitions, Header, Message, Text, Waveform
from chistream.stream.stream_files import read_stream_file

pytest.importorskip("mrd", reason="mrd-python is not installed")

runner = CliRunner()


def run(*arguments: object) -> str:
    result = runner.invoke(cli.app, ["convert", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stdout


def readouts(messages: Iterator[Message]) -> tuple[int, int, bytes]:
    """Count readouts and waveforms, and join all samples."""
    n_readouts = n_waveforms = 0
    samples = []
    for message in messages:
        if isinstance(message, Acquisitions):
            n_readouts += len(message)
            samples.append(message.samples.tobytes())
        n_waveforms += isinstance(message, Waveform)
    return n_readouts, n_waveforms, b"".join(samples)


def test_a_scan_goes_through_all_forms_and_comes_back(tiny_raw: Path, tmp_path: Path) -> None:
    files = [tiny_raw, *(tmp_path / name for name in ("a.mrd", "b.mrd2", "c.bin", "d.h5"))]
    for before, after in pairwise(files):
        found = json.loads(run(before, after, "--json"))
        assert found["file"] == str(after)
        assert found["to"] == kind_of_file(after)
    assert [kind_of_file(path) for path in files[1:]] == ["stream", "mrd2", "stream", "hdf5"]
    expected = readouts(read_raw_file(tiny_raw))
    for path in files[1:]:
        assert readouts(read_raw_file(path)) == expected


def test_the_form_may_be_said(tiny_raw: Path, tmp_path: Path) -> None:
    assert "stream" in run(tiny_raw, tmp_path / "a.h5", "--to", "stream")
    assert isinstance(next(read_stream_file(tmp_path / "a.h5")), Header)


def test_a_file_is_not_written_onto_itself(tiny_raw: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw.h5"
    raw.write_bytes(tiny_raw.read_bytes())
    result = runner.invoke(cli.app, ["convert", str(raw), str(raw)])
    assert result.exit_code != 0
    assert raw.read_bytes() == tiny_raw.read_bytes()


def test_texts_have_no_place_in_a_file(tmp_path: Path) -> None:
    write_raw_file(tmp_path / "a", [Header("<a/>"), Text("hello")], "stream")
    assert list(read_stream_file(tmp_path / "a")) == [Header("<a/>")]
