"""Volumes to MRD images and back, in the two output profiles.

``scanner``: one 2D image a slice, 12 bits in uint16, what FIRE, OpenRecon and Gadgetron all take.
``research``: one 3D image a volume in float32, in physical units. Labels and pictures are uint16 in
both. In both a stored 0 says "no value": a true zero inside the mask is stored as 2048 by the one
and as the smallest normal float by the other.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from chistream.arrays import Mask, Vector
from chistream.physics.geometry import Geometry
from chistream.series.attributes import AttributeValue, read_attributes, write_attributes
from chistream.series.scaling import SCANNER_BITS, StoredVolume, quantise
from chistream.series.scanner import scanner_attributes
from chistream.series.volumes import SERIES, Kind, Series, Volume
from chistream.stream.messages import IMAGE_HEAD, DataType, Head, Image, ImageType, new_head

Profile = Literal["scanner", "research"]

RESULTS = "ChiStreamResults"
"""Meta attribute with the numbers, on the first QSM image and on the report."""

NOT_DIAGNOSTIC = "Not for diagnostic use"

_SCALE = "ChiStreamScale"
_NO_VALUE_BUT_ZERO = np.float32(np.finfo(np.float32).tiny)
_POSITION_TOLERANCE = 0.01  # mm; float32 heads are exact to 0.0001 mm within half a metre


def encode_images(
    volume: Volume,
    profile: Profile,
    reference_head: Head | None = None,
    *,
    results: str | None = None,
    identity: str = "",
    on_source_grid: bool = True,
    series_offset: int = 0,
) -> list[Image]:
    """Make the MRD images of a volume.

    Parameters
    ----------
    volume
        What to send.
    profile
        Pixel format, see the module.
    reference_head
        Record of ACQUISITION_HEAD of a readout of the scan: its time stamps, counters, table
        position and measurement id go into the images. None leaves them zero.
    results
        JSON of the numbers; only the first QSM image and the report carry it.
    identity
        What tells this reconstruction from every other: the identifiers that a scanner gets are
        made of it.
    on_source_grid
        Whether the pixels lie where the scan planned them; if not, a scanner must not lay its own
        geometry over them.
    series_offset
        Added to the series index, where the indices of the table are taken.

    Returns
    -------
    list[Image]
        Images of one matrix size and one data type, in the order of the slices.

    Raises
    ------
    ValueError
        If the profile is unknown.
    """
    if profile not in ("scanner", "research"):
        raise ValueError(f"profile {profile!r} is neither 'scanner' nor 'research'")
    as_float = profile == "research" and volume.series.kind in (Kind.SIGNED, Kind.ARBITRARY)
    stored = StoredVolume(np.empty(0, np.uint16), padded=True) if as_float else quantise(volume)
    pixels = _float_pixels(volume) if as_float else _slice_pixels(volume, stored)
    attributes = _attributes(volume, stored, whole=as_float)
    if not on_source_grid:
        attributes["Keep_image_geometry"] = 0
    n_images = len(pixels)
    own: list[dict[str, AttributeValue]] = [{} for _ in pixels]
    if profile == "scanner":
        del attributes["SequenceDescriptionAdditional"]  # it would be added to the name it repeats
        own = [scanner_attributes(volume, index, n_images, identity) for index in range(n_images)]
    if results is not None and volume.token in ("QSM", "REPORT"):
        own[0][RESULTS] = results
    heads = _heads(volume, reference_head, pixels, series_offset)
    texts = [write_attributes(attributes | of_image) for of_image in own]
    return [_image(*parts) for parts in zip(heads, texts, pixels, strict=True)]


def decode_volumes(images: Iterable[Image]) -> list[Volume]:
    """Sort images into volumes and decode each.

    Parameters
    ----------
    images
        Images of any number of series, echoes, phases and repetitions, in any order.

    Returns
    -------
    list[Volume]
        The volumes, in the order of their first images.

    Raises
    ------
    ValueError
        As decode_volume does.
    """
    groups: dict[tuple[Any, ...], list[Image]] = {}
    counters = ("image_series_index", "contrast", "average", "phase", "repetition", "set")
    for image in images:
        key = (*(int(image.head[name]) for name in counters), _token(image.attributes))
        groups.setdefault(key, []).append(image)
    return [decode_volume(group) for group in groups.values()]


def decode_volume(images: Sequence[Image]) -> Volume:
    """Recover physical values and geometry from the images of one volume.

    Parameters
    ----------
    images
        Images that encode_images made, in any order.

    Returns
    -------
    Volume
        Physical values, float32, zero where there is none. What the images carry beyond values,
        place, mask, echo and comments is left to the reader of their attributes.

    Raises
    ------
    ValueError
        If there is no image, slices are missing or twice there or not equally spaced, or the
        images are not of a series of this package.
    """
    if not images:
        raise ValueError("there is no image to decode")
    ordered = sorted(images, key=lambda image: int(image.head["slice"]))
    _check_slices(ordered)
    first, attributes = ordered[0], read_attributes(ordered[0].attributes)
    token = _token(first.attributes)
    mask: Mask | None = None
    if SERIES[token].kind is Kind.RGB:
        values: npt.NDArray[Any] = first.pixels[:, 0].astype(np.uint8)
    else:
        values = np.concatenate([_physical(image) for image in ordered])
    if "PixelPaddingValue" in attributes:
        mask = np.concatenate([image.pixels[0] for image in ordered]) != 0
        values = np.where(mask, values, np.float32(0))
    echo_time = attributes.get("EchoTime")
    return Volume(
        token,
        values,
        _geometry(ordered),
        mask=mask,
        echo=int(first.head["contrast"]),
        echo_time=float(echo_time[0]) / 1000 if echo_time else None,
        comments=" ".join(attributes.get("ImageComments", [])).removesuffix(NOT_DIAGNOSTIC).strip(),
    )


def image_comments(volume: Volume) -> str:
    """Return what every image of the volume says to its reader.

    Parameters
    ----------
    volume
        The volume.

    Returns
    -------
    str
        Its comments, then that it is not for diagnostic use.
    """
    return f"{volume.comments} {NOT_DIAGNOSTIC}".strip()


def _float_pixels(volume: Volume) -> list[npt.NDArray[Any]]:
    valid, values = volume.valid, volume.filled
    values[valid & (values == 0)] = _NO_VALUE_BUT_ZERO
    return [values[None]]


def _slice_pixels(volume: Volume, stored: StoredVolume) -> list[npt.NDArray[Any]]:
    if volume.series.kind is Kind.RGB:
        return [stored.pixels[:, None]]
    return [plane[None, None] for plane in stored.pixels]


def _attributes(volume: Volume, stored: StoredVolume, *, whole: bool) -> dict[str, AttributeValue]:
    series, geometry = volume.series, volume.geometry
    quantitative = series.kind is Kind.SIGNED
    comments = image_comments(volume)
    attributes: dict[str, AttributeValue] = {
        # "Quantitative" keeps the scanner from normalising or rescaling the pixels.
        "DataRole": ["Image", "Quantitative"] if quantitative else "Image",
        "SeriesDescription": f"ChiStream {series.token} [{series.unit}]",
        "SequenceDescriptionAdditional": series.token,
        "ImageType": series.token,
        "ImageComments": comments,
        "ImageComment": comments,  # the older spelling of FIRE
        "ImageProcessingHistory": ["ChiStream"],
        "Units": series.unit,
        "ImageRowDir": _direction(geometry.read_dir),
        "ImageColumnDir": _direction(geometry.phase_dir),
        "ImageSliceDir": _direction(geometry.slice_dir),
        # A packed volume and a page do not lie on the scanner's own grid of slices.
        "Keep_image_geometry": int(not whole and series.kind is not Kind.RGB),
    }
    if volume.echo_time is not None:
        attributes["EchoTime"] = round(1000 * volume.echo_time, 6)
    if series.kind is not Kind.RGB:
        attributes |= _rescale_attributes(volume, stored, whole=whole)
    return attributes | dict(volume.meta)


def _rescale_attributes(
    volume: Volume, stored: StoredVolume, *, whole: bool
) -> dict[str, AttributeValue]:
    low, high = (bound / stored.scale for bound in volume.display_range)
    attributes: dict[str, AttributeValue] = {
        "RescaleSlope": stored.slope,
        "RescaleIntercept": stored.intercept,
        "RescaleType": "US",
        # Whole numbers: scanners cut fractions off.
        "WindowCenter": round((low + high) / 2),
        "WindowWidth": max(1, round(high - low)),
    }
    if not whole:
        attributes["BitsStored"] = SCANNER_BITS
    if stored.padded:
        attributes |= {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 0}
    if stored.scale != 1:
        attributes[_SCALE] = stored.scale
    return attributes


def _direction(vector: Vector) -> list[str]:
    return [f"{component:.18f}" for component in vector]


def _heads(
    volume: Volume,
    reference_head: Head | None,
    pixels: Sequence[npt.NDArray[Any]],
    series_offset: int,
) -> list[Head]:
    geometry = volume.geometry
    nz, ny, nx = geometry.shape
    dz, dy, dx = geometry.voxel_size
    template = new_head(
        IMAGE_HEAD,
        data_type=DataType.FLOAT if pixels[0].dtype == np.float32 else DataType.USHORT,
        channels=pixels[0].shape[0],
        read_dir=geometry.read_dir,
        phase_dir=geometry.phase_dir,
        slice_dir=geometry.slice_dir,
        contrast=volume.echo,
        image_type=_image_type(volume.series),
        image_series_index=volume.series.index + series_offset,
        **_scan_fields(reference_head),
    )
    depth = pixels[0].shape[1]
    template["matrix_size"] = nx, ny, depth
    template["field_of_view"] = nx * dx, ny * dy, depth * dz
    heads = []
    for index in range(len(pixels)):
        head = template.copy()
        head["position"] = geometry.position if depth == nz else geometry.slice_position(index)
        head["slice"] = index
        head["image_index"] = volume.echo * len(pixels) + index + 1
        heads.append(head)
    return heads


def _image_type(series: Series) -> ImageType:
    if series.kind is Kind.RGB:
        return ImageType.RGB
    return {"M": ImageType.MAGNITUDE, "P": ImageType.PHASE}[series.component]


def _scan_fields(reference_head: Head | None) -> dict[str, Any]:
    if reference_head is None:
        return {}
    of_scan = (
        "measurement_uid",
        "patient_table_position",
        "acquisition_time_stamp",
        "physiology_time_stamp",
    )
    counters = ("average", "phase", "repetition", "set")
    return {name: reference_head[name] for name in of_scan} | {
        name: reference_head["idx"][name] for name in counters
    }


def _image(head: Head, attributes: str, pixels: npt.NDArray[Any]) -> Image:
    head["attribute_string_len"] = len(attributes.encode())
    return Image(head, attributes, np.ascontiguousarray(pixels))


def _token(attributes: str) -> str:
    for value in read_attributes(attributes).get("ImageType", []):
        token = value.rpartition("\\")[2]
        if token in SERIES:
            return token
    raise ValueError("the image has no ImageType of a ChiStream series")


def _check_slices(ordered: Sequence[Image]) -> None:
    found = [int(image.head["slice"]) for image in ordered]
    missing = sorted(set(range(found[-1] + 1)) - set(found))
    if missing:
        raise ValueError(f"slices are missing: {', '.join(map(str, missing))}")
    if len(set(found)) != len(found):
        raise ValueError(f"slices are there twice, in {found}")
    if len(ordered) > 1 and any(image.pixels.shape[1] > 1 for image in ordered):
        raise ValueError("a volume is one 3D image or several 2D slices, not several 3D images")


def _physical(image: Image) -> npt.NDArray[Any]:
    attributes = read_attributes(image.attributes)
    slope = float(attributes.get("RescaleSlope", ["1"])[0])
    intercept = float(attributes.get("RescaleIntercept", ["0"])[0])
    scale = float(attributes.get(_SCALE, ["1"])[0])
    physical = (slope * image.pixels[0].astype(np.float64) + intercept) * scale
    values: npt.NDArray[Any] = physical.astype(np.float32)
    return values


def _geometry(ordered: Sequence[Image]) -> Geometry:
    head = ordered[0].head
    nx, ny, depth = (int(n) for n in head["matrix_size"])
    nz = depth * len(ordered)
    fov_x, fov_y, fov_z = (float(length) for length in head["field_of_view"])
    positions = np.array([image.head["position"] for image in ordered], dtype=np.float64)
    slice_dir = _unit(head["slice_dir"])
    spacing = fov_z / depth
    if len(ordered) > 1:
        spacing = float((positions[-1] - positions[0]) @ slice_dir) / (len(ordered) - 1)
    centre = positions[len(ordered) // 2]
    steps = np.arange(len(ordered)) - len(ordered) // 2
    if not np.allclose(
        positions, centre + np.outer(steps * spacing, slice_dir), atol=_POSITION_TOLERANCE
    ):
        raise ValueError("the slices do not follow one another at equal distances")
    return Geometry(
        (nz, ny, nx),
        (spacing, fov_y / ny, fov_x / nx),
        position=_as_vector(centre),
        read_dir=_as_vector(_unit(head["read_dir"])),
        phase_dir=_as_vector(_unit(head["phase_dir"])),
        slice_dir=_as_vector(slice_dir),
    )


def _unit(vector: npt.ArrayLike) -> npt.NDArray[np.float64]:
    exact = np.asarray(vector, dtype=np.float64)
    unit: npt.NDArray[np.float64] = exact / np.linalg.norm(exact)
    return unit


def _as_vector(vector: npt.NDArray[np.float64]) -> Vector:
    left, posterior, superior = vector.tolist()
    return left, posterior, superior
