"""Scans that an earlier run of the service left unfinished, run again from what was kept."""

import logging
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from chistream.service.clients import Client
from chistream.service.feeding import Feeder
from chistream.service.journal import SessionRecord, SessionState
from chistream.service.keeping import Keeper
from chistream.service.spool import open_spooled

_LOG = logging.getLogger(__name__)
_PARTIAL = ".partial"


class Resumer:
    """Gives the service unfinished scans as if their clients had come again.

    Parameters
    ----------
    keeper
        What is kept; the results go there as well.
    records
        The scans.
    """

    def __init__(self, keeper: Keeper, records: list[SessionRecord]) -> None:
        self._keeper = keeper
        self._left = deque(records)
        self._running: dict[str, tuple[Feeder, _Answer]] = {}

    def __len__(self) -> int:
        return len(self._left)

    def begin(self) -> Client:
        """Begin the next scan; its connection leads to threads that have its data."""
        record = self._left.popleft()
        answer = _Answer(self._keeper.result_path(record.id))
        feeder = Feeder(_pieces(Path(record.raw)), answer.take)
        self._running[record.id] = feeder, answer
        self._keeper.chronicle.resume(record)
        _LOG.info("running again, attempt %d", record.attempts + 1, extra={"session": record.id})
        feeder.start()
        return Client(feeder.connection, record.id)

    def owns(self, client: Client) -> bool:
        """Tell whether a client is one of these."""
        return client.session in self._running

    def end(self, client: Client, state: SessionState, reason: str) -> tuple[SessionState, str]:
        """Finish a scan; return what has become of it."""
        feeder, answer = self._running.pop(client.session)
        client.close()
        feeder.join()
        if state is SessionState.LOOKED:
            answer.discard()
            return SessionState.FAILED, "the raw data kept hold no scan"
        if state is not SessionState.DELIVERED:
            answer.discard()
            return state, reason
        outputs = (str(answer.finish()),)
        self._keeper.chronicle.update(client.session, {"outputs": outputs})
        return SessionState.RECOVERED, ""


class _Answer:
    """What came back, in a file that has its name only once it is whole."""

    def __init__(self, path: Path) -> None:
        self._path, self._partial = path, path.with_suffix(_PARTIAL)
        self._partial.unlink(missing_ok=True)
        self._partial.touch(mode=0o600)
        self._file = self._partial.open("ab")

    def take(self, piece: bytes) -> None:
        self._file.write(piece)

    def finish(self) -> Path:
        self._file.close()
        return self._partial.rename(self._path)

    def discard(self) -> None:
        self._file.close()
        self._partial.unlink(missing_ok=True)


def _pieces(path: Path) -> Iterator[bytes]:
    stream = open_spooled(path)
    if stream.n_lost:
        _LOG.warning("%s: the last %d bytes are torn and left out", path.name, stream.n_lost)
    yield from stream.pieces()
