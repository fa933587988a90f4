"""Write the tables of the simulator's page, ``README.md``, from the code and from measurements.

``python simulator/pictures/tables.py`` rewrites the tables, ``--check`` only tells whether they are
as they should be, and ``--measure NAME ...`` simulates presets first and notes in ``measured.json``
what they cost (all presets if none is named).
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chistream.physics.constants import field_strength
from chistream_simulator.case import load_preset, preset_names
from chistream_simulator.commands import preset_summaries
from chistream_simulator.replaying.faults.asking import KINDS
from chistream_simulator.tissues import Tissue, tissue_table
from chistream_simulator.truth import read_truth, truth_path

PAGE = Path(__file__).parents[1] / "README.md"

MEASURED = Path(__file__).with_name("measured.json")
"""What presets cost, by their names; the only place that the page takes such numbers from."""

NOT_YET = "not measured"


def tissues() -> str:
    """Make the table of tissues, with relaxation times in milliseconds."""
    head = (
        "tissue", "chi [ppm]", "T1 [ms]", "T2 [ms]", "T2\\* [ms]", "proton density", "fat fraction",
        "source",
    )  # fmt: skip
    return _table(head, [_tissue(name, tissue) for name, tissue in tissue_table().items()])


def presets() -> str:
    """Make the table of what presets are."""
    head = ("preset", "what it is", "matrix x, y, z", "voxel [mm]", "echoes", "coils", "B0 [T]")
    rows = []
    for name, summary in preset_summaries().items():
        case = load_preset(name)
        rows.append(
            (
                f"`{name}`",
                summary,
                " x ".join(str(n) for n in case.matrix[::-1]),
                " x ".join(f"{edge:.3g}" for edge in case.voxel_size[::-1]),
                str(len(case.TE)),
                str(case.n_coils),
                f"{field_strength(case.h1_frequency):.2f}",
            )
        )
    return _table(head, rows)


def costs() -> str:
    """Make the table of what presets cost."""
    known: dict[str, dict[str, float]] = json.loads(MEASURED.read_text("utf-8"))
    head = ("preset", "heartbeats", "raw file [MB]", "time [s]", "memory [GB]")
    rows = []
    for name in preset_names():
        cost = known.get(name)
        cells = [NOT_YET] * 4 if cost is None else _cost(cost)
        rows.append((f"`{name}`", *cells))
    return _table(head, rows)


def faults() -> str:
    """Make the table of faults that a replay can have."""
    rows = [
        (f"`{name}`", kind.__doc__ or "", ", ".join(f"`{f}`" for f in kind.model_fields))
        for name, kind in KINDS.items()
    ]
    return _table(("fault", "what happens", "options"), rows)


TABLES = {"tissues": tissues, "presets": presets, "costs": costs, "faults": faults}


def filled(page: str) -> str:
    """Return the text of a page with its tables replaced by what they should be.

    Parameters
    ----------
    page
        Markdown; a table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``.

    Returns
    -------
    str
        The same with new tables.

    Raises
    ------
    ValueError
        If the page has no place for one of the tables.
    """
    for name, make in TABLES.items():
        place = re.search(rf"(?<=<!-- table: {name} -->\n).*?(?=<!-- end -->)", page, re.DOTALL)
        if place is None:
            raise ValueError(f"the page has no <!-- table: {name} -->")
        page = page[: place.start()] + make() + page[place.end() :]
    return page


def measure(name: str) -> dict[str, float]:
    """Simulate a preset in a process of its own, and tell what it cost.

    Parameters
    ----------
    name
        Of the preset.

    Returns
    -------
    dict
        ``heartbeats``, ``megabytes`` of the raw file, ``seconds`` and ``gigabytes`` of memory.
    """
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "scan.h5"
        command = [sys.executable, "-m", "chistream", "simulate", str(raw), "--preset", name]
        start = time.perf_counter()
        process = subprocess.Popen([*command, "--json"], stdout=subprocess.DEVNULL)  # noqa: S603
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        return {
            "heartbeats": len(read_truth(truth_path(raw)).beats["time"]),
            "megabytes": round(raw.stat().st_size / 1e6, 1),
            "seconds": round(seconds, 1),
            "gigabytes": round(usage.ru_maxrss * 1024 / 1e9, 2),
        }


def _tissue(name: str, tissue: Tissue) -> tuple[str, ...]:
    return (
        name,
        f"{tissue.chi:g}",
        _times(tissue.T1),
        _times(tissue.T2),
        _times(tissue.T2star),
        f"{tissue.proton_density:g}",
        f"{tissue.fat_fraction:g}",
        tissue.source,
    )


def _times(times: tuple[float, float] | str | None) -> str:
    """Write times [s] at 1.5 T and 3 T as milliseconds."""
    if times is None or isinstance(times, str):
        return times or ""
    return " / ".join(f"{1e3 * seconds:g}" for seconds in times)


def _rounded(number: float) -> str:
    """Write three digits, and no exponent."""
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


def _cost(cost: dict[str, float]) -> list[str]:
    return [
        f"{cost['heartbeats']}",
        _rounded(cost["megabytes"]),
        _rounded(cost["seconds"]),
        f"{cost['gigabytes']:.2g}",
    ]


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _note(names: list[str]) -> None:
    known: dict[str, Any] = json.loads(MEASURED.read_text("utf-8"))
    for name in names:
        known[name] = measure(name)
        sys.stdout.write(f"{name}: {known[name]}\n")
        MEASURED.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", "utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Rewrite or check the tables; see above."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if one is old")
    parser.add_argument("--measure", nargs="*", metavar="NAME", help="simulate presets first")
    chosen = parser.parse_args(arguments)
    if chosen.measure is not None:
        _note(chosen.measure or preset_names())
    page = PAGE.read_text("utf-8")
    new = filled(page)
    if chosen.check and new != page:
        raise SystemExit(f"tables of {PAGE} are old: run python {Path(__file__).name}")
    if not chosen.check:
        PAGE.write_text(new, "utf-8")


if __name__ == "__main__":
    main()
