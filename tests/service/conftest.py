"""Connections that a test opened end with it."""

from collections.abc import Iterator

import pytest
from tests.service.peers import Peer


@pytest.fixture(autouse=True)
def hang_up() -> Iterator[None]:
    """Close what a test opened, whatever came of it."""
    yield
    while Peer.opened:
        Peer.opened.pop().socket.close()
