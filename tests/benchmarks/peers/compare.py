"""Coil maps and parallel imaging beside sigpy, mrpro, BART and pygrappa: one run, the same data.

Run ``python -m tests.benchmarks.peers.compare [-o FOLDER]`` from the root of the checkout, with
whatever tools are installed (``pip install sigpy mrpro pygrappa scikit-image``, Debian package
``bart``): it writes ``peers.json`` and ``peers.md``. Each method runs in a process of its own, on
one core and one thread, for two replicas of the noise: the first run loads and compiles, the second
counts. Seconds are those of the processor, so other work of the machine adds little to them. Memory
is the most that the process held on top of what it held before, or for commands the most that they
held.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from tests.benchmarks.peers import tools
from tests.benchmarks.peers.cases import Case, Replicas, chest, closed_form, load, save

from chistream.arrays import ComplexArray, RealArray
from chistream.echoes.coil_images import reconstruct_coil_images
from chistream.echoes.combination import combine_coils

LONGEST = 100.0
"""For one method, both runs [s]: one that takes longer is stopped, and the table says so."""

BODY_SIZE, BODY_COILS = (16, 64, 48), 8
CHEST_SIZE, CHEST_COILS = (16, 72, 96), 16


def figures_of_maps(found: ComplexArray, case: Case) -> dict[str, float]:
    """Compare maps: 1 - cosine to the true ones, and what the combination loses by them."""
    maps, true = found[:, case.body], case.true_maps[:, case.body]
    norms = [np.sqrt((np.abs(one) ** 2).sum(axis=0)) for one in (maps, true)]
    cosine = np.abs((maps.conj() * true).sum(axis=0)) / np.maximum(norms[0] * norms[1], 1e-20)
    phase = phase_error(combine_coils(reconstruct_coil_images(case.full), found), case)
    return {
        "1 - cosine, median": float(np.median(1 - cosine)),
        "1 - cosine, 99 %": float(np.percentile(1 - cosine, 99)),
        "SNR lost": float(1 - cosine.mean()),
        "phase of all lines combined by them, RMS [rad]": _rms(phase),
    }


def figures_of_echoes(
    found: ComplexArray, again: ComplexArray, replicas: Replicas
) -> dict[str, float]:
    """Compare echoes with full sampling: what of the error stays, and what noise makes of it."""
    case = replicas[0]
    one, other = (phase_error(echoes, case) for echoes in (found, again))
    full = [combine_coils(reconstruct_coil_images(c.full), c.true_maps) for c in replicas]
    noise, least = (
        np.linalg.norm((a - b)[:, case.body]) for a, b in ((found, again), (full[0], full[1]))
    )
    true, echoes = case.clean[:, case.body], found[:, case.body]
    return {
        "inter-echo phase, RMS [rad]": _rms(one),
        # Noise of the replicas is independent: what they share is the method's own error.
        "of it without noise [rad]": float(np.sqrt(max(float(np.mean(one * other)), 0.0))),
        "NRMSE": float(np.linalg.norm(echoes - true) / np.linalg.norm(true)),
        "noise / full sampling": float(noise / least),
    }


def phase_error(found: ComplexArray, case: Case) -> RealArray:
    """Error of the phase between the echoes at each voxel of the body [rad]."""
    one, other = (echoes[:, case.body] for echoes in (found, case.clean))
    error: RealArray = np.angle(one[1] * one[0].conj() * (other[1] * other[0].conj()).conj())
    return error


def _rms(values: RealArray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def measure_here(path: Path, method: str) -> dict[str, float]:
    """Run one method on both replicas in this process."""
    replicas = load(path)
    make = tools.METHODS[method]
    before = tools.held_by("self")
    again = make(replicas[1])
    start = tools.processor_seconds(method)
    found = make(replicas[0])
    seconds = tools.processor_seconds(method) - start
    held = tools.LARGEST_CHILD or tools.held_by("self") - before
    if method in tools.MAPS:
        figures = figures_of_maps(found, replicas[0])
    else:
        figures = figures_of_echoes(found, again, replicas)
    return {**figures, "processor [s]": seconds, "memory [MB]": held}


@contextmanager
def one_core() -> Iterator[None]:
    """Let processes that start meanwhile have one core: some tools heed no other limit."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def measure_alone(path: Path, method: str) -> dict[str, Any]:
    """Run one method in a process of its own."""
    reason = tools.reason_missing(method)
    if reason is not None:
        return {"skipped": reason}
    command = [sys.executable, "-m", "tests.benchmarks.peers.compare", "--one", str(path), method]
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, "1")}
    try:
        with one_core():
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                env=environment,
                check=False,
                timeout=LONGEST,
            )
    except subprocess.TimeoutExpired:
        return {"stopped": f"two runs took longer than {LONGEST:.0f} s"}
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["no reason"])[-1][:200]}
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(cases: dict[str, Replicas], methods: list[str], folder: Path) -> dict[str, Any]:
    """Run methods on cases, and write what is known so far after each of them."""
    versions = {tool: tools.version(tool) for tool in tools.TOOLS}
    figures: dict[str, dict[str, Any]] = {name: {} for name in cases}
    results = {"cases": figures, "versions": versions}
    with tempfile.TemporaryDirectory() as scratch:
        for name, replicas in cases.items():
            path = Path(scratch) / "case.npz"
            save(replicas, path)
            for method in methods:
                figures[name][method] = measure_alone(path, method)
                text = json.dumps(results, indent=1)
                (folder / "peers.json").write_text(text, encoding="utf-8")
                (folder / "peers.md").write_text(markdown(results), encoding="utf-8")
    return results


def markdown(results: dict[str, Any]) -> str:
    """Write the figures as tables, maps and echoes apart."""
    lines = []
    for name, by_method in results["cases"].items():
        for kind, methods in (("coil maps", tools.MAPS), ("echoes", tools.ECHOES)):
            chosen = {m: f for m, f in by_method.items() if m in methods}
            if chosen:
                lines += ["", f"### {name}: {kind}", "", *_table(chosen)]
    versions = ", ".join(f"{t} {v or 'absent'}" for t, v in results["versions"].items())
    return "\n".join([f"{versions}; one thread.", *lines, ""])


def _table(by_method: dict[str, dict[str, Any]]) -> list[str]:
    columns = next((list(f) for f in by_method.values() if "memory [MB]" in f), ["outcome"])
    lines = [f"| method | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for method, figures in by_method.items():
        if "memory [MB]" in figures:
            cells = [_cell(figures[c]) for c in columns]
        else:
            outcome, reason = next(iter(figures.items()))
            cells = [f"{outcome}: {reason}", *[""] * (len(columns) - 1)]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return lines


def _cell(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def main(arguments: list[str]) -> None:
    """Run one method, or all of them and write the tables."""
    if arguments[:1] == ["--one"]:
        figures = measure_here(Path(arguments[1]), arguments[2])
        sys.stdout.write("\n" + json.dumps(figures) + "\n")
        return
    parser = argparse.ArgumentParser(description="Compare with public tools.")
    parser.add_argument("-o", "--output", type=Path, default=Path())
    given = parser.parse_args(arguments)
    cases = {"Body": closed_form(BODY_SIZE, BODY_COILS), "Chest": chest(CHEST_SIZE, CHEST_COILS)}
    named = {
        f"{name}, {' x '.join(map(str, r[0].size))}, {len(r[0].true_maps)} coils": r
        for name, r in cases.items()
    }
    measure(named, list(tools.METHODS), given.output)


if __name__ == "__main__":
    main(sys.argv[1:])
