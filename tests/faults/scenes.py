"""A fault at one of three times of a scan, what came of it, and whether that is right."""

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from tests.faults import digest_chains
from tests.faults.link import inside
from tests.service.peers import HEADER, Peer, readouts, wait_until, wire
from tests.service.running import Kept, children_of, is_running

from chistream.service.journal import SessionRecord, SessionState
from chistream.service.rerun import rerun
from chistream.service.sessions import resident_bytes
from chistream.service.spool import open_spooled
from chistream.stream.codec import MessageReader
from chistream.stream.messages import Acquisitions, Close, ConfigFile, Image, Message, Text

SPARE = 3
LIMITS: dict[str, Any] = {
    "connect_seconds": 5.0,
    "header_seconds": 5.0,
    "idle_seconds": 6.0,
    "delivery_seconds": 4.0,
    "hang_seconds": 6.0,
    "session_seconds": 1800.0,
    "readouts": 3000,
    "kspace_bytes": 2**30,
    "memory_bytes": 400_000_000,
    "sizes": {"text_bytes": 2**20, "message_bytes": 2**26, "image_pixels": 2**24, "channels": 128},
}
LONGEST = 40.0
"""Longest that a client waits for its end, on a machine with much else to do [s]."""

N_READOUTS = 40


class Timing(Enum):
    """When a fault comes."""

    BEFORE_HEADER = "before header"
    MID_SCAN = "mid-scan"
    COMPUTING = "while computing"


@dataclass(frozen=True)
class End:
    """How a session has to end for its client.

    Parameters
    ----------
    name
        ``result``: both images and CLOSE. ``told``: an error in words, and CLOSE. ``partial``: a
        warning, the digest of what is whole, and CLOSE. ``images``: images of whatever was said,
        and CLOSE. ``looked``: CLOSE alone. ``left``: the client is gone. ``cut off``: the
        connection ends without CLOSE. ``closed``: CLOSE, after whatever. ``any``: it ends.
    words
        What the client is told, a regular expression.
    states
        Which states the journal may give; empty: any but running.
    """

    name: str
    words: str = ""
    states: tuple[str, ...] = ()


RESULT = End("result", states=("delivered",))
LOOKED = End("looked")
PARTIAL = End("partial", "scan is incomplete", ("delivered",))


def told(words: str, *states: str) -> End:
    return End("told", words, states or ("failed",))


def left(*states: str) -> End:
    return End("left", states=states)


class Address:
    """Where a service is for those who do not share its network."""

    def __init__(self, host: str, port: int) -> None:
        self.address = (host, port)


class Ground:
    """A service with its folder, and other people's sessions on it."""

    def __init__(self, folder: Path, namespace: str = "", **options: Any) -> None:  # noqa: ANN401
        self._namespace = namespace
        self.holds = folder / "holds"
        self.holds.mkdir(parents=True)
        self.options: dict[str, Any] = {
            "chain_module": "digest_chains",
            "paths": [str(Path(__file__).parent)],
            "limits": LIMITS,
            "spare_workers": SPARE,
            "max_sessions": 16,
            "linger_seconds": 3.0,
            "log_level": "WARNING",
            **options,
        }
        self.folder = folder
        self.service = self.start()
        self.others: list[Bystander] = []

    @property
    def pid(self) -> int:
        return self.service.process.pid

    def start(self, **options: Any) -> Kept:  # noqa: ANN401
        with inside(self._namespace) if self._namespace else nullcontext():
            self.service = Kept(self.folder, self.folder / "spool", {}, {**self.options, **options})
        return self.service

    def connect(self, source: str) -> Peer:
        """Connect over loopback."""
        if not self._namespace:
            return Peer(self.service, source)
        with inside(self._namespace):
            return Peer(Address("127.0.0.1", self.service.address[1]), source)

    def records(self) -> dict[str, SessionRecord]:
        """Return what the journal has, by the clients' addresses."""
        return {record.client: record for record in self.service.records()}

    def wait_for_end(self, source: str) -> None:
        """Wait until a client's session has begun and ended."""

        def is_over() -> bool:
            record = self.records().get(source)
            return record is not None and record.state is not SessionState.RUNNING

        wait_until(is_over, LONGEST)

    def settle(self, like: "Footprint | None" = None) -> "Footprint":
        """Wait until nothing but idle workers is left, and clients' farewells are over.

        Return what the service holds then, at the latest after some time.
        """
        wait_until(lambda: len(children_of(self.pid)) == SPARE, LONGEST)
        deadline = time.monotonic() + LONGEST
        found = footprint(self.pid)
        while time.monotonic() < deadline:
            time.sleep(0.3)
            before, found = found, footprint(self.pid)
            expected = before.n_files if like is None else like.n_files
            if (found.n_files, found.n_children) == (expected, SPARE):
                break
        return found

    def end(self) -> None:
        self.service.end_soon()


@dataclass(frozen=True)
class Footprint:
    """What a supervisor holds."""

    n_files: int
    n_children: int
    n_bytes: int


def footprint(pid: int) -> Footprint:
    n_files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Footprint(n_files, len(children_of(pid)), resident_bytes(pid))


def orphans_of(pids: Iterable[int]) -> list[int]:
    """Return which of a service's workers have outlived it."""
    return [pid for pid in pids if is_running(pid)]


def scan_of(key: str) -> Acquisitions:
    """Make a scan like no other."""
    run = readouts(N_READOUTS)
    run.heads["scan_counter"] = np.arange(N_READOUTS)
    rng = np.random.default_rng(list(key.encode()))
    run.samples.view(np.float32)[:] = rng.standard_normal((N_READOUTS, 2, 16), np.float32)
    return run


def part(run: Acquisitions, first: int, last: int) -> Acquisitions:
    return Acquisitions(
        run.heads[first:last], run.samples[first:last], run.trajectories[first:last]
    )


def digests(*messages: Message) -> list[bytes]:
    """Return the images of the chain ``digest`` for these messages."""
    made = digest_chains.run_chain("digest", None, None, iter(messages))  # type: ignore[arg-type]
    return [message.pixels.tobytes() for message in made if isinstance(message, Image)]


class Scene:
    """One client, with a scan of its own, up to the time of its fault.

    Attributes
    ----------
    said
        Every byte the client sent, as far as it knows.
    goes_on
        Whether the client does what it would have done without the fault.
    """

    def __init__(
        self, ground: Ground, key: str, timing: Timing, source: str, chain: str = "digest"
    ) -> None:
        self.ground, self.timing, self.source, self.chain = ground, timing, source, chain
        self.key = key
        self.scan = scan_of(key)
        self.hold = ground.holds / re.sub(r"\W+", "-", key)
        self.said = bytearray()
        self.goes_on = True
        self.listens = True
        self.early: list[Message] = []
        self.began = time.monotonic()
        self.peer = self.connect()

    def connect(self) -> Peer:
        return self.ground.connect(self.source)

    @property
    def config(self) -> ConfigFile:
        return ConfigFile(f"{self.chain}@{self.hold}")

    def say(self, *messages: Message) -> None:
        self.send(wire(*messages))

    def send(self, content: bytes) -> None:
        """Send, as far as anybody takes it."""
        try:
            self.peer.socket.sendall(content)
        except OSError:
            return
        self.said += content

    def reach(self) -> None:
        """Come to the time of the fault."""
        self.hold.touch()
        self.say(self.config)
        if self.timing is Timing.BEFORE_HEADER:
            return
        self.say(HEADER, Text(""))
        self.say(part(self.scan, 0, N_READOUTS // 2))
        if self.timing is Timing.COMPUTING:
            self.say(part(self.scan, N_READOUTS // 2, N_READOUTS), Close())
            self.early = [self.hear_one()]
        else:
            self.wait_until_kept()

    def hear_one(self) -> Message:
        message = self.peer.hear()
        assert isinstance(message, Image), message
        return message

    def go_on(self) -> None:
        """Do what is left to do."""
        if not self.goes_on:
            return
        if self.timing is Timing.BEFORE_HEADER:
            self.say(HEADER, Text(""), self.scan, Close())
        elif self.timing is Timing.MID_SCAN:
            self.say(part(self.scan, N_READOUTS // 2, N_READOUTS), Close())

    def wait_until_kept(self) -> None:
        """Wait until all that was said has been taken in."""
        if self.timing is not Timing.COMPUTING:  # then it has: an image came, the file is closed
            wait_until(lambda: self.n_kept() >= len(self.said), LONGEST)

    def n_kept(self) -> int:
        """Return how much of this client is on disk."""
        links = (fd.readlink() for fd in Path(f"/proc/{self.worker()}/fd").iterdir())
        with contextlib.suppress(OSError):
            return sum(link.stat().st_size for link in links if link.suffix == ".mrd")
        return 0

    def worker(self) -> int:
        """Return the process that has this client."""
        found: list[int] = []

        def look() -> bool:
            inode = inode_of(self.peer.socket, self.ground.pid)
            found[:] = [c for c in children_of(self.ground.pid) if holds_socket(c, inode)]
            return bool(found)

        wait_until(look, LONGEST)
        return found[0]


def inode_of(client: socket.socket, service: int) -> str:
    """Return the inode of the service's end of a connection, where that process lives."""
    ours, theirs = client.getsockname(), client.getpeername()
    wanted = [f"{_hex(a[0])}:{a[1]:04X}" for a in (theirs, ours)]
    for line in Path(f"/proc/{service}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1:3] == wanted:
            return fields[9]
    return ""


def _hex(address: str) -> str:
    return f"{int.from_bytes(socket.inet_aton(address), 'little'):08X}"


def holds_socket(pid: int, inode: str) -> bool:
    try:
        links = [fd.readlink() for fd in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return False
    return bool(inode) and Path(f"socket:[{inode}]") in links


@dataclass
class Outcome:
    """What a client of a scene got, and when."""

    scene: Scene
    heard: list[Message] = field(default_factory=list)
    is_cut_off: bool = False
    is_endless: bool = False
    seconds: float = 0.0
    workers: list[int] = field(default_factory=list)

    @property
    def images(self) -> list[bytes]:
        return [m.pixels.tobytes() for m in self.heard if isinstance(m, Image)]

    @property
    def words(self) -> str:
        return " | ".join(m.text for m in self.heard if isinstance(m, Text))

    @property
    def is_closed(self) -> bool:
        return bool(self.heard) and isinstance(self.heard[-1], Close)


def play(scene: Scene, fault: Callable[[Scene], None]) -> Outcome:
    """Let a fault happen, and the client live on."""
    scene.reach()
    outcome = Outcome(scene, list(scene.early), workers=children_of(scene.ground.pid))
    start = time.monotonic()
    fault(scene)
    scene.hold.unlink(missing_ok=True)
    scene.go_on()
    if scene.listens:
        _listen(scene, outcome)
    outcome.seconds = time.monotonic() - start
    scene.peer.socket.close()
    return outcome


def _listen(scene: Scene, outcome: Outcome) -> None:
    scene.peer.socket.settimeout(LONGEST)
    try:
        while (message := scene.peer.hear()) is not None:
            outcome.heard.append(message)
    except TimeoutError:
        outcome.is_endless = True
    except OSError:
        outcome.is_cut_off = True


class Bystander(threading.Thread):
    """Other people's scans, in small pieces: one after the other, or one that is as long as all."""

    def __init__(self, ground: Ground, *, is_long: bool = False) -> None:
        super().__init__(daemon=True)
        self._ground, self._is_long = ground, is_long
        self._source = "127.2.0.2" if is_long else "127.2.0.1"
        self._stop_asked = threading.Event()
        self.done: list[tuple[float, float, str]] = []

    def run(self) -> None:
        while not self._stop_asked.is_set():
            start = time.monotonic()
            fault = self.scan(f"bystander {len(self.done)}")
            self.done.append((start, time.monotonic(), fault))

    def finish(self) -> None:
        self._stop_asked.set()
        self.join(3 * LONGEST)

    def faults(self, start: float, end: float) -> list[str]:
        """Return what went wrong between two times."""
        return [fault for a, b, fault in self.done if fault and a < end and b > start]

    def scan(self, key: str) -> str:
        """Do one scan; return what was wrong, which is nothing."""
        sent: list[Message] = []
        try:
            peer = self._ground.connect(self._source)
            peer.begin("digest")
            for piece in self._pieces(scan_of(key)):
                peer.say(piece)
                sent.append(piece)
            peer.say(Close())
            heard = peer.hear_all()
        except (OSError, AssertionError) as error:
            return f"{key}: {error!r}"
        images = [m.pixels.tobytes() for m in heard if isinstance(m, Image)]
        is_right = images == digests(*sent) and isinstance(heard[-1], Close)
        return "" if is_right else f"{key}: {heard}"

    def quick(self, key: str) -> str:
        """Do one scan without pauses."""
        self._stop_asked.set()
        return self.scan(key)

    def _pieces(self, run: Acquisitions) -> Iterator[Acquisitions]:
        for first in range(0, N_READOUTS, 5):
            yield part(run, first, first + 5)
            self._stop_asked.wait(0.25)
        while self._is_long and not self._stop_asked.wait(1.0):
            yield part(run, 0, 1)


# -- judgement --------------------------------------------------------------------------------


def check_end(outcome: Outcome, end: End, scan: list[Message]) -> None:
    """Compare what the client got with what it has to get."""
    assert not outcome.is_endless, f"waited for ever; heard {outcome.heard}"
    assert outcome.seconds < LONGEST, outcome.seconds
    if end.name in ("left", "any"):
        return
    if end.name == "closed":
        assert outcome.is_closed
        return
    if end.name == "cut off":
        assert not outcome.is_closed
        return
    assert outcome.is_closed, (outcome.heard, outcome.is_cut_off)
    assert not outcome.is_cut_off
    assert re.search(end.words, outcome.words), outcome.words
    assert ("ERROR" in outcome.words) == (end.name == "told"), outcome.words
    if end.name == "result":
        assert outcome.images == digests(*scan)
    elif end.name == "images":
        assert len(outcome.images) >= 2
    elif end.name == "partial":
        assert len(outcome.images) == 2
    elif end.name == "looked":
        assert outcome.heard == [Close()]


def check_kept(outcome: Outcome, record: SessionRecord) -> None:
    """Run what was kept again: the same images, all of what the bytes say."""
    stream = open_spooled(Path(record.raw))
    kept = b"".join(stream.pieces())
    said = bytes(outcome.scene.said)
    assert said.startswith(kept) or kept.startswith(said), "not what the client sent"
    if outcome.scene.timing is Timing.COMPUTING:
        assert kept.startswith(wire(outcome.scene.config, HEADER, Text(""), outcome.scene.scan))
    again = rerun(stream, digest_chains, record.id)
    images = [image.pixels.tobytes() for image in again.images]
    assert images[: len(outcome.images)] == outcome.images
    reader = MessageReader()
    reader.feed(kept)
    if again.state.value == "delivered":
        assert images[0] == digest_chains.digest_of(iter(reader))[:32]
    twice = rerun(stream, digest_chains, record.id)
    assert [image.pixels.tobytes() for image in twice.images] == images
