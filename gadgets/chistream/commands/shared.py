"""Options that several commands share, with their help."""

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set one value; may be repeated."),
]
RawFiles = Annotated[
    list[Path], typer.Argument(metavar="RAW...", help="Raw data: ISMRMRD files (HDF5).")
]
Group = Annotated[str, typer.Option(help="HDF5 group that holds the scan.")]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
AllowPublic = Annotated[
    bool,
    typer.Option("--public", help="Allow a --host that other machines can reach."),
]
Seed = Annotated[int | None, typer.Option(help="Seed of noise and breathing.")]
