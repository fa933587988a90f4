"""The commands for Gadgetron: install the chains, listen."""

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from chistream.commands.shared import AllowPublic
from chistream.terminal import complain, out

app = typer.Typer(
    help="Install the chains for Gadgetron, or serve its <connect> nodes.", no_args_is_help=True
)


@app.command("install")
def gadgetron_install(
    folder: Annotated[Path, typer.Argument(help="Gadgetron's share/gadgetron/config.")],
    guard: Annotated[
        bool,
        typer.Option(
            help="Also let the Python modules that Gadgetron starts in this environment end with "
            "it; without, those it leaves before their scan begins run on at full load."
        ),
    ] = True,
) -> None:
    """Copy the chains' XML files to where Gadgetron looks for them."""
    from chistream.external.guard import install_guard
    from chistream.gadgetron import install_chains

    for path in install_chains(folder):
        out.print(str(path), highlight=False, soft_wrap=True)
    if guard:
        try:
            out.print(str(install_guard()), highlight=False, soft_wrap=True)
        except OSError as error:
            complain(f"the chains are installed, but not the guard: {error}")
            raise typer.Exit(1) from None


@app.command("listen")
def gadgetron_listen(
    chain: Annotated[str, typer.Argument(help="Chain to run, or a part of one.")] = "cardiac_qsm",
    host: Annotated[
        str, typer.Option(help="Address to listen on; localhost is 127.0.0.1 and ::1.")
    ] = "localhost",
    port: Annotated[int, typer.Option(help="TCP port.")] = 18000,
    max_connections: Annotated[int, typer.Option(help="Connections at once; others wait.")] = 16,
    allow_public: AllowPublic = False,
) -> None:
    """Serve Gadgetron's <connect port="..."/> nodes until stopped.

    Stops on SIGTERM or Ctrl-C, after the connections there are.
    """
    from chistream.gadgetron import listen
    from chistream.service.options import check_address

    try:
        check_address(host, allow_public=allow_public)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    listen(port, chain, host=host, max_connections=max_connections, stop=stop)
