"""Many scans through one service, several at once: is any lost, does anything grow?

``python -m tests.benchmarks.soak`` starts ``chistream serve``, sends the simulated scan ``tiny``
again and again and writes figures as JSON. ``--to HOST:PORT`` sends to any other server of MRD, and
``--pid`` names the process whose memory is of interest there.

A session is lost unless its client has got CLOSE, no error, and pixel for pixel the images that
the first session got.
"""

import argparse
import hashlib
import json
import math
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chistream.service.sessions import resident_bytes
from chistream.stream.codec import MessageReader, encode
from chistream.stream.files import read_messages
from chistream.stream.messages import Close, ConfigFile, Image, Message, Text

_PATIENCE = 900.0


@dataclass(frozen=True)
class Outcome:
    """What a client got: a digest of its images, its time [s], and what was wrong."""

    images: str
    n_images: int
    seconds: float
    fault: str


def scan_bytes(raw: Path, config: str, settings: str) -> bytes:
    """Make of a raw file what a client sends."""
    messages = list(read_messages(raw))
    opening: list[Message] = [ConfigFile(config), messages[0]]
    if settings:
        opening.append(Text(settings))
    return b"".join(piece for m in [*opening, *messages[1:], Close()] for piece in encode(m))


def run_session(address: tuple[str, int], sent: bytes) -> Outcome:
    """Do one session as a client does that sends its scan, then listens."""
    start = time.monotonic()
    reader = MessageReader()
    digest, n_images, fault, is_closed = hashlib.sha256(), 0, "", False
    try:
        with socket.create_connection(address, _PATIENCE) as peer:
            peer.sendall(sent)
            while n_bytes := peer.recv_into(reader.get_buffer()):
                reader.received(n_bytes)
                for message in reader:
                    if isinstance(message, Image):
                        n_images += 1
                        digest.update(message.pixels.tobytes())
                    elif isinstance(message, Text) and message.text.startswith("ERROR"):
                        fault = message.text
                    is_closed = isinstance(message, Close)
    except OSError as error:
        fault = str(error)
    if not (is_closed or fault):
        fault = "no CLOSE"
    return Outcome(digest.hexdigest(), n_images, time.monotonic() - start, fault)


def look(pid: int) -> dict[str, float]:
    """Measure the memory of a service that is idle, that of its idle workers, and its files."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    workers = [resident_bytes(int(child)) for child in children]
    return {
        "supervisor_mb": round(resident_bytes(pid) / 1e6, 2),
        "idle_workers": len(workers),
        "idle_worker_mb": round(sum(workers) / max(len(workers), 1) / 1e6, 2),
        "files": len(os.listdir(f"/proc/{pid}/fd")),  # noqa: PTH208  (the names alone)
    }


def settled(pid: int, seconds: float = 60.0) -> dict[str, float]:
    """Look when the service has been the same for two seconds: its workers wait."""
    before, deadline = look(pid), time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(2.0)
        now = look(pid)
        if now == before:
            break
        before = now
    return before


def soak(
    address: tuple[str, int],
    sent: bytes,
    n: int,
    at_once: int,
    pid: int | None,
    seconds: float = math.inf,
) -> dict[str, Any]:
    """Run sessions; the memory they are judged by is that after the first round of them.

    After so many seconds none is begun any more.
    """
    stages: dict[str, Any] = {} if pid is None else {"fresh": settled(pid)}
    start = time.monotonic()

    def run_one(_: int) -> Outcome | None:
        is_late = time.monotonic() - start > seconds
        return None if is_late else run_session(address, sent)

    with ThreadPoolExecutor(at_once) as pool:
        found = list(pool.map(run_one, range(at_once)))
        if pid is not None:
            stages["after the first round"] = settled(pid)
        found += pool.map(run_one, range(n - at_once))
    outcomes = [one for one in found if one is not None]
    wall = time.monotonic() - start
    if pid is not None:
        stages["at the end"] = settled(pid)
    return figures_of(outcomes, at_once, wall, stages)


def figures_of(
    outcomes: list[Outcome], at_once: int, wall: float, stages: dict[str, Any]
) -> dict[str, Any]:
    """Sum up."""
    expected = outcomes[0].images
    faults = [
        one.fault or "other images" for one in outcomes if one.fault or one.images != expected
    ]
    seconds = sorted(one.seconds for one in outcomes)
    figures: dict[str, Any] = {
        "sessions": len(outcomes),
        "at_once": at_once,
        "lost": len(faults),
        "faults": sorted(set(faults)),
        "images": outcomes[0].n_images,
        "wall_seconds": round(wall, 1),
        "session_seconds": {
            "median": round(statistics.median(seconds), 2),
            "longest": round(seconds[-1], 2),
        },
        "stages": stages,
    }
    if stages:
        first, last = stages["after the first round"], stages["at the end"]
        figures["growth_percent"] = {
            name: round(100 * (last[name] / first[name] - 1), 2)
            for name in ("supervisor_mb", "idle_worker_mb")
        }
    return figures


@contextmanager
def service(folder: Path, at_once: int, *options: str) -> Iterator[tuple[tuple[str, int], int]]:
    """Run the service; give its address and process id."""
    ready = folder / "ready"
    command = [sys.executable, "-m", "chistream", "serve", "--port", "0", "--log-level", "ERROR"]
    command += ["--ready-file", str(ready), "--spool", str(folder / "spool")]
    command += ["--keep-days", "0", "--max-sessions", str(at_once), *options]
    with subprocess.Popen(command) as process:
        while not ready.exists():
            time.sleep(0.1)
        host, _, port = ready.read_text().strip().rpartition(":")
        try:
            yield (host, int(port)), process.pid
        finally:
            process.terminate()


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", help="HOST:PORT of a server that runs already")
    parser.add_argument("--pid", type=int, help="its process, for its memory")
    parser.add_argument("--raw", type=Path, help="raw data to send; the preset tiny if not given")
    parser.add_argument("--config", default="qsm")
    parser.add_argument("--settings", default="", help="JSON text to send after the header")
    parser.add_argument("--sessions", type=int, default=500)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin none later [s]")
    asked = parser.parse_args(arguments)
    size = asked.sessions, asked.at_once
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        raw = asked.raw or simulate_tiny(folder / "tiny.h5")
        sent = scan_bytes(raw, asked.config, asked.settings)
        if asked.to:
            host, _, port = asked.to.rpartition(":")
            figures = soak((host, int(port)), sent, *size, asked.pid, asked.seconds)
        else:
            with service(folder, asked.at_once) as (address, pid):
                figures = soak(address, sent, *size, pid, asked.seconds)
    sys.stdout.write(json.dumps({"bytes": len(sent), **figures}) + "\n")


def simulate_tiny(path: Path) -> Path:
    """Make the scan."""
    from chistream_simulator.commands import simulate

    return simulate(path, "tiny")


if __name__ == "__main__":
    main()
