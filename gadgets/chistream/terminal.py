"""What commands show on a terminal: bars, results, complaints."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

out = Console()
err = Console(stderr=True)

STOPPED = 130
"""Exit code of a command that Ctrl-C ended: 128 and the number of the signal."""

Report: TypeAlias = Callable[[str, float], None]
"""Told what is being done and how much of it is done, 0 to 1."""


def complain(words: str) -> None:
    """Say what went wrong."""
    escaped = words.replace("[", r"\[")
    err.print(f"[bold red]chistream:[/] {escaped}", highlight=False, soft_wrap=True)


def list_and_exit(settings: Iterable[tuple[str, str, str]]) -> None:
    """List settings by name, default and meaning, and end the command."""
    rows = (f"{name} = {default}\n    {text}" for name, default, text in settings)
    out.print("\n".join(rows), highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit


@contextmanager
def stoppable(words: str) -> Iterator[None]:
    """Take Ctrl-C for what it is, the person's own wish: say what it left, end as shells expect."""
    try:
        yield
    except KeyboardInterrupt:
        complain(words)
        raise typer.Exit(STOPPED) from None


@contextmanager
def progress(*, hidden: bool) -> Iterator[Report]:
    """Show a bar on a terminal; elsewhere, and for jobs of a moment, nothing."""
    columns = (
        TextColumn("{task.description:24}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=err, transient=True, disable=hidden or not err.is_terminal
    ) as bars:
        tasks: dict[str, TaskID] = {}

        def report(text: str, fraction: float) -> None:
            if text not in tasks:
                tasks[text] = bars.add_task(text, total=1.0)
            bars.update(tasks[text], completed=fraction)

        yield report


def show(content: object, text: str, *, as_json: bool) -> None:
    """Print a result, for programs or for people."""
    if as_json:
        out.print(json.dumps(content), highlight=False, soft_wrap=True, markup=False)
    else:
        out.print(text, highlight=False, soft_wrap=True, markup=False)
