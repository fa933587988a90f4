"""A server to be scripted, and a small scan to send to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.simulator.replaying.servers import (
    Script,
    Serve,
    Server,
    readouts,
    waveform,
    write_scan,
)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers, and stop them in the end."""
    servers: list[Server] = []

    def start(script: Script) -> Server:
        servers.append(Server(script))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """Four readouts and two waveforms."""
    return write_scan(
        tmp_path / "scan.h5",
        waveform(15),
        waveform(40),
        readouts([10, 20, 20, 30]),
    )
