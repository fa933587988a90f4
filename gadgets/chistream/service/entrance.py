"""From an accepted connection to a client that may be served."""

import logging
import selectors
import socket
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from chistream.service.access import Gate
from chistream.service.clients import Client
from chistream.service.metrics import Tally
from chistream.service.options import ServerOptions

if TYPE_CHECKING:
    from chistream.service.tls import TlsFront

_LOG = logging.getLogger(__name__)
_ID_DIGITS = 12  # enough for the journal of years
_MAX_ARRIVING = 64


class Entrance:
    """Lets clients in: those of the allow-list, and with TLS those that have proved themselves.

    Parameters
    ----------
    options
        Who may come in, and how.
    selector
        Where to watch those that are still on their way.
    on_client
        Called with a client that may be served.
    tally
        Counts those turned away here, by reason: ``address``, ``tls``.
    """

    def __init__(
        self,
        options: ServerOptions,
        selector: selectors.BaseSelector,
        on_client: Callable[[Client], None],
        tally: Tally,
    ) -> None:
        self._options = options
        self._gate = Gate(options.allow)
        self._selector = selector
        self._on_client = on_client
        self._front: TlsFront | None = None
        self._arriving: set[Client] = set()
        self._tally = tally

    def __len__(self) -> int:
        return len(self._arriving)

    @property
    def has_room(self) -> bool:
        """Whether another client may come; those that do not begin must not fill the machine."""
        return len(self._arriving) < _MAX_ARRIVING

    def open(self) -> None:
        """Get ready.

        Raises
        ------
        OSError
            If the certificate is of no use.
        """
        if self._options.tls is not None:
            from chistream.service.tls import TlsFront

            self._front = TlsFront(self._options.tls, self._options.log_style)

    def admit(self, connection: socket.socket, host: str) -> None:
        """Let a client in, or not.

        Parameters
        ----------
        connection
            Just accepted; owned from now on.
        host
            Its address.
        """
        if not self._gate.permits(host):
            self._gate.note_refused(host)
            self._tally.refuse("address")
            connection.close()
            return
        session = uuid.uuid4().hex[:_ID_DIGITS]
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _LOG.info("client %s", host, extra={"session": session})
        if self._front is None:
            self._on_client(Client(connection, session, host))
            return
        try:
            client = Client(self._front.protect(connection, session), session, host)
        except OSError as error:
            _LOG.error("no TLS for this client: %s", error, extra={"session": session})
            self._tally.refuse("tls")
            return
        # A client that has not proved itself gets no worker and takes nobody's place.
        self._arriving.add(client)
        self._selector.register(client, selectors.EVENT_READ, lambda: self._arrive(client))

    def close(self) -> None:
        """Turn everybody away who has not come in; those who have stay."""
        for client in self._arriving:
            self._selector.unregister(client)
            client.close()
        self._arriving.clear()
        if self._front is not None:
            self._front.close()
            self._front = None

    def _arrive(self, client: Client) -> None:
        self._selector.unregister(client)
        self._arriving.remove(client)
        try:
            has_spoken = bool(client.connection.recv(1, socket.MSG_PEEK))
        except OSError:
            has_spoken = False
        if has_spoken:
            self._on_client(client)
            return
        _LOG.warning("left before it said anything", extra={"session": client.session})
        self._tally.refuse("tls")
        client.close()
