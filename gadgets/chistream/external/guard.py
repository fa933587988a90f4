"""No gadget outlives its Gadgetron.

``python -m gadgetron`` waits for the configuration and the header before it loads the module it is
to run, and its reader asks an ended connection for more, for ever, at full load. A line in a
``.pth`` file of the environment arms this guard before that.
"""

import os
import socket
import sysconfig
import threading
import time
from pathlib import Path
from typing import Any

PTH_NAME = "chistream_gadgetron.pth"
PTH_LINE = (
    'import sys; sys.orig_argv[1:3] == ["-m", "gadgetron"] '
    'and __import__("chistream.external.guard", fromlist=["arm"]).arm()\n'
)
"""What the interpreter runs at its start: nothing, but in Gadgetron's own processes."""

_SECONDS = 1.0


class EndingSocket(socket.socket):
    """A socket whose end is an error; ``gadgetron`` would ask it for more for ever."""

    def recv(self, n_bytes: int, flags: int = 0, /) -> bytes:
        """Receive, as a socket does.

        Raises
        ------
        EOFError
            If the other side has ended the connection.
        """
        received = super().recv(n_bytes, flags)
        if n_bytes and not received:
            raise EOFError("the other side ended the connection")
        return received


def arm() -> None:
    """Let this process end with its connection, and with the process that started it."""
    parent = os.getppid()
    connect = socket.create_connection

    def create_connection(*arguments: Any, **options: Any) -> socket.socket:  # noqa: ANN401
        return EndingSocket(fileno=connect(*arguments, **options).detach())

    socket.create_connection = create_connection
    threading.Thread(target=_end_with, args=(parent,), name="guard", daemon=True).start()


def install_guard(folder: Path | None = None) -> Path:
    """Arm the guard in every process that Gadgetron starts in this environment.

    Parameters
    ----------
    folder
        Where the interpreter looks for ``.pth`` files. Default: its ``site-packages``.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    OSError
        If it may not be written.
    """
    path = (folder or Path(sysconfig.get_path("purelib"))) / PTH_NAME
    path.write_text(PTH_LINE)
    return path


def _end_with(parent: int) -> None:
    # Not the kernel's signal at the parent's death: that is one at the death of the parent's
    # thread, and Gadgetron starts modules from threads that end.
    while os.getppid() == parent:
        time.sleep(_SECONDS)
    os._exit(1)
