"""What a client may say when, as a table.

::

    AWAIT_CONFIG   -> AWAIT_HEADER    ConfigFile, ConfigText
    AWAIT_CONFIG   -> AWAIT_CONFIG    Query
    AWAIT_CONFIG   -> CLOSED          Close, Eof
    AWAIT_HEADER   -> AWAIT_SETTINGS  Header
    AWAIT_HEADER   -> AWAIT_HEADER    Query, Text
    AWAIT_HEADER   -> CLOSED          Close
    AWAIT_SETTINGS -> STREAMING       Text, Acquisitions, Waveform, Image
    AWAIT_SETTINGS -> AWAIT_SETTINGS  Query
    AWAIT_SETTINGS -> DRAINING        Close
    STREAMING      -> STREAMING       Acquisitions, Waveform, Image, Text, Query
    STREAMING      -> DRAINING        Close
    DRAINING       -> DRAINING        Eof
    CLOSED         -> CLOSED          Eof
    FAILED         -> FAILED          every other message
    FAILED         -> DRAINING        Close, Eof
    DRAINING       -> CLOSED          (our CLOSE)
    FAILED         -> CLOSED          (our CLOSE)
    any other      -> FAILED          (ProtocolError)

``Eof`` is the end of the client's bytes without a CLOSE. FAILED takes in and drops whatever the
client still sends, so that it is not cut off while it sends; its CLOSE then leads to DRAINING as
usual, where the server says what went wrong, and closes.
"""

from enum import Enum

from chistream.errors import ChiStreamError, TruncatedMessage, UnexpectedMessage
from chistream.stream.messages import (
    Acquisitions,
    Close,
    ConfigFile,
    ConfigText,
    Header,
    Image,
    Message,
    PeerError,
    Query,
    Response,
    Text,
    Waveform,
)


class State(Enum):
    """Where a session stands."""

    AWAIT_CONFIG = "the name of the chain comes first"
    AWAIT_HEADER = "the XML header comes next"
    AWAIT_SETTINGS = "a text now is the settings, data begin the scan"
    STREAMING = "data, until the client's CLOSE"
    DRAINING = "the client is done: finish the images, send CLOSE"
    CLOSED = "nothing more will come"
    FAILED = "drop what comes, send the reason, then CLOSE"


class Eof:
    """The end of the client's bytes, in the place of a message."""


_EVERY_MESSAGE = (
    ConfigFile,
    ConfigText,
    Header,
    Text,
    Query,
    Response,
    PeerError,
    Acquisitions,
    Image,
    Waveform,
)

TRANSITIONS: dict[State, dict[type, State]] = {
    State.AWAIT_CONFIG: {
        ConfigFile: State.AWAIT_HEADER,
        ConfigText: State.AWAIT_HEADER,
        Query: State.AWAIT_CONFIG,
        Close: State.CLOSED,
        Eof: State.CLOSED,
    },
    State.AWAIT_HEADER: {
        Header: State.AWAIT_SETTINGS,
        Query: State.AWAIT_HEADER,
        Text: State.AWAIT_HEADER,
        Close: State.CLOSED,
    },
    State.AWAIT_SETTINGS: {
        Text: State.STREAMING,
        Acquisitions: State.STREAMING,
        Waveform: State.STREAMING,
        Image: State.STREAMING,
        Query: State.AWAIT_SETTINGS,
        Close: State.DRAINING,
    },
    State.STREAMING: {
        Acquisitions: State.STREAMING,
        Waveform: State.STREAMING,
        Image: State.STREAMING,
        Text: State.STREAMING,
        Query: State.STREAMING,
        Close: State.DRAINING,
    },
    State.DRAINING: {Eof: State.DRAINING},
    State.CLOSED: {Eof: State.CLOSED},
    State.FAILED: {
        **dict.fromkeys(_EVERY_MESSAGE, State.FAILED),
        Close: State.DRAINING,
        Eof: State.DRAINING,
    },
}
"""The state after each message that may come; all others break the protocol.

The order is that of MRD, widened by what peers are known to do: a query at any time before CLOSE
and a text before the header (Gadgetron takes both), settings as a text right after the header
(FIRE, OpenRecon), a session that ends after the config (a scanner asking for dependencies)."""


class ServerSession:
    """Follow one client through the protocol.

    Show it every message before acting on it; it says whether that message may come, keeps what
    opens the session, and knows when a CLOSE is due. It holds no data and sends nothing.

    Attributes
    ----------
    state
        Where the session stands.
    config
        What names the chain, once it has come.
    header
        The XML header, once it has come.
    settings
        The text right after the header, if one came: JSON, not checked here.
    error
        What made the session fail, if it failed; also after the client's input has been drained.

    Examples
    --------
    >>> session = ServerSession()
    >>> session.receive(ConfigFile("cardiac_qsm"))
    <State.AWAIT_HEADER: 'the XML header comes next'>
    >>> session.receive(Close()), session.owes_close
    (<State.CLOSED: 'nothing more will come'>, True)
    """

    def __init__(self) -> None:
        self.state = State.AWAIT_CONFIG
        self.config: ConfigFile | ConfigText | None = None
        self.header: Header | None = None
        self.settings: str | None = None
        self.error: ChiStreamError | None = None
        self._client_closed = False
        self._close_sent = False

    @property
    def owes_close(self) -> bool:
        """Whether the server still has to send its CLOSE before it lets go of the connection."""
        is_over = self._client_closed or self.state in (State.DRAINING, State.FAILED)
        return is_over and not self._close_sent

    def receive(self, message: Message) -> State:
        """Take note of a message.

        Parameters
        ----------
        message
            What the client said.

        Returns
        -------
        State
            The new state.

        Raises
        ------
        UnexpectedMessage
            If it must not come now; the session has failed then.
        """
        before = self.state
        if type(message) not in TRANSITIONS[before]:
            raise self._failed(
                UnexpectedMessage(
                    f"{type(message).__name__} came at the wrong time, {_waiting(before)}"
                )
            )
        self.state = TRANSITIONS[before][type(message)]
        if before is not State.FAILED:
            self._keep(message, before)
        self._client_closed |= isinstance(message, Close)
        return self.state

    def receive_eof(self) -> State:
        """Take note that the client's bytes have ended.

        Returns
        -------
        State
            The new state.

        Raises
        ------
        TruncatedMessage
            If a CLOSE was missing; the session has failed then. What came before is whole.
        """
        before = self.state
        if Eof not in TRANSITIONS[before]:
            raise self._failed(
                TruncatedMessage(f"the client left without CLOSE (state {before.name})")
            )
        self.state = TRANSITIONS[before][Eof]
        return self.state

    def fail(self, error: ChiStreamError) -> None:
        """Take note that the session cannot go on, for a reason outside the protocol's order.

        Parameters
        ----------
        error
            The reason: bytes that are no message, a chain that cannot do its work.

        Notes
        -----
        Once the client has said CLOSE there is nothing left to drop: the state stays, and only the
        reason is kept. The first reason counts.
        """
        if self.state in (State.DRAINING, State.CLOSED):
            self.error = self.error or error
        else:
            self._failed(error)

    def close_sent(self) -> State:
        """Take note that the server has sent its CLOSE, the last message of all.

        Returns
        -------
        State
            CLOSED.

        Raises
        ------
        ValueError
            If no CLOSE was due: nothing may follow it, and the client is not done.
        """
        if not self.owes_close:
            raise ValueError(f"no CLOSE is due in {_waiting(self.state)}")
        self._close_sent = True
        self.state = State.CLOSED
        return self.state

    def _keep(self, message: Message, before: State) -> None:
        match message:
            case ConfigFile() | ConfigText():
                self.config = message
            case Header():
                self.header = message
            case Text(text) if before is State.AWAIT_SETTINGS:
                self.settings = text

    def _failed(self, error: ChiStreamError) -> ChiStreamError:
        self.state = State.FAILED
        self.error = self.error or error
        return error


def state_diagram() -> str:
    """Draw the table of transitions as text.

    Returns
    -------
    str
        A line for each pair of states: from, to, and the messages that lead there.

    Examples
    --------
    >>> print(state_diagram().splitlines()[0])
    AWAIT_CONFIG   -> AWAIT_HEADER    ConfigFile, ConfigText
    """
    lines = [
        f"{before.name:14} -> {after.name:15} {_named(causes)}"
        for before in State
        for after, causes in _causes(before).items()
    ]
    lines += [
        f"{before.name:14} -> {State.CLOSED.name:15} (our CLOSE)"
        for before in (State.DRAINING, State.FAILED)
    ]
    lines.append(f"{'any other':14} -> {State.FAILED.name:15} (ProtocolError)")
    return "\n".join(lines)


def _causes(before: State) -> dict[State, list[type]]:
    causes: dict[State, list[type]] = {}
    for message, after in TRANSITIONS[before].items():
        causes.setdefault(after, []).append(message)
    return causes


def _named(causes: list[type]) -> str:
    if set(_EVERY_MESSAGE) <= set(causes):
        return "every other message"
    return ", ".join(cause.__name__ for cause in causes)


def _waiting(state: State) -> str:
    return f"state {state.name}: {state.value}"
