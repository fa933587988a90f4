"""A worker process: gets ready, serves one client, ends.

``python -m chistream.service.worker FD`` is started by the supervisor alone; FD is the inherited
end of its control socket.
"""

import ctypes
import faulthandler
import importlib
import logging
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import cast

from chistream.service.control import (
    READY,
    SHUTTING_DOWN,
    SpoolOrder,
    StreamPosition,
    WorkerSetup,
    receive_cut,
    receive_order,
    receive_setup,
    send_report,
)
from chistream.service.logs import configure_logging
from chistream.service.session import ChainModule, Session, SessionCut
from chistream.service.spool import SpoolWriter

_LOG = logging.getLogger(__name__)
_PR_SET_PDEATHSIG = 1


def main(control_fd: int) -> int:
    """Get ready, wait for a client, serve it.

    Parameters
    ----------
    control_fd
        Inherited end of the control socket.

    Returns
    -------
    int
        Exit status: 0 when the session ended in order, whatever its result, or no client came.
    """
    faulthandler.enable()
    control = socket.socket(fileno=control_fd)
    _die_with_the_supervisor()
    try:
        setup = receive_setup(control)
        chains = _prepare(setup)
        control.send(READY)
        order = receive_order(control)
    except (EOFError, ConnectionError):
        return 0
    finally:
        # Left open: its end is the end of this process, and the supervisor waits for just that.
        control.detach()
    configure_logging(setup.log_style, order.session)
    if wisdom := sys.modules.get("chistream.physics.wisdom"):
        wisdom.refresh()
    with socket.socket(fileno=order.client_fd) as connection:
        position = StreamPosition(order.position_fd)
        channel = socket.socket(fileno=control_fd)
        _limit_memory(setup.limits.memory_bytes)
        session = Session(
            connection,
            position,
            chains,
            setup.limits,
            order.session,
            lambda report: send_report(channel, report),
            _open_spool(order.spool),
        )
        signal.signal(signal.SIGTERM, lambda _signal, _frame: _cut(channel))
        session.run()
        channel.detach()
    return 0


def _die_with_the_supervisor() -> None:
    """Have the kernel kill this process when the supervisor ends, however that ends.

    An idle worker would see its control socket close, but one that computes does not look.
    """
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(0)


def _prepare(setup: WorkerSetup) -> ChainModule:
    """Import, and compile, what a session needs, so that the client does not wait for it."""
    sys.path[:] = setup.module_search_path
    configure_logging(setup.log_style, f"worker {os.getpid()}")
    chains = cast("ChainModule", importlib.import_module(setup.chain_module))
    chains.warm_up()
    return chains


def _open_spool(order: SpoolOrder | None) -> SpoolWriter | OSError | None:
    if order is None:
        return None
    try:
        return SpoolWriter(Path(order.path), order.fsync, order.fsync_seconds)
    except OSError as error:
        return error


def _limit_memory(n_bytes: int) -> None:
    """Have allocations fail beyond a limit, which a stage survives to tell of, on top of now."""
    if not n_bytes:
        return
    status = Path("/proc/self/status").read_text().splitlines()
    (used,) = (int(line.split()[1]) * 1024 for line in status if line.startswith("VmData:"))
    resource.setrlimit(resource.RLIMIT_DATA, (used + n_bytes, resource.RLIM_INFINITY))


def _cut(channel: socket.socket) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SessionCut(receive_cut(channel) or SHUTTING_DOWN)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
