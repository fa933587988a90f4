"""How many readouts a second come through a loopback socket when nothing is done with them.

Run ``python tests/benchmarks/ingest.py [READOUTS [REPEATS]]`` for the figures as JSON. The sender
is a process of its own and sends bytes that it encoded beforehand, so it only costs what a socket
costs. Beside the reader's rate stands the ceiling: the same bytes received into one buffer and not
looked at.
"""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from chistream.stream.codec import MessageReader, encode
from chistream.stream.messages import ACQUISITION_HEAD, Acquisitions, Close, new_head

N_COILS, N_SAMPLES = 16, 256
_BLOCK = 64
"""Readouts in the block that the sender repeats."""


def readouts(n: int, n_coils: int, n_samples: int) -> Acquisitions:
    """Make readouts with some content."""
    head = new_head(
        ACQUISITION_HEAD,
        number_of_samples=n_samples,
        active_channels=n_coils,
        available_channels=n_coils,
    )
    heads = np.repeat(np.array([head], ACQUISITION_HEAD), n)
    heads["scan_counter"] = np.arange(n)
    samples = np.arange(n * n_coils * n_samples, dtype=np.float32).astype(np.complex64)
    return Acquisitions(
        heads, samples.reshape(n, n_coils, n_samples), np.empty((n, n_samples, 0), np.float32)
    )


def send(port: int, n_blocks: int) -> None:
    """Send so many blocks of readouts and a CLOSE to 127.0.0.1."""
    block = b"".join(encode(readouts(_BLOCK, N_COILS, N_SAMPLES)))
    with socket.create_connection(("127.0.0.1", port), timeout=60) as peer:
        for _ in range(n_blocks):
            peer.sendall(block)
        peer.sendall(b"".join(encode(Close())))
        peer.shutdown(socket.SHUT_WR)
        peer.recv(1)


def ingest(peer: socket.socket) -> int:
    """Read every message; return the number of readouts."""
    reader = MessageReader()
    n_readouts = 0
    while n_bytes := peer.recv_into(reader.get_buffer()):
        reader.received(n_bytes)
        for message in reader:
            if isinstance(message, Acquisitions):
                n_readouts += len(message)
    return n_readouts


def drain(peer: socket.socket) -> int:
    """Receive every byte; return the number of readouts that they are."""
    buffer = bytearray(2**20)
    n_received = 0
    while n_bytes := peer.recv_into(buffer):
        n_received += n_bytes
    return n_received // (342 + 8 * N_COILS * N_SAMPLES)


class Rate(NamedTuple):
    """Readouts per second on the clock, and per second of the receiving processor's time."""

    clock: float
    processor: float


def rate(receive: Callable[[socket.socket], int], n_readouts: int) -> Rate:
    """Return the rates of one connection, from its first byte to its last."""
    n_blocks = -(-n_readouts // _BLOCK)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        sender = subprocess.Popen([sys.executable, __file__, "--send", str(port), str(n_blocks)])
        server.settimeout(60)
        with server.accept()[0] as peer:
            peer.settimeout(60)
            peer.recv(1, socket.MSG_PEEK)
            start, start_processor = time.perf_counter(), time.thread_time()
            n_received = receive(peer)
            seconds, busy = time.perf_counter() - start, time.thread_time() - start_processor
        if sender.wait(60) or n_received != n_blocks * _BLOCK:
            raise RuntimeError(f"{n_received} readouts arrived of {n_blocks * _BLOCK}")
    return Rate(n_received / seconds, n_received / busy)


def measure(n_readouts: int = 100_000, repeats: int = 3) -> dict[str, float]:
    """Measure the rate of the reader and that of a bare socket.

    Parameters
    ----------
    n_readouts
        Readouts per connection, of 16 channels x 256 samples.
    repeats
        Connections; the best counts, since whatever else the machine does only slows them down.

    Returns
    -------
    dict
        ``readouts_per_second`` on the clock, ``readouts_per_processor_second`` of the receiver
        alone, and ``ceiling_per_second`` of a socket whose bytes nobody looks at.
    """
    read = [rate(ingest, n_readouts) for _ in range(repeats)]
    return {
        "channels": N_COILS,
        "samples": N_SAMPLES,
        "readouts_per_second": max(one.clock for one in read),
        "readouts_per_processor_second": max(one.processor for one in read),
        "ceiling_per_second": max(rate(drain, n_readouts).clock for _ in range(repeats)),
    }


def main(arguments: list[str]) -> None:
    """Send, for the process that measures; or measure and write the figures."""
    if arguments[:1] == ["--send"]:
        send(int(arguments[1]), int(arguments[2]))
    else:
        figures = measure(*(int(value) for value in arguments))
        sys.stdout.write(json.dumps({name: round(value) for name, value in figures.items()}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
