"""What a client sent, on disk before anything is made of it.

Two files for each session, both appended to and never changed:

``ID.mrd``
    The bytes as they came: a stream of MRD messages, its configuration and header first. Any
    program that reads MRD streams reads it.
``ID.crc``
    A record of 16 bytes after each piece: how many bytes of the stream that makes (uint64), the
    CRC-32 of all of them (uint32), the CRC-32 of these 12 bytes (uint32); little endian.

A record is written after its piece. Whatever kills the process or the machine, the stream is good
up to the last record that agrees with it, and a tail that was torn off is known as such.
"""

import contextlib
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from chistream.errors import FileFormatError

FsyncPolicy: TypeAlias = Literal["never", "interval", "each"]
"""When written bytes are forced to the disk: by the kernel alone, now and then, with each piece."""

FSYNC_POLICIES: tuple[FsyncPolicy, ...] = get_args(FsyncPolicy)
STREAM_SUFFIX, SUMS_SUFFIX = ".mrd", ".crc"

_RECORD, _CHECKED = struct.Struct("<QII"), struct.Struct("<QI")
_BLOCK = 2**20
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
_OLD = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


def parse_fsync(text: str) -> FsyncPolicy:
    """Read the name of a policy.

    Raises
    ------
    ValueError
        If there is none of this name.
    """
    for policy in FSYNC_POLICIES:
        if text == policy:
            return policy
    raise ValueError(f"fsync must be of {FSYNC_POLICIES}, got {text!r}")


class SpoolWriter:
    """Appends what comes to a stream and its checksums, for nobody else to read.

    Parameters
    ----------
    path
        The stream, ``ID.mrd``; its checksums lie beside it. Both are new unless ``resumed``.
    fsync
        ``"never"`` leaves the time of writing to the kernel: safe against the death of every
        process, not against that of the machine. ``"interval"`` forces it from a thread of its own.
        ``"each"`` waits for the disk after each piece.
    fsync_seconds
        The interval [s].
    resumed
        Whether to go on with a stream whose writer has died. What is torn at its end is cut off.

    Attributes
    ----------
    n_bytes
        Length of the stream so far [bytes].

    Raises
    ------
    OSError
        If a file is there already, or cannot be made.
    """

    def __init__(
        self,
        path: Path,
        fsync: FsyncPolicy = "interval",
        fsync_seconds: float = 1.0,
        *,
        resumed: bool = False,
    ) -> None:
        self._path = path
        self._fsync = fsync
        last = _last_good(path) if resumed else _Good(0, 0, 0)
        self.n_bytes, self._sum = last.n_bytes, last.crc
        self._stream, self._sums = _open_pair(path, _OLD if resumed else _NEW)
        if resumed:
            os.ftruncate(self._stream, last.n_bytes)
            os.ftruncate(self._sums, last.n_records * _RECORD.size)
        elif fsync != "never":
            _sync_folder(path.parent)
        self._stop = threading.Event()
        self._sync_error: OSError | None = None
        self._thread: threading.Thread | None = None
        if fsync == "interval":
            self._thread = threading.Thread(
                target=self._sync_often, args=(fsync_seconds,), name="spool-sync", daemon=True
            )
            self._thread.start()

    def append(self, piece: memoryview) -> None:
        """Write a piece, all of it, and its checksum.

        Raises
        ------
        OSError
            If the disk is full, or broken. What was written before stays good.
        """
        if self._sync_error is not None:
            raise self._sync_error
        _write(self._stream, piece)
        self.n_bytes += piece.nbytes
        self._sum = zlib.crc32(piece, self._sum)
        checked = _CHECKED.pack(self.n_bytes, self._sum)
        _write(self._sums, memoryview(checked + struct.pack("<I", zlib.crc32(checked))))
        if self._fsync == "each":
            self._sync()

    def pieces(self) -> Iterator[bytes]:
        """Yield what has been written so far."""
        return SpooledStream(self._path, self.n_bytes, 0).pieces()

    def close(self) -> None:
        """Finish; with a policy that forces writes, the disk has everything then."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with contextlib.suppress(OSError):
            if self._fsync != "never":
                self._sync()
        os.close(self._stream)
        os.close(self._sums)

    def discard(self) -> None:
        """Finish, and remove both files: a stream with a hole is of no use, and takes room."""
        self.close()
        remove_spooled(self._path)

    def _sync(self) -> None:
        os.fdatasync(self._stream)
        os.fdatasync(self._sums)

    def _sync_often(self, seconds: float) -> None:
        try:
            while not self._stop.wait(seconds):
                self._sync()
        except OSError as error:
            self._sync_error = error


@dataclass(frozen=True, slots=True)
class SpooledStream:
    """A stream on disk that has been compared with its checksums.

    Parameters
    ----------
    path
        The stream.
    n_good
        Bytes from its start that agree with their checksums.
    n_lost
        Bytes behind them that do not, or have none.
    """

    path: Path
    n_good: int
    n_lost: int

    def pieces(self) -> Iterator[bytes]:
        """Yield the good bytes, a megabyte at a time."""
        left = self.n_good
        with self.path.open("rb") as stream:
            while left and (piece := stream.read(min(left, _BLOCK))):
                left -= len(piece)
                yield piece


def open_spooled(path: Path) -> SpooledStream:
    """Compare a stream with its checksums.

    Parameters
    ----------
    path
        The stream, ``ID.mrd``.

    Returns
    -------
    SpooledStream
        How much of it is good.

    Raises
    ------
    FileFormatError
        If nothing of it is.
    OSError
        If it cannot be read.
    """
    last = _last_good(path)
    if not last.n_bytes:
        raise FileFormatError(f"{path} does not agree with its checksums from its first byte on")
    return SpooledStream(path, last.n_bytes, path.stat().st_size - last.n_bytes)


def remove_spooled(path: Path) -> None:
    """Remove a stream and its checksums, if they are there."""
    path.unlink(missing_ok=True)
    path.with_suffix(SUMS_SUFFIX).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Good:
    n_bytes: int
    crc: int
    n_records: int


def _last_good(path: Path) -> _Good:
    good = _Good(0, 0, 0)
    with path.open("rb") as stream, path.with_suffix(SUMS_SUFFIX).open("rb") as sums:
        for n_bytes, crc in _records(sums.read()):
            found = good.crc
            for length in _lengths(n_bytes - good.n_bytes):
                found = zlib.crc32(stream.read(length), found)
            if stream.tell() != n_bytes or found != crc:
                break
            good = _Good(n_bytes, crc, good.n_records + 1)
    return good


def _records(sums: bytes) -> Iterator[tuple[int, int]]:
    """Yield the records up to the first that is torn."""
    previous = 0
    for n_bytes, crc, check in _RECORD.iter_unpack(
        sums[: len(sums) // _RECORD.size * _RECORD.size]
    ):
        if zlib.crc32(_CHECKED.pack(n_bytes, crc)) != check or n_bytes <= previous:
            return
        previous = n_bytes
        yield n_bytes, crc


def _lengths(n_bytes: int) -> Iterator[int]:
    for start in range(0, n_bytes, _BLOCK):
        yield min(_BLOCK, n_bytes - start)


def _open_pair(path: Path, flags: int) -> tuple[int, int]:
    stream = os.open(path, flags, 0o600)
    try:
        return stream, os.open(path.with_suffix(SUMS_SUFFIX), flags, 0o600)
    except OSError:
        os.close(stream)
        raise


def _write(fd: int, piece: memoryview) -> None:
    while piece.nbytes:
        piece = piece[os.write(fd, piece) :]


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
