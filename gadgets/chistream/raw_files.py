"""Raw data in whatever form they come: told apart by their content, not by their names."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, TypeAlias

import h5py

from chistream.errors import FileFormatError
from chistream.stream.files import MessageWriter, groups_of, read_messages
from chistream.stream.messages import Message, MessageId, Text
from chistream.stream.stream_files import StreamWriter, read_stream_file

RawKind: TypeAlias = Literal["hdf5", "stream", "mrd2"]

_BEGINNINGS = (
    MessageId.CONFIG_FILE,
    MessageId.CONFIG_TEXT,
    MessageId.HEADER,
    MessageId.ACQUISITION,
    MessageId.IMAGE,
    MessageId.WAVEFORM,
)
_MRD2_MAGIC = b"yardl"


def kind_of_file(path: str | Path) -> RawKind:
    """Tell what a file of raw data or images holds.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    RawKind
        ``hdf5`` (ISMRMRD), ``stream`` (MRD messages one behind the other) or ``mrd2`` (MRD version
        2).

    Raises
    ------
    FileFormatError
        If it begins like none of them.
    """
    with Path(path).open("rb") as file:
        start = file.read(len(_MRD2_MAGIC))
    if h5py.is_hdf5(path):
        return "hdf5"
    if start == _MRD2_MAGIC:
        return "mrd2"
    if int.from_bytes(start[:2], "little") in _BEGINNINGS:
        return "stream"
    raise FileFormatError(f"{path} is no sound ISMRMRD file: neither HDF5 nor an MRD stream")


def read_raw_file(
    path: str | Path, group: str = "dataset", *, waveforms: bool = True, images: bool = True
) -> Iterator[Message]:
    """Read raw data or images message by message, never all of them at once.

    Parameters
    ----------
    path
        An ISMRMRD file (HDF5), a file that holds an MRD stream, or one of MRD version 2.
    group
        The group in an HDF5 file; the others have none.
    waveforms, images
        Whether to give them too.

    Yields
    ------
    Message
        The header before the data; the rest in the order of the file.

    Raises
    ------
    ChiStreamError
        If the file is none of these, or unsound.
    """
    kind = kind_of_file(path)
    if kind == "hdf5":
        yield from read_messages(path, group, waveforms=waveforms, images=images)
    elif kind == "stream":
        yield from read_stream_file(path, waveforms=waveforms, images=images)
    else:
        # Loaded here: few need it, and its library is an extra.
        from chistream.mrd2.files import read_mrd2_file

        yield from read_mrd2_file(path, waveforms=waveforms, images=images)


def write_raw_file(
    path: str | Path, messages: Iterable[Message], kind: RawKind, group: str = "dataset"
) -> None:
    """Write raw data or images in one of the forms.

    Parameters
    ----------
    path
        The file; replaced.
    messages
        The header first.
    kind
        What to write; see `kind_of_file`.
    group
        The group in an HDF5 file.

    Raises
    ------
    FileFormatError
        If it is MRD version 2, and the package for that is not there.
    OSError
        If the file cannot be written.
    """
    if kind == "hdf5":
        with MessageWriter(path, group) as file:
            for message in messages:
                file.write(message)
    elif kind == "stream":
        with Path(path).open("wb") as target, StreamWriter(target) as stream:
            for message in messages:
                if not isinstance(message, Text):  # ISMRMRD's own tools take none
                    stream.write(message)
    else:
        from chistream.mrd2.files import write_mrd2

        write_mrd2(str(path), messages)


def groups_in(path: str | Path) -> list[str]:
    """List the groups of a file that hold a scan or its images.

    Parameters
    ----------
    path
        As `read_raw_file` takes it.

    Returns
    -------
    list[str]
        Names as `read_raw_file` takes them; one for a file that has no groups.

    Raises
    ------
    FileFormatError
        If the file is none that can be read.
    """
    return groups_of(path) if kind_of_file(path) == "hdf5" else ["dataset"]
