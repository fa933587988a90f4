"""The command for what the service has done: sessions."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chistream.commands import keeping
from chistream.commands.shared import AsJson
from chistream.errors import ChiStreamError
from chistream.terminal import complain, progress, show, stoppable

if TYPE_CHECKING:
    from chistream.service.journal import Journal, SessionRecord


@stoppable("stopped; the raw data are where they were")
def sessions(
    session: Annotated[str | None, typer.Argument(metavar="[ID]", help="Only this one.")] = None,
    rerun: Annotated[
        str | None, typer.Option(metavar="ID", help="Run this scan again from its raw data.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder for the result of --rerun. Default: rerun-ID.",
            show_default=False,
        ),
    ] = None,
    formats: Annotated[
        str, typer.Option("--format", help="mrd, nifti, dicom, png; several with commas.")
    ] = "mrd",
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove raw data that have had their time.")
    ] = False,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Only those whose result nobody has.")
    ] = False,
    spool: keeping.Spool = None,
    keep_days: keeping.KeepDays = 7.0,
    keep_gb: keeping.KeepGb = 50.0,
    keep_failed: keeping.KeepFailed = True,
    as_json: AsJson = False,
) -> None:
    """Tell what the service has done: client, state, timing, result, and where the raw data lie.

    --rerun gives what the client would have got, whatever ended the session then.
    """
    from chistream.service.limits import SpoolOptions, default_folder

    options = SpoolOptions(
        spool or default_folder(), keep_days=keep_days, keep_gb=keep_gb, keep_failed=keep_failed
    )
    with _journal(options.folder) as journal:
        if rerun is not None:
            from chistream.series.export import parse_formats

            target = folder or Path(f"rerun-{rerun}")
            _rerun(journal, _found(journal, rerun), target, parse_formats(formats), as_json=as_json)
        elif prune:
            from chistream.service.retention import prune as remove_old

            gone = [record.id for record in remove_old(journal, options)]
            show({"pruned": gone}, f"raw data of {len(gone)} scans removed", as_json=as_json)
        elif session is not None:
            record = _found(journal, session)
            show(record.as_dict(), "\n".join(_details(record)), as_json=as_json)
        else:
            records = [r for r in journal.read_all() if r.is_unfinished or not unfinished]
            show([r.as_dict() for r in records], "\n".join(_table(records)), as_json=as_json)


@contextmanager
def _journal(folder: Path) -> Iterator["Journal"]:
    from chistream.service.journal import Journal
    from chistream.service.keeping import take_over

    if not (folder / "journal.sqlite").is_file():
        raise typer.BadParameter(f"{folder} holds no journal of a service: give --spool FOLDER")
    journal = Journal(folder)
    try:
        take_over(folder, journal)
        yield journal
    finally:
        journal.close()


def _found(journal: "Journal", session: str) -> "SessionRecord":
    record = journal.read(session)
    if record is None:
        raise typer.BadParameter(f"the journal has no session {session}")
    return record


def _rerun(
    journal: "Journal",
    record: "SessionRecord",
    folder: Path,
    formats: Sequence[Any],
    *,
    as_json: bool,
) -> None:
    from dataclasses import replace

    from chistream import chain
    from chistream.offline import write_result
    from chistream.service.journal import SessionState
    from chistream.service.keeping import WISDOM, WISDOM_FILE
    from chistream.service.rerun import read_opening
    from chistream.service.rerun import rerun as run_again
    from chistream.service.spool import open_spooled

    if not record.raw:
        raise ChiStreamError(f"the raw data of session {record.id} are not kept (any more)")
    stream = open_spooled(Path(record.raw))
    os.environ.setdefault(WISDOM, str(Path(record.raw).parents[1] / WISDOM_FILE))
    chain.warm_up()
    header, settings = read_opening(stream)
    with progress(hidden=as_json) as report:
        again = run_again(stream, chain, record.id, lambda stage: report(stage, 0.5))
    files, results = write_result(again.images, header, settings, folder, formats)
    if record.is_unfinished and again.state is SessionState.DELIVERED:
        outputs = tuple(str(path.resolve()) for path in files)
        journal.write(replace(record, state=SessionState.RECOVERED, outputs=outputs, reason=""))
    content = {
        "session": record.id,
        "state": again.state.value,
        "reason": again.reason,
        "lost_bytes": stream.n_lost,
        "files": [str(path) for path in files],
        "texts": again.texts,
        "results": None if results is None else results.model_dump(mode="json"),
    }
    lines = [*again.texts, *(str(path) for path in files)]
    show(content, "\n".join(lines), as_json=as_json)
    if again.state is not SessionState.DELIVERED:
        complain(again.reason)
        raise typer.Exit(1)


def _table(records: Sequence["SessionRecord"]) -> Iterator[str]:
    form = "{:<13} {:<17} {:<15} {:<12} {:<12} {:>9} {:>8} {:>8}  {}"
    yield form.format(
        "id", "began", "client", "state", "chain", "readouts", "seconds", "MB kept", "reason"
    )
    for record in records:
        yield form.format(
            record.id,
            _clock(record.started),
            record.client,
            record.state.value,
            record.chain,
            record.n_readouts,
            round((record.ended or time.time()) - record.started, 1),
            round(record.n_bytes / 1e6, 1) if record.raw else "-",
            record.reason,
        ).rstrip()


def _details(record: "SessionRecord") -> Iterator[str]:
    for name, value in record.as_dict().items():
        shown = _clock(value) if name in ("started", "ended") and value else value
        yield f"{name:<11} {shown}"


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")
