"""What a scanner's own database wants of an image that it did not make.

Images inherit the attributes of the series that they are derived from unless they state their own:
with the parent's identifiers, or none, they end up in the parent's series, or twice in the list.
So every series has identifiers of its own. They are made of what the scan and the settings are: the
same reconstruction of the same scan has the same ones, any other has others.

References
----------
.. [1] Neurodesk containers, the OpenRecon recipe of QSMxT (how quantitative maps come through).
   https://github.com/neurodesk/neurocontainers
"""

import uuid

from chistream.arrays import Vector
from chistream.series.attributes import AttributeValue
from chistream.series.volumes import Kind, Volume

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://github.com/chistream/chistream")
_COMPONENTS = {"M": "MAGNITUDE", "P": "PHASE"}


def unique_id(*parts: object) -> str:
    """Make a DICOM UID of what it identifies.

    Parameters
    ----------
    *parts
        What tells it from all others.

    Returns
    -------
    str
        ``2.25.`` and a version 5 UUID as a decimal number.

    Examples
    --------
    >>> unique_id("scan", "QSM") == unique_id("scan", "QSM") != unique_id("scan", "FIELD")
    True
    """
    return f"2.25.{uuid.uuid5(_NAMESPACE, repr(parts)).int}"


def scanner_attributes(
    volume: Volume, index: int, n_images: int, identity: str
) -> dict[str, AttributeValue]:
    """Return the attributes of one image of a volume that the scanner keeps its books by.

    Parameters
    ----------
    volume
        The volume.
    index
        Which of its images, from 0.
    n_images
        How many there are.
    identity
        What tells this reconstruction from every other.

    Returns
    -------
    dict
        Type, names, identifiers and slice numbers, by the names that FIRE and OpenRecon use.
    """
    series, geometry = volume.series, volume.geometry
    name = f"ChiStream {series.token} [{series.unit}]"
    is_slice = geometry.shape[0] == n_images
    position = geometry.slice_position(index) if is_slice else geometry.position
    attributes: dict[str, AttributeValue] = {
        "ImageType": f"DERIVED\\PRIMARY\\{series.component}\\{series.token}",
        "ImageTypeValue4": series.token,
        "SeriesDescription": name,
        "SequenceDescription": name,
        "ProtocolName": name,
        "SeriesNumberRangeNameUID": unique_id(identity, series.token, "range"),
        "SeriesInstanceUID": unique_id(identity, series.token),
        "SOPInstanceUID": unique_id(identity, series.token, volume.echo, index),
        "NumberOfSlices": n_images,
        "ImagesInAcquisition": n_images,
        "NumberInSeries": volume.echo * n_images + index + 1,
        **dict.fromkeys(_SLICE_NUMBERS, index),
        "Actual3DImagePartNumber": 0,
        "AnatomicalPartitionNo": 0,
        "ImageSliceNormDir": _components(geometry.slice_dir),
        "SlicePosLightMarker": _components(position),
    }
    if series.kind is not Kind.RGB:
        attributes["ComplexImageComponent"] = _COMPONENTS[series.component]
    return attributes


_SLICE_NUMBERS = (
    "SliceNo",
    "IsmrmrdSliceNo",
    "AnatomicalSliceNo",
    "ChronSliceNo",
    "ProtocolSliceNumber",
)
"""All of them are the number of the slice in its series, from 0, as in the head."""


def _components(vector: Vector) -> list[str]:
    return [f"{component:.18f}" for component in vector]
