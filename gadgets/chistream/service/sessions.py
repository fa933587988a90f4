"""The sessions that run, as the supervisor sees them: signs of life, limits, end."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from chistream.service.clients import Client
from chistream.service.journal import SessionState
from chistream.service.limits import GIGABYTE, SessionLimits
from chistream.service.pulse import RECEIVING

POLL_SECONDS = 0.5
GRACE_SECONDS = 2.0
_PAGE_BYTES = 4096
_HARD = 1.1
"""Of the memory limit: allocations fail at it, and what gets beyond all the same is ended."""


class Process(Protocol):
    """What a running session needs of its worker."""

    @property
    def pid(self) -> int:
        """Process id."""

    def terminate(self, reason: str) -> None:
        """Ask it to end its session, for this reason."""

    def kill(self) -> None:
        """End it at once."""


@dataclass(eq=False)
class RunningSession:
    """One session and the worker that serves it.

    Parameters
    ----------
    worker
        Its process.
    client
        Its client.
    since
        When it began, since the epoch [s].
    started, heard
        When it began, and when the worker last said anything: monotonic [s].
    memory_at_start
        Memory of the worker before the session [bytes].
    progress, n_readouts
        How far the scan is, as the worker told.
    stage, still
        What the worker is doing, and for how long nothing has moved [s].
    outcome, reason
        What the worker said has become of it; None until it has.
    cut
        Why the supervisor has asked it to end; empty while it has not.
    kill_at
        When it is killed if it does not obey: monotonic [s].
    """

    worker: Process
    client: Client
    since: float = field(default_factory=lambda: round(time.time(), 1))
    started: float = field(default_factory=time.monotonic)
    heard: float = field(default_factory=time.monotonic)
    memory_at_start: int = 0
    progress: Mapping[str, Any] | None = None
    n_readouts: int = 0
    stage: str = RECEIVING
    still: float = 0.0
    outcome: SessionState | None = None
    reason: str = ""
    cut: str = ""
    kill_at: float | None = None

    def hear(self, report: Mapping[str, Any]) -> None:
        """Take in what the worker says."""
        self.heard = time.monotonic()
        self.progress = report.get("progress", self.progress)
        self.n_readouts = report.get("received", {}).get("n_readouts", self.n_readouts)
        pulse = report.get("pulse", {})
        self.stage, self.still = pulse.get("stage", self.stage), pulse.get("still", self.still)
        if report.get("end"):
            self.outcome = SessionState(report["journal"]["state"])
            self.reason = str(report["journal"]["reason"])

    def end_of(self, status: int) -> tuple[SessionState, str]:
        """Return what has become of it, once its worker has ended with this status."""
        if self.outcome is not None:
            return self.outcome, self.reason
        if self.cut:
            return SessionState.CUT, self.cut
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        return SessionState.DIED, f"its process ended unexpectedly, {how}, in stage {self.stage}"

    def ask_to_end(self, reason: str) -> None:
        """Have the worker tell its client why, and end; one that cannot is killed soon after."""
        if self.cut:
            return
        self.cut = reason
        self.kill_at = time.monotonic() + GRACE_SECONDS
        self.worker.terminate(reason)

    def as_dict(self) -> dict[str, Any]:
        """Return what monitors are told, as plain JSON values."""
        return {
            "session": self.client.session,
            "since": self.since,
            "stage": self.stage,
            "n_readouts": self.n_readouts,
            "memory_bytes": resident_bytes(self.worker.pid),
            "progress": self.progress,
        }


class Watch:
    """Ends sessions that take longer, or more memory, than they may.

    Parameters
    ----------
    limits
        Of each session.
    memory_bytes
        Of all together; 0: no limit.
    """

    def __init__(self, limits: SessionLimits, memory_bytes: int) -> None:
        self._limits = limits
        self._memory_bytes = memory_bytes
        shortest = min(limits.hang_seconds, limits.stage_seconds, limits.session_seconds)
        self.poll_seconds = min(POLL_SECONDS, shortest / 2)
        self._due = 0.0

    def look(self, sessions: list[RunningSession], now: float) -> None:
        """Judge all sessions, if it is time; ask those beyond a limit to end, then make them."""
        for session in sessions:
            if session.kill_at is not None and session.kill_at <= now:
                session.worker.kill()
        if now < self._due:
            return
        self._due = now + self.poll_seconds
        for session in sessions:
            reason = self._overdue(session, now)
            if reason:
                session.ask_to_end(reason)
        self._look_at_memory(sessions)

    def next_look(self, sessions: list[RunningSession]) -> float | None:
        """Return when `look` has something to do [monotonic s], None while nothing runs."""
        return self._due if sessions else None

    def _overdue(self, session: RunningSession, now: float) -> str:
        limits = self._limits
        if now - session.started > limits.session_seconds:
            return f"The scan took longer than {limits.session_seconds:g} s; it was ended."
        if session.still > limits.stage_seconds:
            return (
                f"The stage {session.stage} made no progress for {limits.stage_seconds:g} s; the "
                "scan was ended."
            )
        if now - session.heard > limits.hang_seconds:
            return (
                f"The reconstruction gave no sign of life for {limits.hang_seconds:g} s, in stage "
                f"{session.stage}; it was ended."
            )
        return ""

    def _look_at_memory(self, sessions: list[RunningSession]) -> None:
        if not (self._limits.memory_bytes or self._memory_bytes):
            return
        taken = {session: resident_bytes(session.worker.pid) for session in sessions}
        for session, n_bytes in taken.items():
            extra = n_bytes - session.memory_at_start
            if self._limits.memory_bytes and extra > _HARD * self._limits.memory_bytes:
                allowed = self._limits.memory_bytes / GIGABYTE
                session.ask_to_end(
                    f"The scan needs more than the {allowed:g} GB of memory that one may have here."
                )
        if self._memory_bytes and sum(taken.values()) > self._memory_bytes:
            largest = max(taken, key=lambda session: taken[session])
            largest.ask_to_end(
                f"All scans together need more than the {self._memory_bytes / GIGABYTE:g} GB of "
                "memory there are for them; the largest was ended."
            )


def resident_bytes(pid: int) -> int:
    """Return the memory that a process takes [bytes]; 0 if it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return 0
