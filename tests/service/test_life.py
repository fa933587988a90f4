"""The life of a session in a real service: limits, deaths, what is kept, and what comes again."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.service.peers import (
    HEADER,
    PATIENCE,
    Peer,
    index,
    kinds,
    readouts,
    wait_until,
    wire,
    words,
)
from tests.service.running import Kept, children_of, is_running, position_of

from chistream.service.control import Position
from chistream.service.journal import Journal, SessionRecord, SessionState
from chistream.service.spool import SpoolWriter, open_spooled
from chistream.stream.codec import MessageReader
from chistream.stream.messages import Close, ConfigFile, Image, Message, Text


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Kept]]:
    """Start services that share one folder."""
    started: list[Kept] = []

    def start_one(keep: dict[str, float] | None = None, **options: object) -> Kept:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(Kept(folder, tmp_path / "spool", keep or {}, options))
        return started[-1]

    yield start_one
    while Peer.opened:
        Peer.opened.pop().socket.close()
    for service in started:
        service.end_soon()


def scan_bytes(chain: str, n: int = 3) -> bytes:
    return wire(ConfigFile(chain), HEADER, Text(""), readouts(n), Close())


def answers(path: str) -> list[Message]:
    reader = MessageReader()
    reader.feed(Path(path).read_bytes())
    reader.feed_eof()
    return list(reader)


# -- what is kept -----------------------------------------------------------------------------


def test_what_came_is_kept_byte_for_byte_and_the_journal_says_what_it_was(
    start: Callable[..., Kept],
) -> None:
    service = start()
    sent = scan_bytes("count", 7)
    peer = Peer(service)
    for at in range(0, len(sent), 999):
        peer.socket.sendall(sent[at : at + 999])
    assert kinds(peer.hear_all()) == [Image, Close]
    record = service.record(SessionState.DELIVERED)
    assert b"".join(open_spooled(Path(record.raw)).pieces()) == sent
    assert (record.client, record.chain) == ("127.0.0.1", "count")
    assert (record.n_readouts, record.n_images, record.n_bytes) == (7, 1, len(sent))
    assert record.header["encoded"] == [2, 4, 8]
    assert record.header["echo_times_ms"] == [4.1, 8.2]
    assert record.id in service.log
    assert (record.ended or 0) >= record.started > time.time() - 60


def test_a_client_that_only_looks_leaves_no_trace(start: Callable[..., Kept]) -> None:
    service = start()
    peer = Peer(service)
    peer.say(ConfigFile("count"), Close())
    assert kinds(peer.hear_all()) == [Close]
    wait_until(lambda: "ended with status 0" in service.log)
    wait_until(lambda: service.records() == [])
    assert list((service.spool / "raw").iterdir()) == []


def test_nothing_is_kept_longer_than_it_is_asked_to_be(start: Callable[..., Kept]) -> None:
    service = start(keep={"keep_days": 0.0})
    assert kinds(Peer(service).scan("count")) == [Image, Close]
    wait_until(lambda: service.record(SessionState.DELIVERED).raw == "")
    assert list((service.spool / "raw").iterdir()) == []


def test_a_failed_scan_says_why_and_is_kept(start: Callable[..., Kept]) -> None:
    service = start(keep={"keep_days": 0.0})
    Peer(service).scan("refuse")
    record = service.record(SessionState.FAILED)
    assert "half of k-space is missing" in record.reason
    assert Path(record.raw).exists()


def test_the_result_s_numbers_are_in_the_journal(start: Callable[..., Kept]) -> None:
    service = start()
    Peer(service).scan("numbers")
    assert service.record(SessionState.DELIVERED).result == {"delta_chi_ppb": 120}


def test_a_disk_that_is_full_is_told_and_the_scan_reconstructed(
    start: Callable[..., Kept],
) -> None:
    service = start(max_file_bytes=300_000)
    heard = Peer(service).scan("remarks", readouts(400, 16))
    assert kinds(heard) == [Text, Text, Image, Close]
    assert "are not kept on disk (File too large)" in words(heard[0])
    assert words(heard[1]) == words(heard[0]).removeprefix("WARNING  ")
    assert index(heard[2]) == 400
    record = service.record()
    assert record.raw == ""
    assert list((service.spool / "raw").iterdir()) == []


def test_a_folder_that_is_gone_is_told_and_the_scan_reconstructed(
    start: Callable[..., Kept],
) -> None:
    service = start()
    wait_until(lambda: bool(children_of(service.process.pid)))
    (service.spool / "raw").rmdir()
    heard = Peer(service).scan("count")
    assert kinds(heard) == [Text, Image, Close]
    assert "not kept on disk (No such file" in words(heard[0])


# -- deaths -----------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["mid-scan", "computing"])
def test_a_killed_worker_leaves_a_true_state_and_a_scan_that_can_be_repeated(
    start: Callable[..., Kept], moment: str
) -> None:
    service = start(spare_workers=1)
    peer = Peer(service)
    peer.begin("pid" if moment == "mid-scan" else "stuck-pid")
    peer.say(readouts(3))
    if moment == "computing":
        peer.say(Close())
    pid = peer.hear_pid()
    raw = service.spool / "raw"
    wait_until(lambda: next(raw.glob("*.mrd")).stat().st_size > 3 * 342)
    if moment == "computing":
        assert isinstance(peer.hear(), Image)
    wait_until(lambda: position_of(pid) is Position.BETWEEN)  # it has noted that all was sent
    os.kill(pid, signal.SIGKILL)
    assert "process ended unexpectedly" in words(peer.hear())
    if moment == "mid-scan":
        peer.say(Close())
    assert kinds(peer.hear_all()) == [Close]
    record = service.record(SessionState.DIED)
    assert "signal 9" in record.reason
    assert record.is_unfinished
    assert open_spooled(Path(record.raw)).n_good == record.n_bytes > 3 * 342


def test_after_the_death_of_the_service_the_next_one_knows_and_runs_the_scan_again(
    start: Callable[..., Kept],
) -> None:
    service = start()
    peer = Peer(service)
    sent = scan_bytes("stuck-once", 5)
    peer.socket.sendall(sent)
    wait_until(lambda: any(service.records()))
    (record,) = service.records()
    wait_until(lambda: Path(record.raw).exists() and Path(record.raw).stat().st_size == len(sent))
    service.process.kill()
    service.process.wait(PATIENCE)
    idle = start(spare_workers=0)
    assert idle.record(SessionState.INTERRUPTED).id == record.id
    assert f"1 scans are unfinished: {record.id}" in idle.log
    assert idle.end() == 0
    again = start(resume=True, patient=True)
    wait_until(lambda: again.records()[0].state is SessionState.RECOVERED)
    (recovered,) = again.records()
    assert recovered.attempts == 2
    (output,) = recovered.outputs
    heard = answers(output)
    assert kinds(heard) == [Image, Close]
    assert index(heard[0]) == 5
    assert Path(output).stat().st_mode & 0o777 == 0o600


def test_clients_come_before_scans_that_are_run_again(start: Callable[..., Kept]) -> None:
    service = start()
    journal = Journal(service.spool)
    assert service.end() == 0
    for name in ("one", "two"):
        raw = service.spool / "raw" / f"{name}.mrd"
        raw.write_bytes(b"no stream")
        raw.with_suffix(".crc").touch()
        journal.write(SessionRecord(name, "", SessionState.DIED, raw=str(raw)))
    again = start(resume=True, patient=True)
    assert kinds(Peer(again).scan("count")) == [Image, Close]
    wait_until(lambda: [r.state for r in again.records()][:2] == [SessionState.FAILED] * 2)
    assert again.records()[0].reason == "the raw data kept hold no scan"
    assert list((again.spool / "results").iterdir()) == []


def test_a_scan_that_fails_when_it_is_run_again_has_failed(start: Callable[..., Kept]) -> None:
    service = start()
    assert service.end() == 0
    raw = service.spool / "raw" / "torn.mrd"
    writer = SpoolWriter(raw, "never")
    writer.append(memoryview(scan_bytes("refuse")))
    writer.close()
    with raw.open("ab") as stream:
        stream.write(b"torn")
    again = start(resume=True)
    wait_until(lambda: again.records()[0].state is SessionState.FAILED)
    assert "half of k-space is missing" in again.records()[0].reason
    assert "the last 4 bytes are torn" in again.log
    assert list((again.spool / "results").iterdir()) == []


def test_a_scan_cut_at_the_end_of_the_service_is_run_again_by_the_next(
    start: Callable[..., Kept],
) -> None:
    service = start(shutdown_seconds=0.0)
    peer = Peer(service)
    peer.socket.sendall(scan_bytes("stuck-once", 4))
    wait_until(lambda: any(r.chain for r in service.records()))
    service.process.send_signal(signal.SIGTERM)
    assert "shutting down" in words(peer.hear_all()[-2])
    assert service.process.wait(PATIENCE) == 0
    assert service.record(SessionState.CUT).is_unfinished
    again = start(resume=True, patient=True)
    wait_until(lambda: again.records()[0].state is SessionState.RECOVERED)


def test_a_client_that_leaves_while_its_scan_is_computed_leaves_it_unfinished(
    start: Callable[..., Kept],
) -> None:
    service = start()
    peer = Peer(service)
    peer.begin("endless")
    peer.hear()
    peer.socket.close()
    assert service.record(SessionState.UNDELIVERED).is_unfinished


# -- limits -----------------------------------------------------------------------------------


def test_a_stopped_worker_is_ended_and_its_client_told(start: Callable[..., Kept]) -> None:
    service = start(limits={"hang_seconds": 1.0}, spare_workers=2)
    stopped, other = Peer(service), Peer(service)
    stopped.begin("pid")
    other.begin("pid")
    pid = stopped.hear_pid()
    os.kill(pid, signal.SIGSTOP)
    assert "no sign of life for 1 s" in words(stopped.hear())
    assert not is_running(pid)
    stopped.say(Close())
    assert kinds(stopped.hear_all()) == [Close]
    other.hear_pid()
    other.say(readouts(2), Close())
    assert kinds(other.hear_all()) == [Image, Close]
    assert {record.state for record in service.records()} >= {SessionState.CUT}


@pytest.mark.parametrize("chain", ["stuck", "numb"])
def test_a_stage_without_progress_is_ended(start: Callable[..., Kept], chain: str) -> None:
    service = start(limits={"stage_seconds": 0.5, "hang_seconds": 60.0})
    heard = Peer(service).scan(chain)
    assert kinds(heard) == [Image, Text, Close]
    assert "stage field made no progress for 0.5 s" in words(heard[1])
    assert "made no progress" in service.record(SessionState.CUT).reason


def test_a_client_that_takes_its_time_is_no_stage_without_progress(
    start: Callable[..., Kept],
) -> None:
    service = start(limits={"stage_seconds": 0.3})
    peer = Peer(service)
    peer.begin("count")
    time.sleep(1.0)
    peer.say(readouts(2))
    time.sleep(0.7)
    peer.say(Close())
    assert kinds(peer.hear_all()) == [Image, Close]


def test_a_session_has_its_time(start: Callable[..., Kept]) -> None:
    service = start(limits={"session_seconds": 0.8})
    peer = Peer(service)
    peer.begin("count")
    assert "longer than 0.8 s" in words(peer.hear())
    rest = wire(readouts(20), Close())
    peer.socket.sendall(rest)
    assert kinds(peer.hear_all()) == [Close]
    record = service.record(SessionState.CUT)
    wait_until(lambda: b"".join(open_spooled(Path(record.raw)).pieces()).endswith(rest))


def test_a_greedy_scan_is_told_and_ends_alone(start: Callable[..., Kept]) -> None:
    service = start(limits={"memory_bytes": 200_000_000}, spare_workers=2)
    other = Peer(service)
    other.begin("pid")
    other.hear_pid()
    heard = Peer(service).scan("greedy")
    assert kinds(heard) == [Image, Text, Close]
    assert "needs more memory" in words(heard[1])
    other.say(Close())
    assert kinds(other.hear_all()) == [Image, Close]


def test_beyond_the_memory_for_all_the_largest_is_ended(start: Callable[..., Kept]) -> None:
    service = start(memory_bytes=700_000_000, spare_workers=2)
    other = Peer(service)
    other.begin("pid")
    other.hear_pid()
    heard = Peer(service).scan("greedy")
    assert "the largest was ended" in words(heard[-2])
    other.say(Close())
    assert kinds(other.hear_all()) == [Image, Close]


@pytest.mark.parametrize(
    ("limits", "said", "told"),
    [
        ({"connect_seconds": 0.3}, b"", "no configuration came within 0.3 s"),
        ({"header_seconds": 0.3}, wire(ConfigFile("count")), "no header came within 0.3 s"),
        ({"idle_seconds": 0.3}, wire(ConfigFile("count"), HEADER), "no data came for 0.3 s"),
        ({"readouts": 10}, scan_bytes("count", 11), "more than 10 readouts in one scan"),
        ({"matrix": 7}, scan_bytes("count"), "at most 7 along an axis"),
        ({"kspace_bytes": 1000}, scan_bytes("count"), "k-space would take 0.0 GB"),
        ({"sizes": {"channels": 1}}, scan_bytes("count"), "2 channels in a readout announced"),
        ({"sizes": {"text_bytes": 400}}, scan_bytes("count"), "bytes of text announced"),
    ],
)
def test_a_limit_that_is_reached_is_told(
    start: Callable[..., Kept], limits: dict[str, Any], said: bytes, told: str
) -> None:
    service = start(limits=limits)
    peer = Peer(service)
    peer.socket.sendall(said)
    heard = peer.hear_all()
    assert kinds(heard) == [Text, Close]
    assert told in words(heard[0])


def test_a_header_that_drips_does_not_buy_time(start: Callable[..., Kept]) -> None:
    service = start(limits={"header_seconds": 0.6})
    peer = Peer(service)
    content = wire(ConfigFile("count"), HEADER)
    peer.socket.sendall(content[:1100])
    began = time.monotonic()
    peer.socket.settimeout(0.05)
    heard = b""
    for byte in content[1100:]:
        peer.socket.sendall(bytes([byte]))
        try:
            heard = peer.socket.recv(4096)
            break
        except TimeoutError:
            continue
    assert b"no header came within 0.6 s" in heard
    assert time.monotonic() - began < 10


def test_a_client_too_many_is_refused_with_a_text(start: Callable[..., Kept]) -> None:
    service = start(max_sessions=1, when_full="refuse")
    first = Peer(service)
    first.begin("pid")
    first.hear_pid()
    heard = Peer(service).hear_all()
    assert kinds(heard) == [Text, Close]
    assert "busy with 1 scans" in words(heard[0])
    first.say(Close())
    assert kinds(first.hear_all()) == [Image, Close]
    wait_until(lambda: service.record().state is SessionState.DELIVERED)


# -- start ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_session_starts_at_once_where_a_worker_is_ready(start: Callable[..., Kept]) -> None:
    service = start(spare_workers=1)
    waits = []
    for _ in range(3):
        wait_until(lambda: len(children_of(service.process.pid)) == 1)
        time.sleep(1.5)  # until that worker is ready
        began = time.monotonic()
        peer = Peer(service)
        peer.begin("pid")
        peer.hear_pid()
        waits.append(time.monotonic() - began)
        peer.say(Close())
        peer.hear_all()
    assert min(waits) < 0.1
