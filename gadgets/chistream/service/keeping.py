"""What the service keeps of its sessions: raw data, journal, results made again."""

import contextlib
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from chistream.service.control import SpoolOrder
from chistream.service.journal import (
    Chronicle,
    Journal,
    Ownership,
    SessionRecord,
    SessionState,
    is_owner_alive,
)
from chistream.service.limits import SpoolOptions
from chistream.service.retention import prune, strays
from chistream.service.spool import STREAM_SUFFIX, remove_spooled

_LOG = logging.getLogger(__name__)
_MAX_ATTEMPTS = 3
RAW, RESULTS, OWNERS = "raw", "results", "owners"
WISDOM, WISDOM_FILE = "CHISTREAM_WISDOM", "wisdom.json"
"""Environment variable and name of the file of `chistream.physics.wisdom`, which is not imported
here: the supervisor needs no FFTW."""


class Keeper:
    """The folder of a service: opened at its start, closed at its end.

    Parameters
    ----------
    options
        Where and how; None keeps nothing, and everything here does nothing.

    Attributes
    ----------
    chronicle
        Writes what becomes of sessions to the journal.

    Raises
    ------
    OSError
        If the folder cannot be made, or may not be used. A full disk is no reason not to serve.
    """

    def __init__(self, options: SpoolOptions | None) -> None:
        self._options = options
        self._journal: Journal | None = None
        self._ownership: Ownership | None = None
        if options is not None:
            self._make_folders(options)
            try:
                self._ownership = Ownership(options.folder / OWNERS)
                self._journal = Journal(options.folder)
                take_over(options.folder, self._journal)
            except OSError as error:
                _LOG.error("no journal is kept: %s", error)
        owner = "" if self._ownership is None else self._ownership.name
        self.chronicle = Chronicle(self._journal, owner)

    def _make_folders(self, options: SpoolOptions) -> None:
        try:
            make_folders(options.folder)
        except OSError as error:
            if options.is_needed:
                raise
            _LOG.warning("nothing is kept: %s; give --spool or --no-spool", error)

    def order(self, session: str) -> SpoolOrder | None:
        """Say where a worker is to keep its client's bytes; what is there of it goes."""
        if self._options is None:
            return None
        path = self.raw_path(session)
        remove_spooled(path)
        return SpoolOrder(str(path), self._options.fsync, self._options.fsync_seconds)

    def kept(self, session: str) -> SpoolOrder | None:
        """Return where the bytes of a client are kept that runs or ran; None if they are not."""
        if self._options is None or not self.raw_path(session).exists():
            return None
        path = str(self.raw_path(session))
        return SpoolOrder(path, self._options.fsync, self._options.fsync_seconds)

    def salvaged(self, session: str, n_bytes: int) -> None:
        """Take note that more of an ended session has been kept."""
        with contextlib.suppress(OSError):
            record = None if self._journal is None else self._journal.read(session)
            if self._journal is not None and record is not None:
                self._journal.write(replace(record, n_bytes=n_bytes))

    def raw_path(self, session: str) -> Path:
        """Return where the raw data of a session are."""
        assert self._options is not None  # noqa: S101
        return self._options.folder / RAW / f"{session}{STREAM_SUFFIX}"

    def result_path(self, session: str) -> Path:
        """Return where the result of a session goes that is run again."""
        assert self._options is not None  # noqa: S101
        return self._options.folder / RESULTS / f"{session}{STREAM_SUFFIX}"

    def begin(self, session: str, client: str) -> None:
        """Take note of a session that begins."""
        raw = None if self._options is None else self.raw_path(session)
        self.chronicle.begin(session, client, raw)

    def end(self, session: str, state: SessionState, reason: str) -> None:
        """Take note of a session's end, and remove what has had its time."""
        record = self.chronicle.running(session)
        if record is None:
            return
        if state is SessionState.LOOKED:
            if record.raw:
                remove_spooled(Path(record.raw))
            self.chronicle.forget(session)
            return
        if record.raw:
            self.chronicle.update(session, _size_of(Path(record.raw)))
        self.chronicle.end(session, state, reason)
        self.prune()

    def unfinished(self) -> list[SessionRecord]:
        """Return the scans whose result nobody has, and that may be run again."""
        if self._journal is None:
            return []
        return [record for record in self._journal.read_kept() if record.is_unfinished]

    def resumable(self) -> list[SessionRecord]:
        """Return the unfinished scans that have not failed to finish again and again."""
        return [record for record in self.unfinished() if record.attempts < _MAX_ATTEMPTS]

    def prune(self) -> None:
        """Remove what has had its time."""
        if self._journal is None or self._options is None:
            return
        try:
            prune(self._journal, self._options)
        except OSError as error:
            _LOG.warning("cannot remove raw data: %s", error)

    def close(self) -> None:
        """End this run of the service."""
        if self._journal is not None:
            self._journal.close()
        if self._ownership is not None:
            self._ownership.release()


def make_folders(folder: Path) -> None:
    """Make the folder of a service, for its owner alone.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in (RAW, RESULTS, OWNERS):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
        (folder / name).chmod(0o700)


def take_over(folder: Path, journal: Journal) -> None:
    """Find the sessions of runs of the service that ended unexpectedly, and say so.

    Parameters
    ----------
    folder
        Of the service.
    journal
        Its journal.

    Raises
    ------
    OSError
        If the journal cannot be written.
    """
    records = journal.read_kept()
    for record in records:
        if record.state is SessionState.RUNNING and not is_owner_alive(
            folder / OWNERS, record.owner
        ):
            size: dict[str, Any] = _size_of(Path(record.raw)) if record.raw else {}
            journal.write(
                replace(
                    record,
                    state=SessionState.INTERRUPTED,
                    reason="the service ended unexpectedly",
                    ended=round(time.time(), 3),
                    **size,
                )
            )
    for stray in strays(folder / RAW, records):
        journal.write(stray)


def _size_of(path: Path) -> dict[str, Any]:
    try:
        return {"n_bytes": path.stat().st_size}
    except OSError:
        return {"n_bytes": 0, "raw": ""}
