"""The command for pipes: stream."""

import os
import sys
from typing import Annotated

import typer

from chistream.commands.shared import Assignments
from chistream.terminal import complain, err


def stream(
    config: Annotated[
        str | None,
        typer.Option(
            "--config", help="Chain: cardiac_qsm, qsm, echoes. Default: what the stream names."
        ),
    ] = None,
    assignments: Assignments = None,
) -> None:
    """Reconstruct from standard input to standard output, both MRD streams.

    Fits between ISMRMRD's own tools: ismrmrd_hdf5_to_stream -i raw.h5 --use-stdout | chistream
    stream | ismrmrd_stream_to_hdf5 --use-stdin -o images.h5. What there is to say goes to standard
    error.
    """
    from chistream.config import parse_assignments
    from chistream.piping import reconstruct_stream

    if sys.stdin.isatty() or sys.stdout.isatty():
        raise typer.BadParameter("give it a pipe or a file: RAW | chistream stream > IMAGES")
    values = parse_assignments(assignments or [])
    with os.fdopen(os.dup(1), "wb") as target, os.fdopen(os.dup(0), "rb", buffering=0) as source:
        # Whatever a library may print is not to get into the images.
        os.dup2(2, 1)
        try:
            n_images = reconstruct_stream(source, target, _say, chain=config, values=values)
        except BrokenPipeError:
            # What is still in the buffer has nowhere to go: not to be tried again at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), target.fileno())
            complain("nobody takes the images any more")
            raise typer.Exit(1) from None
    err.print(f"{n_images} images", highlight=False)


def _say(words: str) -> None:
    err.print(words, highlight=False, markup=False, soft_wrap=True)
