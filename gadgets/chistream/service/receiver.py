"""The receiving thread of a session: bytes in, on disk, checked messages out."""

import logging
import select
import socket
import threading
import time

from chistream.errors import (
    ChiStreamError,
    MessageTooLarge,
    TruncatedMessage,
    UnexpectedMessage,
)
from chistream.service.inbox import Inbox
from chistream.service.limits import SessionLimits
from chistream.service.outbox import Outbox
from chistream.service.spool import SpoolWriter
from chistream.service.wire import receive
from chistream.stream.codec import MessageReader
from chistream.stream.messages import Acquisitions, Close, Message, Query, Response, Text
from chistream.stream.session import ServerSession, State
from chistream.stream.texts import warning_text

_LOG = logging.getLogger(__name__)
_HANG_UP_MILLISECONDS = 500
_SHORTEST_WAIT = 1e-3
_OPENING = (State.AWAIT_CONFIG, State.AWAIT_HEADER)
NOT_KEPT = "The raw data of this scan are not kept on disk ({error}): it cannot be repeated later."


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
    limits
        How long to wait for what, and how much to take.
    version
        What a query for the server's version is answered with.
    spool
        Keeps the bytes on disk, and is closed at the end; None keeps nothing.

    Attributes
    ----------
    remarks
        What the person who looks at the result should know of how its data came.
    n_spooled
        Bytes kept on disk; 0 after the disk refused some.
    """

    def __init__(
        self,
        connection: socket.socket,
        inbox: Inbox,
        outbox: Outbox,
        limits: SessionLimits,
        version: str,
        spool: SpoolWriter | None = None,
    ) -> None:
        self._connection = connection
        self._spool = spool
        self._limits = limits
        self._n_readouts = 0
        self._due = time.monotonic() + limits.connect_seconds
        self.remarks: list[str] = []
        self.n_spooled = 0
        self._inbox = inbox
        self._outbox = outbox
        self._version = version
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
            silence = self._describe_silence()
            _LOG.warning("%s", silence)
            self._inbox.put(ClientSilent(silence))
        except OSError as error:
            self._inbox.put(ClientGone(str(error)))
        except Exception as error:  # noqa: BLE001  (carried to the session's own boundary)
            self._inbox.put(error)
        finally:
            if self._spool is not None:
                self._spool.close()
            self._inbox.end()

    def _receive_all(self) -> None:
        keep = None if self._spool is None else self._keep
        reader = MessageReader(self._limits.sizes)
        for message in receive(self._connection, reader, keep, self._patience):
            self._take(message)
            if isinstance(message, Close):
                return
        self._session.receive_eof()

    def _keep(self, piece: memoryview) -> None:
        """Have bytes on disk before they are looked at; a disk that takes no more ends that."""
        if self._spool is None:
            return
        try:
            self._spool.append(piece)
            self.n_spooled = self._spool.n_bytes
        except OSError as error:
            self._spool.discard()
            self._spool, self.n_spooled = None, 0
            self.remark(NOT_KEPT.format(error=error.strerror))

    def remark(self, words: str) -> None:
        """Tell the client now, and the report later."""
        _LOG.warning("%s", words)
        self.remarks.append(words)
        self._outbox.put(warning_text(words))

    def _patience(self) -> float:
        """Return how long the client may still let us wait [s]."""
        if self._session.state in _OPENING:
            return max(self._due - time.monotonic(), _SHORTEST_WAIT)
        return self._limits.idle_seconds

    def _describe_silence(self) -> str:
        match self._session.state:
            case State.AWAIT_CONFIG:
                return f"no configuration came within {self._limits.connect_seconds:g} s"
            case State.AWAIT_HEADER:
                return f"no header came within {self._limits.header_seconds:g} s"
            case _:
                return f"no data came for {self._limits.idle_seconds:g} s"

    def _take(self, message: Message) -> None:
        before = self._session.state
        if isinstance(message, Acquisitions):
            self._count(len(message))
        try:
            after = self._session.receive(message)
        except UnexpectedMessage as error:
            # Said in the wrong order, but the stream is whole: read on to the client's CLOSE.
            self._inbox.put(error)
            return
        if before is State.AWAIT_CONFIG and after is State.AWAIT_HEADER:
            self._due = time.monotonic() + self._limits.header_seconds
        if isinstance(message, Query):
            self._outbox.put(Response(message.correlation_id, self._answer(message.query)))
        elif isinstance(message, Text) and before is not State.AWAIT_SETTINGS:
            _LOG.info("client sent a text of %d characters", len(message.text))
        elif after is not State.FAILED and not isinstance(message, Close):
            self._inbox.put(message)

    def _count(self, n_readouts: int) -> None:
        self._n_readouts += n_readouts
        if self._n_readouts > self._limits.readouts:
            raise MessageTooLarge(f"more than {self._limits.readouts} readouts in one scan")

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
