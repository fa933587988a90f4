"""The connection of a client to its server, encrypted if that is asked for."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from chistream.service.relay import HandshakeFailed, Relay
from chistream_simulator.replaying.exchange import connect
from chistream_simulator.replaying.items import ReplayError

_HANDSHAKE_SECONDS = 10.0
_END_SECONDS = 10.0


@contextmanager
def connected(host: str, port: int, tls: ssl.SSLContext | None = None) -> Iterator[socket.socket]:
    """Connect to a server for as long as the block takes.

    Parameters
    ----------
    host, port
        The server.
    tls
        Whom to trust, and what to prove oneself with; None: plain MRD.

    Yields
    ------
    socket.socket
        Where MRD is spoken, in plain either way.

    Raises
    ------
    ReplayError
        If the server cannot be reached, is not who it should be, or refuses this client.
    """
    network = connect(host, port)
    if tls is None:
        with network:
            yield network
        return
    ours, theirs = socket.socketpair()
    relay = Relay(network, theirs, tls, host)
    try:
        relay.shake_hands(_HANDSHAKE_SECONDS)
    except HandshakeFailed as error:
        relay.close()
        ours.close()
        raise ReplayError(f"no TLS with {host}:{port}: {error}") from None
    carrying = threading.Thread(target=relay.run, name="tls", daemon=True)
    carrying.start()
    try:
        with ours:
            yield ours
    finally:
        carrying.join(_END_SECONDS)
    # With TLS 1.3 a server refuses a client's certificate only after the client's handshake.
    if relay.is_refused:
        raise ReplayError(f"no TLS with {host}:{port}: {relay.failure}")
