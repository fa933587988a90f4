"""Every message in every state does what the table says, and the table is what the page shows."""

import numpy as np
import pytest

from chistream.errors import ProtocolError, ReconstructionError, TruncatedMessage, UnexpectedMessage
from chistream.stream import session as session_module
from chistream.stream.messages import (
    ACQUISITION_HEAD,
    IMAGE_HEAD,
    WAVEFORM_HEAD,
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
    new_head,
)
from chistream.stream.session import TRANSITIONS, ServerSession, State, state_diagram

READOUT = Acquisitions(
    np.zeros(1, ACQUISITION_HEAD), np.zeros((1, 0, 0), np.complex64), np.zeros((1, 0, 0), "f4")
)
IMAGE = Image(new_head(IMAGE_HEAD, data_type=5), "", np.zeros((0, 0, 0, 0), np.float32))
WAVEFORM = Waveform(new_head(WAVEFORM_HEAD), np.zeros((0, 0), np.uint32))
CONFIG, CONFIG_TEXT, HEADER = ConfigFile("qsm"), ConfigText("<x/>"), Header("<h/>")
TEXT, QUERY, CLOSE = Text("{}"), Query(1, "gadgetron::info"), Close()
MESSAGES: list[Message] = [
    *(CONFIG, CONFIG_TEXT, HEADER, TEXT, QUERY, CLOSE),
    *(Response(1, "ok"), PeerError("no"), READOUT, IMAGE, WAVEFORM),
]
WAY: dict[State, list[Message]] = {
    State.AWAIT_CONFIG: [],
    State.AWAIT_HEADER: [CONFIG],
    State.AWAIT_SETTINGS: [CONFIG, HEADER],
    State.STREAMING: [CONFIG, HEADER, TEXT],
    State.DRAINING: [CONFIG, HEADER, CLOSE],
    State.CLOSED: [CLOSE],
}
DATA = {Acquisitions: State.STREAMING, Waveform: State.STREAMING, Image: State.STREAMING}
EXPECTED: dict[State, dict[type, State]] = {
    State.AWAIT_CONFIG: {
        ConfigFile: State.AWAIT_HEADER,
        ConfigText: State.AWAIT_HEADER,
        Query: State.AWAIT_CONFIG,
        Close: State.CLOSED,
    },
    State.AWAIT_HEADER: {
        Header: State.AWAIT_SETTINGS,
        Query: State.AWAIT_HEADER,
        Text: State.AWAIT_HEADER,
        Close: State.CLOSED,
    },
    State.AWAIT_SETTINGS: {
        **DATA,
        Text: State.STREAMING,
        Query: State.AWAIT_SETTINGS,
        Close: State.DRAINING,
    },
    State.STREAMING: {
        **DATA,
        Text: State.STREAMING,
        Query: State.STREAMING,
        Close: State.DRAINING,
    },
    State.DRAINING: {},
    State.CLOSED: {},
    State.FAILED: {
        **{type(message): State.FAILED for message in MESSAGES},
        Close: State.DRAINING,
    },
}


def session_in(state: State) -> ServerSession:
    """Return a session that has come to a state by messages."""
    session = ServerSession()
    for message in WAY.get(state, []):
        session.receive(message)
    if state is State.FAILED:
        session.fail(ProtocolError("no message"))
    assert session.state is state
    return session


@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_every_message_in_every_state(state: State, message: Message) -> None:
    session = session_in(state)
    after = EXPECTED[state].get(type(message))
    if after is None:
        with pytest.raises(UnexpectedMessage, match=f"{type(message).__name__} .*{state.name}"):
            session.receive(message)
        assert session.state is State.FAILED
        assert isinstance(session.error, UnexpectedMessage)
    else:
        assert session.receive(message) is session.state is after


@pytest.mark.parametrize(
    ("state", "after"),
    [
        (State.AWAIT_CONFIG, State.CLOSED),
        (State.AWAIT_HEADER, None),
        (State.AWAIT_SETTINGS, None),
        (State.STREAMING, None),
        (State.DRAINING, State.DRAINING),
        (State.CLOSED, State.CLOSED),
        (State.FAILED, State.DRAINING),
    ],
)
def test_the_end_of_the_bytes_in_every_state(state: State, after: State | None) -> None:
    session = session_in(state)
    if after is None:
        with pytest.raises(TruncatedMessage, match="without CLOSE"):
            session.receive_eof()
        assert session.state is State.FAILED
    else:
        assert session.receive_eof() is session.state is after


def test_what_opens_a_session_is_kept() -> None:
    session = ServerSession()
    for message in (CONFIG_TEXT, Text("hello"), HEADER, Text('{"parameters": {}}'), TEXT, READOUT):
        session.receive(message)
    assert session.config is CONFIG_TEXT
    assert session.header is HEADER
    assert session.settings == '{"parameters": {}}'


def test_a_text_after_the_first_data_is_no_settings() -> None:
    session = session_in(State.AWAIT_SETTINGS)
    session.receive(READOUT)
    session.receive(TEXT)
    assert session.settings is None


def test_a_failed_session_keeps_nothing_of_what_it_drops() -> None:
    session = session_in(State.FAILED)
    session.receive(CONFIG)
    session.receive(HEADER)
    assert (session.config, session.header) == (None, None)


@pytest.mark.parametrize(
    ("state", "owes"),
    [(state, state in (State.DRAINING, State.CLOSED, State.FAILED)) for state in State],
)
def test_a_close_is_owed_once_the_client_has_closed_or_the_session_has_failed(
    state: State, owes: bool
) -> None:
    session = session_in(state)
    assert session.owes_close is owes
    if owes:
        assert session.close_sent() is session.state is State.CLOSED
    assert not session.owes_close
    with pytest.raises(ValueError, match="no CLOSE is due"):
        session.close_sent()


def test_a_client_that_only_connected_is_owed_nothing() -> None:
    session = ServerSession()
    session.receive_eof()
    assert not session.owes_close


def test_a_chain_that_fails_while_draining_does_not_wait_for_more_bytes() -> None:
    session = session_in(State.DRAINING)
    reason = ReconstructionError("field", "no echoes")
    session.fail(reason)
    assert session.state is State.DRAINING
    assert session.error is reason


@pytest.mark.parametrize("state", [State.STREAMING, State.DRAINING])
def test_the_first_reason_counts(state: State) -> None:
    session = session_in(state)
    first = ReconstructionError("field", "no echoes")
    session.fail(first)
    session.fail(ProtocolError("later"))
    assert session.error is first


def test_the_diagram_on_the_page_is_the_table() -> None:
    page = session_module.__doc__ or ""
    for line in state_diagram().splitlines():
        assert f"    {line}\n" in page
    assert page.count(" -> ") == len(state_diagram().splitlines())


def test_the_diagram_shows_every_transition() -> None:
    drawn = state_diagram()
    for before, causes in TRANSITIONS.items():
        for after in causes.values():
            assert f"{before.name:14} -> {after.name:15}" in drawn
