"""How ISMRMRD files hold messages: the types of their records, and heads of whatever version.

A group (``dataset`` by custom) holds ``xml``, ``data`` (readouts), ``waveforms``, and a group for
each series of images with ``header``, ``attributes`` and ``data``. Arrays are of variable length,
complex samples are pairs of float32, complex pixels are compounds of ``real`` and ``imag``.

References
----------
.. [1] ISMRM Raw Data Format, the HDF5 file.
   https://github.com/ismrmrd/ismrmrd/blob/master/doc/mrd_hdf5.md
"""

import re
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from chistream.errors import FileFormatError
from chistream.stream.messages import (
    ACQUISITION_HEAD,
    PIXEL_DTYPES,
    WAVEFORM_HEAD,
    DataType,
    Heads,
)

ACQUISITION_RECORD = np.dtype(
    [
        ("head", ACQUISITION_HEAD),
        ("traj", h5py.vlen_dtype(np.dtype("<f4"))),
        ("data", h5py.vlen_dtype(np.dtype("<f4"))),
    ]
)
WAVEFORM_RECORD = np.dtype(
    [("head", WAVEFORM_HEAD), ("data", h5py.vlen_dtype(np.dtype("<u4")))],
)

_COMPLEX = {
    np.dtype("<c8"): np.dtype([("real", "<f4"), ("imag", "<f4")]),
    np.dtype("<c16"): np.dtype([("real", "<f8"), ("imag", "<f8")]),
}
_DATA_TYPES = {dtype: data_type for data_type, dtype in PIXEL_DTYPES.items()}


def stored_dtype(pixels: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type that a file stores pixels in.

    Parameters
    ----------
    pixels
        Type of the pixels.

    Returns
    -------
    numpy.dtype
        The same, or for complex pixels a compound of ``real`` and ``imag``.
    """
    return _COMPLEX.get(pixels, pixels)


def pixels_of(stored: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], DataType]:
    """Return stored pixels as MRD has them.

    Parameters
    ----------
    stored
        Pixels as read from a file; complex ones as a compound of two numbers.

    Returns
    -------
    pixels, data_type
        The same values, and the number that MRD has for their type.

    Raises
    ------
    FileFormatError
        If MRD has no such pixels.
    """
    pixels = stored
    if stored.dtype.names and len(stored.dtype.names) == 2:
        part = stored.dtype[0]
        # Little-endian, one behind the other, whatever the file says.
        packed = stored.astype([("real", part.newbyteorder("<")), ("imag", part.newbyteorder("<"))])
        pixels = packed.view("<c8" if part.itemsize == 4 else "<c16")
    pixels = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
    if pixels.dtype not in _DATA_TYPES:
        raise FileFormatError(f"images of {stored.dtype} are no MRD images")
    return pixels, _DATA_TYPES[pixels.dtype]


def as_heads(records: npt.NDArray[np.void], layout: np.dtype[Any]) -> Heads:
    """Return heads in the layout of the wire, by the names of their fields.

    Parameters
    ----------
    records
        Heads ``(n,)`` as a file stores them: offsets, order and padding may differ.
    layout
        ACQUISITION_HEAD, IMAGE_HEAD or WAVEFORM_HEAD.

    Returns
    -------
    Heads
        ``(n,)``, a copy; padding is zero.

    Raises
    ------
    FileFormatError
        If a field is missing.
    """
    heads = np.zeros(records.shape, layout)
    _copy_fields(records, heads)
    return heads


def text_in(value: object) -> str:
    """Return a text that a file stores as bytes, or as a text, up to its first NUL.

    Parameters
    ----------
    value
        ``bytes`` or ``str``.

    Returns
    -------
    str
        The text; what is not UTF-8 replaced.

    Raises
    ------
    FileFormatError
        If it is neither.
    """
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    if not isinstance(text, str):
        raise FileFormatError(f"a text was expected, not {type(value).__name__}")
    return text.split("\0", 1)[0]


def holds_images(item: object) -> bool:
    """Tell whether an item of a file is a group of images.

    Parameters
    ----------
    item
        A group or dataset.

    Returns
    -------
    bool
        Whether it has heads, attributes and pixels.
    """
    parts = ("header", "attributes", "data")
    return isinstance(item, h5py.Group) and all(part in item for part in parts)


def image_groups(group: h5py.Group) -> list[h5py.Group]:
    """Return the groups of images in a group, ``image_2`` before ``image_10``.

    Parameters
    ----------
    group
        A dataset's group, or a group of images itself.

    Returns
    -------
    list of h5py.Group
        In the order of the numbers in their names.
    """
    if holds_images(group):
        return [group]
    names = [name for name, item in group.items() if holds_images(item)]
    return [group[name] for name in sorted(names, key=_natural)]


def _copy_fields(source: npt.NDArray[np.void], target: npt.NDArray[np.void]) -> None:
    for name in target.dtype.names or ():
        if name not in (source.dtype.names or ()):
            raise FileFormatError(f"heads without {name} are no MRD heads")
        if target.dtype[name].names:
            _copy_fields(source[name], target[name])
        else:
            target[name] = source[name]


def _natural(name: str) -> list[tuple[int, str]]:
    parts = re.findall(r"\d+|\D+", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
