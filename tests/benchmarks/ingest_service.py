"""How many readouts a second a service takes in, whatever it does with them.

``python -m tests.benchmarks.ingest_service`` starts ``chistream serve`` and measures, in one run:

``ceiling``
    A bare socket whose bytes nobody looks at.
``null``
    The chain ``null``: nothing is done per readout, nothing kept on disk.
``null, spooled``
    The same with the raw data kept.
``gated, spooled``
    The chain ``cardiac_qsm``: whitening, gating by navigators, sorting into k-space, raw data kept.

``--to HOST:PORT`` measures any other server of MRD, with the configuration ``--config``. The sender
is a process of its own. The rate is that of the last three quarters of the scan: by then every
buffer on the way is as full as it gets, and what leaves the sender is what the server takes.
"""

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from chistream.stream.codec import encode
from chistream.stream.messages import (
    ACQUISITION_HEAD,
    Close,
    ConfigFile,
    Header,
    Message,
    new_head,
)

N_SAMPLES = 256
LINES_PER_BEAT, N_NOISE, N_SHAPES = 49, 32, 64
MATRIX = (64, 160)
"""Encode steps 2 and 1; a scan of more lines goes through them again."""

NOISE, NAVIGATOR = 1 << 18, (1 << 22) | (1 << 27)
PIECES = 512
CASES = {
    "null": ("null", ["--no-spool"]),
    "null, spooled": ("null", []),
    "gated, spooled": ("cardiac_qsm", []),
}


def header(n_coils: int) -> Header:
    """Describe the scan."""
    z, y = MATRIX
    size = f"<x>{N_SAMPLES}</x><y>{y}</y><z>{z}</z>"
    space = f"<matrixSize>{size}</matrixSize><fieldOfView_mm>{size}</fieldOfView_mm>"
    steps = "".join(
        f"<kspace_encoding_step_{i}><minimum>0</minimum><maximum>{n - 1}</maximum>"
        f"<center>{n // 2}</center></kspace_encoding_step_{i}>"
        for i, n in ((1, y), (2, z))
    )
    return Header(f"""<?xml version="1.0"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
  <acquisitionSystemInformation><receiverChannels>{n_coils}</receiverChannels>
  </acquisitionSystemInformation>
  <experimentalConditions><H1resonanceFrequency_Hz>123200000</H1resonanceFrequency_Hz>
  </experimentalConditions>
  <encoding><encodedSpace>{space}</encodedSpace><reconSpace>{space}</reconSpace>
    <encodingLimits>{steps}</encodingLimits><trajectory>cartesian</trajectory></encoding>
  <sequenceParameters><TE>4.1</TE></sequenceParameters>
</ismrmrdHeader>""")


def heads(n: int, n_coils: int) -> "np.ndarray[Any, np.dtype[np.void]]":
    """Make the heads of noise, then of heartbeats: a navigator and its lines."""
    head = new_head(
        ACQUISITION_HEAD,
        number_of_samples=N_SAMPLES,
        active_channels=n_coils,
        available_channels=n_coils,
        center_sample=N_SAMPLES // 2,
        sample_time_us=5.0,
        read_dir=(1, 0, 0),
        phase_dir=(0, 1, 0),
        slice_dir=(0, 0, 1),
    )
    made = np.repeat(np.array([head]), n)
    index = np.arange(n)
    beat, within = np.divmod(index - N_NOISE, LINES_PER_BEAT + 1)
    line = (beat * LINES_PER_BEAT + within - 1) % (MATRIX[0] * MATRIX[1])
    made["scan_counter"] = index
    made["acquisition_time_stamp"] = 400 * (beat + 2) + 2 * within
    made["idx"]["kspace_encode_step_2"], made["idx"]["kspace_encode_step_1"] = np.divmod(
        line, MATRIX[1]
    )
    made["flags"] = np.where(within == 0, NAVIGATOR, 0)
    for quiet in (index < N_NOISE, within == 0):
        made["idx"]["kspace_encode_step_1"][quiet] = made["idx"]["kspace_encode_step_2"][quiet] = 0
    made["flags"][:N_NOISE] = NOISE
    made["acquisition_time_stamp"][:N_NOISE] = 100 + index[:N_NOISE]
    return made


def profiles(n_coils: int) -> "np.ndarray[Any, np.dtype[np.complex64]]":
    """Make navigators ``(shapes, coils, samples)``: a liver whose edge breathes by 15 mm."""
    rng = np.random.default_rng(1)
    depth = np.arange(N_SAMPLES)
    edges = 110 + 7.5 * np.sin(2 * np.pi * np.arange(N_SHAPES) / 4.3)
    liver = 1 / (1 + np.exp((depth - edges[:, None]) / 1.5)) * (depth > 30)
    coils = rng.standard_normal((2, n_coils, 1)).view(np.float64)
    images = liver[:, None] * (1 + 0.3 * coils[0])
    lines = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(images, -1), norm="ortho"), -1)
    return (lines + 0.01 * rng.standard_normal(lines.shape)).astype(np.complex64)


def scan(n: int, n_coils: int) -> Iterator[list[memoryview]]:
    """Yield the readouts of a scan on the wire, as many at once as one call can send."""
    rng = np.random.default_rng(2)
    noise = rng.standard_normal((N_SHAPES, n_coils, N_SAMPLES, 2)).astype(np.float32)
    lines = [memoryview(one.tobytes()) for one in noise]
    navigators = [memoryview(one.tobytes()) for one in profiles(n_coils)]
    all_heads = heads(n, n_coils)
    is_navigator = all_heads["flags"] == NAVIGATOR
    starts = np.zeros(n, [("id", "<u2"), ("head", ACQUISITION_HEAD)])
    starts["id"], starts["head"] = 1008, all_heads
    wire = memoryview(starts.tobytes())
    size = starts.itemsize
    for first in range(0, n, PIECES // 2):
        pieces = []
        for i in range(first, min(n, first + PIECES // 2)):
            shape = (i // (LINES_PER_BEAT + 1) if is_navigator[i] else i) % N_SHAPES
            body = navigators[shape] if is_navigator[i] else lines[shape]
            pieces += [wire[i * size : (i + 1) * size], body]
        yield pieces


def send_scan(host: str, port: int, config: str, n: int, n_coils: int) -> dict[str, float]:
    """Send a scan; return how fast it was taken."""
    blocks = list(scan(n, n_coils))
    opening: list[Message] = [ConfigFile(config), header(n_coils)]
    with socket.create_connection((host, port), timeout=600) as peer:
        listener = threading.Thread(target=_listen, args=(peer,))
        listener.start()
        if config:
            peer.sendall(b"".join(piece for m in opening for piece in encode(m)))
        quarter, start, after_quarter = len(blocks) // 4, time.perf_counter(), 0.0
        for i, block in enumerate(blocks):
            if i == quarter:
                after_quarter = time.perf_counter()
            _send_all(peer, block)
        end = time.perf_counter()
        if config == "null":
            peer.sendall(b"".join(encode(Close())))
        else:
            # Its images would take minutes, and are not what is measured.
            peer.shutdown(socket.SHUT_RDWR)
        listener.join()
        done = time.perf_counter()
    late = n - quarter * (PIECES // 2)
    return {"readouts_per_second": late / (end - after_quarter), "seconds": done - start}


def _listen(peer: socket.socket) -> None:
    try:
        while peer.recv(2**16):
            pass
    except OSError:
        pass


def _send_all(peer: socket.socket, pieces: list[memoryview]) -> None:
    left = peer.sendmsg(pieces)
    for piece in pieces:
        if left < piece.nbytes:
            peer.sendall(piece[left:])
            left = 0
        else:
            left -= piece.nbytes


def measure(host: str, port: int, config: str, n: int, n_coils: int) -> float:
    """Have another process send a scan; return the readouts a second."""
    command = [sys.executable, "-m", "tests.benchmarks.ingest_service", "--send", config]
    command += ["--to", f"{host}:{port}", "--readouts", str(n), "--channels", str(n_coils)]
    ran = subprocess.run(command, capture_output=True, check=True, text=True)
    return float(json.loads(ran.stdout)["readouts_per_second"])


def ceiling(n: int, n_coils: int) -> float:
    """Measure a socket whose bytes nobody looks at."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drain() -> None:
            buffer = bytearray(2**20)
            with server.accept()[0] as peer:
                while peer.recv_into(buffer):
                    pass

        thread = threading.Thread(target=drain)
        thread.start()
        host, port = server.getsockname()[:2]
        rate = measure(host, port, "", n, n_coils)
        thread.join()
    return rate


@contextmanager
def service(folder: Path, *options: str) -> Iterator[tuple[str, int]]:
    """Run the service."""
    ready = folder / "ready"
    ready.unlink(missing_ok=True)
    command = [sys.executable, "-m", "chistream", "serve", "--port", "0", "--log-level", "ERROR"]
    command += ["--ready-file", str(ready), "--spool", str(folder / "spool"), *options]
    with subprocess.Popen(command) as process:
        while not ready.exists():
            time.sleep(0.1)
        host, _, port = ready.read_text().strip().rpartition(":")
        try:
            yield host, int(port)
        finally:
            process.terminate()


def run_all(folder: Path, n: int, n_coils: int) -> dict[str, Any]:
    """Measure everything, one after the other, with the ceiling before and after."""
    rates = {"ceiling": ceiling(n, n_coils)}
    for name, (config, options) in CASES.items():
        with service(folder, "--keep-days", "0", *options) as (host, port):
            time.sleep(8)  # until a worker is ready
            rates[name] = measure(host, port, config, n, n_coils)
    rates["ceiling"] = max(rates["ceiling"], ceiling(n, n_coils))
    ratios = {name: rate / rates["ceiling"] for name, rate in rates.items()}
    return {
        "channels": n_coils,
        "samples": N_SAMPLES,
        "readouts": n,
        "per_second": {name: round(rate) for name, rate in rates.items()},
        "of_ceiling": {name: round(ratio, 3) for name, ratio in ratios.items()},
    }


def main(arguments: list[str] | None = None) -> None:
    """Send, for the process that measures; or measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", help="HOST:PORT of a server that runs already")
    parser.add_argument("--config", default="null", help="configuration to ask it for")
    parser.add_argument("--send", help=argparse.SUPPRESS)
    parser.add_argument("--readouts", type=int, default=30_000)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--folder", type=Path, help="where the raw data are kept")
    asked = parser.parse_args(arguments)
    size = asked.readouts, asked.channels
    if asked.to:
        host, _, port = asked.to.rpartition(":")
        config = asked.config if asked.send is None else asked.send
        figures: dict[str, Any] = send_scan(host, int(port), config, *size)
    else:
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
            figures = run_all(Path(folder), *size)
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
