"""TLS on one side, plain bytes on the other."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.service.authority import Authority
from tests.service.peers import PATIENCE

from chistream.service.options import TlsFiles
from chistream.service.relay import HandshakeFailed, Relay
from chistream.service.tls import client_context, server_context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


class Link:
    """A TLS client, a relay in a thread, and the plain side behind it."""

    def __init__(self, authority: Authority, version: ssl.TLSVersion) -> None:
        served = authority.issue("localhost")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.raw = socket.create_connection(listener.getsockname(), PATIENCE)
            network, _ = listener.accept()
        self.plain, theirs = socket.socketpair()
        self.plain.settimeout(PATIENCE)
        context = server_context(TlsFiles(served.certificate, served.key))
        self.relay = Relay(network, theirs, context)
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        trusting = client_context(authority.certificate)
        trusting.maximum_version = version
        self.client = trusting.wrap_socket(self.raw, server_hostname="localhost")

    def _run(self) -> None:
        self.relay.shake_hands(PATIENCE)
        self.relay.run()

    def end(self) -> None:
        self.client.close()
        self.plain.close()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def link(authority: Authority, request: pytest.FixtureRequest) -> Iterator[Link]:
    link = Link(authority, request.param)
    yield link
    link.end()


def receive_exactly(connection: socket.socket, n_bytes: int) -> bytes:
    content = b""
    while len(content) < n_bytes:
        content += connection.recv(n_bytes - len(content)) or pytest.fail("ended early")
    return content


def test_bytes_go_both_ways_at_once_in_any_amount(link: Link) -> None:
    there, back = bytes(range(256)) * 20_000, bytes(reversed(range(256))) * 20_000
    sender = threading.Thread(target=link.plain.sendall, args=(back,))
    sender.start()
    received: list[bytes] = []
    reader = threading.Thread(
        target=lambda: received.append(receive_exactly(link.plain, len(there)))
    )
    reader.start()
    # One thread for both directions of the client: OpenSSL allows no two.
    link.client.sendall(there)
    assert receive_exactly(link.client, len(back)) == back
    reader.join(PATIENCE)
    sender.join(PATIENCE)
    assert received == [there]


def test_the_end_of_the_service_is_the_end_for_the_client_after_the_last_byte(link: Link) -> None:
    link.plain.sendall(b"x" * 300_000)
    link.plain.shutdown(socket.SHUT_WR)
    assert receive_exactly(link.client, 300_000) == b"x" * 300_000
    assert link.client.recv(1) == b""


def test_a_client_that_ends_its_side_still_hears_the_rest(link: Link) -> None:
    link.client.sendall(b"all of it")
    socket.socket.shutdown(link.client, socket.SHUT_WR)
    assert receive_exactly(link.plain, 9) == b"all of it"
    assert link.plain.recv(1) == b""
    link.plain.sendall(b"the rest")
    assert receive_exactly(link.client, 8) == b"the rest"


def test_a_close_notify_is_the_end_too(link: Link) -> None:
    link.client.sendall(b"all")
    link.client.settimeout(0.0)
    with pytest.raises((ssl.SSLWantReadError, ssl.SSLSyscallError)):
        link.client.unwrap()
    link.client.settimeout(PATIENCE)
    assert receive_exactly(link.plain, 3) == b"all"
    assert link.plain.recv(1) == b""


def test_what_is_said_before_everybody_has_left_still_arrives(link: Link) -> None:
    link.plain.sendall(b"last words" * 50_000)
    link.plain.close()
    assert receive_exactly(link.client, 500_000) == b"last words" * 50_000
    assert link.client.recv(1) == b""
    link.thread.join(PATIENCE)
    assert not link.thread.is_alive()


def test_data_for_somebody_who_has_ended_are_dropped(link: Link) -> None:
    link.plain.shutdown(socket.SHUT_WR)
    assert link.client.recv(1) == b""
    socket.socket.sendall(link.client, b"not even TLS any more" * 1000)
    link.client.close()
    link.thread.join(PATIENCE)
    assert not link.thread.is_alive()
    assert link.relay.failure in ("", "[Errno 104] Connection reset by peer")


def test_a_client_that_vanishes_ends_the_plain_side(link: Link) -> None:
    link.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    link.client.close()
    assert link.plain.recv(1) == b""
    link.thread.join(PATIENCE)
    assert "reset" in link.relay.failure


def test_a_client_that_vanishes_while_nobody_reads_ends_the_plain_side(link: Link) -> None:
    link.client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        link.client.sendall(bytes(20_000_000))
    link.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    link.client.close()
    n_bytes = 0
    while data := link.plain.recv(2**20):
        n_bytes += len(data)
    assert n_bytes > 0
    link.plain.close()
    link.thread.join(PATIENCE)
    assert not link.thread.is_alive()


def test_what_is_no_tls_behind_the_handshake_ends_the_connection(link: Link) -> None:
    socket.socket.sendall(link.client, b"GET / HTTP/1.1\r\n\r\n" * 10)
    assert link.plain.recv(1) == b""
    link.thread.join(PATIENCE)
    assert "TLS" in link.relay.failure


def handshake(
    authority: Authority, say: Callable[[socket.socket], None], seconds: float = PATIENCE
) -> str:
    """Return why a client's handshake fails."""
    served = authority.issue("localhost")
    context = server_context(TlsFiles(served.certificate, served.key, authority.certificate))
    network, client = socket.socketpair()
    plain, behind = socket.socketpair()
    thread = threading.Thread(target=say, args=(client,))
    relay = Relay(network, plain, context)
    thread.start()
    with pytest.raises(HandshakeFailed) as failed:
        relay.shake_hands(seconds)
    relay.close()
    assert behind.recv(1) == b""
    thread.join(PATIENCE)
    client.close()
    behind.close()
    return str(failed.value)


def test_a_client_that_does_not_speak_tls_is_told_from_one_that_is_silent_or_leaves(
    authority: Authority,
) -> None:
    assert "TLS handshake failed" in handshake(
        authority, lambda c: c.sendall(b"\1\0cardiac_qsm" * 9)
    )
    assert handshake(authority, lambda _: None, 0.05) == "no TLS handshake within 0.05 s"
    assert "left" in handshake(authority, lambda c: c.shutdown(socket.SHUT_WR))


@pytest.mark.parametrize("oldest", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
def test_old_versions_are_refused(authority: Authority, oldest: ssl.TLSVersion) -> None:
    def speak(connection: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(authority.certificate)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = oldest
        with pytest.raises((ssl.SSLError, OSError)):
            context.wrap_socket(connection, server_hostname="localhost")

    assert "unsupported protocol" in handshake(authority, speak)


def test_clients_have_to_prove_themselves_where_that_is_asked(
    authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path).issue("stranger")

    def speak(certificate: Path | None, key: Path | None) -> Callable[[socket.socket], None]:
        def run(connection: socket.socket) -> None:
            context = client_context(authority.certificate, certificate, key)
            with (
                contextlib.suppress(ssl.SSLError, OSError),
                context.wrap_socket(connection, server_hostname="localhost") as client,
            ):
                client.recv(1)

        return run

    assert "peer did not return a certificate" in handshake(authority, speak(None, None))
    refused = handshake(authority, speak(stranger.certificate, stranger.key))
    assert "certificate is refused" in refused


def test_a_client_refuses_a_server_of_another_name(authority: Authority) -> None:
    served = authority.issue("another-host")
    ours, theirs = socket.socketpair()
    plain, behind = socket.socketpair()
    serving = Relay(ours, plain, server_context(TlsFiles(served.certificate, served.key)))

    def serve() -> None:
        with pytest.raises(HandshakeFailed):
            serving.shake_hands(PATIENCE)
        serving.close()

    thread = threading.Thread(target=serve)
    thread.start()
    client = Relay(theirs, behind, client_context(authority.certificate), "localhost")
    with pytest.raises(HandshakeFailed, match="certificate is refused: Hostname mismatch"):
        client.shake_hands(PATIENCE)
    client.close()
    thread.join(PATIENCE)


def test_a_peer_that_shakes_hands_and_says_nothing_is_let_go(authority: Authority) -> None:
    link = Link(authority, ssl.TLSVersion.TLSv1_3)
    link.end()
    served = authority.issue("localhost")
    network, client = socket.socketpair()
    plain, behind = socket.socketpair()
    relay = Relay(network, plain, server_context(TlsFiles(served.certificate, served.key)))

    def run() -> None:
        relay.shake_hands(PATIENCE)
        relay.run(first_byte_seconds=0.05)

    thread = threading.Thread(target=run)
    thread.start()
    trusting = client_context(authority.certificate)
    silent = trusting.wrap_socket(client, server_hostname="localhost")
    assert behind.recv(1) == b""
    thread.join(PATIENCE)
    silent.close()
    behind.close()


@pytest.mark.parametrize("wrong", ["missing", "no pair", "password", "no authority"])
def test_files_that_are_of_no_use_are_named(
    authority: Authority, tmp_path: Path, wrong: str
) -> None:
    good, other = authority.issue("localhost"), authority.issue("other")
    empty = tmp_path / "empty.pem"
    empty.touch()
    locked = tmp_path / "locked.key"
    locked.write_text(LOCKED)
    files, complaint = {
        "missing": (TlsFiles(tmp_path / "nowhere.pem"), "cannot be read"),
        "no pair": (TlsFiles(good.certificate, other.key), "key values mismatch"),
        "password": (TlsFiles(good.certificate, locked), "needs a password"),
        "no authority": (TlsFiles(good.certificate, good.key, empty), "no certificate of an auth"),
    }[wrong]
    with pytest.raises(OSError, match=complaint):
        server_context(files)


LOCKED = """-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAgdqUwd3+XpYAICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEEE1DdVjMJP02asqw2jAG3kEgZBl
oOYXFSzdyCvy03qUOOVbouq37htbkHm3unhBa6EZC/VL5IyZ+ahTyvtKZBrdVjUD
BymDFUSAQRUJMMQcrcAILHFQ7LW3xJl1QQQaNH9Nyob3mFTWjoN53Il9XMWdlsW0
pJY29NfMbhFO2cpmtKzZ4QPnWo6lVJnJoeeRAq+GepafU7gSCGcEqSj2jOCigko=
-----END ENCRYPTED PRIVATE KEY-----
"""
