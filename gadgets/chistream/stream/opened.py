"""HDF5 files opened once, however many read them.

HDF5 shares what it knows of a dataset between all who have opened its file, and for arrays of
variable length, which is what readouts are stored as, that refers to the file as the first of them
opened it: once the first has closed it, the next to read ends the program (seen with HDF5 1.14 and
2.0, in one thread as in several). So all readers in a process share one handle.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from weakref import WeakValueDictionary

import h5py


class _Handle:
    """An open file, closed when the last of its readers lets go of it."""

    def __init__(self, path: Path) -> None:
        # Without a lock, since a second reader is no harm.
        self.file = h5py.File(path, "r", locking=False)

    def __del__(self) -> None:
        if hasattr(self, "file"):
            self.file.close()


_handles: "WeakValueDictionary[tuple[int, int], _Handle]" = WeakValueDictionary()


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
    handle = _handles.get(key)
    if handle is None:
        handle = _handles.setdefault(key, _Handle(Path(path)))
    yield handle.file
