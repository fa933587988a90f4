"""The commands for Gadgetron: install the chains, listen."""

from pathlib import Path
from typing import Annotated

import typer

from chistream.commands.shared import AllowPublic, Host
from chistream.terminal import out

app = typer.Typer(
    help="Install the chains for Gadgetron, or serve its <connect> nodes.", no_args_is_help=True
)


@app.command("install")
def gadgetron_install(
    folder: Annotated[Path, typer.Argument(help="Gadgetron's share/gadgetron/config.")],
) -> None:
    """Copy the chains' XML files to where Gadgetron looks for them."""
    from chistream.gadgetron import install_chains

    for path in install_chains(folder):
        out.print(str(path), highlight=False, soft_wrap=True)


@app.command("listen")
def gadgetron_listen(
    chain: Annotated[str, typer.Argument(help="Chain to run.")] = "cardiac_qsm",
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(help="TCP port.")] = 18000,
    allow_public: AllowPublic = False,
) -> None:
    """Serve Gadgetron's <connect port="..."/> nodes until stopped."""
    from chistream.gadgetron import listen
    from chistream.service.options import check_address

    try:
        check_address(host, allow_public=allow_public)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    listen(port, chain, host=host)
