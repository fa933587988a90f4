"""A scan run again from what was kept of it, in this process, as the service would run it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chistream.config import Settings
from chistream.errors import FileFormatError
from chistream.service.control import StreamPosition
from chistream.service.feeding import Feeder
from chistream.service.journal import SessionState
from chistream.service.limits import SessionLimits
from chistream.service.request import read_request
from chistream.service.session import ChainModule, Session
from chistream.service.spool import SpooledStream
from chistream.stream.codec import MessageReader
from chistream.stream.header import ScanHeader, read_header
from chistream.stream.messages import ConfigFile, ConfigText, Header, Image, Message, Text

_PATIENCE = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Rerun:
    """What a scan gave when it was run again.

    Parameters
    ----------
    messages
        All that its client would have got, CLOSE included.
    state, reason
        What became of it.
    stages
        Durations by stage [s].
    """

    messages: Sequence[Message]
    state: SessionState
    reason: str
    stages: Mapping[str, float]

    @property
    def images(self) -> list[Image]:
        """The images."""
        return [message for message in self.messages if isinstance(message, Image)]

    @property
    def texts(self) -> list[str]:
        """What the client would have been told."""
        return [message.text for message in self.messages if isinstance(message, Text)]


def rerun(
    stream: SpooledStream,
    chains: ChainModule,
    session: str,
    tell: Callable[[str], None] = lambda _stage: None,
) -> Rerun:
    """Run a scan again; byte for byte what its client would have got, but for durations.

    Parameters
    ----------
    stream
        The raw data.
    chains
        The registered chains.
    session
        Id of the session.
    tell
        Told the stage it is in.

    Returns
    -------
    Rerun
        What came of it.
    """
    received: list[Message] = []
    reader = MessageReader()

    def take(piece: bytes) -> None:
        reader.feed(piece)
        received.extend(reader)

    said: dict[str, Any] = {}

    def hear(report: Mapping[str, Any]) -> None:
        said.update(report.get("journal", {}))
        if "pulse" in report:
            tell(report["pulse"]["stage"])

    feeder = Feeder(stream.pieces(), take)
    fd = StreamPosition.create_fd()
    # Nobody waits at the other end: only the limits of sizes mean anything.
    limits = SessionLimits(idle_seconds=_PATIENCE, delivery_seconds=_PATIENCE)
    with feeder.connection:
        feeder.start()
        Session(feeder.connection, StreamPosition(fd), chains, limits, session, hear).run()
    feeder.join()
    return Rerun(received, SessionState(said["state"]), said["reason"], said["stages"])


def read_opening(stream: SpooledStream) -> tuple[ScanHeader, Settings]:
    """Read what opens a kept stream: the header of the scan and its client's settings.

    Raises
    ------
    FileFormatError
        If it does not begin with a configuration and a header.
    ChiStreamError
        If one of them is unsound.
    """
    opening: list[Message] = []
    reader = MessageReader()
    for piece in stream.pieces():
        reader.feed(piece)
        opening += reader
        if len(opening) > 2:
            break
    match opening:
        case [ConfigFile() | ConfigText() as config, Header(xml), Text(text), *_]:
            return read_header(xml), read_request(config).updated(text).settings
        case [ConfigFile() | ConfigText() as config, Header(xml), *_]:
            return read_header(xml), read_request(config).settings
    raise FileFormatError(f"{stream.path} does not begin with a configuration and a header")
