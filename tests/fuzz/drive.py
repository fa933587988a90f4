"""Millions of damaged streams, headers and settings, on several processes.

``python -m tests.fuzz.drive --cases 10000000`` prints one JSON object: cases and results of each
kind, the longest case, the largest growth of a process's memory, failures. Each failure is written
to a file, and ``--again FILE`` runs it once more, with its traceback.
"""

import argparse
import json
import resource
import signal
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from types import FrameType

from tests.fuzz.cases import KINDS, attempts

BLOCK = 10_000
HANG_SECONDS = 20.0
"""Processor's time after which a case counts as one that never ends [s]."""


@dataclass
class Tally:
    """What came of many cases."""

    results: Counter[str] = field(default_factory=Counter)
    longest: dict[str, float] = field(default_factory=dict)
    failures: list[dict[str, object]] = field(default_factory=list)
    grown_kib: int = 0

    def add(self, other: "Tally") -> None:
        """Take in what another process found."""
        self.results += other.results
        for kind, seconds in other.longest.items():
            self.longest[kind] = max(seconds, self.longest.get(kind, 0.0))
        self.failures += other.failures
        self.grown_kib = max(self.grown_kib, other.grown_kib)


class Hang(BaseException):
    """A case took too long; not an Exception, so that nothing on its way takes it for its own."""


def run_block(seed: int, n_cases: int = BLOCK) -> Tally:
    """Try one block of cases in this process."""
    tally = Tally()
    before = _resident_kib()
    signal.signal(signal.SIGPROF, _hang)
    cases = attempts(seed, n_cases)
    while True:
        signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
        try:
            outcome = next(cases, None)
        except Hang:
            tally.failures.append({"seed": seed, "n": tally.results.total(), "result": "hang"})
            break
        if outcome is None:
            break
        kind, result, seconds, dice = outcome
        tally.results[f"{kind}: {result if result[0] != '!' else 'failure'}"] += 1
        tally.longest[kind] = max(seconds, tally.longest.get(kind, 0.0))
        if result.startswith("!"):
            tally.failures.append({"kind": kind, "dice": dice, "result": result})
    signal.setitimer(signal.ITIMER_PROF, 0.0)
    tally.grown_kib = _resident_kib() - before
    return tally


def drive(n_cases: int, n_processes: int, seed: int) -> Tally:
    """Try so many cases on so many processes; Ctrl-C ends early, with what was found by then."""
    total = Tally()
    seeds = range(seed * 1_000_000, seed * 1_000_000 + n_cases // BLOCK)
    with ProcessPoolExecutor(n_processes, get_context("spawn")) as pool:
        blocks = [pool.submit(run_block, s) for s in seeds]
        try:
            for n, block in enumerate(as_completed(blocks), 1):
                total.add(block.result())
                sys.stderr.write(f"\r{n * BLOCK} cases, {len(total.failures)} failures")
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
    return total


def again(path: Path) -> None:
    """Show one failure and run it once more."""
    failure = json.loads(path.read_text())
    kind, dice = KINDS[failure["kind"]], failure["dice"]
    sys.stdout.write(f"{kind.content(dice)!r}\n")
    sys.stdout.write(f"{kind.attempt(dice)}\n")


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("fuzz-failures"))
    parser.add_argument("--again", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.again:
        again(options.again)
        return 0
    start = time.monotonic()
    tally = drive(options.cases, options.processes, options.seed)
    for n, failure in enumerate(tally.failures):
        options.out.mkdir(exist_ok=True)
        (options.out / f"{n}.json").write_text(json.dumps(failure))
    report = {
        "cases": tally.results.total(),
        "seconds": round(time.monotonic() - start),
        "results": dict(sorted(tally.results.items())),
        "longest_ms": {kind: round(1e3 * s, 2) for kind, s in tally.longest.items()},
        "largest_growth_mib": tally.grown_kib // 1024,
        "failures": len(tally.failures),
    }
    sys.stdout.write(json.dumps(report, indent=1) + "\n")
    return 1 if tally.failures else 0


def _hang(_signal: int, _frame: FrameType | None) -> None:
    raise Hang


def _resident_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    sys.exit(main())
