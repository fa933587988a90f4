"""How long after the last readout the complex echoes are there, and what they cost before.

Run ``python tests/benchmarks/echo_latency.py [RAW.h5 | PRESET] [key=value ...]`` for the figures as
JSON; settings follow as on the command line. Times are given on the clock and of the processor: a
machine that does other things as well only spoils the first. Reading the file counts for neither.
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from chistream.chain import CHAINS, warm_up
from chistream.config import parse_assignments, parse_settings
from chistream.job import Job
from chistream.stream.files import read_messages
from chistream.stream.header import read_header
from chistream.stream.messages import SECONDS_PER_TICK, Acquisitions, Header, Message
from chistream_simulator.commands import simulate

_MEBIBYTE = 2**20


class Stopwatch:
    """Time on the clock and of the processor since it was started [s]."""

    def __init__(self) -> None:
        self._start = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        """Return the time on the clock and of the processor [s]."""
        return time.perf_counter() - self._start[0], time.process_time() - self._start[1]


class TimedFile:
    """Messages of a raw file; takes note of what reading costs and of the last one.

    Parameters
    ----------
    raw
        The file.
    """

    def __init__(self, raw: Path) -> None:
        self._messages = read_messages(raw)
        first = next(self._messages)
        if not isinstance(first, Header):
            raise TypeError(f"{raw} has no header")
        self.header = read_header(first.xml)
        self.reading = [0.0, 0.0]
        self.n_readouts = 0
        self.stamps: list[float] = []
        self.after = Stopwatch()

    def __iter__(self) -> Iterator[Message]:
        while True:
            watch = Stopwatch()
            message = next(self._messages, None)
            for i, seconds in enumerate(watch.read()):
                self.reading[i] += seconds
            if message is None:
                break
            if isinstance(message, Acquisitions):
                self.n_readouts += len(message)
                stamps = message.heads["acquisition_time_stamp"] * SECONDS_PER_TICK
                self.stamps += [float(stamps.min()), float(stamps.max())]
            yield message
        self.after = Stopwatch()


def resident() -> float:
    """Return the largest memory that the process ever held [MiB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(raw: Path, values: dict[str, str] | None = None) -> dict[str, float]:
    """Stream a raw file through acquisition and echoes.

    Parameters
    ----------
    raw
        ISMRMRD file.
    values
        Settings by name.

    Returns
    -------
    dict
        ``stream_*``: time until the last readout was taken in, without reading the file;
        ``times_real_time``: how much faster than the scanner that is on one core;
        ``acquired_*``, ``echoes_*``: time from the last readout until k-space and echoes are
        there; ``memory_mib``: largest memory beyond that of the warm process;
        ``memory_limit_mib``: 2.5 times k-space and 300.
    """
    warm_up()
    file = TimedFile(raw)
    settings, _ = parse_settings({"profile": "research", **(values or {})})
    job = Job(CHAINS["cardiac_qsm"], file.header, settings)
    baseline, whole = resident(), Stopwatch()
    for _ in job.receive(iter(file)):
        pass
    acquired, total = file.after.read(), whole.read()
    job.combine()
    echoes = file.after.read()
    stream = [total[i] - acquired[i] - file.reading[i] for i in (0, 1)]
    kspace = job.acquired.hybrid.nbytes / _MEBIBYTE
    return {
        "readouts": file.n_readouts,
        "coils": job.acquired.n_coils,
        "virtual_coils": job.acquired.hybrid.shape[1],
        "kspace_mib": kspace,
        "scan_s": max(file.stamps) - min(file.stamps),
        "stream_clock_s": stream[0],
        "stream_processor_s": stream[1],
        "times_real_time": (max(file.stamps) - min(file.stamps)) / stream[1],
        "acquired_clock_s": acquired[0],
        "acquired_processor_s": acquired[1],
        "echoes_clock_s": echoes[0],
        "echoes_processor_s": echoes[1],
        "memory_mib": resident() - baseline,
        "memory_limit_mib": 2.5 * kspace + 300,
    }


def main(arguments: list[str]) -> None:
    """Measure a raw file, or a preset that is simulated first, and write the figures."""
    what = arguments[0] if arguments else "demo"
    values = parse_assignments(arguments[1:])
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(what) if Path(what).exists() else simulate(Path(folder) / "scan.h5", what)
        figures = measure(raw, values)
    sys.stdout.write(json.dumps({name: round(value, 3) for name, value in figures.items()}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
