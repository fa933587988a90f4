"""Files of a simulation are whole or not there; a person is told why."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from chistream import cli
from chistream.errors import SettingsError
from chistream.stream.files import read_messages
from chistream.stream.messages import Message
from chistream_simulator import commands
from chistream_simulator.commands import simulate, simulate_from_images
from chistream_simulator.from_images import read_scan
from chistream_simulator.orientations import simulate_orientations
from chistream_simulator.scanner import Scan
from chistream_simulator.truth import read_truth, truth_path
from chistream_simulator.whole_files import whole_files

TURNS = [(0.0, 0.0, 0.0), (60.0, 0.0, 0.0)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def interrupted(messages: Iterator[Message]) -> Iterator[Message]:
    for number, message in enumerate(messages):
        if number == 3:
            raise KeyboardInterrupt
        yield message


def interrupt_scan(number: int, patch: pytest.MonkeyPatch) -> None:
    """Let the scan of this number, counted from 1, be stopped half way."""
    whole, scans = Scan.messages, []

    def messages(scan: Scan, *arguments: object) -> Iterator[Message]:
        scans.append(scan)
        found = whole(scan, *arguments)  # type: ignore[arg-type]
        return interrupted(found) if len(scans) == number else found

    patch.setattr(Scan, "messages", messages)


def run_main(*arguments: object, patch: pytest.MonkeyPatch) -> object:
    patch.setattr(sys, "argv", ["chistream", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


@pytest.fixture
def old_files(tmp_path: Path) -> dict[str, bytes]:
    names = ("scan.h5", "scan.truth.h5", "scan-1.h5", "scan-1.truth.h5", "scan-2.h5")
    for name in names:
        (tmp_path / name).write_text(f"an older {name}")
    return contents(tmp_path)


def test_a_scan_stopped_half_way_leaves_the_older_one(
    tmp_path: Path, old_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_scan(1, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path / "scan.h5", "tiny")
    assert contents(tmp_path) == old_files


def test_a_truth_that_fails_leaves_the_older_scan_too(
    tmp_path: Path, old_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    during: list[str] = []

    def fail(path: Path, _: object) -> None:
        path.write_text("half a truth")
        during.extend(sorted(contents(tmp_path).keys() - old_files.keys()))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(commands, "write_truth", fail)
    with pytest.raises(OSError, match="No space left"):
        simulate(tmp_path / "scan.h5", "tiny")
    assert during == [f".scan.{end}.{os.getpid()}.part" for end in ("h5", "truth.h5")]
    assert contents(tmp_path) == old_files


def test_orientations_stopped_in_the_second_leave_all_older_ones(
    tmp_path: Path, old_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_scan(2, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        simulate_orientations(tmp_path / "scan.h5", "tiny", TURNS)
    assert contents(tmp_path) == old_files


def test_images_stopped_half_way_leave_the_older_scan(
    tmp_path: Path, old_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = (2, 4, 6, 8)
    np.savez(
        images := tmp_path / "images.npz",
        echoes=np.ones(shape, np.complex64),
        TE=(0.004, 0.008),
        field_strength=3.0,
        voxel_size=(1.0, 1.0, 1.0),
    )
    before = contents(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(commands, "read_scan", lambda *a, **k: interrupted(read_scan(*a, **k)))
        with pytest.raises(KeyboardInterrupt):
            simulate_from_images(tmp_path / "scan.h5", [images])
    assert contents(tmp_path) == before
    simulate_from_images(tmp_path / "scan.h5", [images])
    after = contents(tmp_path)
    assert {name for name in after if after[name] != before.get(name)} == {"scan.h5"}
    assert "scan.h5" in old_files


def test_a_whole_scan_replaces_the_older_one_and_leaves_nothing_else(
    tmp_path: Path, old_files: dict[str, bytes]
) -> None:
    out = tmp_path / "scan.h5"
    link = tmp_path / "link.h5"
    link.symlink_to("scan.h5")
    simulate(out, "tiny", seed=3)
    assert len(list(read_messages(out))) > 3
    assert read_truth(truth_path(out)).numbers["seed"] == 3
    assert contents(tmp_path).keys() == old_files.keys() | {"link.h5"}
    out.write_text("an older scan.h5")
    with whole_files(link) as (part,):
        part.write_text("new")
    assert link.is_symlink()
    assert out.read_text() == "new"


def test_settings_that_are_refused_leave_the_older_scan(
    tmp_path: Path, old_files: dict[str, bytes]
) -> None:
    with pytest.raises(SettingsError, match="no setting foo"):
        simulate_orientations(tmp_path / "scan.h5", "tiny", TURNS, overrides={"foo": "5"})
    assert contents(tmp_path) == old_files


def test_ctrl_c_ends_the_command_with_130_and_a_sentence(
    tmp_path: Path,
    old_files: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    interrupt_scan(1, monkeypatch)
    code = run_main("simulate", tmp_path / "scan.h5", "--preset", "tiny", patch=monkeypatch)
    assert code == 130
    assert capsys.readouterr() == ("", "chistream: stopped; nothing was written\n")
    assert contents(tmp_path) == old_files


@pytest.mark.slow
def test_ctrl_c_of_a_real_process_leaves_the_older_scan(
    tmp_path: Path, old_files: dict[str, bytes]
) -> None:
    code = "from chistream.cli import main; main()"
    command = [sys.executable, "-c", code, "simulate", str(tmp_path / "scan.h5")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while contents(tmp_path) == old_files:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "chistream: stopped; nothing was written\n")
    assert process.returncode == 130
    assert contents(tmp_path) == old_files


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("nowhere/scan.h5", "the folder {}/nowhere does not exist: make it, or name another file"),
        ("file/scan.h5", "{}/file is a file, no folder: name another file"),
        ("folder", "{}/folder is a folder: name a file, such as {}/folder/scan.h5"),
        ("a.h5", "{}/a.truth.h5 is a folder: name a file, such as {}/a.truth.h5/scan.h5"),
    ],
)
def test_a_place_where_no_file_can_be_is_told(
    out: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").write_text("")
    for name in ("folder", "a.truth.h5"):
        (tmp_path / name).mkdir()
    before = sorted(tmp_path.rglob("*"))
    code = run_main("simulate", tmp_path / out, "--preset", "tiny", patch=monkeypatch)
    assert code == 1
    assert capsys.readouterr().err == f"chistream: {words.replace('{}', str(tmp_path))}\n"
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("out", [".", "/", ".."])
def test_folders_without_a_name_are_folders(out: str) -> None:
    for write in (
        lambda: simulate(Path(out), "tiny"),
        lambda: simulate_orientations(Path(out), "tiny", TURNS),
        lambda: simulate_from_images(Path(out), []),
    ):
        with pytest.raises(IsADirectoryError, match="is a folder: name a file"):
            write()


def test_a_folder_that_may_not_be_written_to_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As the system refuses it: root, whom tests may run as, is refused nowhere.
    def refuse(_: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "touch", refuse)
    words = rf"^no file can be written in the folder {tmp_path} \(Permission denied\): allow it, or"
    with pytest.raises(PermissionError, match=words):
        simulate(tmp_path / "scan.h5", "tiny")


def test_a_file_protected_from_writing_is_not_replaced(
    tmp_path: Path, old_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, _: path.name != "scan.truth.h5")
    with pytest.raises(PermissionError, match=r"scan\.truth\.h5 is protected from writing"):
        simulate(tmp_path / "scan.h5", "tiny")
    assert contents(tmp_path) == old_files
