"""What the supervisor and a worker say to each other, over a socket pair and one shared byte."""

import contextlib
import json
import mmap
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any

from chistream.service.limits import SessionLimits
from chistream.service.logs import LogStyle
from chistream.service.spool import FsyncPolicy

_MAX_BYTES = 2**17
READY = b"ready"
SHUTTING_DOWN = "The service is shutting down; this scan could not be finished."


class Position(IntEnum):
    """Where a worker is in the stream to its client."""

    UNTOUCHED = 0
    """Nothing has been read or sent; another worker can still take the client."""
    BETWEEN = 1
    """Whole messages have been sent; another may follow."""
    INSIDE = 2
    """A message is being sent; nothing else may be put behind it."""
    CLOSED = 3
    """CLOSE has been sent; nothing may follow."""


class StreamPosition:
    """One byte, shared with the supervisor, that outlives the worker.

    A worker killed at any instruction leaves in it whether its client's stream can still take a
    text and a CLOSE. It errs to the safe side: INSIDE is set before the first byte of a message
    and taken back after the last.

    Parameters
    ----------
    fd
        Memory file as `create_fd` makes it; stays the caller's, and may be closed.
    """

    def __init__(self, fd: int) -> None:
        self._byte = mmap.mmap(fd, 1)

    @staticmethod
    def create_fd() -> int:
        """Create the memory file that backs one position."""
        fd = os.memfd_create("chistream-position")
        os.truncate(fd, 1)
        return fd

    @property
    def value(self) -> Position:
        """The position last set."""
        return Position(self._byte[0])

    @value.setter
    def value(self, position: Position) -> None:
        self._byte[0] = position

    def close(self) -> None:
        """Release the mapping."""
        self._byte.close()


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """What a worker learns before it has a client."""

    module_search_path: list[str]
    chain_module: str
    log_style: LogStyle
    limits: SessionLimits


@dataclass(frozen=True, slots=True)
class SpoolOrder:
    """Where a worker keeps the bytes of its client; see `SpoolWriter`."""

    path: str
    fsync: FsyncPolicy
    fsync_seconds: float


@dataclass(frozen=True, slots=True)
class SessionOrder:
    """A client handed to a worker: its id in the log, its socket, the shared position, its spool.

    Without a spool nothing of the client is kept: it has been asked not to, or its data are kept
    already.
    """

    session: str
    client_fd: int
    position_fd: int
    spool: SpoolOrder | None = None


def send_setup(control: socket.socket, setup: WorkerSetup) -> None:
    """Tell a new worker how to prepare itself."""
    control.send(json.dumps(asdict(setup)).encode())


def receive_setup(control: socket.socket) -> WorkerSetup:
    """Wait for the supervisor's setup.

    Raises
    ------
    EOFError
        If the supervisor is gone.
    """
    content = _content(control.recv(_MAX_BYTES))
    limits = SessionLimits.from_dict(content["limits"])
    log_style = LogStyle(**content["log_style"])
    return WorkerSetup(**{**content, "limits": limits, "log_style": log_style})


def send_order(control: socket.socket, order: SessionOrder) -> None:
    """Hand a client to a worker; the worker gets duplicates of both descriptors."""
    spool = None if order.spool is None else asdict(order.spool)
    payload = json.dumps({"session": order.session, "spool": spool}).encode()
    socket.send_fds(control, [payload], [order.client_fd, order.position_fd])


def receive_order(control: socket.socket) -> SessionOrder:
    """Wait for a client.

    Raises
    ------
    EOFError
        If the supervisor is gone, or has no further use for this worker.
    """
    payload, fds, _, _ = socket.recv_fds(control, _MAX_BYTES, 2)
    client_fd, position_fd = fds or (-1, -1)
    content = _content(payload)
    spool = None if content["spool"] is None else SpoolOrder(**content["spool"])
    return SessionOrder(content["session"], client_fd, position_fd, spool)


def send_report(control: socket.socket, report: Mapping[str, Any]) -> None:
    """Tell the supervisor how a session stands.

    What goes into the journal waits for room; all else will soon be said again, and is left out.
    """
    payload = json.dumps(report).encode()
    with contextlib.suppress(OSError):
        control.send(payload, 0 if "journal" in report else socket.MSG_DONTWAIT)


def send_cut(control: socket.socket, reason: str) -> None:
    """Give a worker the reason for the signal that follows."""
    with contextlib.suppress(OSError):
        control.send(json.dumps({"cut": reason}).encode(), socket.MSG_DONTWAIT)


def receive_cut(control: socket.socket) -> str | None:
    """Read the reason for a signal; None if none was given."""
    try:
        return str(_content(control.recv(_MAX_BYTES, socket.MSG_DONTWAIT))["cut"])
    except (EOFError, OSError):
        return None


def receive_report(control: socket.socket) -> Mapping[str, Any] | None:
    """Read a worker's report; None when the worker has ended."""
    try:
        return _content(control.recv(_MAX_BYTES))
    except (EOFError, ConnectionError):
        return None


def _content(payload: bytes) -> Mapping[str, Any]:
    if not payload:
        raise EOFError("the supervisor closed the control socket")
    content: Mapping[str, Any] = json.loads(payload)
    return content
