"""ISMRMRD files (HDF5) to messages and back, a block at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from typing_extensions import Self

from chistream.errors import FileFormatError
from chistream.stream.file_layout import (
    ACQUISITION_RECORD,
    WAVEFORM_RECORD,
    as_heads,
    holds_images,
    image_groups,
    pixels_of,
    stored_dtype,
    text_in,
)
from chistream.stream.messages import (
    ACQUISITION_HEAD,
    IMAGE_HEAD,
    WAVEFORM_HEAD,
    Acquisitions,
    Header,
    Image,
    Message,
    Waveform,
)
from chistream.stream.opened import opened

BLOCK = 256
"""Readouts read or written at once: enough to be fast, 8 MB at 16 channels x 256 samples."""


def read_messages(
    path: str | Path,
    group: str = "dataset",
    *,
    waveforms: bool = True,
    images: bool = True,
    block: int = BLOCK,
) -> Iterator[Message]:
    """Read a file message by message, never all of it at once.

    Parameters
    ----------
    path
        An ISMRMRD file. It is opened without a lock: others may read it at the same time.
    group
        The group in it.
    waveforms
        Whether to give waveforms too.
    images
        Whether to give images too.
    block
        Readouts to read at once; no run of readouts is longer.

    Yields
    ------
    Message
        The header, then all waveforms, then readouts in runs of one shape, then images. A group
        that holds nothing but images may have no header.

    Raises
    ------
    FileFormatError
        If this is no HDF5 file, if there is no such group (names those that there are), no
        header in it, or if a record contradicts itself.
    ValueError
        If ``block`` is not positive.
    """
    if block < 1:
        raise ValueError(f"block must be at least 1, got {block}")
    with _reading(path) as file:
        if not isinstance(file.get(group), h5py.Group):
            raise FileFormatError(f"{path} has no group {group!r}; it has {_listed(file)}")
        dataset = file[group]
        found = image_groups(dataset)
        if "xml" in dataset:
            yield Header(text_in(np.ravel(dataset["xml"][()])[0]))
        elif not found or _readouts_in(dataset) is not None:
            raise FileFormatError(f"{path} has no xml in {group!r}: no header, no scan")
        if waveforms and "waveforms" in dataset:
            yield from _waveforms(dataset["waveforms"], block)
        if (readouts := _readouts_in(dataset)) is not None:
            yield from _acquisitions(readouts, block)
        for series in found if images else []:
            yield from _images(series)


def groups_of(path: str | Path) -> list[str]:
    """List the groups of a file that hold a scan or its images.

    Parameters
    ----------
    path
        An ISMRMRD file.

    Returns
    -------
    list of str
        Names as ``read_messages`` takes them, sorted.

    Raises
    ------
    FileFormatError
        If this is no HDF5 file.
    """
    with _reading(path) as file:
        return _scan_groups(file)


class MessageWriter:
    """Write messages to an ISMRMRD file, in blocks.

    Parameters
    ----------
    path
        The file.
    group
        The group in it.
    append
        Whether to add to a file that exists; otherwise it is replaced.
    block
        Readouts to write at once; up to so many wait in memory until then.

    Notes
    -----
    Use it as a context manager: the last block is written, and the file closed, at the end. Images
    go to ``image_<series>`` with the series index of their head; images of another size or type in
    the same series to ``image_<series>_1`` and so on, for such a group holds one kind only.

    References
    ----------
    .. [1] ISMRM Raw Data Format, the HDF5 file.
       https://github.com/ismrmrd/ismrmrd/blob/master/doc/mrd_hdf5.md
    """

    def __init__(
        self,
        path: str | Path,
        group: str = "dataset",
        *,
        append: bool = False,
        block: int = BLOCK,
    ) -> None:
        self._file = h5py.File(path, "a" if append else "w")
        self._group: h5py.Group = self._file.require_group(group)
        self._block = block
        self._readouts: list[Acquisitions] = []
        self._waveforms: list[Waveform] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def write(self, message: Message) -> None:
        """Write a message.

        Parameters
        ----------
        message
            A header, readouts, a waveform or an image. The others have no place in a file and are
            passed over.
        """
        match message:
            case Header(xml):
                self._write_header(xml)
            case Acquisitions():
                self._readouts.append(message)
                if sum(map(len, self._readouts)) >= self._block:
                    self._write_readouts()
            case Waveform():
                self._waveforms.append(message)
                if len(self._waveforms) >= self._block:
                    self._write_waveforms()
            case Image():
                self._write_image(message)
            case _:
                pass

    def close(self) -> None:
        """Write what waits, and close the file; closing again does nothing."""
        if self._file:
            try:
                self._write_readouts()
                self._write_waveforms()
            finally:
                self._file.close()

    def _write_header(self, xml: str) -> None:
        if "xml" in self._group:
            del self._group["xml"]
        stored = self._group.create_dataset("xml", (1,), h5py.string_dtype("ascii"))
        stored[0] = text_in(xml).encode()

    def _write_readouts(self) -> None:
        records = np.empty(sum(map(len, self._readouts)), ACQUISITION_RECORD)
        start = 0
        for run in self._readouts:
            part = records[start : start + len(run)]
            part["head"] = run.heads
            _fill(part["traj"], run.trajectories, np.dtype("<f4"))
            _fill(part["data"], run.samples, np.dtype("<f4"))
            start += len(run)
        self._append("data", records)
        self._readouts = []

    def _write_waveforms(self) -> None:
        records = np.empty(len(self._waveforms), WAVEFORM_RECORD)
        for i, waveform in enumerate(self._waveforms):
            records["head"][i] = waveform.head
            _fill(records["data"][i : i + 1], waveform.samples[None], np.dtype("<u4"))
        self._append("waveforms", records)
        self._waveforms = []

    def _append(self, name: str, records: npt.NDArray[np.void]) -> None:
        if not len(records):
            return
        if name not in self._group:
            self._group.create_dataset(
                name, (0,), records.dtype, maxshape=(None,), chunks=(min(self._block, 1024),)
            )
        _extend(self._group[name], records)

    def _write_image(self, image: Image) -> None:
        series = self._series(image)
        heads = image.head.reshape(1).copy()
        heads["attribute_string_len"] = len(image.attributes.encode())
        _extend(series["header"], heads)
        _extend(series["attributes"], np.array([image.attributes], object))
        stored = np.ascontiguousarray(image.pixels).view(stored_dtype(image.pixels.dtype))
        _extend(series["data"], stored[None])

    def _series(self, image: Image) -> h5py.Group:
        dtype, shape = stored_dtype(image.pixels.dtype), image.pixels.shape
        base = f"image_{image.head['image_series_index']}"
        names = (f"{base}_{number}" if number else base for number in count())
        name = next(name for name in names if self._takes(name, dtype, shape))
        if name in self._group:
            return self._group[name]
        return self._new_series(name, dtype, shape)

    def _takes(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bool:
        if name not in self._group:
            return True
        stored = self._group[name]["data"]
        return bool(stored.dtype == dtype and stored.shape[1:] == shape)

    def _new_series(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> h5py.Group:
        series = self._group.create_group(name)
        series.create_dataset("header", (0,), IMAGE_HEAD, maxshape=(None,))
        series.create_dataset("attributes", (0,), h5py.string_dtype(), maxshape=(None,))
        chunk = (1, *(max(1, n) for n in shape))
        series.create_dataset("data", (0, *shape), dtype, maxshape=(None, *shape), chunks=chunk)
        return series


def _extend(stored: h5py.Dataset, records: npt.NDArray[Any]) -> None:
    start = len(stored)
    stored.resize(start + len(records), axis=0)
    stored[start:] = records


def _fill(cells: npt.NDArray[Any], arrays: npt.NDArray[Any], dtype: np.dtype[Any]) -> None:
    rows = np.ascontiguousarray(arrays).reshape(len(arrays), -1).view(dtype)
    for i, row in enumerate(rows):
        cells[i] = row


@contextmanager
def _reading(path: str | Path) -> Iterator[h5py.File]:
    with Path(path).open("rb"):
        pass  # a file that is missing or may not be read says so itself
    try:
        with opened(path) as file:
            yield file
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        # All of these are ways in which h5py tells of files whose content is not what it seems.
        raise FileFormatError(f"{path} is no sound ISMRMRD file: {error}") from error


def _listed(file: h5py.File) -> str:
    return ", ".join(repr(name) for name in _scan_groups(file)) or "none with a scan in it"


def _scan_groups(group: h5py.Group) -> list[str]:
    name = group.name.strip("/") or "/"
    subgroups = [item for item in group.values() if isinstance(item, h5py.Group)]
    is_scan = any(part in group for part in ("xml", "waveforms")) or _readouts_in(group) is not None
    found = [name] if is_scan or any(map(holds_images, subgroups)) else []
    return sorted(found + [name for subgroup in subgroups for name in _scan_groups(subgroup)])


def _readouts_in(group: h5py.Group) -> h5py.Dataset | None:
    stored = group.get("data")
    is_readouts = isinstance(stored, h5py.Dataset) and "head" in (stored.dtype.names or ())
    return stored if is_readouts else None


def _blocks(
    stored: h5py.Dataset, parts: set[str], block: int
) -> Iterator[tuple[int, npt.NDArray[np.void]]]:
    if missing := parts - set(stored.dtype.names or ()):
        raise FileFormatError(f"{stored.name} has no {' and no '.join(sorted(missing))}")
    for start in range(0, len(stored), block):
        yield start, stored[start : start + block].ravel()


def _acquisitions(stored: h5py.Dataset, block: int) -> Iterator[Acquisitions]:
    for start, records in _blocks(stored, {"head", "traj", "data"}, block):
        heads = as_heads(records["head"], ACQUISITION_HEAD)
        for begin, end in _runs(heads):
            yield _run(start + begin, heads[begin:end], records[begin:end])


def _runs(heads: npt.NDArray[np.void]) -> Iterator[tuple[int, int]]:
    names = ("number_of_samples", "active_channels", "trajectory_dimensions")
    shapes = np.stack([heads[name] for name in names], axis=-1)
    changes = np.flatnonzero((shapes[1:] != shapes[:-1]).any(axis=-1)) + 1
    bounds = [0, *changes.tolist(), len(heads)]
    yield from pairwise(bounds)


def _run(first: int, heads: npt.NDArray[np.void], records: npt.NDArray[np.void]) -> Acquisitions:
    n, head = len(heads), heads[0]
    n_coils, n_samples = int(head["active_channels"]), int(head["number_of_samples"])
    dimensions = int(head["trajectory_dimensions"])
    where = f"readout {first} and those of its shape"
    samples = _joined(tuple(records["data"]), 2 * n_coils * n_samples, np.dtype("<f4"), where)
    trajectories = _joined(tuple(records["traj"]), n_samples * dimensions, np.dtype("<f4"), where)
    return Acquisitions(
        heads,
        samples.view("<c8").reshape(n, n_coils, n_samples),
        trajectories.reshape(n, n_samples, dimensions),
    )


def _joined(
    cells: Sequence[npt.NDArray[Any]], n_each: int, dtype: np.dtype[Any], where: str
) -> npt.NDArray[Any]:
    lengths = {len(cell) for cell in cells}
    if lengths != {n_each}:
        raise FileFormatError(f"{where} hold {sorted(lengths)} numbers, their heads say {n_each}")
    return np.concatenate(cells).astype(dtype, copy=False)


def _waveforms(stored: h5py.Dataset, block: int) -> Iterator[Waveform]:
    for start, records in _blocks(stored, {"head", "data"}, block):
        heads = as_heads(records["head"], WAVEFORM_HEAD)
        for i, (head, cell) in enumerate(zip(heads, records["data"], strict=True), start):
            shape = int(head["channels"]), int(head["number_of_samples"])
            samples = _joined((cell,), shape[0] * shape[1], np.dtype("<u4"), f"waveform {i}")
            yield Waveform(head, samples.reshape(shape))


def _images(series: h5py.Group) -> Iterator[Image]:
    heads = as_heads(series["header"][()].ravel(), IMAGE_HEAD)
    for i, head in enumerate(heads):
        pixels, data_type = pixels_of(series["data"][i])
        channels, z, y, x = pixels.shape
        if [channels, x, y, z] != [int(head["channels"]), *head["matrix_size"].tolist()]:
            raise FileFormatError(
                f"image {i} of {series.name} has {pixels.shape} pixels (channels, z, y, x), but "
                f"its head says {head['channels']} channels of {head['matrix_size']} (x, y, z)"
            )
        # Writers that convert pixels to the type of the first image of a series leave the head.
        head["data_type"] = data_type
        yield Image(head.copy(), text_in(np.ravel(series["attributes"][i])[0]), pixels)
