"""What was spooled is what came, whatever happened to the process, the disk or the file."""

import errno
import os
import resource
import signal
import stat
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.service.peers import wait_until

from chistream.errors import FileFormatError
from chistream.service.spool import (
    FSYNC_POLICIES,
    FsyncPolicy,
    SpoolWriter,
    open_spooled,
    parse_fsync,
    remove_spooled,
)

PIECES = [b"config", b"header" * 100, bytes(range(256)) * 9000, b"close"]
CONTENT = b"".join(PIECES)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "abc.mrd"


def write(path: Path, pieces: list[bytes], fsync: FsyncPolicy = "never") -> None:
    writer = SpoolWriter(path, fsync, 0.01)
    for piece in pieces:
        writer.append(memoryview(piece))
    writer.close()


def read(path: Path) -> bytes:
    return b"".join(open_spooled(path).pieces())


@contextmanager
def files_of_at_most(n_bytes: int) -> Iterator[None]:
    """Let the kernel refuse what goes beyond, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("fsync", FSYNC_POLICIES)
def test_what_is_read_is_what_came(path: Path, fsync: FsyncPolicy) -> None:
    write(path, PIECES, fsync)
    assert read(path) == CONTENT
    assert open_spooled(path).n_lost == 0


def test_the_stream_on_disk_is_the_bytes_that_came_and_the_sums_say_so(path: Path) -> None:
    write(path, PIECES)
    assert path.read_bytes() == CONTENT
    last = path.with_suffix(".crc").read_bytes()[-16:]
    n_bytes, crc, _ = struct.unpack("<QII", last)
    assert (n_bytes, crc) == (len(CONTENT), zlib.crc32(CONTENT))


def test_files_are_for_their_owner_alone(path: Path) -> None:
    umask = os.umask(0)
    try:
        write(path, PIECES)
    finally:
        os.umask(umask)
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_stream_is_never_written_over(path: Path) -> None:
    write(path, PIECES)
    with pytest.raises(FileExistsError):
        SpoolWriter(path)
    path.unlink()
    with pytest.raises(FileExistsError):
        SpoolWriter(path)


@pytest.mark.parametrize("n_torn", [1, 4, 5, 6 + 600 + 100])
def test_a_torn_tail_is_known_and_the_good_part_used(path: Path, n_torn: int) -> None:
    write(path, PIECES)
    os.truncate(path, len(CONTENT) - n_torn)
    kept = PIECES[:3] if n_torn <= 5 else PIECES[:2]
    assert read(path) == b"".join(kept)
    assert open_spooled(path).n_lost == len(CONTENT) - n_torn - len(b"".join(kept))


@pytest.mark.parametrize("at", [0, 10, 700, len(CONTENT) - 1])
def test_a_changed_byte_is_found(path: Path, at: int) -> None:
    write(path, PIECES)
    content = bytearray(CONTENT)
    content[at] ^= 1
    path.write_bytes(content)
    if at < len(PIECES[0]):
        with pytest.raises(FileFormatError, match="from its first byte"):
            open_spooled(path)
    else:
        assert CONTENT.startswith(read(path))
        assert len(read(path)) <= at


@pytest.mark.parametrize("n_sums", [16, 17, 31, 33])
def test_bytes_without_a_whole_record_do_not_count(path: Path, n_sums: int) -> None:
    write(path, PIECES)
    os.truncate(path.with_suffix(".crc"), n_sums)
    assert read(path) == b"".join(PIECES[: n_sums // 16])


def test_a_record_that_does_not_agree_with_itself_ends_the_good_part(path: Path) -> None:
    write(path, PIECES)
    sums = bytearray(path.with_suffix(".crc").read_bytes())
    sums[32] ^= 1
    path.with_suffix(".crc").write_bytes(sums)
    assert read(path) == b"".join(PIECES[:2])


def test_a_dead_writer_is_followed_by_another_behind_the_good_part(path: Path) -> None:
    write(path, PIECES[:3])
    with path.open("ab") as stream:
        stream.write(b"torn")
    with path.with_suffix(".crc").open("ab") as sums:
        sums.write(b"torn")
    writer = SpoolWriter(path, "never", resumed=True)
    assert writer.n_bytes == len(b"".join(PIECES[:3]))
    writer.append(memoryview(PIECES[3]))
    writer.close()
    assert read(path) == path.read_bytes() == CONTENT


def test_a_writer_killed_at_any_moment_leaves_a_good_start(path: Path) -> None:
    program = """
import sys
from pathlib import Path
from chistream.service.spool import SpoolWriter
writer = SpoolWriter(Path(sys.argv[1]), "never")
piece = memoryview(bytes(range(256)) * 1000)
print("go", flush=True)
while True:
    writer.append(piece)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while path.stat().st_size < 5_000_000:
            pass
        process.kill()
    stream = open_spooled(path)
    assert stream.n_good >= 4_000_000
    assert stream.n_lost <= 256_000
    assert read(path) == (bytes(range(256)) * (stream.n_good // 256))


def test_a_full_disk_is_an_error_and_leaves_what_was_good(path: Path) -> None:
    writer = SpoolWriter(path, "never")
    writer.append(memoryview(PIECES[1]))
    with files_of_at_most(1000), pytest.raises(OSError, match="File too large"):
        writer.append(memoryview(PIECES[2]))
    writer.close()
    assert read(path) == PIECES[1]


def test_what_is_discarded_leaves_no_file(path: Path) -> None:
    writer = SpoolWriter(path, "interval")
    writer.append(memoryview(b"x"))
    writer.discard()
    assert list(path.parent.iterdir()) == []
    remove_spooled(path)


def test_a_disk_that_fails_to_sync_is_told_with_the_next_piece(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", fail)
    writer = SpoolWriter(path, "interval", 0.001)
    wait_until(lambda: not any(t.name == "spool-sync" for t in threading.enumerate()))
    with pytest.raises(OSError, match="Input/output"):
        writer.append(memoryview(b"x"))
    writer.close()
    with pytest.raises(OSError, match="Input/output"):
        SpoolWriter(path.with_name("other.mrd"), "each").append(memoryview(b"x"))


def test_a_policy_has_a_name() -> None:
    assert parse_fsync("each") == "each"
    with pytest.raises(ValueError, match="'always'"):
        parse_fsync("always")
