"""A service in a process of its own, for tests."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.service.peers import PATIENCE, wait_until

from chistream.service.control import Position
from chistream.service.journal import Journal, SessionRecord, SessionState

PROGRAM = Path(__file__).with_name("serve_fake_chains.py")


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children_of(pid: int) -> list[int]:
    return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def position_of(pid: int) -> Position:
    """Read what a worker shares about its place in the stream."""
    fds = Path(f"/proc/{pid}/fd").iterdir()
    (fd, *_) = [fd for fd in fds if "chistream-position" in str(fd.readlink())]
    return Position(fd.read_bytes()[0])


class Service:
    """A running service."""

    def __init__(self, folder: Path, **options: object) -> None:
        ready = folder / "ready"
        self.log_path = folder / "log"
        self.started = time.monotonic()
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(PROGRAM), str(ready), json.dumps(options)], stderr=log
            )
        wait_until(lambda: ready.exists() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log
        host, _, port = ready.read_text().strip().rpartition(":")
        self.address = (host, int(port))

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def end_soon(self) -> None:
        """End in order if that takes no time, so that what was covered is known."""
        for _ in range(2):
            if self.process.poll() is None:
                self.process.terminate()
        try:
            self.process.wait(5.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(PATIENCE)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


Options = dict[str, object]


class Kept(Service):
    """A service that keeps what comes."""

    def __init__(self, folder: Path, spool: Path, keep: dict[str, float], options: Options) -> None:
        self.spool = spool
        spool_options = {"folder": str(spool), "fsync": "never", **keep}
        super().__init__(folder, spool=spool_options, **options)

    def records(self) -> list[SessionRecord]:
        journal = Journal(self.spool)
        found = journal.read_all()
        journal.close()
        return found

    def record(self, state: SessionState | None = None) -> SessionRecord:
        """Wait until the only session has ended, in this state, and return it."""
        wait_until(
            lambda: all(record.state is not SessionState.RUNNING for record in self.records())
        )
        (record,) = self.records()
        assert state is None or record.state is state, record
        return record


def workers_with_clients(service: Service) -> set[int]:
    """Return the workers that map the memory file which comes with a client."""
    return {
        pid
        for pid in children_of(service.process.pid)
        if "chistream-position" in Path(f"/proc/{pid}/maps").read_text()
    }
