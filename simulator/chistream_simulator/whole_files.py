"""Files that appear under their names together, and only once all of them are whole."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_files(*paths: Path) -> Iterator[list[Path]]:
    """Write files under other names first, and give them their own at the end.

    Parameters
    ----------
    paths
        Files to make. Those that exist stay as they are until the new ones are whole.

    Yields
    ------
    list[Path]
        Where to write each of them: an empty, hidden file in the same folder.

    Raises
    ------
    OSError
        If one of them could not be made there; the words say why, and what to do.

    Notes
    -----
    Whatever ends the block before its end, Ctrl-C too, removes what was written so far. A process
    that is killed leaves it behind, under a name that no other process writes to:
    ``.OUT.h5.<process>.part``.
    """
    # A link stays a link: what it leads to is replaced.
    targets = [path.resolve() for path in paths]
    parts = [path.with_name(f".{path.name}.{os.getpid()}.part") for path in targets]
    try:
        for path, part in zip(targets, parts, strict=True):
            _begin(path, part)
        yield parts
        for path, part in zip(targets, parts, strict=True):
            part.replace(path)
    finally:
        _remove(parts)


def refuse_folder(path: Path) -> None:
    """Refuse a folder where a file should be named.

    Parameters
    ----------
    path
        The file to be.

    Raises
    ------
    IsADirectoryError
        If it is a folder.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file, such as {path / 'scan.h5'}")


def _begin(path: Path, part: Path) -> None:
    """Make the file to write to now, not after minutes of work that would then be lost."""
    try:
        part.touch()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"the folder {path.parent} does not exist: make it, or name another file"
        ) from None
    except NotADirectoryError:
        raise NotADirectoryError(f"{path.parent} is a file, no folder: name another file") from None
    except OSError as error:
        raise type(error)(
            f"no file can be written in the folder {path.parent} ({error.strerror}): allow it, or "
            "name another file"
        ) from None
    refuse_folder(path)
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(f"{path} is protected from writing: allow it, or name another file")


def _remove(parts: Sequence[Path]) -> None:
    for part in parts:
        with suppress(OSError):  # its folder was never there: what is being raised says so
            part.unlink(missing_ok=True)
