"""The command between the forms of raw data: convert."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from chistream.commands.shared import AsJson, Group
from chistream.terminal import show

Form: TypeAlias = Literal["auto", "hdf5", "stream", "mrd2"]

_ENDINGS = {".h5": "hdf5", ".hdf5": "hdf5", ".mrd2": "mrd2"}


def convert(
    raw: Annotated[Path, typer.Argument(metavar="RAW", help="Raw data or images, in any form.")],
    path: Annotated[Path, typer.Argument(metavar="OUT", help="File to write.")],
    form: Annotated[
        Form,
        typer.Option(
            "--to",
            help="hdf5 (ISMRMRD), stream (MRD messages, as ismrmrd_hdf5_to_stream writes them) or "
            "mrd2 (MRD version 2); auto: by the ending, .h5, .mrd2, else stream.",
        ),
    ] = "auto",
    group: Group = "dataset",
    as_json: AsJson = False,
) -> None:
    """Convert between ISMRMRD files, MRD streams and MRD version 2."""
    from chistream.errors import SettingsError
    from chistream.raw_files import kind_of_file, read_raw_file, write_raw_file

    before = kind_of_file(raw)
    if path.exists() and path.samefile(raw):
        raise SettingsError(f"{path} is the file to read: give another to write")
    kind = _ENDINGS.get(path.suffix.lower(), "stream") if form == "auto" else form
    write_raw_file(path, read_raw_file(raw, group), kind)  # type: ignore[arg-type]  # one of three
    result = {"raw": str(raw), "from": before, "file": str(path), "to": kind}
    show(result, f"wrote {path} ({kind})", as_json=as_json)
