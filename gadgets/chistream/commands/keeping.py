"""Options of the service and of its journal: what is kept where, for how long, and the limits."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chistream.terminal import list_and_exit

if TYPE_CHECKING:
    from chistream.service.limits import SpoolOptions


def _list_limits(asked: bool) -> None:
    if asked:
        from chistream.service.limits import describe_limits

        list_and_exit(describe_limits())


Spool = Annotated[
    Path | None,
    typer.Option(
        "--spool",
        metavar="FOLDER",
        help="Where raw data and the journal are kept. Default: CHISTREAM_SPOOL, or "
        "~/.local/state/chistream.",
        show_default=False,
    ),
]
NoSpool = Annotated[bool, typer.Option("--no-spool", help="Keep no raw data and no journal.")]
Fsync = Annotated[
    str,
    typer.Option(
        help="When the disk is waited for: never, interval (once a second), or each piece. A power "
        "failure can lose what came since; a process that dies loses nothing."
    ),
]
KeepDays = Annotated[
    float, typer.Option(min=0, help="Remove raw data of delivered scans after so many days.")
]
KeepGb = Annotated[
    float, typer.Option(min=0, help="Remove the oldest of them beyond so many GB in all.")
]
KeepFailed = Annotated[
    bool,
    typer.Option(
        "--keep-failed/--drop-failed", help="Spare raw data of failed scans, or treat them alike."
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Run scans again that the last run left unfinished.")
]
WhenFull = Annotated[
    str, typer.Option(help="What a client beyond --max-sessions does: wait, or refuse it.")
]
MemoryGb = Annotated[
    float,
    typer.Option(min=0, help="Memory for all scans together; the largest is ended. 0: no limit."),
]
ShutdownSeconds = Annotated[
    float, typer.Option(min=0, help="Time that running scans get to finish at the end.")
]
SessionLimit = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar="NAME=VALUE",
        help="Set one limit of each session; may be repeated. See --list-limits.",
    ),
]
ListLimits = Annotated[
    bool,
    typer.Option(
        "--list-limits", callback=_list_limits, is_eager=True, help="List what --limit can set."
    ),
]


def spool_options(
    folder: Path | None, *, fsync: str, keep_days: float, keep_gb: float, keep_failed: bool
) -> "SpoolOptions":
    """Make options of what a person chose.

    Raises
    ------
    ValueError
        If a value makes no sense.
    """
    from chistream.service.limits import SpoolOptions, default_folder
    from chistream.service.spool import parse_fsync

    return SpoolOptions(
        folder or default_folder(),
        fsync=parse_fsync(fsync),
        keep_days=keep_days,
        keep_gb=keep_gb,
        keep_failed=keep_failed,
        is_needed=folder is not None,
    )
