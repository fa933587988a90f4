"""Draw the pictures of the simulator's page: ``python simulator/pictures/draw.py [--only NAME]``.

It needs ``pip install -e .`` of this repository. The pictures go beside this file.
"""

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from chistream_simulator.phantoms.pose import AT_REST
from pictures import chest, objects, scans
from pictures.panels import save

PICTURES: dict[str, Callable[[], Figure]] = {
    "chest-expiration": partial(chest.breathing, AT_REST),
    "chest-inspiration": partial(chest.breathing, chest.INSPIRATION),
    "heart-beating": chest.beating,
    "chest-labels": chest.labels,
    "navigator": scans.navigator,
    "closed-forms": objects.closed_forms,
    "line-orders": scans.line_orders,
    "phantoms": objects.phantoms,
    "reconstruction": scans.reconstruction,
}


def main(arguments: list[str] | None = None) -> None:
    """Draw all pictures, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=PICTURES, help="may be repeated")
    parser.add_argument("-o", "--out", type=Path, default=Path(__file__).parent, help="folder")
    chosen = parser.parse_args(arguments)
    for name in chosen.only or PICTURES:
        start = time.perf_counter()
        path = chosen.out / f"{name}.png"
        save(PICTURES[name](), path)
        seconds, size = time.perf_counter() - start, path.stat().st_size / 1000
        sys.stdout.write(f"{path}: {size:.0f} kB, {seconds:.1f} s\n")


if __name__ == "__main__":
    main()
