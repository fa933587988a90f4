"""Readouts, waveforms and images of MRD version 2 to those of version 1 and back."""

from collections.abc import Iterator
from typing import Any

import mrd
import numpy as np
import numpy.typing as npt

from chistream.errors import FileFormatError
from chistream.series.attributes import read_attributes, write_attributes
from chistream.stream.messages import (
    ACQUISITION_HEAD,
    IMAGE_HEAD,
    PIXEL_DTYPES,
    WAVEFORM_HEAD,
    Acquisitions,
    DataType,
    Head,
    Image,
    Waveform,
)

_DATA_TYPES = {dtype: data_type for data_type, dtype in PIXEL_DTYPES.items()}

_IMAGE_ITEMS: dict[DataType, Any] = {
    DataType.USHORT: mrd.StreamItem.ImageUint16,
    DataType.SHORT: mrd.StreamItem.ImageInt16,
    DataType.UINT: mrd.StreamItem.ImageUint32,
    DataType.INT: mrd.StreamItem.ImageInt32,
    DataType.FLOAT: mrd.StreamItem.ImageFloat,
    DataType.DOUBLE: mrd.StreamItem.ImageDouble,
    DataType.CXFLOAT: mrd.StreamItem.ImageComplexFloat,
    DataType.CXDOUBLE: mrd.StreamItem.ImageComplexDouble,
}

_DIRECTIONS = {"read_dir": "col_dir", "phase_dir": "line_dir"}
"""Fields of an image's head that version 2 calls otherwise."""

_SIZES = {"matrix_size", "channels", "data_type", "attribute_string_len", "version"}
"""Fields of an image's head that follow from its pixels and attributes."""


def acquisition_of(item: mrd.Acquisition) -> Acquisitions:
    """Take over a readout.

    Parameters
    ----------
    item
        Of version 2: data ``(coils, samples)``, trajectory ``(dimensions, samples)``.

    Returns
    -------
    Acquisitions
        A run of one.

    Raises
    ------
    FileFormatError
        If a number does not fit into the head of version 1.
    """
    n_coils, n_samples = item.data.shape
    trajectory = item.trajectory.T if item.trajectory.size else np.zeros((n_samples, 0))
    values = vars(item.head)
    counters = {name: value for name, value in vars(values["idx"]).items() if value is not None}
    head = _head_of(ACQUISITION_HEAD, {k: v for k, v in values.items() if k in _ACQUISITION_FIELDS})
    _fill(head["idx"], counters)
    head["number_of_samples"] = n_samples
    head["active_channels"] = head["available_channels"] = n_coils
    head["trajectory_dimensions"] = trajectory.shape[1]
    head["channel_mask"] = _channel_mask(values["channel_order"])
    return Acquisitions(
        head.reshape(1),
        np.ascontiguousarray(item.data, np.complex64)[None],
        np.ascontiguousarray(trajectory, np.float32)[None],
    )


def acquisition_items(run: Acquisitions) -> Iterator[Any]:
    """Write readouts as items of a stream of version 2.

    Parameters
    ----------
    run
        Readouts of one shape.

    Yields
    ------
    mrd.StreamItem
        One for each; ``available_channels`` has no place there.
    """
    for head, samples, trajectory in zip(run.heads, run.samples, run.trajectories, strict=True):
        values = {name: _plain(head[name]) for name in _ACQUISITION_FIELDS}
        names = head["idx"].dtype.names or ()
        values["idx"] = mrd.EncodingCounters(**{n: _plain(head["idx"][n]) for n in names})
        values["flags"] = mrd.AcquisitionFlags(values["flags"])
        values["channel_order"] = _channel_order(head["channel_mask"])
        item = mrd.Acquisition(head=mrd.AcquisitionHeader(**values), data=samples)
        if trajectory.size:
            item.trajectory = np.ascontiguousarray(trajectory.T)
        yield mrd.StreamItem.Acquisition(item)


def waveform_of(item: Any) -> Waveform:  # noqa: ANN401  (a generic class of mrd)
    """Take over a waveform of version 2."""
    names = WAVEFORM_HEAD.names or ()
    head = _head_of(WAVEFORM_HEAD, {k: v for k, v in vars(item).items() if k in names})
    head["channels"], head["number_of_samples"] = item.data.shape
    return Waveform(head, np.ascontiguousarray(item.data, np.uint32))


def waveform_item(waveform: Waveform) -> Any:  # noqa: ANN401
    """Write a waveform as an item of a stream of version 2."""
    left_out = ("version", "number_of_samples", "channels")
    names = [name for name in waveform.head.dtype.names or () if name not in left_out]
    values = {name: _plain(waveform.head[name]) for name in names}
    return mrd.StreamItem.WaveformUint32(mrd.Waveform(**values, data=waveform.samples))


def image_of(item: Any) -> Image:  # noqa: ANN401  (a generic class of mrd)
    """Take over an image.

    Parameters
    ----------
    item
        Of version 2: data ``(channels, z, y, x)``, attributes as strings or numbers.

    Returns
    -------
    Image
        The same.

    Raises
    ------
    FileFormatError
        If a number does not fit into the head of version 1.
    """
    names = {of_2: of_1 for of_1, of_2 in _DIRECTIONS.items()}
    values = {names.get(name, name): value for name, value in vars(item.head).items()}
    values["image_type"] = values["image_type"].value
    meta = {name: [str(value.value) for value in found] for name, found in item.meta.items()}
    attributes = write_attributes(meta)
    pixels = np.ascontiguousarray(item.data)
    channels, z, y, x = pixels.shape
    sizes = {
        "data_type": _DATA_TYPES[pixels.dtype.newbyteorder("<")],
        "matrix_size": (x, y, z),
        "channels": channels,
        "attribute_string_len": len(attributes.encode()),
    }
    return Image(_head_of(IMAGE_HEAD, {**values, **sizes}), attributes, pixels)


def image_item(image: Image) -> Any:  # noqa: ANN401
    """Write an image as an item of a stream of version 2; its attributes become strings."""
    names = [name for name in image.head.dtype.names or () if name not in _SIZES]
    values = {_DIRECTIONS.get(name, name): _plain(image.head[name]) for name in names}
    values["flags"] = mrd.ImageFlags(values["flags"])
    values["image_type"] = mrd.ImageType(values["image_type"])
    meta = {
        name: [mrd.ImageMetaValue.String(text) for text in texts]
        for name, texts in read_attributes(image.attributes).items()
    }
    kind = _IMAGE_ITEMS[DataType(int(image.head["data_type"]))]
    return kind(mrd.Image(head=mrd.ImageHeader(**values), data=image.pixels, meta=meta))


_ACQUISITION_FIELDS = (
    "flags",
    "measurement_uid",
    "scan_counter",
    "acquisition_time_stamp",
    "physiology_time_stamp",
    "discard_pre",
    "discard_post",
    "center_sample",
    "encoding_space_ref",
    "sample_time_us",
    "position",
    "read_dir",
    "phase_dir",
    "slice_dir",
    "patient_table_position",
    "user_int",
    "user_float",
)


def _head_of(layout: np.dtype[Any], values: dict[str, Any]) -> Head:
    heads = np.zeros(1, layout)
    heads["version"] = 1
    _fill(heads[0], {name: value for name, value in values.items() if value is not None})
    head: Head = heads[0]
    return head


def _fill(head: Head, values: dict[str, Any]) -> None:
    for name, value in values.items():
        field = head[name]
        try:
            if isinstance(field, np.ndarray):
                given = np.asarray(value).ravel()[: field.size]
                field[: given.size] = given
            else:
                head[name] = getattr(value, "value", value)
        except (OverflowError, ValueError) as error:
            raise FileFormatError(
                f"{name} {value} does not fit into MRD version 1: {error}"
            ) from None


def _plain(value: Any) -> Any:  # noqa: ANN401  (a number, or an array of them)
    if isinstance(value, np.ndarray):
        return value.copy() if value.dtype == np.float32 and value.size == 3 else value.tolist()
    return value.item()


def _channel_mask(order: list[int]) -> npt.NDArray[np.uint64]:
    mask = np.zeros(16, np.uint64)
    for channel in order:
        if channel < 1024:
            mask[channel // 64] |= np.uint64(1 << channel % 64)
    return mask


def _channel_order(mask: npt.NDArray[np.uint64]) -> list[int]:
    return [
        64 * i + bit for i, word in enumerate(mask.tolist()) for bit in range(64) if word >> bit & 1
    ]
