"""A service in a process of its own, real sockets, and peers that behave or do not."""

import contextlib
import fcntl
import os
import signal
import socket
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.service.peers import (
    PATIENCE,
    Peer,
    index,
    kinds,
    readouts,
    wait_until,
    wire,
    words,
)
from tests.service.running import (
    Service,
    children_of,
    cpu_seconds,
    is_running,
    position_of,
    workers_with_clients,
)

from chistream.service.control import Position
from chistream.stream.messages import (
    Close,
    Image,
    Text,
)

IMAGE_BYTES = 2 + 198 + 8 + len("<ismrmrdMeta></ismrmrdMeta>") + 2 * 1024**2
"""Size of the images of the chain ``eager`` on the wire."""


def is_stalled(peer: "Peer") -> bool:
    """Tell whether the peer's receive buffer is full, so that its server waits inside a message."""
    counts = []
    for _ in range(3):
        counts.append(
            int.from_bytes(fcntl.ioctl(peer.socket, termios.FIONREAD, bytes(4)), "little")
        )
        time.sleep(0.03)
    return counts[0] > 100_000 and len(set(counts)) == 1


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests that leave it as they found it."""
    service = Service(tmp_path_factory.mktemp("service"), spare_workers=2, shutdown_seconds=0.1)
    yield service
    status = service.end()
    assert status == 0


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Start services of one's own."""
    started: list[Service] = []

    def start_one(**options: object) -> Service:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(Service(folder, **options))
        return started[-1]

    yield start_one
    for service in started:
        if service.process.poll() is None:
            service.process.kill()
            service.process.wait(PATIENCE)


# -- sessions ---------------------------------------------------------------------------------


def test_a_scan_is_answered_with_its_images_and_close(service: Service) -> None:
    heard = Peer(service).scan("count", readouts(3), readouts(4, n_samples=6))
    assert kinds(heard) == [Image, Close]
    assert index(heard[0]) == 7


def test_the_traceback_stays_in_the_log_under_the_session_that_the_client_was_told(
    service: Service,
) -> None:
    told = words(Peer(service).scan("boom")[1])
    session = told.rpartition(" ")[2].rstrip(".")
    assert "secret" not in told
    lines = service.log.splitlines()
    assert any(f"[{session}]" in line and "the session failed" in line for line in lines)
    assert "RuntimeError: the secret of line 1" in service.log


def test_two_clients_are_served_at_once(service: Service) -> None:
    one, other = Peer(service), Peer(service)
    one.begin("pid")
    other.begin("pid")
    assert one.hear_pid() != other.hear_pid()
    for peer, n in ((other, 5), (one, 6)):
        peer.say(readouts(n), Close())
        heard = peer.hear_all()
        assert kinds(heard) == [Image, Close]
        assert index(heard[0]) == n


def test_a_client_is_served_while_another_computes(service: Service) -> None:
    computing = Peer(service)
    computing.begin("stuck")
    computing.say(readouts(1), Close())
    assert isinstance(computing.hear(), Image)
    assert kinds(Peer(service).scan("count")) == [Image, Close]


def test_a_worker_that_is_slow_to_end_is_given_the_time(start: Callable[..., Service]) -> None:
    service = start(spare_workers=2)
    one, other = Peer(service), Peer(service)
    one.begin("slow")
    other.begin("pid")
    other.hear_pid()
    one.say(Close())
    assert kinds(one.hear_all()) == [Image, Close]
    assert kinds(Peer(service).scan("count")) == [Image, Close]
    wait_until(lambda: service.log.count("ended with status") == 2)
    assert service.log.count("ended with status 0") == 2


# -- clients that misbehave -------------------------------------------------------------------


def test_a_client_that_vanishes_inside_a_readout_ends_its_session_alone(service: Service) -> None:
    vanishing, staying = Peer(service), Peer(service)
    vanishing.begin("pid")
    staying.begin("pid")
    pid, other_pid = vanishing.hear_pid(), staying.hear_pid()
    vanishing.socket.sendall(wire(readouts(2))[:-20])
    vanishing.socket.close()
    wait_until(lambda: not is_running(pid))
    assert is_running(other_pid)
    staying.say(readouts(2), Close())
    assert kinds(staying.hear_all()) == [Image, Close]


def test_a_client_that_resets_the_connection_ends_its_session(service: Service) -> None:
    peer = Peer(service)
    peer.begin("pid")
    pid = peer.hear_pid()
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.socket.close()
    wait_until(lambda: not is_running(pid))


# -- workers that die -------------------------------------------------------------------------


def test_the_client_of_a_killed_worker_is_told_and_others_are_not_touched(
    service: Service,
) -> None:
    struck, other = Peer(service), Peer(service)
    struck.begin("pid")
    other.begin("pid")
    struck.say(readouts(2))
    pid = struck.hear_pid()
    wait_until(lambda: position_of(pid) is Position.BETWEEN)  # it has noted that all was sent
    os.kill(pid, signal.SIGKILL)
    heard = struck.hear_all()
    assert kinds(heard) == [Text, Close]
    assert words(heard[0]).startswith("ERROR    The reconstruction stopped")
    other.hear_pid()
    other.say(readouts(4), Close())
    assert kinds(other.hear_all()) == [Image, Close]


def test_nothing_is_written_behind_half_an_image(service: Service) -> None:
    before = workers_with_clients(service)
    peer = Peer(service)
    peer.begin("eager")
    wait_until(lambda: is_stalled(peer))
    (pid,) = workers_with_clients(service) - before
    os.kill(pid, signal.SIGKILL)
    rest = b"".join(iter(lambda: peer.socket.recv(2**20), b""))
    assert rest
    assert len(rest) % IMAGE_BYTES != 0, "the worker was not inside an image"
    assert b"ERROR" not in rest


def test_a_supervisor_at_rest_uses_no_processor(service: Service) -> None:
    pid = service.process.pid
    Peer(service).scan("count")
    wait_until(lambda: len(children_of(pid)) >= 2)
    before, start = cpu_seconds(pid), time.monotonic()
    wait_until(lambda: time.monotonic() - start > 0.5)
    assert cpu_seconds(pid) - before < 0.1


def test_a_service_whose_workers_cannot_start_says_so(
    start: Callable[..., Service],
) -> None:
    service = start(chain_module="no_such_module")
    heard = Peer(service).hear_all()
    assert kinds(heard) == [Text, Close]
    assert "cannot start its workers" in words(heard[0])
    assert "before it was ready" in service.log
    assert service.end() == 0


def test_an_idle_worker_that_dies_is_replaced(start: Callable[..., Service]) -> None:
    service = start()
    wait_until(lambda: len(children_of(service.process.pid)) == 1)
    Peer(service).scan("count")  # by then a worker is ready, and another starting
    wait_until(lambda: len(children_of(service.process.pid)) == 1)
    (pid,) = children_of(service.process.pid)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: f"worker {pid} ended" in service.log)
    assert kinds(Peer(service).scan("count")) == [Image, Close]
    assert service.end() == 0


def test_no_more_clients_are_accepted_than_there_are_descriptors_for(
    start: Callable[..., Service],
) -> None:
    service = start(max_files=56, spare_workers=2)  # enough for two clients
    first, second, third = Peer(service), Peer(service), Peer(service)
    for peer in (first, second, third):
        peer.begin("pid")
    first.hear_pid()
    second.hear_pid()
    assert service.log.count(" client 127") == 2
    first.say(Close())
    assert kinds(first.hear_all()) == [Image, Close]
    third.hear_pid()


# -- limits -----------------------------------------------------------------------------------


def test_a_client_beyond_the_limit_waits_until_another_has_left(
    start: Callable[..., Service],
) -> None:
    service = start(max_sessions=1, spare_workers=2)
    first, second = Peer(service), Peer(service)
    first.begin("pid")
    first.hear_pid()
    second.begin("pid")
    second.socket.settimeout(0.1)
    with pytest.raises(TimeoutError):
        second.hear()
    assert service.log.count(" client 127") == 1
    first.say(Close())
    assert kinds(first.hear_all()) == [Image, Close]
    second.socket.settimeout(PATIENCE)
    second.hear_pid()


def test_a_silent_client_and_one_that_never_reads_are_let_go(start: Callable[..., Service]) -> None:
    service = start(limits={"idle_seconds": 0.3, "delivery_seconds": 0.3}, linger_seconds=0.1)
    silent = Peer(service)
    silent.begin("count")
    heard = silent.hear_all()
    assert kinds(heard) == [Text, Close]
    assert words(heard[0]) == "ERROR    no data came for 0.3 s"
    unread = Peer(service)
    unread.begin("eager")
    wait_until(lambda: "takes no more" in service.log)
    wait_until(lambda: not workers_with_clients(service))


# -- start and end ----------------------------------------------------------------------------


@pytest.mark.slow
def test_it_listens_within_a_second_of_its_start(start: Callable[..., Service]) -> None:
    # The best of three: the machine that runs this test has other work, too.
    waits = []
    for _ in range(3):
        service = start(spare_workers=0)
        waits.append(time.monotonic() - service.started)
        assert service.end() == 0
    assert min(waits) < 1.0


def test_it_announces_where_it_listens(service: Service) -> None:
    assert f"listening on 127.0.0.1:{service.address[1]}" in service.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_idle_service_cleanly(
    start: Callable[..., Service], number: signal.Signals
) -> None:
    service = start()
    wait_until(lambda: bool(children_of(service.process.pid)))
    workers = children_of(service.process.pid)
    assert service.end(number) == 0
    assert not any(map(is_running, workers))
    with socket.create_server(service.address):
        pass  # the port is free


def test_at_the_end_running_scans_are_finished_and_endless_ones_cut_with_a_reason(
    start: Callable[..., Service],
) -> None:
    service = start(shutdown_seconds=1.0, spare_workers=2)
    stuck, finishing = Peer(service), Peer(service)
    stuck.begin("stuck")
    stuck.say(readouts(1), Close())
    assert isinstance(stuck.hear(), Image)
    finishing.begin("pid")
    finishing.hear_pid()
    service.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "shutting down" in service.log)
    with pytest.raises(ConnectionRefusedError):
        Peer(service)
    finishing.say(readouts(2), Close())
    assert kinds(finishing.hear_all()) == [Image, Close]
    heard = stuck.hear_all()
    assert kinds(heard) == [Text, Close]
    assert "shutting down" in words(heard[0])
    assert service.process.wait(PATIENCE) == 0


def test_a_second_signal_cuts_at_once(start: Callable[..., Service]) -> None:
    service = start(shutdown_seconds=3600.0)
    stuck = Peer(service)
    stuck.begin("stuck")
    stuck.say(readouts(1), Close())
    assert isinstance(stuck.hear(), Image)
    service.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "shutting down" in service.log)
    service.process.send_signal(signal.SIGTERM)
    assert kinds(stuck.hear_all()) == [Text, Close]
    assert service.process.wait(PATIENCE) == 0


def test_a_worker_that_does_not_obey_is_killed_at_the_end(start: Callable[..., Service]) -> None:
    service = start(shutdown_seconds=0.0)
    peer = Peer(service)
    peer.begin("pid")
    pid = peer.hear_pid()
    os.kill(pid, signal.SIGSTOP)
    service.process.send_signal(signal.SIGTERM)
    heard = peer.hear_all()
    assert kinds(heard) == [Text, Close]
    assert service.process.wait(PATIENCE) == 0
    assert not is_running(pid)


def test_workers_do_not_outlive_their_supervisor(start: Callable[..., Service]) -> None:
    service = start(spare_workers=1)
    computing = Peer(service)
    computing.begin("stuck")
    computing.say(readouts(1), Close())
    assert isinstance(computing.hear(), Image)
    wait_until(lambda: len(children_of(service.process.pid)) == 2)
    workers = children_of(service.process.pid)
    service.process.kill()
    service.process.wait(PATIENCE)
    wait_until(lambda: not any(map(is_running, workers)))
    with contextlib.suppress(ConnectionResetError):
        assert computing.hear_all() == []
