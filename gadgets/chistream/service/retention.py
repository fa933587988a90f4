"""Which raw data are kept, and which have had their time."""

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from chistream.service.journal import Journal, SessionRecord, SessionState
from chistream.service.limits import GIGABYTE, SpoolOptions
from chistream.service.spool import STREAM_SUFFIX, remove_spooled

_LOG = logging.getLogger(__name__)
_DAY = 86_400.0
_DONE = (SessionState.DELIVERED, SessionState.RECOVERED)


def expired(
    records: Iterable[SessionRecord], options: SpoolOptions, now: float
) -> list[SessionRecord]:
    """Choose the sessions whose raw data are to go.

    Parameters
    ----------
    records
        All sessions.
    options
        For how long what is kept.
    now
        Time since the epoch [s].

    Returns
    -------
    list of SessionRecord
        Those that ended too long ago, and of the others those that ended first, until the rest
        takes no more room than it may. Running and unfinished ones are never among them, nor failed
        ones if those are to be kept.
    """
    kept = [record for record in records if record.raw]
    going = sorted(
        (record for record in kept if _may_go(record, options)), key=lambda r: r.ended or 0.0
    )
    oldest = now - options.keep_days * _DAY
    n_bytes = sum(record.n_bytes for record in kept)
    chosen = []
    for record in going:
        if (record.ended or 0.0) <= oldest or n_bytes > options.keep_gb * GIGABYTE:
            chosen.append(record)
            n_bytes -= record.n_bytes
    return chosen


def prune(journal: Journal, options: SpoolOptions, now: float | None = None) -> list[SessionRecord]:
    """Remove the raw data, and results made again, of sessions that have had their time.

    Parameters
    ----------
    journal
        The sessions; those that lose their data stay in it.
    options
        For how long what is kept.
    now
        Time since the epoch [s]; the present by default.

    Returns
    -------
    list of SessionRecord
        The sessions whose data are gone.

    Raises
    ------
    OSError
        If something cannot be removed.
    """
    chosen = expired(journal.read_kept(), options, time.time() if now is None else now)
    for record in chosen:
        remove_data(record)
        journal.write(replace(record, raw="", outputs=()))
        _LOG.info("raw data of session %s removed", record.id)
    return chosen


def remove_data(record: SessionRecord) -> None:
    """Remove what a session left on disk."""
    if record.raw:
        remove_spooled(Path(record.raw))
    for output in record.outputs:
        Path(output).unlink(missing_ok=True)


def strays(folder: Path, records: Iterable[SessionRecord]) -> Iterator[SessionRecord]:
    """Yield a record for each kept stream that the journal does not know."""
    known = {record.id for record in records}
    for path in sorted(folder.glob(f"*{STREAM_SUFFIX}")):
        if path.stem not in known:
            status = path.stat()
            yield SessionRecord(
                path.stem,
                client="",
                state=SessionState.INTERRUPTED,
                started=status.st_mtime,
                ended=status.st_mtime,
                reason="the journal did not know it",
                n_bytes=status.st_size,
                raw=str(path),
            )


def _may_go(record: SessionRecord, options: SpoolOptions) -> bool:
    if record.state in _DONE:
        return True
    return record.state is SessionState.FAILED and not options.keep_failed
