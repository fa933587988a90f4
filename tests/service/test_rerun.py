"""A scan run again gives what its client got, or would have got, byte for byte."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.service import fake_chains
from tests.service.peers import HEADER, Peer, kinds, readouts, wait_until, wire
from tests.service.running import Kept, workers_with_clients
from typer.testing import CliRunner

from chistream import cli
from chistream.errors import FileFormatError
from chistream.series.attributes import read_attributes
from chistream.service.journal import Journal, SessionRecord, SessionState
from chistream.service.keeping import make_folders
from chistream.service.rerun import read_opening, rerun
from chistream.service.spool import SpooledStream, SpoolWriter, open_spooled
from chistream.stream.files import read_messages
from chistream.stream.messages import Close, ConfigFile, ConfigText, Image, Message, Text


def spooled(path: Path, *messages: Message) -> SpooledStream:
    writer = SpoolWriter(path, "never")
    writer.append(memoryview(wire(*messages)))
    writer.close()
    return open_spooled(path)


def command(*arguments: object, ok: bool = True) -> str:
    result = CliRunner().invoke(cli.app, ["sessions", *map(str, arguments)])
    assert (result.exit_code == 0) == ok, result.output
    return result.stdout


def in_order(images: list[Image]) -> list[Image]:
    """Sort images by series; a file has them so."""
    names = ("image_series_index", "contrast", "slice", "image_index")
    return sorted(images, key=lambda image: [int(image.head[name]) for name in names])


def without_timing(message: Image) -> tuple[object, ...]:
    """Take the durations out of an image: nothing else may differ."""
    attributes = read_attributes(message.attributes)
    for text in attributes.pop("ChiStreamResults", []):
        results = json.loads(text)
        assert results.pop("timing")
        attributes["ChiStreamResults"] = [json.dumps(results)]
    head = message.head.copy()
    head["attribute_string_len"] = 0
    return head.tobytes(), attributes, message.pixels.tobytes()


@pytest.mark.slow
def test_a_real_scan_whose_worker_was_killed_gives_what_another_gave(
    tiny_raw: Path, tmp_path: Path
) -> None:
    service = Kept(
        tmp_path, tmp_path / "spool", {}, {"chain_module": "chistream.chain", "spare_workers": 2}
    )
    sent = wire(ConfigFile("qsm"), *read_messages(tiny_raw), Close())
    good, killed = Peer(service), Peer(service)
    for peer in (good, killed):
        peer.socket.settimeout(120)
    for at in range(0, len(sent), 77_777):  # other pieces than come out of the file
        good.socket.sendall(sent[at : at + 77_777])
    live = good.hear_all()
    killed.socket.sendall(sent)
    assert isinstance(killed.hear(), Image)
    (raw,) = (r.raw for r in service.records() if r.state is SessionState.RUNNING)
    wait_until(lambda: Path(raw).stat().st_size == len(sent))
    (pid,) = workers_with_clients(service)
    os.kill(pid, signal.SIGKILL)
    killed.hear_all()
    session = Path(raw).stem
    assert service.end() == 0
    folder = tmp_path / "again"
    asked = ["--rerun", session, "-o", folder, "--spool", tmp_path / "spool", "--json"]
    ran = [sys.executable, "-m", "chistream", "sessions", *asked, "--format", "mrd,nifti"]
    said = json.loads(subprocess.run([str(word) for word in ran], check=True, stdout=-1).stdout)
    assert said["state"] == "delivered"
    assert said["results"]["chain"] == "qsm"
    assert any("QSM" in name and name.endswith(".nii.gz") for name in said["files"])
    again = [m for m in read_messages(folder / "images.h5") if isinstance(m, Image)]
    first = [m for m in live if isinstance(m, Image)]
    assert len(first) == len(again) > 10
    for one, other in zip(in_order(first), in_order(again), strict=True):
        assert without_timing(one) == without_timing(other)


def test_a_torn_scan_is_run_as_far_as_it_goes(tmp_path: Path) -> None:
    content = wire(ConfigFile("count"), HEADER, Text(""), readouts(9), Close())
    writer = SpoolWriter(tmp_path / "abc.mrd", "never")
    for at in range(0, len(content), 500):
        writer.append(memoryview(content[at : at + 500]))
    writer.close()
    with (tmp_path / "abc.mrd").open("r+b") as file:
        file.truncate(len(content) - 700)
    stream = open_spooled(tmp_path / "abc.mrd")
    assert stream.n_lost > 0
    again = rerun(stream, fake_chains, "abc")
    assert kinds(list(again.messages)) == [Text, Image, Close]
    assert "The scan is incomplete" in again.texts[0]
    assert 0 < again.images[0].head["image_index"] < 9


def test_a_scan_that_fails_fails_again_with_its_reason(tmp_path: Path) -> None:
    stages: list[str] = []
    stream = spooled(tmp_path / "abc.mrd", ConfigFile("refuse"), HEADER, readouts(2), Close())
    again = rerun(stream, fake_chains, "abc", stages.append)
    assert again.state is SessionState.FAILED
    assert "half of k-space is missing" in again.reason
    assert len(again.images) == 1


def test_settings_are_read_as_they_were_sent(tmp_path: Path) -> None:
    settings = Text('{"parameters": {"strength": "0.25"}}')
    one = spooled(tmp_path / "a.mrd", ConfigFile("qsm"), HEADER, settings, readouts(1))
    assert read_opening(one)[1].strength == 0.25
    config = ConfigText('{"chain": "qsm", "parameters": {"strength": "0.5"}}')
    other = spooled(tmp_path / "b.mrd", config, HEADER, readouts(1))
    header, found = read_opening(other)
    assert found.strength == 0.5
    assert header.echo_times == pytest.approx((0.0041, 0.0082))
    with pytest.raises(FileFormatError, match="does not begin with"):
        read_opening(spooled(tmp_path / "c.mrd", HEADER))


# -- the command ------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    folder = tmp_path / "spool"
    make_folders(folder)
    stream = spooled(folder / "raw" / "dead.mrd", ConfigFile("null"), HEADER, readouts(2), Close())
    journal = Journal(folder)
    record = SessionRecord(
        "dead", "192.168.2.7", SessionState.DIED, 10.0, 12.5, "signal 9", raw=str(stream.path)
    )
    journal.write(record)
    journal.write(
        replace(record, id="done", state=SessionState.DELIVERED, raw="", chain="qsm", reason="")
    )
    journal.close()
    return folder


def test_sessions_are_listed_for_people_and_as_json(kept: Path) -> None:
    table = command("--spool", kept).splitlines()
    assert len(table) == 3
    assert "192.168.2.7" in table[1]
    assert "died" in table[1]
    assert "signal 9" in table[1]
    listed = json.loads(command("--spool", kept, "--json"))
    assert [one["id"] for one in listed] == ["dead", "done"]
    unfinished = json.loads(command("--spool", kept, "--json", "--unfinished"))
    assert [one["id"] for one in unfinished] == ["dead"]


def test_one_session_is_told_in_full(kept: Path) -> None:
    assert "qsm" in command("done", "--spool", kept)
    assert json.loads(command("done", "--spool", kept, "--json"))["state"] == "delivered"
    command("nobody", "--spool", kept, ok=False)


def test_a_scan_that_is_run_again_is_recovered(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command("--rerun", "dead", "--spool", kept)
    (state, _) = (one["state"] for one in json.loads(command("--spool", kept, "--json")))
    assert state == "recovered"
    command("--rerun", "nobody", "--spool", kept, ok=False)
    result = CliRunner().invoke(cli.app, ["sessions", "--rerun", "done", "--spool", str(kept)])
    assert "not kept" in str(result.exception)


def test_a_scan_that_fails_again_says_why_and_stays_unfinished(kept: Path, tmp_path: Path) -> None:
    journal = Journal(kept)
    stream = spooled(kept / "raw" / "empty.mrd", ConfigFile("qsm"), HEADER, Close())
    journal.write(SessionRecord("empty", "", SessionState.DIED, raw=str(stream.path)))
    asked = ["--rerun", "empty", "--spool", kept, "-o", tmp_path / "out", "--json"]
    said = json.loads(command(*asked, ok=False))
    assert said["state"] == "failed"
    assert "no imaging readout came" in said["reason"]
    record = journal.read("empty")
    assert record is not None
    assert record.state is SessionState.DIED
    journal.close()


def test_old_data_are_removed_on_request(kept: Path) -> None:
    journal = Journal(kept)
    record = journal.read("dead")
    assert record is not None
    journal.write(replace(record, state=SessionState.DELIVERED))
    journal.close()
    assert json.loads(command("--prune", "--spool", kept, "--json")) == {"pruned": ["dead"]}
    assert list((kept / "raw").iterdir()) == []


def test_a_folder_without_a_journal_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli.app, ["sessions", "--spool", str(tmp_path)])
    assert result.exit_code == 2
    assert "journal" in result.output
