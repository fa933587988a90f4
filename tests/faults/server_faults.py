"""What happens to the service: to the process that has the client, and to the whole of it."""

import os
import resource
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.faults.client_faults import Act, Fault, throughout
from tests.faults.scenes import (
    LONGEST,
    RESULT,
    End,
    Ground,
    Scene,
    footprint,
    told,
)
from tests.service.peers import Peer
from tests.service.running import children_of

DISK_BYTES = 3 * 2**20


# -- the process that has the client ----------------------------------------------------------


def to_the_worker(*numbers: signal.Signals, pause: float = 0.0) -> Act:
    """Send signals to the process that has the client."""

    def act(scene: Scene) -> None:
        scene.wait_until_kept()
        worker = scene.worker()
        for number in numbers:
            os.kill(worker, number)
            time.sleep(pause)

    return act


def without(limit: int, at_least: Callable[[int], int]) -> Act:
    """Take from the process that has the client what it has not got yet."""

    def act(scene: Scene) -> None:
        scene.wait_until_kept()
        worker = scene.worker()
        resource.prlimit(worker, limit, (at_least(worker), resource.RLIM_INFINITY))

    return act


def n_files(pid: int) -> int:
    return footprint(pid).n_files


def data_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))


def kill_idle_workers(scene: Scene) -> None:
    busy = scene.worker()
    idle = [pid for pid in children_of(scene.ground.pid) if not has_client(pid)]
    assert busy not in idle
    for pid in idle:
        os.kill(pid, signal.SIGKILL)


def has_client(pid: int) -> bool:
    try:
        return "chistream-position" in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return True


DIED = told("ended unexpectedly", "died")

WORKER_FAULTS = [
    throughout("kill -9 of the worker", to_the_worker(signal.SIGKILL), DIED),
    throughout("crash of the worker", to_the_worker(signal.SIGSEGV), DIED),
    throughout("abort of the worker", to_the_worker(signal.SIGABRT), DIED),
    throughout("bus error of the worker", to_the_worker(signal.SIGBUS), DIED),
    throughout("SIGTERM to the worker", to_the_worker(signal.SIGTERM), told("", "cut")),
    throughout("SIGHUP to the worker", to_the_worker(signal.SIGHUP), DIED),
    throughout("worker stopped", to_the_worker(signal.SIGSTOP), told("no sign of life", "cut")),
    throughout(
        "worker stopped for a second",
        to_the_worker(signal.SIGSTOP, signal.SIGCONT, pause=1.0),
        RESULT,
    ),
    Fault(
        "no file descriptors left in the worker",
        without(resource.RLIMIT_NOFILE, n_files),
        RESULT,
        RESULT,
    ),
    Fault(
        "raw data as large as a file may be",
        without(resource.RLIMIT_FSIZE, lambda _: 2000),
        End("images", "not kept on disk"),
        End("images", "not kept on disk"),
    ),
    throughout(
        "no memory left in the worker",
        without(resource.RLIMIT_DATA, data_bytes),
        End("closed"),
        "large",
    ),
    throughout("idle workers killed", kill_idle_workers, RESULT),
]


# -- the whole of it --------------------------------------------------------------------------


class SmallDisk:
    """A file system of its own for what a service keeps."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
        subprocess.run(command, check=True, capture_output=True)

    def remove(self) -> None:
        subprocess.run(["umount", "-l", str(self._folder)], check=True)


def to_the_supervisor(*numbers: signal.Signals, pause: float = 0.0) -> Act:
    def act(scene: Scene) -> None:
        scene.wait_until_kept()
        for number in numbers:
            scene.ground.service.process.send_signal(number)
            time.sleep(pause)

    return act


def kill_the_supervisor(number: signal.Signals) -> Act:
    """End it, and go on when it is gone: a crash takes its time."""

    def act(scene: Scene) -> None:
        to_the_supervisor(number)(scene)
        scene.ground.service.process.wait(LONGEST)

    return act


def fill_the_disk(scene: Scene) -> None:
    scene.wait_until_kept()
    with (scene.ground.folder / "spool" / "filler").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return


def remove_raw_data(scene: Scene) -> None:
    scene.wait_until_kept()
    for path in (scene.ground.folder / "spool" / "raw").iterdir():
        path.unlink()


def lock_the_journal(scene: Scene) -> None:
    """Hold the journal as long as a program that copies it may."""
    connection = sqlite3.connect(journal_of(scene.ground), timeout=LONGEST, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    time.sleep(1.5)
    connection.execute("ROLLBACK")
    connection.close()


def destroy_the_journal(scene: Scene) -> None:
    journal_of(scene.ground).write_bytes(b"no database " * 1000)


def journal_of(ground: Ground) -> Path:
    return ground.folder / "spool" / "journal.sqlite"


def no_files_left(scene: Scene) -> None:
    """Take the supervisor's descriptors, have somebody else come, and give them back."""
    pid = scene.ground.pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (n_files(pid), hard))
    other = Peer(scene.ground.service, "127.3.0.2")
    other.begin("digest")
    time.sleep(1.0)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (1024, hard))
    other.socket.close()


@dataclass(frozen=True)
class WholeFault:
    """A fault of the whole service, and what has to be afterwards.

    Parameters
    ----------
    fault
        The fault, and how it ends for the client.
    survives
        Whether the service goes on. If not, it has to be gone with all its workers, and started
        anew with ``resume`` has to make the result again that its client did not get.
    is_kept
        Whether the raw data, and the journal that says so, must be there afterwards.
    has_small_disk
        Whether what is kept lies on a file system of its own.
    """

    fault: Fault
    survives: bool = True
    is_kept: bool = True
    has_small_disk: bool = False


CUT = End("cut off")
STOPPED = told("shutting down", "cut")
KEPT_NO_MORE = End("images", "not kept on disk")

WHOLE_FAULTS = [
    WholeFault(
        throughout("kill -9 of the supervisor", kill_the_supervisor(signal.SIGKILL), CUT),
        survives=False,
    ),
    WholeFault(
        throughout("crash of the supervisor", kill_the_supervisor(signal.SIGSEGV), CUT),
        survives=False,
    ),
    WholeFault(
        throughout("SIGTERM", to_the_supervisor(signal.SIGTERM), RESULT),
        survives=False,
    ),
    WholeFault(
        throughout(
            "SIGTERM twice", to_the_supervisor(signal.SIGTERM, signal.SIGTERM, pause=0.3), STOPPED
        ),
        survives=False,
    ),
    WholeFault(
        throughout(
            "supervisor stopped for a second",
            to_the_supervisor(signal.SIGSTOP, signal.SIGCONT, pause=1.0),
            RESULT,
        )
    ),
    WholeFault(
        Fault("disk full", fill_the_disk, KEPT_NO_MORE, KEPT_NO_MORE),
        is_kept=False,
        has_small_disk=True,
    ),
    WholeFault(throughout("raw data removed", remove_raw_data, RESULT), is_kept=False),
    WholeFault(throughout("journal locked", lock_the_journal, RESULT)),
    WholeFault(throughout("journal destroyed", destroy_the_journal, RESULT), is_kept=False),
    WholeFault(throughout("no file descriptors left", no_files_left, RESULT)),
]
