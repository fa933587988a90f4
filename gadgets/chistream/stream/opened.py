"""HDF5 files opened once, however many read them.

HDF5 shares what it knows of a dataset between all who have opened its file, and for arrays of
variable length, which is what readouts are stored as, that refers to the file as the first of them
opened it: once the first has closed it, the next to read ends the program (seen with HDF5 1.14 and
2.0, in one thread as in several). So all readers in a process share one handle.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
from h5py._objects import phil  # the lock under which h5py itself opens and closes


@dataclass
class _Handle:
    file: h5py.File
    n_readers: int = 0


_handles: dict[tuple[int, int], _Handle] = {}


@contextmanager
def opened(path: str | Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading, together with all who read it already.

    Parameters
    ----------
    path
        The file.

    Yields
    ------
    h5py.File
        Not to be closed by the reader.

    Raises
    ------
    OSError
        If it cannot be read, or is no HDF5 file.
    """
    status = Path(path).stat()
    key = (status.st_dev, status.st_ino)
    with phil:
        if key not in _handles:
            # Without a lock of the file, since a second reader is no harm.
            _handles[key] = _Handle(h5py.File(path, "r", locking=False))
        handle = _handles[key]
        handle.n_readers += 1
    try:
        yield handle.file
    finally:
        with phil:
            handle.n_readers -= 1
            if not handle.n_readers:
                del _handles[key]
                handle.file.close()
