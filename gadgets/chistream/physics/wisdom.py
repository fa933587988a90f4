"""What FFTW has learnt about the sizes of this machine's scans, kept from process to process.

FFTW tries ways to compute a transform and takes the fastest, by the clock. That takes up to three
seconds for a volume of 256 x 256 x 128, which each process would wait for, and two processes may
find different ways, so that the last bits of their maps differ. A file of its findings spares the
time and makes processes agree.

References
----------
.. [1] Frigo M, Johnson SG. The design and implementation of FFTW3. Proc IEEE. 2005;93(2):216-231.
   doi:10.1109/JPROC.2004.840301
"""

import json
import logging
import os
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile

import pyfftw

VARIABLE = "CHISTREAM_WISDOM"
"""Environment variable that names the file; without it nothing is kept."""

_LOG = logging.getLogger(__name__)


def recall() -> None:
    """Read the file, once in a process; one that cannot be used is as good as none."""
    path = os.environ.get(VARIABLE)
    if path:
        _read(Path(path))


def refresh() -> None:
    """Read the file again: other processes may have learnt something since."""
    _read.cache_clear()
    recall()


def remember() -> None:
    """Add what this process has learnt to the file, where there is to be one."""
    path = os.environ.get(VARIABLE)
    if path:
        try:
            _import(Path(path))
            _write(Path(path))
        except OSError as error:
            _LOG.warning("the plans of transforms are not kept: %s", error)


@cache
def _read(path: Path) -> None:
    try:
        _import(path)
    except OSError as error:
        _LOG.warning("no plans of transforms are taken over: %s", error)


def _import(path: Path) -> None:
    """Merge a file into what FFTW knows; it refuses findings of another version itself."""
    if not path.exists():
        return
    try:
        parts = json.loads(path.read_text())
    except ValueError:
        parts = None
    if isinstance(parts, list) and len(parts) == 3 and all(isinstance(p, str) for p in parts):
        pyfftw.import_wisdom(tuple(part.encode() for part in parts))
    else:
        _LOG.warning("%s holds no plans of transforms", path)


def _write(path: Path) -> None:
    """Replace the file in one go, so that nobody reads half of it."""
    texts = [part.decode() for part in pyfftw.export_wisdom()]
    with NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        json.dump(texts, file)
    Path(file.name).replace(path)
