"""What the service has done: a table of its sessions that outlives every process."""

import contextlib
import fcntl
import json
import logging
import os
import sqlite3
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any

_LOG = logging.getLogger(__name__)
_BUSY_SECONDS = 5.0
_OWN_FILE = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class SessionState(str, Enum):
    """What has become of a session."""

    RUNNING = "running"
    DELIVERED = "delivered"
    """The client has taken every image and CLOSE."""
    FAILED = "failed"
    """The client has been told why there is no result, or only a part of it."""
    UNDELIVERED = "undelivered"
    """The client left, or took nothing, before it had all."""
    CUT = "cut"
    """Ended by the service: a limit was reached, or it was shutting down."""
    DIED = "died"
    """Its process ended unexpectedly."""
    INTERRUPTED = "interrupted"
    """The service ended unexpectedly, or the machine."""
    RECOVERED = "recovered"
    """Run again from the raw data kept; the result lies on disk."""
    LOOKED = "looked"
    """A client that asked for no scan; the journal drops it."""
    REFUSED = "refused"
    """Turned away before it began."""


UNFINISHED = frozenset(
    {
        SessionState.UNDELIVERED,
        SessionState.CUT,
        SessionState.DIED,
        SessionState.INTERRUPTED,
    }
)
"""States of scans whose result nobody has, though their raw data may be kept."""


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """One session as the journal has it; nothing in it names a patient.

    Parameters
    ----------
    id
        Id of the session, as in the log.
    client
        Address of the client.
    state
        What has become of it.
    started, ended
        Times since the epoch [s]; ``ended`` is None while it runs.
    reason
        Why it is not delivered, in words; empty if it is.
    chain
        The chain that ran; empty before that is known.
    header
        What the scan is: matrix, echo times, field strength; no names.
    n_readouts, n_bytes, n_images
        Readouts taken in, bytes kept on disk, images sent.
    stages
        Durations by stage [s].
    result
        The numbers that the scan gave, as they were sent; empty for chains that measure nothing.
    raw
        The raw data kept; empty if they are not, or no longer.
    outputs
        Files of a result that was made again.
    attempts
        Times it was run.
    owner
        Which run of the service it belongs to.
    """

    id: str
    client: str
    state: SessionState = SessionState.RUNNING
    started: float = 0.0
    ended: float | None = None
    reason: str = ""
    chain: str = ""
    header: Mapping[str, Any] = field(default_factory=dict)
    n_readouts: int = 0
    n_bytes: int = 0
    n_images: int = 0
    stages: Mapping[str, float] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    raw: str = ""
    outputs: tuple[str, ...] = ()
    attempts: int = 1
    owner: str = ""

    @property
    def is_unfinished(self) -> bool:
        """Whether nobody has its result, though it could be made again."""
        return self.state in UNFINISHED and bool(self.raw)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "state": self.state.value, "outputs": list(self.outputs)}


_COLUMNS = tuple(one.name for one in fields(SessionRecord))
_JSON = ("header", "stages", "result", "outputs")
_CREATE = """
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY, client TEXT, state TEXT, started REAL, ended REAL, reason TEXT, chain TEXT,
    header TEXT, n_readouts INTEGER, n_bytes INTEGER, n_images INTEGER, stages TEXT, result TEXT,
    raw TEXT, outputs TEXT, attempts INTEGER, owner TEXT)
"""
_WRITE = """
INSERT OR REPLACE INTO sessions VALUES (
    :id, :client, :state, :started, :ended, :reason, :chain, :header, :n_readouts, :n_bytes,
    :n_images, :stages, :result, :raw, :outputs, :attempts, :owner)
"""
_READ_ALL = "SELECT * FROM sessions ORDER BY started, id"
_READ_KEPT = "SELECT * FROM sessions WHERE raw != '' OR state = 'running' ORDER BY started, id"
_READ_ONE = "SELECT * FROM sessions WHERE id = ?"
_DELETE = "DELETE FROM sessions WHERE id = ?"


class Journal:
    """The table of sessions, in SQLite with a write-ahead log, for its owner alone.

    Parameters
    ----------
    folder
        Where ``journal.sqlite`` lies.

    Raises
    ------
    OSError
        If it cannot be opened or is no journal.

    Notes
    -----
    Many processes may have it open at once: the command line reads while the service writes.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / "journal.sqlite"
        # SQLite gives its other files the mode of this one.
        os.close(os.open(path, _OWN_FILE, 0o600))
        try:
            self._base = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
            self._base.row_factory = sqlite3.Row
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=NORMAL")
            self._base.execute(_CREATE)
        except sqlite3.Error as error:
            raise OSError(f"{path} cannot be used as the journal: {error}") from None

    def write(self, record: SessionRecord) -> None:
        """Write a session, in the place of what was written of it before.

        Raises
        ------
        OSError
            If the disk is full, or broken.
        """
        values: dict[str, Any] = {name: getattr(record, name) for name in _COLUMNS}
        values["state"] = record.state.value
        values |= {name: json.dumps(values[name]) for name in _JSON}
        self._execute(_WRITE, values)

    def delete(self, session: str) -> None:
        """Forget a session.

        Raises
        ------
        OSError
            If the disk is full, or broken.
        """
        self._execute(_DELETE, (session,))

    def read(self, session: str) -> SessionRecord | None:
        """Return a session, None if there is none of this id."""
        rows = self._execute(_READ_ONE, (session,))
        return _record(rows[0]) if rows else None

    def read_all(self) -> list[SessionRecord]:
        """Return all sessions, in the order they began."""
        return [_record(row) for row in self._execute(_READ_ALL, ())]

    def read_kept(self) -> list[SessionRecord]:
        """Return those that run or have raw data: few, however long the journal is."""
        return [_record(row) for row in self._execute(_READ_KEPT, ())]

    def close(self) -> None:
        """Close it."""
        self._base.close()

    def _execute(
        self, statement: str, values: Mapping[str, Any] | tuple[str, ...]
    ) -> list[sqlite3.Row]:
        try:
            return self._base.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise OSError(f"the journal: {error}") from None


class Ownership:
    """Tells sessions of a service that lives from those of one that died.

    Each run of the service holds a lock on a file of its own for as long as it lives, however it
    ends; process ids would come again, and mean nothing in another container.

    Parameters
    ----------
    folder
        Where the files lie.

    Attributes
    ----------
    name
        Of this run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.name = uuid.uuid4().hex
        self._path = folder / f"{self.name}.lock"
        self._fd = os.open(self._path, _OWN_FILE | os.O_EXCL, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def is_alive(self, owner: str) -> bool:
        """Tell whether a run of the service still lives."""
        return is_owner_alive(self._folder, owner)

    def release(self) -> None:
        """End the run."""
        self._path.unlink(missing_ok=True)
        os.close(self._fd)


def is_owner_alive(folder: Path, owner: str) -> bool:
    """Tell whether a run of the service lives; what a dead one left behind is removed."""
    path = folder / f"{owner}.lock"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        path.unlink(missing_ok=True)
        return False
    finally:
        os.close(fd)


class Chronicle:
    """What runs, written to the journal as it changes; a full disk stops nothing.

    Parameters
    ----------
    journal
        The table; None keeps what runs in memory alone.
    owner
        Name of this run of the service.
    """

    def __init__(self, journal: Journal | None, owner: str) -> None:
        self._journal = journal
        self._owner = owner
        self._running: dict[str, SessionRecord] = {}
        self._unwritten: dict[str, SessionRecord] = {}

    def begin(self, session: str, client: str, raw: Path | None) -> None:
        """Take note of a session that begins."""
        record = SessionRecord(
            session,
            client,
            started=round(time.time(), 3),
            raw="" if raw is None else str(raw),
            owner=self._owner,
        )
        self._put(record)

    def resume(self, record: SessionRecord) -> None:
        """Take note of a session that is run again."""
        self._put(
            replace(
                record,
                state=SessionState.RUNNING,
                ended=None,
                attempts=record.attempts + 1,
                owner=self._owner,
            )
        )

    def update(self, session: str, values: Mapping[str, Any]) -> None:
        """Take note of what a session says of itself, by the names of `SessionRecord`."""
        known = {name: value for name, value in values.items() if name in _COLUMNS}
        if "state" in known:
            known["state"] = SessionState(known["state"])
        if session in self._running and known:
            self._put(replace(self._running[session], **known))

    def running(self, session: str) -> SessionRecord | None:
        """Return a session that runs."""
        return self._running.get(session)

    def end(self, session: str, state: SessionState, reason: str = "") -> SessionRecord | None:
        """Take note that a session is over; return what is known of it."""
        if session not in self._running:
            return None
        record = self._running[session]
        ended = record.ended or round(time.time(), 3)
        self._put(replace(record, state=state, reason=reason, ended=ended))
        return self._running.pop(session)

    def forget(self, session: str) -> None:
        """Drop a session that was none: a client that only looked."""
        self._running.pop(session, None)
        self._unwritten.pop(session, None)
        with _complaining():
            if self._journal is not None:
                self._journal.delete(session)

    def _put(self, record: SessionRecord) -> None:
        self._running[record.id] = record
        if self._journal is None:
            return
        self._unwritten[record.id] = record
        with _complaining():
            for session, unwritten in list(self._unwritten.items()):
                self._journal.write(unwritten)
                del self._unwritten[session]


@contextlib.contextmanager
def _complaining() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _LOG.warning("%s", error)


def _record(row: sqlite3.Row) -> SessionRecord:
    values = {name: row[name] for name in _COLUMNS}
    values |= {name: json.loads(values[name]) for name in _JSON}
    values["state"] = SessionState(values["state"])
    values["outputs"] = tuple(values["outputs"])
    return SessionRecord(**values)
