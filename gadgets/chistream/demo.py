"""The whole loop on one machine: simulate, serve, replay, reconstruct, report, compare."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chistream.biomarkers.results import ChiStreamResults
from chistream.config import parse_settings
from chistream.errors import ChiStreamError
from chistream.offline import describe_results, write_result
from chistream.stream.files import read_messages
from chistream.stream.header import read_header
from chistream.stream.messages import Header, Image
from chistream_simulator.commands import simulate
from chistream_simulator.comparison import Comparison, compare_files
from chistream_simulator.replay import ReplayResult, parse_address, replay
from chistream_simulator.truth import Truth, read_truth, truth_path

_START_SECONDS = 30.0

Progress = Callable[[str, float], None]


class DemoFailed(ChiStreamError):
    """The loop broke; the message says where."""


@dataclass(frozen=True)
class DemoResult:
    """What the demo made and measured.

    Parameters
    ----------
    folder
        Where the files are.
    files
        The files, for people.
    results
        The numbers that came back from the server.
    comparison
        Their distance from the truth.
    replayed
        The exchange with the server, with its times.
    seconds
        Wall times by step [s].
    """

    folder: Path
    files: tuple[Path, ...]
    results: ChiStreamResults
    comparison: Comparison
    replayed: ReplayResult
    seconds: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain JSON values."""
        return {
            "folder": str(self.folder),
            "files": [str(path) for path in self.files],
            "results": self.results.model_dump(mode="json"),
            "comparison": self.comparison.as_dict(),
            "replay": self.replayed.as_dict(),
            "seconds": self.seconds,
        }

    def summary(self) -> str:
        """Say it in lines for a person."""
        times = ", ".join(f"{step} {seconds:.1f} s" for step, seconds in self.seconds.items())
        return "\n".join(
            [
                self.replayed.summary(),
                "",
                *describe_results(self.results),
                "",
                "Against the truth of the simulation:",
                self.comparison.summary(),
                "",
                f"Times: {times}",
                f"Open {self.folder / 'report.html'} in a browser; the maps lie beside it.",
            ]
        )


def run_demo(
    folder: Path,
    *,
    seed: int | None = None,
    preset: str = "demo",
    progress: Progress | None = None,
) -> DemoResult:
    """Run the main job once, with a real file, a real server and a real socket.

    Parameters
    ----------
    folder
        Where to write; made if it is not there.
    seed
        Seed of noise and breathing; None takes the preset's.
    preset
        Which scan to simulate; one with blood pools.
    progress
        Told what is being done.

    Returns
    -------
    DemoResult
        Files, numbers and times.

    Raises
    ------
    DemoFailed
        If the server does not start, or the scan did not come back whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    raw, returned, seconds = folder / "scan.h5", folder / "images.h5", {}
    start = time.perf_counter()
    # The server starts first: its worker gets ready while the scan is being simulated.
    with _server(folder) as (host, port):
        simulate(raw, preset=preset, seed=seed, progress=progress)
        truth = read_truth(truth_path(raw))
        seconds["simulate"] = _lap(start)
        values = operator_settings(truth)
        replayed = replay(
            [raw],
            host=host,
            port=port,
            settings_json=json.dumps({"parameters": values}),
            out=returned,
            progress=progress,
        )
        seconds["stream and reconstruct"] = _lap(start) - sum(seconds.values())
    if not replayed.succeeded:
        raise DemoFailed(f"the scan did not come back whole: {replayed.summary()}")
    images = [m for m in read_messages(returned) if isinstance(m, Image)]
    header = read_header(next(m.xml for m in read_messages(raw) if isinstance(m, Header)))
    settings, _ = parse_settings(values)
    files, results = write_result(images, header, settings, folder, ("nifti", "png"))
    if results is None:
        raise DemoFailed("the images came back without their numbers")
    comparison = compare_files(returned, truth_path(raw))
    seconds["write and compare"] = _lap(start) - sum(seconds.values())
    return DemoResult(
        folder, (raw, truth_path(raw), returned, *files), results, comparison, replayed, seconds
    )


def operator_settings(truth: Truth) -> dict[str, Any]:
    """Set what a person at the console would: a sphere in each blood pool, and the haematocrit.

    Parameters
    ----------
    truth
        The truth of a simulated scan.

    Returns
    -------
    dict[str, Any]
        Settings by name.
    """
    rois = {
        f"{name.lower()}_roi": [*roi.centre, roi.radius]
        for name, roi in truth.rois.items()
        if name in {"LV", "RV"}
    }
    return {**rois, "hematocrit": truth.numbers["hematocrit"]}


@contextmanager
def _server(folder: Path) -> Iterator[tuple[str, int]]:
    ready, log = folder / "server.ready", folder / "server.log"
    ready.unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "chistream",
        "serve",
        "--port",
        "0",
        "--ready-file",
        str(ready),
    ]
    with (
        log.open("wb") as stream,
        subprocess.Popen(command, stdout=stream, stderr=stream) as server,  # noqa: S603
    ):
        try:
            yield parse_address(_wait_for(ready, server, log))
        finally:
            server.terminate()
            server.wait(timeout=_START_SECONDS)
    ready.unlink(missing_ok=True)


def _wait_for(ready: Path, server: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        if ready.exists() and (address := ready.read_text().strip()):
            return address
        time.sleep(0.02)
    raise DemoFailed(f"the server did not start; {log} says why")


def _lap(start: float) -> float:
    return round(time.perf_counter() - start, 2)
