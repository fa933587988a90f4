"""The service behind TLS: real processes, and peers that behave or do not."""

import contextlib
import logging
import os
import re
import selectors
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import ismrmrd
import numpy as np
import pytest
import typer
from tests.service.authority import Authority
from tests.service.peers import HEADER, PATIENCE, Peer, kinds, readouts, wait_until, wire, words
from tests.service.test_access import Running, running

from chistream import replay_options
from chistream.service.clients import Client
from chistream.service.entrance import Entrance
from chistream.service.logs import LogStyle
from chistream.service.metrics import Tally
from chistream.service.options import ServerOptions, TlsFiles, read_tls
from chistream.service.relay import Relay
from chistream.service.tls import (
    Identity,
    TlsFront,
    _setup_bytes,
    carry,
    client_context,
    main,
    server_context,
)
from chistream.stream.messages import Close, Image
from chistream_simulator.replay import replay


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def files(authority: Authority) -> TlsFiles:
    served = authority.issue("127.0.0.1")
    return TlsFiles(served.certificate, served.key, authority.certificate, handshake_seconds=2.0)


@pytest.fixture(scope="module")
def service(files: TlsFiles) -> Iterator[Running]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(str(Path(__file__).parent))
        options = ServerOptions(
            port=0, chain_module="fake_chains", tls=files, spare_workers=1, max_sessions=2
        )
        with running(options) as service:
            yield service


class TlsPeer(Peer):
    """A client that speaks TLS; a relay in a thread does it for it."""

    def __init__(self, service: Running, authority: Authority) -> None:
        super().__init__(service)
        identity = authority.issue("scanner", file=f"scanner-{time.monotonic_ns()}")
        context = client_context(authority.certificate, identity.certificate, identity.key)
        ours, theirs = socket.socketpair()
        ours.settimeout(PATIENCE)
        relay = Relay(self.socket, theirs, context, service.address[0])
        relay.shake_hands(PATIENCE)
        self.socket = ours
        self._thread = threading.Thread(target=relay.run, daemon=True)
        self._thread.start()


def test_a_scan_is_answered_as_it_is_without_tls(service: Running, authority: Authority) -> None:
    assert kinds(TlsPeer(service, authority).scan("count", readouts(3))) == [Image, Close]


def test_a_client_without_tls_gets_nothing_in_plain(service: Running) -> None:
    with socket.create_connection(service.address, PATIENCE) as plain:
        plain.sendall(wire(Close()))
        plain.sendall(b"x" * 2000)
        heard = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := plain.recv(1000):
                heard += piece
    # Nothing, or a TLS alert (content type 21).
    assert heard[:1] in (b"", b"\x15")
    assert len(heard) <= 7


def test_a_client_without_a_certificate_is_refused(service: Running, authority: Authority) -> None:
    context = client_context(authority.certificate)
    with (
        socket.create_connection(service.address, PATIENCE) as raw,
        context.wrap_socket(raw, server_hostname=service.address[0]) as client,
    ):
        client.sendall(wire(Close()))
        with pytest.raises(ssl.SSLError, match=r"(?i)certificate required"):
            client.recv(1)


def test_silent_clients_keep_nobody_waiting(service: Running, authority: Authority) -> None:
    silent = [socket.create_connection(service.address, PATIENCE) for _ in range(6)]
    try:
        start = time.monotonic()
        heard = TlsPeer(service, authority).scan("count", readouts(2))
        assert kinds(heard) == [Image, Close]
        assert time.monotonic() - start < PATIENCE
        # And they are let go, though more of them came than may have sessions.
        for client in silent:
            assert client.recv(1) == b""
    finally:
        for client in silent:
            client.close()


def test_the_client_of_a_killed_worker_is_told_so_through_tls(
    service: Running, authority: Authority
) -> None:
    peer = TlsPeer(service, authority)
    peer.begin("pid")
    os.kill(peer.hear_pid(), signal.SIGKILL)
    text, close = peer.hear_all()
    assert "ended unexpectedly" in words(text)
    assert close == Close()


def test_the_tls_process_is_started_again(service: Running, authority: Authority) -> None:
    entrance = service.server._entrance
    assert entrance._front is not None
    first = entrance._front._process
    first.kill()
    first.wait(PATIENCE)
    assert kinds(TlsPeer(service, authority).scan("count", readouts(1))) == [Image, Close]
    assert entrance._front._process.pid != first.pid


def test_a_stopped_tls_process_does_not_stop_the_supervisor(
    service: Running, authority: Authority
) -> None:
    entrance = service.server._entrance
    assert entrance._front is not None
    pid = entrance._front._process.pid
    os.kill(pid, signal.SIGSTOP)
    flood = []
    try:
        before = entrance._tally.refusals["tls"]
        for _ in range(400):
            flood.append(socket.create_connection(service.address, PATIENCE))
            if entrance._tally.refusals["tls"] > before or len(entrance) >= 60:
                break
        for client in flood:
            client.close()
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: len(entrance) == 0)
    assert kinds(TlsPeer(service, authority).scan("count", readouts(1))) == [Image, Close]


def test_a_sessions_processes_end_with_it(service: Running, authority: Authority) -> None:
    assert kinds(TlsPeer(service, authority).scan("count", readouts(1))) == [Image, Close]
    front = service.server._entrance._front
    assert front is not None
    children = Path(f"/proc/{front._process.pid}/task/{front._process.pid}/children")
    wait_until(lambda: children.read_text() == "")


def test_the_key_is_in_no_process_that_reads_mrd(service: Running, authority: Authority) -> None:
    peer = TlsPeer(service, authority)
    peer.begin("pid")
    worker = peer.hear_pid()
    maps = Path(f"/proc/{worker}/maps").read_text()
    peer.say(Close())
    peer.hear_all()
    # The library that would have to load it is not even there, unless a chain brought it.
    assert "_ssl" not in maps


def test_a_useless_certificate_ends_the_start_with_its_reason(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "chistream", "serve", "--port", "0", "--no-spool")
    process = subprocess.run(
        [*command, "--tls-cert", str(tmp_path / "nowhere.pem")],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert process.returncode == 1
    assert "the certificate or its key cannot be read" in process.stderr
    assert "Traceback" not in process.stderr


def test_a_renewed_certificate_is_taken_and_a_broken_one_is_not(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    served = authority.issue("localhost", file="renewed")
    copy = TlsFiles(tmp_path / "cert.pem", tmp_path / "key.pem")
    assert copy.key is not None
    copy.certificate.write_bytes(served.certificate.read_bytes())
    copy.key.write_bytes(served.key.read_bytes())
    identity = Identity(copy)
    first = identity.context()
    assert identity.context() is first
    os.utime(copy.certificate, (1, 1))
    second = identity.context()
    assert second is not first
    copy.certificate.write_text("broken")
    assert identity.context() is second
    assert "of no use" in caplog.text
    copy.certificate.unlink()
    assert identity.context() is second


def test_options_of_tls_without_a_certificate_make_no_sense() -> None:
    path = Path("x.pem")
    assert read_tls(None, None, None) is None
    assert read_tls(path, None, None) == TlsFiles(path)
    for key, authority in ((path, None), (None, path)):
        with pytest.raises(ValueError, match="give --tls-cert"):
            read_tls(None, key, authority)


def test_a_client_that_trusts_the_machines_authorities_refuses_ours(
    service: Running,
) -> None:
    ours, theirs = socket.socketpair()
    network = socket.create_connection(service.address, PATIENCE)
    relay = Relay(network, theirs, client_context(None), service.address[0])
    with pytest.raises(OSError, match="certificate is refused"):
        relay.shake_hands(PATIENCE)
    relay.close()
    ours.close()


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small scan in a file."""
    path = tmp_path_factory.mktemp("raw") / "raw.h5"
    with ismrmrd.Dataset(str(path), "dataset") as dataset:
        dataset.write_xml_header(HEADER.xml)
        for n in range(3):
            line = ismrmrd.Acquisition.from_array(np.ones((2, 8), np.complex64))
            line.scan_counter = n
            dataset.append_acquisition(line)
    return path


def test_the_log_has_who_came_and_why_others_did_not(
    authority: Authority, files: TlsFiles, caplog: pytest.LogCaptureFixture
) -> None:
    def meet(*, speak: bool) -> None:
        network, client = socket.socketpair()
        plain, behind = socket.socketpair()
        relay = Relay(network, plain, server_context(files))
        thread = threading.Thread(target=carry, args=(relay, "abc123", 1.0))
        thread.start()
        if speak:
            identity = authority.issue("scanner-7")
            context = client_context(authority.certificate, identity.certificate, identity.key)
            with context.wrap_socket(client, server_hostname="127.0.0.1") as known:
                known.sendall(b"hello")
                assert behind.recv(5) == b"hello"
                socket.socket.sendall(known, b"no TLS" * 100)
                assert behind.recv(5) == b""
        client.close()
        thread.join(PATIENCE)
        behind.close()

    with caplog.at_level("INFO", "chistream"):
        meet(speak=True)
        meet(speak=False)
    found = [(record.getMessage(), record.__dict__["session"]) for record in caplog.records]
    assert all(session == "abc123" for _, session in found)
    known, ended, left = (words for words, _ in found)
    assert re.fullmatch(r"TLSv1.3 TLS_\w+, client '.*scanner-7'", known), known
    assert ended.startswith("the TLS connection ended: the TLS handshake failed")
    assert re.match("(the peer left|lost) during the TLS handshake", left)


def test_a_tls_process_ends_with_its_supervisor_and_serves_what_it_gets(
    files: TlsFiles, monkeypatch: pytest.MonkeyPatch, logger: logging.Logger
) -> None:
    def no_process() -> int:
        raise OSError("no process left")

    monkeypatch.setattr(os, "fork", no_process)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    handler = signal.getsignal(signal.SIGCHLD)
    path = sys.path[:]
    ours.send(_setup_bytes(files, LogStyle("CRITICAL")))
    fd = theirs.detach()
    client, network = socket.socketpair()
    plain, behind = socket.socketpair()
    socket.send_fds(ours, [b"abc123"], [network.fileno(), plain.fileno()])
    network.close()
    plain.close()
    ours.shutdown(socket.SHUT_WR)
    try:
        assert main(fd) == 0
    finally:
        signal.signal(signal.SIGCHLD, handler)
        sys.path[:] = path
    assert ours.recv(100) == b"ready"
    # No process could be made for the client: it is let go.
    assert client.recv(1) == behind.recv(1) == b""
    for one in (ours, client, behind):
        one.close()
    assert logger.name == "chistream"


def test_a_tls_process_without_a_certificate_says_so(
    tmp_path: Path, logger: logging.Logger
) -> None:
    with pytest.raises(OSError, match="cannot be read"):
        TlsFront(TlsFiles(tmp_path / "nowhere.pem"), LogStyle("CRITICAL"))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    path = sys.path[:]
    ours.send(_setup_bytes(TlsFiles(tmp_path / "nowhere.pem"), LogStyle("CRITICAL")))
    assert main(theirs.detach()) == 1
    sys.path[:] = path
    assert b"cannot be read" in ours.recv(1000)
    ours.close()
    assert logger.name == "chistream"


def test_a_client_for_whom_there_is_no_tls_is_let_go(
    files: TlsFiles, caplog: pytest.LogCaptureFixture
) -> None:
    tally, arrived = Tally(), list[Client]()
    selector = selectors.DefaultSelector()
    entrance = Entrance(ServerOptions(tls=files), selector, arrived.append, tally)
    entrance.open()
    try:
        assert entrance._front is not None
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr(socket, "send_fds", no_room)
            with socket.create_server(("127.0.0.1", 0)) as listener:
                client = socket.create_connection(listener.getsockname(), PATIENCE)
                connection, _ = listener.accept()
                entrance.admit(connection, "127.0.0.1")
                assert client.recv(1) == b""
                client.close()
        assert "no TLS for this client" in caplog.text
        assert tally.refusals["tls"] == 1
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname(), PATIENCE)
            connection, _ = listener.accept()
        entrance.admit(connection, "127.0.0.1")
        assert len(entrance) == 1
    finally:
        entrance.close()
    assert client.recv(1) == b""
    client.close()
    selector.close()
    assert not arrived


def no_room(*_: object) -> int:
    raise BlockingIOError("full")


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """The package's logger, put back as it was."""
    logger = logging.getLogger("chistream")
    handlers, level, propagate = logger.handlers[:], logger.level, logger.propagate
    yield logger
    logger.handlers[:], logger.propagate = handlers, propagate
    logger.setLevel(level)


def test_replay_speaks_tls(service: Running, authority: Authority, raw: Path) -> None:
    identity = authority.issue("scanner")
    context = client_context(authority.certificate, identity.certificate, identity.key)
    host, port = service.address
    result = replay([raw], host=host, port=port, config="count", tls=context)
    assert result.succeeded, result.failure()
    assert result.scans[0].n_images == 1


def test_replay_says_why_tls_failed(
    service: Running, authority: Authority, raw: Path, tmp_path: Path
) -> None:
    host, port = service.address
    stranger = Authority(tmp_path)
    for trusted, complaint in (
        (stranger.certificate, "certificate is refused"),
        (authority.certificate, "(?i)certificate required"),
    ):
        result = replay([raw], host=host, port=port, tls=client_context(trusted))
        assert not result.succeeded
        assert re.search(complaint, str(result.scans[0].error)), result.scans[0].error


def test_replays_options_of_tls_go_together() -> None:
    path = Path("x.pem")
    assert replay_options.read_tls(None, None, None) is None
    with pytest.raises(typer.BadParameter, match="--tls-ca"):
        replay_options.read_tls(None, path, None)
    with pytest.raises(OSError, match="cannot be read"):
        replay_options.read_tls(path, None, None)
