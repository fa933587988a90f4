#!/usr/bin/env python3
"""Send simulated scans to a service; compare its maps with those of the chain without a socket.

``check_presets.py HOST:PORT PRESET...`` ends with 0 when all agree, else with 1.
"""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# The same program on the same data, but FFTW plans by its clock: the last bits differ.
LARGEST_ERROR_PPB = 0.1


def chistream(*arguments: str | Path) -> Any:  # noqa: ANN401  (JSON)
    """Run a command and return what it says as JSON."""
    done = subprocess.run(  # noqa: S603
        ["/opt/chistream/bin/start", *map(str, arguments), "--json"],
        check=True,
        stdout=subprocess.PIPE,
    )
    return json.loads(done.stdout)


def wait_for(address: str, seconds: float = 60.0) -> None:
    """Wait until something listens; not every tool waits for a service to be healthy."""
    host, port = address.rsplit(":", 1)
    deadline = time.monotonic() + seconds
    while not listens(host, int(port)):
        if time.monotonic() > deadline:
            sys.exit(f"nothing listens on {address}")
        time.sleep(0.2)


def listens(host: str, port: int) -> bool:
    """Tell whether a connection is taken."""
    try:
        socket.create_connection((host, port), 3).close()
    except OSError:
        return False
    return True


def check(address: str, preset: str, folder: Path) -> bool:
    """Send one preset; tell whether the maps agree."""
    raw, returned, local = folder / "scan.h5", folder / "returned.h5", folder / "local"
    chistream("simulate", raw, "--preset", preset)
    chistream("replay", raw, "-o", returned, "--to", address, "--set", "profile=research")
    chistream("reconstruct", raw, "-o", local, "--format", "mrd")
    error = chistream("compare", returned, local / "images.h5")["maps"]["QSM"]["rmse"]
    against_truth = chistream("compare", returned, raw.with_suffix(".truth.h5"))["maps"]["QSM"]
    sys.stdout.write(
        f"{preset}: {error:.4f} ppb from the local chain, "
        f"{against_truth['rmse']:.1f} ppb from the truth\n"
    )
    return bool(error <= LARGEST_ERROR_PPB)


def main(address: str, *presets: str) -> int:
    """Check all presets, also those after one that failed."""
    wait_for(address)
    agreed = []
    for preset in presets:
        with TemporaryDirectory() as folder:
            agreed.append(check(address, preset, Path(folder)))
    return 0 if agreed and all(agreed) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
