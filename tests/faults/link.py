"""A link between two network namespaces that loses, delays, cuts and bends what it carries."""

import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x1, 0x1000
_CLONE_NEWNET = 0x40000000
_PACKET = 2**16
_LIBC = ctypes.CDLL(None, use_errno=True)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Have this thread, and what it starts, live in a namespace."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        _enter(there)
        try:
            yield
        finally:
            _enter(home)
    finally:
        os.close(home)
        os.close(there)


def _enter(fd: int) -> None:
    if _LIBC.setns(fd, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "cannot enter a network namespace")


@dataclass
class Weather:
    """What happens to the packets of one direction.

    Parameters
    ----------
    delay, jitter
        How late each comes, and by how much more at random [s].
    loss, twice, bent
        Parts of them that are lost, come twice, or with a bit turned over.
    bytes_per_second
        How much passes; 0: all.
    is_cut
        Whether none does.
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    twice: float = 0.0
    bent: float = 0.0
    bytes_per_second: float = 0.0
    is_cut: bool = False


class Link:
    """A pair of tunnels, one in each namespace, and a thread that carries packets between them.

    Attributes
    ----------
    up, down
        Weather towards the service, and from it.
    """

    def __init__(self, number: int, service: str, client: str) -> None:
        self.name = f"ct{number}"
        self.service, self.client = f"10.77.{number}.1", f"10.77.{number}.2"
        self.up, self.down = Weather(), Weather()
        self._random = random.Random(number)  # noqa: S311
        self._there = self._tunnel(service, self.service, self.client)
        self._here = self._tunnel(client, self.client, self.service)
        self._late: list[tuple[float, int, int, bytes]] = []
        self._free = {self._here: 0.0, self._there: 0.0}
        self._count = 0
        self._is_over = False
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._is_over = True
        self._thread.join()
        os.close(self._here)
        os.close(self._there)

    def _tunnel(self, namespace: str, own: str, other: str) -> int:
        with inside(namespace):
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            flags = _IFF_TUN | _IFF_NO_PI
            fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", self.name.encode(), flags))
            ip("addr", "add", own, "peer", other, "dev", self.name)
            ip("link", "set", self.name, "up")
        return fd

    def _carry(self) -> None:
        while not self._is_over:
            wait = 0.05
            if self._late:
                wait = min(wait, max(0.0, self._late[0][0] - time.monotonic()))
            for fd in select.select([self._here, self._there], [], [], wait)[0]:
                is_up = fd == self._here
                self._take(
                    os.read(fd, _PACKET),
                    self.up if is_up else self.down,
                    self._there if is_up else self._here,
                )
            while self._late and self._late[0][0] <= time.monotonic():
                _, _, to, packet = heapq.heappop(self._late)
                os.write(to, packet)

    def _take(self, packet: bytes, weather: Weather, to: int) -> None:
        if weather.is_cut or self._random.random() < weather.loss:
            return
        if self._random.random() < weather.bent:
            packet = packet[:-1] + bytes([packet[-1] ^ 1])
        due = time.monotonic() + weather.delay + weather.jitter * self._random.random()
        if weather.bytes_per_second:
            start = max(self._free[to], time.monotonic())
            self._free[to] = start + len(packet) / weather.bytes_per_second
            due += self._free[to] - time.monotonic()
        for _ in range(2 if self._random.random() < weather.twice else 1):
            self._count += 1
            heapq.heappush(self._late, (due, self._count, to, packet))


@contextmanager
def namespaces() -> Iterator[tuple[str, str]]:
    """Make two, of a service and of its clients; they and all that is in them go at the end."""
    names = [f"chistream-{os.getpid()}-{side}" for side in ("service", "client")]
    try:
        for name in names:
            ip("netns", "add", name)
            with inside(name):
                ip("link", "set", "lo", "up")
        yield names[0], names[1]
    finally:
        for name in names:
            if Path(f"/run/netns/{name}").exists():
                ip("netns", "delete", name)


def why_no_namespaces() -> str:
    """Say why none can be made here; nothing if they can."""
    if not Path("/dev/net/tun").exists():
        return "network faults need /dev/net/tun"
    try:
        with namespaces():
            return ""
    except (OSError, subprocess.CalledProcessError) as error:
        return f"network namespaces cannot be made here: {error}"
