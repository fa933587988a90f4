"""The supervisor: accepts clients, gives each a worker process of its own, outlives them all."""

import contextlib
import logging
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable

from chistream.service.clients import Client, Farewells, count_servable_clients, tell
from chistream.service.control import SHUTTING_DOWN, Position
from chistream.service.entrance import Entrance
from chistream.service.journal import SessionState
from chistream.service.keeping import Keeper
from chistream.service.logs import configure_logging
from chistream.service.monitoring import Monitoring
from chistream.service.options import ServerOptions
from chistream.service.process import announce, signals_stop
from chistream.service.resuming import Resumer
from chistream.service.salvage import Salvage
from chistream.service.sessions import RunningSession, Watch, resident_bytes
from chistream.service.workers import Worker, WorkerPool

_LOG = logging.getLogger(__name__)
_GRACE_SECONDS = 2.0
_STOP = b"x"
_DIED = (
    "The reconstruction stopped: its process ended unexpectedly. The images made before were "
    "sent. The service's log has session {}."
)
_MAX_WORKERS = 3  # for one client, if they die before they begin
_ACCEPT_PAUSE_SECONDS = 0.25
OnListening = Callable[[str, int], None]


def serve(options: ServerOptions, on_listening: OnListening | None = None) -> None:
    """Serve until SIGTERM, SIGINT or the end of the world.

    Running sessions then get ``options.shutdown_seconds`` to finish; a second signal cuts them at
    once. Returns when every worker has ended and the port is free.

    Parameters
    ----------
    options
        Where and how.
    on_listening
        Called with host and port as soon as clients can connect.

    Raises
    ------
    OSError
        If the address cannot be listened on.
    """
    configure_logging(options.log_style, "supervisor")
    server = Server(options)
    with signals_stop(server.stop):
        server.run(on_listening)


class Server:
    """A listening socket, the workers and the sessions between them, in one select loop.

    Parameters
    ----------
    options
        Where and how to serve.
    """

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self._selector = selectors.DefaultSelector()
        self._monitoring = Monitoring(options)
        self._tally = self._monitoring.tally
        self._entrance = Entrance(options, self._selector, self._receive, self._tally)
        self._pool = WorkerPool(options, self._selector, self._assign, self._turn_away)
        self._farewells = Farewells(self._selector, options.linger_seconds)
        self._sessions: dict[Worker, RunningSession] = {}
        self._watch = Watch(options.limits, options.memory_bytes)
        self._keeper = Keeper(None)
        self._salvage = Salvage(options.limits, self._wake_up)
        self._resumer = Resumer(self._keeper, [])
        self._waiting: deque[Client] = deque()
        self._listener: socket.socket | None = None
        self._is_accepting = False
        self._accept_after = 0.0
        self._max_clients = count_servable_clients()
        self._n_stops = 0
        self._deadline: float | None = None
        self._is_cut = False
        self._wakeup_in, self._wakeup_out = os.pipe()
        os.set_blocking(self._wakeup_out, False)

    @property
    def status_port(self) -> int | None:
        """Port of the page for monitors, once it is open."""
        return self._monitoring.port

    def run(self, on_listening: OnListening | None = None) -> None:
        """Serve until `stop`; see `serve`."""
        try:
            self._monitoring.open()
            self._open_folder()
            self._entrance.open()
            self._listen(on_listening)
            self._selector.register(self._wakeup_in, selectors.EVENT_READ, self._take_stop)
            self._pool.fill(self._n_workers_wanted())
            self._farewells.prepare()
            while not self._is_over():
                self._step()
        finally:
            self._close()

    def stop(self) -> None:
        """Ask the server to end, from any thread or signal handler; twice: at once."""
        self._wake_up(_STOP)

    def _wake_up(self, why: bytes = b"-") -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._wakeup_out, why)

    def _step(self) -> None:
        now = time.monotonic()
        if self._deadline is None:
            self._pool.fill(self._n_workers_wanted())
        elif self._deadline <= now:
            self._cut_sessions()
        self._take_salvaged()
        self._farewells.expire(now)
        self._watch.look(list(self._sessions.values()), now)
        self._watch_listener(now)
        self._resume_when_idle()
        self._monitoring.stand(
            len(self._sessions),
            len(self._waiting),
            self._pool.n_ready,
            can_serve=self._deadline is None and self._pool.can_serve,
        )
        for key, _ in self._selector.select(self._time_to_next_event()):
            # An earlier event of the same batch may have ended what this one is about.
            if self._selector.get_map().get(key.fd) is key:
                key.data()

    def _time_to_next_event(self) -> float | None:
        times = (
            self._deadline,
            self._farewells.next_deadline(),
            self._pool.next_start(),
            self._watch.next_look(list(self._sessions.values())),
            self._accept_after if self._accept_after > time.monotonic() else None,
        )
        nearest = min((t for t in times if t is not None), default=None)
        return None if nearest is None else max(0.0, nearest - time.monotonic())

    # -- clients ------------------------------------------------------------------------------

    def _listen(self, on_listening: OnListening | None) -> None:
        family = socket.AF_INET6 if ":" in self._options.host else socket.AF_INET
        self._listener = socket.create_server(
            (self._options.host, self._options.port), family=family, backlog=128
        )
        self._listener.settimeout(0.0)
        host, port = self._listener.getsockname()[:2]
        _LOG.info("listening on %s:%d", host, port)
        if self._options.ready_file is not None:
            announce(self._options.ready_file, f"{host}:{port}\n")
        if on_listening is not None:
            on_listening(host, port)

    def _watch_listener(self, now: float) -> None:
        """Watch the listening socket exactly while another client can be taken."""
        n_clients = self._n_clients()
        wanted = (
            (n_clients < self._options.max_sessions or self._options.when_full == "refuse")
            and n_clients + self._n_leaving_or_entering() < self._max_clients
            and self._entrance.has_room
            and self._accept_after <= now
        )
        if self._listener is None or wanted == self._is_accepting:
            return
        if wanted:
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        else:
            self._selector.unregister(self._listener)
        self._is_accepting = wanted

    def _accept(self) -> None:
        assert self._listener is not None  # noqa: S101
        try:
            connection, address = self._listener.accept()
        except OSError as error:
            # Mostly no descriptors left. The listener stays readable: do not spin on it.
            _LOG.warning("cannot accept a client: %s", error)
            self._accept_after = time.monotonic() + _ACCEPT_PAUSE_SECONDS
            return
        self._entrance.admit(connection, address[0])

    def _receive(self, client: Client) -> None:
        """Take a client that has come in."""
        if self._n_clients() >= self._options.max_sessions:
            self._tally.refuse("busy")
            self._refuse(
                client, f"The service is busy with {len(self._sessions)} scans: try later."
            )
            return
        self._waiting.append(client)
        self._assign()

    def _n_leaving_or_entering(self) -> int:
        return len(self._farewells) + len(self._salvage) + len(self._entrance)

    def _n_clients(self) -> int:
        """Count who has a place; scans that are run again take none from a scanner."""
        clients = [running.client for running in self._sessions.values()] + list(self._waiting)
        return sum(not self._resumer.owns(client) for client in clients)

    def _assign(self) -> None:
        """Give waiting clients to ready workers."""
        while self._waiting and (worker := self._pool.take()) is not None:
            client = self._waiting[0]
            is_resumed = self._resumer.owns(client)
            try:
                worker.serve(client, None if is_resumed else self._keeper.order(client.session))
            except OSError as error:
                _LOG.warning("worker %d takes no client: %s", worker.pid, error)
                worker.kill()
                worker.wait()
                continue
            self._waiting.popleft()
            self._sessions[worker] = RunningSession(
                worker, client, memory_at_start=resident_bytes(worker.pid)
            )
            if not is_resumed:
                self._keeper.begin(client.session, client.address)
            self._selector.register(worker, selectors.EVENT_READ, lambda w=worker: self._hear(w))
            self._show()

    def _turn_away(self) -> None:
        """Tell the client that waited longest that no worker could be started for it."""
        if self._waiting:
            self._refuse(
                self._waiting.popleft(),
                "The reconstruction service cannot start its workers; see its log.",
            )

    def _refuse(self, client: Client, reason: str) -> None:
        """Turn away a client whose session has not begun."""
        _LOG.warning("refused: %s", reason, extra={"session": client.session})
        if self._resumer.owns(client):
            state = self._resumer.end(client, SessionState.INTERRUPTED, reason)
            self._keeper.end(client.session, *state)
            return
        self._farewells.say(client, f"ERROR    {reason}")

    def _hear(self, worker: Worker) -> None:
        """Take a session's report, or notice its end."""
        report = worker.hear()
        if report is None:
            self._end_session(worker)
            return
        running = self._sessions[worker]
        running.hear(report)
        self._tally.hear(running.client.session, report)
        said = dict(report.get("journal", {}))
        if self._resumer.owns(running.client):
            said.pop("state", None)  # what went into a file is not delivered before that is whole
        self._keeper.chronicle.update(running.client.session, said)
        self._show()

    def _show(self) -> None:
        self._monitoring.show(list(self._sessions.values()))

    def _end_session(self, worker: Worker) -> None:
        running = self._sessions.pop(worker)
        client = running.client
        self._show()
        self._selector.unregister(worker)
        status = worker.wait()
        is_untouched = client.position is Position.UNTOUCHED and not running.cut
        if is_untouched and client.n_workers < _MAX_WORKERS:
            # It died idle, before anybody could notice; its client has lost nothing.
            _LOG.warning(
                "worker ended with status %d before it began",
                status,
                extra={"session": client.session},
            )
            self._waiting.appendleft(client)
            self._assign()
            return
        level = logging.INFO if status == 0 else logging.ERROR
        _LOG.log(level, "session ended with status %d", status, extra={"session": client.session})
        self._take_leave(running, *running.end_of(status))

    def _take_leave(self, running: RunningSession, state: SessionState, reason: str) -> None:
        client = running.client
        self._tally.end(client.session, state.value, time.monotonic() - running.started)
        if self._resumer.owns(client):
            state, reason = self._resumer.end(client, state, reason)
        else:
            self._say_farewell(client, f"ERROR    {running.cut or _DIED.format(client.session)}")
        self._keeper.end(client.session, state, reason)

    def _say_farewell(self, client: Client, reason: str) -> None:
        """Let a client go; one that still sends a scan which nobody takes in, when it is done."""
        order = self._keeper.kept(client.session)
        is_open = client.position < Position.CLOSED and self._deadline is None
        if order is not None and is_open and self._salvage.begin(client, order):
            tell(client, reason)
        else:
            self._farewells.say(client, reason)

    def _take_salvaged(self) -> None:
        while salvaged := self._salvage.take():
            self._keeper.salvaged(salvaged.client.session, salvaged.n_bytes)
            self._farewells.say(salvaged.client, None)

    # -- what is kept -------------------------------------------------------------------------

    def _open_folder(self) -> None:
        self._keeper = Keeper(self._options.spool)
        unfinished = self._keeper.unfinished()
        if unfinished:
            names = ", ".join(record.id for record in unfinished)
            _LOG.warning("%d scans are unfinished: %s", len(unfinished), names)
        if self._options.resume:
            self._resumer = Resumer(self._keeper, self._keeper.resumable())
        self._keeper.prune()

    def _resume_when_idle(self) -> None:
        """Run an unfinished scan again while no client wants anything."""
        if self._resumer and not (self._sessions or self._waiting) and self._deadline is None:
            self._waiting.append(self._resumer.begin())
            self._assign()

    # -- life ---------------------------------------------------------------------------------

    def _n_workers_wanted(self) -> int:
        return self._options.spare_workers + len(self._waiting)

    def _take_stop(self) -> None:
        self._n_stops += os.read(self._wakeup_in, 64).count(_STOP)
        if self._n_stops and self._deadline is None:
            self._begin_shutdown()
        if self._n_stops > 1 and not self._is_cut:
            self._deadline = time.monotonic()

    def _begin_shutdown(self) -> None:
        _LOG.info("shutting down; %d sessions running", len(self._sessions))
        self._deadline = time.monotonic() + self._options.shutdown_seconds
        self._stop_listening()
        self._salvage.hasten()
        self._entrance.close()
        self._pool.close()
        while self._waiting:
            self._refuse(self._waiting.popleft(), "The service is shutting down.")

    def _cut_sessions(self) -> None:
        """At the deadline ask the sessions to end with a reason; a grace later, end them."""
        for worker, running in self._sessions.items():
            if self._is_cut:
                worker.kill()
            else:
                running.ask_to_end(SHUTTING_DOWN)
        self._is_cut = True
        self._deadline = time.monotonic() + _GRACE_SECONDS

    def _is_over(self) -> bool:
        if self._deadline is None or self._sessions or self._salvage:
            return False
        self._farewells.hasten(_GRACE_SECONDS)
        return not self._farewells

    def _stop_listening(self) -> None:
        if self._listener is None:
            return
        if self._is_accepting:
            self._selector.unregister(self._listener)
        self._listener.close()
        self._listener, self._is_accepting = None, False

    def _close(self) -> None:
        self._stop_listening()
        self._monitoring.close()
        self._entrance.close()
        self._pool.close()
        for worker, running in self._sessions.items():
            worker.kill()
            worker.wait()
            running.client.close()
        self._keeper.close()
        self._farewells.expire(float("inf"))
        self._selector.close()
        os.close(self._wakeup_in)
        os.close(self._wakeup_out)
        self._wakeup_out = -1  # the number may soon be another file's
        _LOG.info("ended")
