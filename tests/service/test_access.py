"""Who may connect."""

import contextlib
import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.service.peers import PATIENCE, Peer, kinds, readouts

from chistream.service.access import Gate
from chistream.service.options import ServerOptions
from chistream.service.server import Server
from chistream.stream.messages import Close, Image


@pytest.mark.parametrize(
    ("allowed", "host", "is_permitted"),
    [
        ([], "203.0.113.9", True),
        (["192.168.2.0/24"], "192.168.2.255", True),
        (["192.168.2.0/24"], "192.168.3.0", False),
        (["192.168.2.0/24"], "127.0.0.1", False),
        (["192.168.2.0/24"], "::ffff:192.168.2.7", True),
        (["192.168.2.0/24"], "::ffff:192.168.3.7", False),
        (["192.168.2.7"], "192.168.2.7", True),
        (["192.168.2.7"], "192.168.2.8", False),
        (["10.0.0.0/8", " fd00::/8"], "fd12::1", True),
        (["fe80::/10"], "fe80::1%eth0", True),
        (["10.0.0.0/8"], "fd12::1", False),
    ],
)
def test_a_client_is_let_in_by_its_address(
    allowed: list[str], host: str, is_permitted: bool
) -> None:
    assert Gate(allowed).permits(host) is is_permitted


@pytest.mark.parametrize("text", ["scanner", "192.168.2.7/24", "192.168.2.0/33", ""])
def test_what_is_no_network_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(ValueError, match="allow takes networks"):
        ServerOptions(allow=(text,))


def test_a_flood_of_refused_clients_does_not_flood_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 100.0
    gate = Gate(["10.0.0.1"], lambda: now)
    with caplog.at_level(logging.WARNING, "chistream"):
        for _ in range(1000):
            gate.note_refused("203.0.113.9")
        now = 111.0
        gate.note_refused("203.0.113.10")
    assert [record.getMessage() for record in caplog.records] == [
        "1 clients refused, the last 203.0.113.9: not on the allow-list",
        "1000 clients refused, the last 203.0.113.10: not on the allow-list",
    ]


class Running:
    """A server in a thread."""

    def __init__(self, options: ServerOptions) -> None:
        self.server = Server(options)
        self.address = ("", 0)
        self._listening = threading.Event()
        self.thread = threading.Thread(target=self.server.run, args=(self._announce,))
        self.thread.start()
        assert self._listening.wait(PATIENCE)

    def _announce(self, host: str, port: int) -> None:
        self.address = (host, port)
        self._listening.set()


@contextlib.contextmanager
def running(options: ServerOptions) -> Iterator[Running]:
    server = Running(options)
    try:
        yield server
    finally:
        server.server.stop()
        server.server.stop()
        server.thread.join(PATIENCE)
        assert not server.thread.is_alive()


@pytest.mark.slow
def test_a_refused_client_gets_nothing_and_others_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    options = ServerOptions(port=0, chain_module="fake_chains", allow=("127.0.0.2",))
    with running(options) as service:
        with socket.create_connection(service.address, PATIENCE) as refused:
            refused.sendall(b"\x05\x00")
            with contextlib.suppress(ConnectionResetError):
                assert refused.recv(100) == b""
        permitted = Peer(service, source="127.0.0.2")
        assert kinds(permitted.scan("count", readouts(2))) == [Image, Close]
