"""What a client still sends when its worker has died is kept as well."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.service.peers import (
    HEADER,
    PATIENCE,
    Peer,
    kinds,
    readouts,
    wait_until,
    wire,
    words,
)
from tests.service.running import Kept, position_of

from chistream.errors import ProtocolError
from chistream.service.clients import Client
from chistream.service.control import Position, SpoolOrder
from chistream.service.journal import SessionState
from chistream.service.limits import SessionLimits
from chistream.service.salvage import Boundaries, Salvage, bytes_taken
from chistream.service.spool import SpoolWriter, open_spooled
from chistream.stream.messages import Close, ConfigFile, Text

SCAN = wire(ConfigFile("count"), HEADER, Text(""), readouts(5), Text("x" * 3000), Close())


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The server's end of a connection and the client's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), PATIENCE)
        server, _ = listener.accept()
    with client, server:
        yield server, client


@pytest.mark.parametrize("size", [1, 2, 7, 400, 2000, len(SCAN)])
def test_the_end_of_a_stream_is_found_however_it_is_cut(size: int) -> None:
    boundaries = Boundaries(SessionLimits())
    pieces = [SCAN[at : at + size] for at in range(0, len(SCAN), size)]
    found = [boundaries.ends_in(piece) for piece in pieces]
    assert found == [False] * (len(pieces) - 1) + [True]


def test_what_is_no_stream_has_no_end() -> None:
    with pytest.raises(ProtocolError):
        Boundaries(SessionLimits()).ends_in(b"\xff\xff\xff")


def test_the_kernel_knows_how_much_was_taken(pair: tuple[socket.socket, socket.socket]) -> None:
    server, client = pair
    assert bytes_taken(server) == 0
    client.sendall(b"x" * 1000)
    wait_until(lambda: len(server.recv(2000, socket.MSG_PEEK)) == 1000)
    assert bytes_taken(server) == 0
    server.recv(300)
    assert bytes_taken(server) == 300
    client.shutdown(socket.SHUT_WR)
    wait_until(lambda: server.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\x08")
    assert bytes_taken(server) == 300
    server.recv(700)
    assert bytes_taken(server) == 1000
    assert server.recv(1) == b""
    assert bytes_taken(server) == 1000
    one, other = socket.socketpair()
    with one, other:
        assert bytes_taken(other) is None


@pytest.mark.parametrize("n_taken", [1, 1500, len(SCAN) - 3])
@pytest.mark.parametrize("n_more", [0, 2])
def test_the_rest_is_kept_without_a_gap_or_a_byte_twice(
    tmp_path: Path, pair: tuple[socket.socket, socket.socket], n_taken: int, n_more: int
) -> None:
    server, connection = pair
    connection.sendall(SCAN)
    spool = SpoolWriter(tmp_path / "abc.mrd", "never")
    # Killed after it wrote what it saw, and before it took all of that off.
    spool.append(memoryview(SCAN[: n_taken + n_more]))
    spool.close()
    while n_taken:
        n_taken -= len(server.recv(n_taken))
    ended: list[int] = []
    salvage = Salvage(SessionLimits(), lambda: ended.append(1))
    client = Client(server, "abc")
    assert salvage.begin(client, SpoolOrder(str(tmp_path / "abc.mrd"), "never", 1.0))
    assert len(salvage) == 1
    wait_until(lambda: bool(ended))
    salvaged = salvage.take()
    assert salvaged is not None
    assert salvaged.n_bytes == len(SCAN)
    assert b"".join(open_spooled(tmp_path / "abc.mrd").pieces()) == SCAN
    assert salvage.take() is None
    assert not salvage


def test_a_stream_with_a_gap_or_without_a_file_is_not_gone_on_with(
    tmp_path: Path, pair: tuple[socket.socket, socket.socket]
) -> None:
    server, connection = pair
    salvage = Salvage(SessionLimits(), lambda: None)
    order = SpoolOrder(str(tmp_path / "abc.mrd"), "never", 1.0)
    assert not salvage.begin(Client(server, "abc"), order)
    spool = SpoolWriter(tmp_path / "abc.mrd", "never")
    spool.append(memoryview(b"12"))
    spool.close()
    assert not salvage.begin(Client(server, "abc"), order)  # nothing was taken
    connection.sendall(b"12345")
    server.recv(3)
    assert not salvage.begin(Client(server, "abc"), order)


@pytest.mark.parametrize("end", ["silent", "garbage", "hasten"])
def test_a_client_that_does_not_end_its_stream_does_not_stay_for_ever(
    tmp_path: Path, pair: tuple[socket.socket, socket.socket], end: str
) -> None:
    server, connection = pair
    connection.sendall(SCAN[:1500])
    received = 0
    while received < 1500:
        received += len(server.recv(1500))
    spool = SpoolWriter(tmp_path / "abc.mrd", "never")
    spool.append(memoryview(SCAN[:1500]))
    spool.close()
    idle_seconds = 0.1 if end == "silent" else PATIENCE
    salvage = Salvage(SessionLimits(idle_seconds=idle_seconds), lambda: None)
    order = SpoolOrder(str(tmp_path / "abc.mrd"), "never", 1.0)
    assert salvage.begin(Client(server, "abc"), order)
    if end == "garbage":
        connection.sendall(SCAN[1500:-2] + b"\xff\xff")
    if end == "hasten":
        salvage.hasten()
    wait_until(lambda: salvage.take() is not None)
    assert open_spooled(tmp_path / "abc.mrd").n_good >= 1500


def test_a_scan_whose_worker_is_killed_in_its_midst_is_kept_to_its_end(tmp_path: Path) -> None:
    service = Kept(tmp_path, tmp_path / "spool", {}, {"spare_workers": 1})
    sent = wire(ConfigFile("pid"), HEADER, Text(""), *[readouts(50) for _ in range(40)], Close())
    peer = Peer(service)
    peer.socket.sendall(sent[:20_000])
    pid = peer.hear_pid()
    wait_until(lambda: position_of(pid) is Position.BETWEEN)
    os.kill(pid, signal.SIGKILL)
    told = peer.hear()
    assert "process ended unexpectedly" in words(told)
    peer.socket.sendall(sent[20_000:])
    assert kinds(peer.hear_all()) == [Close]
    record = service.record(SessionState.DIED)
    wait_until(lambda: service.record().n_bytes == len(sent))
    assert b"".join(open_spooled(Path(record.raw)).pieces()) == sent
    assert service.end() == 0


def test_the_end_of_the_service_does_not_wait_for_such_a_scan(tmp_path: Path) -> None:
    service = Kept(tmp_path, tmp_path / "spool", {}, {"shutdown_seconds": 0.1})
    peer = Peer(service)
    peer.begin("pid")
    pid = peer.hear_pid()
    wait_until(lambda: position_of(pid) is Position.BETWEEN)
    os.kill(pid, signal.SIGKILL)
    assert isinstance(peer.hear(), Text)
    assert service.end() == 0
    assert kinds(peer.hear_all()) == [Close]
