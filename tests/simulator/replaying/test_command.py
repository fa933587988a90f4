"""`chistream replay` as a person, or a script, calls it."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.simulator.replaying.servers import Serve, answer_with, image
from typer.testing import CliRunner

from chistream import cli
from chistream.stream.files import read_messages
from chistream.stream.messages import Acquisitions, Close, ConfigText, Image, Text, Waveform

runner = CliRunner()


def run(*arguments: object) -> Any:  # noqa: ANN401  (typer's result, or click's)
    return runner.invoke(cli.app, ["replay", *map(str, arguments)])


def test_results_are_lines_or_one_json_object(serve: Serve, scan: Path, tmp_path: Path) -> None:
    to = f"127.0.0.1:{serve(answer_with(Text('INFO     hello'), image(4), Close())).port}"
    lines = run(scan, "-o", tmp_path / "a.h5", "--to", to)
    assert lines.exit_code == 0
    assert lines.stdout.splitlines()[1] == "INFO     hello"
    assert lines.stderr == ""
    only_json = run(scan, "-o", tmp_path / "b.h5", "--to", to, "--json", "--verbose")
    assert json.loads(only_json.stdout)["scans"][0]["images"] == 1
    assert only_json.stderr == ""
    verbose = run(scan, "-o", tmp_path / "c.h5", "--to", to, "-v")
    assert "image 1.0 4 x 3 x 2 uint16" in verbose.stderr
    assert isinstance(next(read_messages(tmp_path / "c.h5")), Image)


def test_every_option_reaches_the_stream(serve: Serve, scan: Path, tmp_path: Path) -> None:
    server, config = serve(answer_with(Close())), tmp_path / "config.xml"
    config.write_text("<configuration/>")
    trace = tmp_path / "trace.json"
    done = run(
        scan, "-o", tmp_path / "a.h5", "--to", f"127.0.0.1:{server.port}", "--speed", "x1000",
        "--config-file", config, "--no-nul", "--waveform-order", "first", "--set", "strength=2",
        "--repeat", 2, "--parallel", 2, "--fault", "drop:at=2", "--fault", "duplicate:at=1",
        "--fault-seed", 4, "--trace", trace, "--timeout", 20, "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)["scans"]
    assert [(s["client"], s["repetition"]) for s in said] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert [s["faults"][0]["seed"] for s in said] == [4, 5, 6, 7]
    for session in server.sessions:
        assert session.heard[0] == ConfigText("<configuration/>")
        assert session.heard[2] == Text('{"parameters": {"strength": "2"}}')
        assert [type(m) for m in session.heard[3:5]] == [Waveform, Waveform]
        runs = [m for m in session.heard if isinstance(m, Acquisitions)]
        assert [int(c) for m in runs for c in m.heads["scan_counter"]] == [0, 0, 2, 3]
    written = json.loads(trace.read_text())
    assert (written["speed"], len(written["sessions"])) == (1000.0, 4)


def test_waveforms_can_be_left_out(serve: Serve, scan: Path, tmp_path: Path) -> None:
    server = serve(answer_with(Close()))
    to = f"127.0.0.1:{server.port}"
    assert run(scan, "-o", tmp_path / "a.h5", "--to", to, "--no-waveforms").exit_code == 0
    assert not any(isinstance(m, Waveform) for m in server.heard)


def test_a_session_that_failed_is_an_exit_code_and_a_reason(
    serve: Serve, scan: Path, tmp_path: Path
) -> None:
    to = f"127.0.0.1:{serve(answer_with(image(1))).port}"
    failed = run(scan, "-o", tmp_path / "a.h5", "--to", to)
    assert failed.exit_code == 1
    assert "the server ended without CLOSE" in failed.stderr
    assert "1 images" in failed.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--fault", "explode"), "there are cut, stall, garbage"),
        (("--speed", "fast"), "give max, realtime"),
        (("--waveform-order", "last"), "give interleaved, first, none"),
    ],
)
def test_a_mistake_is_explained(
    scan: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    mistaken = run(scan, "-o", tmp_path / "a.h5", *arguments)
    assert mistaken.exit_code == 1
    assert words in str(mistaken.exception)


def test_the_faults_are_listed() -> None:
    listed = run("--list-faults")
    assert listed.exit_code == 0
    assert "kill: The client vanishes between two messages" in listed.output
