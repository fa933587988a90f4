"""The books of the scanner: identifiers, slice numbers, geometry."""

import re

import numpy as np
import pytest

from chistream.physics.geometry import Geometry
from chistream.series.attributes import read_attributes
from chistream.series.images import decode_volumes, encode_images
from chistream.series.scanner import unique_id
from chistream.series.volumes import Volume
from chistream.stream.messages import Image

GEOMETRY = Geometry((3, 4, 5), (2.0, 1.5, 1.0), position=(10.0, 20.0, 30.0))


def images(name: str = "QSM", echo: int = 0, **options: object) -> list[Image]:
    volume = Volume(name, np.ones(GEOMETRY.shape), GEOMETRY, echo=echo)
    return encode_images(volume, "scanner", **options)  # type: ignore[arg-type]


def values(image: Image, *names: str) -> list[str]:
    found = read_attributes(image.attributes)
    return [found[name][0] for name in names]


def test_every_slice_has_its_numbers() -> None:
    for index, image in enumerate(images()):
        assert values(
            image, "SliceNo", "IsmrmrdSliceNo", "AnatomicalSliceNo", "ChronSliceNo",
            "ProtocolSliceNumber",
        ) == [str(index)] * 5  # fmt: skip
        assert values(image, "NumberOfSlices", "ImagesInAcquisition") == ["3", "3"]
        assert values(image, "NumberInSeries") == [str(index + 1)]
        assert values(image, "Actual3DImagePartNumber", "AnatomicalPartitionNo") == ["0", "0"]
        attributes = read_attributes(image.attributes)
        assert [float(x) for x in attributes["ImageSliceNormDir"]] == [0, 0, 1]
        assert [float(x) for x in attributes["SlicePosLightMarker"]] == [10, 20, 28 + 2 * index]


def test_echoes_of_a_series_share_its_identifier_and_no_image_has_another_s() -> None:
    sent = images("MAGNITUDE", identity="a") + images("MAGNITUDE", echo=1, identity="a")
    assert len({values(image, "SeriesInstanceUID")[0] for image in sent}) == 1
    assert len({values(image, "SOPInstanceUID")[0] for image in sent}) == len(sent)
    assert [values(image, "NumberInSeries")[0] for image in sent] == list("123456")


@pytest.mark.parametrize(
    "name", ["SeriesInstanceUID", "SOPInstanceUID", "SeriesNumberRangeNameUID"]
)
def test_identifiers_are_those_of_one_reconstruction(name: str) -> None:
    found = {
        identity + token: values(images(token, identity=identity)[0], name)[0]
        for identity in ("scan 1", "scan 2")
        for token in ("QSM", "R2STAR")
    }
    assert len(set(found.values())) == 4
    assert values(images("QSM", identity="scan 1")[0], name)[0] == found["scan 1QSM"]
    assert all(re.fullmatch(r"2\.25\.\d{1,39}", uid) for uid in found.values())


def test_an_identifier_is_no_longer_than_dicom_allows() -> None:
    assert len(unique_id("x" * 10_000)) <= 64


def test_pixels_off_the_scan_s_grid_do_not_take_its_geometry() -> None:
    assert values(images()[0], "Keep_image_geometry") == ["1"]
    assert values(images(on_source_grid=False)[0], "Keep_image_geometry") == ["0"]


def test_series_can_keep_clear_of_others() -> None:
    (volume,) = decode_volumes(images(series_offset=180))
    assert volume.token == "QSM"
    assert {int(image.head["image_series_index"]) for image in images(series_offset=180)} == {190}


def test_research_images_have_none_of_it() -> None:
    volume = Volume("QSM", np.ones(GEOMETRY.shape), GEOMETRY)
    (image,) = encode_images(volume, "research")
    assert "SeriesInstanceUID" not in read_attributes(image.attributes)


def test_a_page_has_its_own_numbers() -> None:
    place = Geometry((1, 4, 5), (2.0, 1.5, 1.0))
    (image,) = encode_images(Volume("REPORT", np.zeros((3, 4, 5), np.uint8), place), "scanner")
    assert values(image, "ImagesInAcquisition", "ImageTypeValue4") == ["1", "REPORT"]
    assert "ComplexImageComponent" not in read_attributes(image.attributes)
