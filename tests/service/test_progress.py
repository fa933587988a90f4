"""A monitor asks a running service how far a real scan is."""

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from tests.service.peers import PATIENCE, Peer

from chistream.service.options import ServerOptions
from chistream.service.server import Server
from chistream.stream.messages import Close, ConfigFile, Text
from chistream_simulator.case import Case
from chistream_simulator.scanner import Scan


class Running:
    """The service in a thread, with a page for monitors."""

    def __init__(self) -> None:
        self.server = Server(ServerOptions(port=0, status_port=0, max_sessions=1))
        self.address = ("", 0)
        listening = threading.Event()

        def announce(host: str, port: int) -> None:
            self.address = (host, port)
            listening.set()

        self.thread = threading.Thread(target=self.server.run, args=(announce,))
        self.thread.start()
        assert listening.wait(PATIENCE)

    def sessions(self) -> list[dict[str, Any]]:
        port = self.server.status_port
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/sessions", timeout=5) as answer:
            found: list[dict[str, Any]] = json.load(answer)["sessions"]
            return found


@pytest.fixture
def service() -> Iterator[Running]:
    running = Running()
    yield running
    running.server.stop()
    running.server.stop()
    running.thread.join(PATIENCE)
    assert not running.thread.is_alive()


@pytest.mark.slow
def test_gating_is_told_while_the_scan_goes_on(service: Running) -> None:
    case = Case(
        matrix=(4, 24, 16),
        fov=(120.0, 300.0, 300.0),
        TE=(2e-3,),
        n_coils=2,
        views_per_beat=4,
        gating="none",
        passes=4,
        motion_states=2,
        heart_states=0,
        object_oversampling=(2, 2, 2),
    )
    header, *messages = Scan(case).messages()
    assert service.sessions() == []
    peer = Peer(service)
    peer.socket.settimeout(120)
    settings = Text('{"parameters": {"gating": "window", "tracking": "off"}}')
    peer.say(ConfigFile("echoes"), header, settings)
    seen: list[dict[str, Any]] = []
    deadline = time.monotonic() + 100
    for i, message in enumerate(messages):
        while i > 0.9 * len(messages) and not any(s["gating"]["efficiency"] for s in seen):
            assert time.monotonic() < deadline, seen
            time.sleep(0.2)
            peer.say(message)  # a heartbeat repeated does no harm
            seen += [s["progress"] for s in service.sessions() if s["progress"]]
        peer.say(message)
    peer.say(Close())
    peer.hear_all()
    gating = seen[-1]["gating"]
    assert gating["method"] == "navigator"
    assert 0 < gating["efficiency"] <= 1
    assert gating["window_mm"][0] < 0 < gating["window_mm"][1]
    assert sum(gating["histogram"]) == gating["n_accepted"] + gating["n_rejected"]
    assert gating["rejected"]
    assert 0 < gating["completeness"] <= 1
    assert seen[-1]["n_readouts"] > 0
    deadline = time.monotonic() + PATIENCE
    while service.sessions():
        assert time.monotonic() < deadline


def test_a_port_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="status_port"):
        ServerOptions(status_port=65536)
