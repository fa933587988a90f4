"""ChiStream's chains as external gadgets of Gadgetron.

Gadgetron runs ``python -m gadgetron PORT chistream.gadgetron TARGET``, where TARGET is one of the
functions below, or connects to a `listen` that runs already. It sends the configuration of the
node, the header, the data and CLOSE; it takes images, arrays of images, and CLOSE.

References
----------
.. [1] Gadgetron 4.7.2, ``gadgetron/core/nodes/external`` and ``nodes/common/Serialization.cpp``.
   https://github.com/gadgetron/gadgetron
"""

import threading
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from chistream.external import listening
from chistream.external.serving import Connection, serve


def cardiac_qsm(connection: Connection) -> None:
    """Run the chain ``cardiac_qsm`` on a connection from Gadgetron."""
    serve(connection, "cardiac_qsm")


def cardiac_qsm_echoes(connection: Connection) -> None:
    """Run its first part: from readouts to complex echoes."""
    serve(connection, "cardiac_qsm_echoes")


def cardiac_qsm_field(connection: Connection) -> None:
    """Run its second part: from complex echoes to the field."""
    serve(connection, "cardiac_qsm_field")


def cardiac_qsm_susceptibility(connection: Connection) -> None:
    """Run its third part: from the field to susceptibility and numbers."""
    serve(connection, "cardiac_qsm_susceptibility")


def qsm(connection: Connection) -> None:
    """Run the chain ``qsm`` on a connection from Gadgetron."""
    serve(connection, "qsm")


def qsm_echoes(connection: Connection) -> None:
    """Run its first part: from readouts to complex echoes."""
    serve(connection, "qsm_echoes")


def qsm_field(connection: Connection) -> None:
    """Run its second part: from complex echoes to the field."""
    serve(connection, "qsm_field")


def qsm_susceptibility(connection: Connection) -> None:
    """Run its third part: from the field to susceptibility."""
    serve(connection, "qsm_susceptibility")


def echoes(connection: Connection) -> None:
    """Run the chain ``echoes`` on a connection from Gadgetron."""
    serve(connection, "echoes")


def passthrough(connection: Connection) -> None:
    """Run the chain ``passthrough`` on a connection from Gadgetron."""
    serve(connection, "passthrough")


HANDLERS: dict[str, Callable[[Connection], None]] = {
    handler.__name__: handler
    for handler in (
        cardiac_qsm,
        cardiac_qsm_echoes,
        cardiac_qsm_field,
        cardiac_qsm_susceptibility,
        qsm,
        qsm_echoes,
        qsm_field,
        qsm_susceptibility,
        echoes,
        passthrough,
    )
}
"""The targets by name."""


def listen(
    port: int,
    node: str = "cardiac_qsm",
    *,
    host: str = "localhost",
    max_connections: int = 16,
    on_listening: Callable[[str, int], None] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Wait for Gadgetron's ``<connect>``; see `chistream.external.listening.listen`."""
    listening.listen(
        port,
        node,
        HANDLERS,
        host=host,
        max_connections=max_connections,
        on_listening=on_listening,
        stop=stop,
    )


def install_chains(folder: Path) -> list[Path]:
    """Copy the chains' XML files to where Gadgetron looks for them.

    Parameters
    ----------
    folder
        Gadgetron's ``share/gadgetron/config``.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    OSError
        If the folder is missing or may not be written.
    """
    written = []
    for chain in sorted(
        files("chistream").joinpath("chains").iterdir(), key=lambda file: file.name
    ):
        if chain.name.endswith(".xml"):
            target = folder / f"chistream_{chain.name}"
            target.write_text(chain.read_text())
            written.append(target)
    return written
