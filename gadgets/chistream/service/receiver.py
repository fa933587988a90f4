"""The receiving thread of a session: bytes in, checked messages out."""

import logging
import select
import socket
import threading

from chistream.errors import ChiStreamError, TruncatedMessage, UnexpectedMessage
from chistream.service.inbox import Inbox
from chistream.service.outbox import Outbox
from chistream.service.wire import receive
from chistream.stream.codec import MessageReader
from chistream.stream.messages import Close, Message, Query, Response, Text
from chistream.stream.session import ServerSession, State
from chistream.stream.texts import warning_text

_LOG = logging.getLogger(__name__)
_HANG_UP_MILLISECONDS = 500


class ClientGone(Exception):
    """Nobody is left to send anything to."""


class ClientSilent(ChiStreamError):
    """The client sent nothing for longer than it may."""


class Receiver:
    """Reads a client in a thread of its own, so that a computing chain does not hold it up.

    Parameters
    ----------
    connection
        The client.
    inbox
        Where its messages go, in order; ended when nothing more comes.
    outbox
        Where answers and warnings go.
    idle_seconds
        Longest silence [s].
    version
        What a query for the server's version is answered with.
    """

    def __init__(
        self,
        connection: socket.socket,
        inbox: Inbox,
        outbox: Outbox,
        idle_seconds: float,
        version: str,
    ) -> None:
        connection.settimeout(idle_seconds)
        self._connection = connection
        self._inbox = inbox
        self._outbox = outbox
        self._version = version
        self._idle_seconds = idle_seconds
        self._session = ServerSession()

    def start(self) -> None:
        """Begin to read."""
        threading.Thread(target=self._run, name="receiver", daemon=True).start()

    def _run(self) -> None:
        try:
            self._receive_all()
        except TruncatedMessage as error:
            self._go_on_without_the_rest(str(error))
        except TimeoutError:
            silence = f"no data came for {self._idle_seconds:g} s"
            _LOG.warning("%s", silence)
            self._inbox.put(ClientSilent(silence))
        except OSError as error:
            self._inbox.put(ClientGone(str(error)))
        except Exception as error:  # noqa: BLE001  (carried to the session's own boundary)
            self._inbox.put(error)
        finally:
            self._inbox.end()

    def _receive_all(self) -> None:
        for message in receive(self._connection, MessageReader()):
            self._take(message)
            if isinstance(message, Close):
                return
        self._session.receive_eof()

    def _take(self, message: Message) -> None:
        before = self._session.state
        try:
            after = self._session.receive(message)
        except UnexpectedMessage as error:
            # Said in the wrong order, but the stream is whole: read on to the client's CLOSE.
            self._inbox.put(error)
            return
        if isinstance(message, Query):
            self._outbox.put(Response(message.correlation_id, self._answer(message.query)))
        elif isinstance(message, Text) and before is not State.AWAIT_SETTINGS:
            _LOG.info("client sent a text of %d characters", len(message.text))
        elif after is not State.FAILED and not isinstance(message, Close):
            self._inbox.put(message)

    def _answer(self, query: str) -> str:
        return f"ChiStream {self._version}" if query == "gadgetron::info" else ""

    def _go_on_without_the_rest(self, reason: str) -> None:
        """Let the chain use what is whole, if there is still somebody to get the result."""
        self._outbox.put(warning_text(f"The scan is incomplete: {reason}."))
        _LOG.warning("incomplete: %s", reason)
        if self._is_hung_up():
            self._inbox.put(ClientGone(reason))

    def _is_hung_up(self) -> bool:
        """Tell a client that closed from one that only ended its side, and still listens.

        Both look the same until something is sent to them: a closed socket answers with a reset.
        """
        poll = select.poll()
        poll.register(self._connection, 0)  # errors and hang-ups are reported unasked
        return bool(poll.poll(_HANG_UP_MILLISECONDS))
