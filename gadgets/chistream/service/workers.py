"""Worker processes as the supervisor sees them."""

import logging
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from chistream.service import control
from chistream.service.clients import Client
from chistream.service.keeping import WISDOM, WISDOM_FILE
from chistream.service.options import ServerOptions

_LOG = logging.getLogger(__name__)
# glibc gives a freed megabyte back to the kernel and faults it in again for the next one, which
# costs a fifth of the reading rate. A worker lives for one session: it may keep what it had.
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**28)}
_FIRST_DELAY, _LONGEST_DELAY = 0.25, 30.0


class Worker:
    """One worker process and the control socket to it.

    The process is started anew rather than forked: nothing of the supervisor, least of all its
    clients' sockets, is inherited by accident, and libraries with threads see a clean start.

    Parameters
    ----------
    options
        What the worker is to load and to obey.
    """

    def __init__(self, options: ServerOptions) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._process = _start(theirs.fileno(), wisdom_file(options))
            except OSError:
                ours.close()
                raise
        self._control = ours
        control.send_setup(
            ours,
            control.WorkerSetup(sys.path, options.chain_module, options.log_style, options.limits),
        )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def fileno(self) -> int:
        """Descriptor that becomes readable when the worker reports or ends."""
        return self._control.fileno()

    def reports_ready(self) -> bool:
        """Read the worker's report: True when it is ready, False when it has ended."""
        try:
            return self._control.recv(64) == control.READY
        except ConnectionError:
            return False

    def hear(self) -> Mapping[str, Any] | None:
        """Read how far its session is; None when it has ended."""
        return control.receive_report(self._control)

    def serve(self, client: Client, spool: control.SpoolOrder | None = None) -> None:
        """Hand a client to the worker, which keeps its bytes where it is told to.

        Raises
        ------
        OSError
            If the worker is dead, or there are no descriptors left.
        """
        position_fd = client.share_position()
        try:
            control.send_order(
                self._control,
                control.SessionOrder(client.session, client.fileno(), position_fd, spool),
            )
        finally:
            os.close(position_fd)

    def terminate(self, reason: str) -> None:
        """Ask the worker to end its session with a reason."""
        control.send_cut(self._control, reason)
        self._process.terminate()

    def kill(self) -> None:
        """End the worker at once."""
        self._process.kill()

    def wait(self) -> int:
        """Take leave of a worker that has ended (or is ending) and return its exit status."""
        self._control.close()
        try:
            return self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            # It closed its control socket but lives: nothing that our worker does.
            self.kill()
            return self._process.wait()


class WorkerPool:
    """Workers without a client: those starting and those ready.

    Parameters
    ----------
    options
        What the workers are to load, and how many to keep ready.
    selector
        Where to watch their control sockets.
    on_ready
        Called when a worker became ready.
    on_start_failure
        Called when a worker could not start and no other can take a client.
    """

    def __init__(
        self,
        options: ServerOptions,
        selector: selectors.BaseSelector,
        on_ready: Callable[[], None],
        on_start_failure: Callable[[], None],
    ) -> None:
        self._options = options
        self._selector = selector
        self._on_ready = on_ready
        self._on_start_failure = on_start_failure
        self._starting: list[Worker] = []
        self._ready: list[Worker] = []
        self._delay = 0.0
        self._next_start = 0.0
        self._has_worked = False

    def fill(self, n_wanted: int) -> None:
        """Start workers until this many are ready or starting; after failures, not before time."""
        if time.monotonic() < self._next_start:
            return
        for _ in range(n_wanted - len(self._starting) - len(self._ready)):
            try:
                worker = Worker(self._options)
            except OSError as error:
                _LOG.error("cannot start a worker: %s", error)
                self._hold_off()
                return
            self._starting.append(worker)
            self._selector.register(worker, selectors.EVENT_READ, lambda w=worker: self._news(w))

    def next_start(self) -> float | None:
        """Monotonic time at which `fill` is worth calling again, None if at any time."""
        return self._next_start if time.monotonic() < self._next_start else None

    @property
    def n_ready(self) -> int:
        """Workers ready for a client."""
        return len(self._ready)

    @property
    def can_serve(self) -> bool:
        """Whether a client would soon have a worker: one is ready, or none has failed to start."""
        return bool(self._ready) or (self._has_worked and not self._delay)

    def take(self) -> Worker | None:
        """Take a ready worker out of the pool; its control socket is no longer watched."""
        if not self._ready:
            return None
        worker = self._ready.pop(0)
        self._selector.unregister(worker)
        return worker

    def close(self) -> None:
        """End every worker of the pool; none has a client, so at once."""
        for worker in self._starting + self._ready:
            self._selector.unregister(worker)
            worker.kill()
            worker.wait()
        self._starting, self._ready = [], []

    def _news(self, worker: Worker) -> None:
        if worker.reports_ready():
            self._delay, self._has_worked = 0.0, True
            self._starting.remove(worker)
            self._ready.append(worker)
            self._on_ready()
            return
        self._selector.unregister(worker)
        status = worker.wait()
        if worker in self._ready:
            _LOG.warning("idle worker %d ended with status %d", worker.pid, status)
            self._ready.remove(worker)
            return
        _LOG.error("worker %d ended with status %d before it was ready", worker.pid, status)
        self._starting.remove(worker)
        self._hold_off()

    def _hold_off(self) -> None:
        # What could not start now will not start a moment later either.
        self._delay = min(max(_FIRST_DELAY, 2 * self._delay), _LONGEST_DELAY)
        self._next_start = time.monotonic() + self._delay
        if not (self._starting or self._ready):
            self._on_start_failure()


def wisdom_file(options: ServerOptions) -> dict[str, str]:
    """Say where workers keep the plans of their transforms, so that a scan run again has the same.

    With other plans the last bits of a map would differ.
    """
    folder = None if options.spool is None else options.spool.folder
    return {} if folder is None else {WISDOM: str(folder / WISDOM_FILE)}


def _start(control_fd: int, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "chistream.service.worker", str(control_fd)],
        pass_fds=[control_fd],
        stdin=subprocess.DEVNULL,
        env={**_MALLOC, **environment, **os.environ},
        # Its own session: Ctrl-C in a terminal reaches the supervisor alone, which then ends its
        # workers in order.
        start_new_session=True,
    )
