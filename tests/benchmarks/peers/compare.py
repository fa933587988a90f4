"""Coil maps and parallel imaging beside sigpy, mrpro and BART: one run, the same data.

Run ``python -m tests.benchmarks.peers.compare [--chest RAW.h5] [--no-body] [--size Z Y X COILS]
[-o FOLDER]`` from the root of the checkout, with whatever tools are installed (``pip install
'.[peers]'``, Debian package ``bart``): it writes ``peers.json`` and ``peers.md``. Each method runs
in a process of its own, on one thread, twice; the faster run counts, without loading and compiling.
Its memory is the most that process held on top of what it held before, or for commands the most
that they held.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from tests.benchmarks.peers import tools
from tests.benchmarks.peers.cases import Case, chest, closed_form, load, save

from chistream.arrays import ComplexArray

THREADS = 1
"""More would measure how tools share cores with whatever else a machine does."""

LONGEST = 300.0
"""For one method [s]."""


def figures_of_maps(found: ComplexArray, case: Case) -> dict[str, float]:
    """Compare maps: 1 - cosine to the true ones, and the signal-to-noise ratio that costs.

    Nothing of a chest: its maps are themselves learnt, by one of the methods compared.
    """
    if case.true_maps is None:
        return {}
    maps, true = found[:, case.body], case.true_maps[:, case.body]
    norms = [np.sqrt((np.abs(one) ** 2).sum(axis=0)) for one in (maps, true)]
    cosine = np.abs((maps.conj() * true).sum(axis=0)) / np.maximum(norms[0] * norms[1], 1e-20)
    return {
        "1 - cosine, median": float(np.median(1 - cosine)),
        "1 - cosine, 99 %": float(np.percentile(1 - cosine, 99)),
        "SNR kept": float(cosine.mean()),
    }


def figures_of_echoes(found: ComplexArray, case: Case) -> dict[str, float]:
    """Compare echoes with full sampling: phase between two [rad], and all of them."""
    one, other = (echoes[:, case.body] for echoes in (found, case.reference))
    phase = np.angle(one[1] * one[0].conj() * (other[1] * other[0].conj()).conj())
    scale = np.vdot(one, other) / np.vdot(one, one)
    return {
        "inter-echo phase, RMS [rad]": float(np.sqrt(np.mean(phase**2))),
        "inter-echo phase, median [rad]": float(np.median(np.abs(phase))),
        "NRMSE": float(np.linalg.norm(scale * one - other) / np.linalg.norm(other)),
    }


def measure_here(path: Path, method: str) -> dict[str, float]:
    """Run one method in this process."""
    case = load(path)
    make = tools.METHODS[method]
    before = tools.held_by("self")
    seconds, found = np.inf, np.empty(0, np.complex64)
    for _ in range(2):
        start = time.perf_counter()
        found = make(case)
        seconds = min(seconds, time.perf_counter() - start)
    held = tools.LARGEST_CHILD or tools.held_by("self") - before
    figures = (figures_of_maps if method in tools.MAPS else figures_of_echoes)(found, case)
    return {**figures, "seconds": seconds, "memory [MB]": held}


def measure_alone(path: Path, method: str) -> dict[str, Any]:
    """Run one method in a process of its own."""
    reason = tools.reason_missing(method)
    if reason is not None:
        return {"skipped": reason}
    command = [sys.executable, "-m", "tests.benchmarks.peers.compare", "--one", str(path), method]
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, str(THREADS))}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, check=False, timeout=LONGEST
        )
    except subprocess.TimeoutExpired:
        return {"stopped": f"it took longer than {LONGEST:.0f} s"}
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["no reason"])[-1][:200]}
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(cases: dict[str, Case], methods: list[str], folder: Path) -> dict[str, Any]:
    """Run methods on cases, and write what is known so far after each of them."""
    versions = {tool: tools.version(tool) for tool in ("chistream", "sigpy", "mrpro", "BART")}
    figures: dict[str, dict[str, Any]] = {name: {} for name in cases}
    results = {"cases": figures, "versions": versions, "threads": THREADS}
    with tempfile.TemporaryDirectory() as scratch:
        for name, case in cases.items():
            path = Path(scratch) / "case.npz"
            save(case, path)
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
            columns = next((list(f) for f in chosen.values() if "seconds" in f), ["outcome"])
            lines += ["", f"### {name}: {kind}", "", f"| method | {' | '.join(columns)} |"]
            lines.append("|---" * (len(columns) + 1) + "|")
            for method, figures in chosen.items():
                cells = [_cell(figures[c]) for c in columns] if "seconds" in figures else []
                cells = cells or [str(next(iter(figures.items()))), *[""] * (len(columns) - 1)]
                lines.append(f"| {method} | {' | '.join(cells)} |")
    versions = ", ".join(f"{t} {v or 'absent'}" for t, v in results["versions"].items())
    return "\n".join([f"{versions}; {results['threads']} thread.", *lines, ""])


def _cell(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def main(arguments: list[str]) -> None:
    """Run one method, or all of them and write the tables."""
    if arguments[:1] == ["--one"]:
        figures = measure_here(Path(arguments[1]), arguments[2])
        sys.stdout.write("\n" + json.dumps(figures) + "\n")
        return
    parser = argparse.ArgumentParser(description="Compare with public tools.")
    parser.add_argument("--size", type=int, nargs=4, default=(24, 96, 96, 12), help="of the body")
    parser.add_argument("--no-body", action="store_true", help="the chest alone")
    parser.add_argument("--chest", type=Path, help="fully sampled raw file")
    parser.add_argument("-o", "--output", type=Path, default=Path())
    given = parser.parse_args(arguments)
    nz, ny, nx, n_coils = given.size
    name = f"Closed-form body, {nz} x {ny} x {nx}, {n_coils} coils"
    cases = {} if given.no_body else {name: closed_form((nz, ny, nx), n_coils)}
    if given.chest:
        case = chest(given.chest)
        sizes = " x ".join(map(str, case.size))
        cases[f"Simulated chest, {sizes}, {case.lines.shape[1]} coils"] = case
    measure(cases, list(tools.METHODS), given.output)


if __name__ == "__main__":
    main(sys.argv[1:])
