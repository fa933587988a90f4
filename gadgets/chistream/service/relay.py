"""TLS on one side, plain bytes on the other, for one connection.

MRD is spoken through a plain socket by threads that read and write it at once, end one direction
before the other, and hand it from process to process. A TLS connection can do none of that, so it
ends here, and what speaks MRD never learns of it.
"""

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any

_CHUNK = 2**18
_FLUSH_SECONDS = 30.0


class HandshakeFailed(OSError):
    """The peer speaks no TLS, is not who it should be, or takes too long to say so."""


class Relay:
    """Carries bytes between a TLS connection and a plain one until both have ended.

    Parameters
    ----------
    network
        The connection that is to be encrypted; owned from now on.
    plain
        The other; owned from now on.
    context
        Certificates, and what is asked of the peer's.
    server_name
        Name that the server's certificate has to carry, if this is the client; None on the
        server's side.

    Attributes
    ----------
    failure
        Why it ended, if not because both sides did.
    is_refused
        Whether that was for what TLS says, not for the network's sake.

    Notes
    -----
    The end of each direction is passed on as such: a peer that has ended its side still hears the
    rest. Data that a peer sends after the plain side has ended are dropped unread, as a reader that
    is gone would drop them. Nothing is read from one side that the other has not taken.
    """

    def __init__(
        self,
        network: socket.socket,
        plain: socket.socket,
        context: ssl.SSLContext,
        server_name: str | None = None,
    ) -> None:
        self._network = network
        self._plain = plain
        self._received, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._received,
            self._to_send,
            server_side=server_name is None,
            server_hostname=server_name,
        )
        self._for_plain = memoryview(b"")
        self._for_network = memoryview(b"")
        self._network_ended = False
        self._plain_ended = False
        self._peer_is_done = False
        self._plain_is_told = False
        self._is_over = False
        self._n_received = 0
        self.failure = ""
        self.is_refused = False

    def describe(self) -> str:
        """Name the protocol, the cipher and the peer, for the log."""
        cipher = self._tls.cipher()
        certificate: dict[str, Any] = dict(self._tls.getpeercert() or {})
        names = [value for part in certificate.get("subject", ()) for _, value in part]
        peer = f", client {' '.join(names)!r}" if names else ""
        return f"{self._tls.version()} {cipher[0] if cipher else ''}{peer}"

    def shake_hands(self, seconds: float) -> None:
        """Agree with the peer on keys.

        Parameters
        ----------
        seconds
            Longest time for all of it [s].

        Raises
        ------
        HandshakeFailed
            If that does not succeed in time.
        """
        deadline = time.monotonic() + seconds
        try:
            while not self._shake_once():
                self._network.settimeout(max(deadline - time.monotonic(), 1e-3))
                self._network.sendall(self._to_send.read())
                data = self._network.recv(_CHUNK)
                if not data:
                    raise HandshakeFailed("the peer left during the TLS handshake")
                self._received.write(data)
        except TimeoutError:
            raise HandshakeFailed(f"no TLS handshake within {seconds:g} s") from None
        except ssl.SSLError as error:
            # Tell the peer why, if it still listens.
            with contextlib.suppress(OSError):
                self._network.sendall(self._to_send.read())
            raise HandshakeFailed(_reason(error)) from None
        self._for_network = memoryview(self._to_send.read())

    def run(self, first_byte_seconds: float | None = None) -> None:
        """Carry bytes until both sides have ended, then close both.

        Parameters
        ----------
        first_byte_seconds
            Longest time until the peer says anything [s]; None: any.
        """
        deadline = None if first_byte_seconds is None else time.monotonic() + first_byte_seconds
        self._network.settimeout(0.0)
        self._plain.settimeout(0.0)
        try:
            self._decrypt()  # what came together with the end of the handshake
            while not self._is_over:
                waits = deadline is not None and not self._n_received
                self._step(deadline if waits else None)
        except ssl.SSLError as error:
            self.failure, self.is_refused = _reason(error), True
        except OSError as error:
            self.failure = str(error)  # one side is gone: so is the other now
        finally:
            self.close()

    def close(self) -> None:
        """Close both sides."""
        self._network.close()
        self._plain.close()

    def _shake_once(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def _step(self, deadline: float | None) -> None:
        timeout = None if deadline is None else max(deadline - time.monotonic(), 0.0)
        events = dict(self._events(timeout))
        if not events and deadline is not None and deadline <= time.monotonic():
            self._is_over = True
            return
        self._on_network(events.get(self._network.fileno(), 0))
        self._on_plain(events.get(self._plain.fileno(), 0))
        if self._peer_is_done and not self._for_plain and not self._plain_is_told:
            self._plain.shutdown(socket.SHUT_WR)
            self._plain_is_told = True
        if self._plain_ended and not self._for_network and self._network_ended:
            self._is_over = True

    def _events(self, timeout: float | None) -> Iterator[tuple[int, int]]:
        poll = select.poll()
        if not self._network_ended or self._for_network:
            reads = not self._network_ended and not self._for_plain
            poll.register(self._network, _mask(reads=reads, writes=bool(self._for_network)))
        if not self._plain_ended or self._for_plain:
            reads = not self._plain_ended and not self._for_network
            poll.register(self._plain, _mask(reads=reads, writes=bool(self._for_plain)))
        elif not self._for_network:
            poll.register(self._plain, 0)  # to learn that nobody listens there any longer
        yield from poll.poll(None if timeout is None else 1e3 * timeout)

    def _on_network(self, events: int) -> None:
        if events & select.POLLIN:
            self._take(self._network.recv(_CHUNK))
        elif events & (select.POLLERR | select.POLLHUP):
            self._for_network = memoryview(b"")
            self._take(b"")
        if events & select.POLLOUT and self._for_network:
            self._for_network = self._for_network[self._network.send(self._for_network) :]
            self._end_network_if_due()

    def _on_plain(self, events: int) -> None:
        if events & select.POLLOUT and self._for_plain:
            self._for_plain = self._for_plain[self._plain.send(self._for_plain) :]
            if not self._for_plain:
                self._decrypt()
        if events & select.POLLIN:
            self._encrypt(self._plain.recv(_CHUNK))
        elif events & (select.POLLERR | select.POLLHUP):
            # Nobody is left there: say the rest to the peer, and end.
            while not self._plain_ended:
                self._encrypt(self._plain.recv(_CHUNK))
            self._network.settimeout(_FLUSH_SECONDS)
            self._network.sendall(self._for_network)
            self._is_over = True

    def _take(self, data: bytes) -> None:
        """Take encrypted bytes from the network, or their end."""
        self._network_ended = not data
        if self._plain_ended or self._peer_is_done:
            return
        self._received.write(data)
        if not self._for_plain:
            self._decrypt()

    def _decrypt(self) -> None:
        pieces: list[bytes] = []
        try:
            while not self._peer_is_done and sum(map(len, pieces)) < _CHUNK:
                pieces.append(self._tls.read(_CHUNK))
                self._peer_is_done = not pieces[-1]
        except ssl.SSLWantReadError:
            # A peer may just end its TCP side, as many programs do. OpenSSL is not told: it would
            # refuse to say the rest to such a peer. MRD has its own sign of a whole stream.
            self._peer_is_done = self._network_ended
        self._for_plain = memoryview(b"".join(pieces))
        self._n_received += len(self._for_plain)
        self._for_network = memoryview(bytes(self._for_network) + self._to_send.read())

    def _encrypt(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._tls.write(rest) :]
        if not data:
            self._plain_ended = True
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()  # says the end; the peer's own is not waited for
        self._for_network = memoryview(bytes(self._for_network) + self._to_send.read())
        self._end_network_if_due()

    def _end_network_if_due(self) -> None:
        if self._plain_ended and not self._for_network:
            self._network.shutdown(socket.SHUT_WR)


def _mask(*, reads: bool, writes: bool) -> int:
    return (select.POLLIN if reads else 0) | (select.POLLOUT if writes else 0)


def _reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the peer's certificate is refused: {error.verify_message}"
    words = (error.reason or "no TLS").replace("_", " ").lower()
    return f"the TLS handshake failed: {words}"
