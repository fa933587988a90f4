"""Images that scanners take, and the way back to physical values."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from ismrmrd import Meta

from chistream.physics.geometry import Geometry
from chistream.series.attributes import read_attributes, write_attributes
from chistream.series.images import Profile, decode_volume, decode_volumes, encode_images
from chistream.series.volumes import SERIES, Kind, Volume
from chistream.stream.codec import encode
from chistream.stream.messages import ACQUISITION_HEAD, Close, Image, Message, new_head

PROFILES: list[Profile] = ["scanner", "research"]


def attributes(image: Image) -> dict[str, list[str]]:
    return read_attributes(image.attributes)


def assert_same_place(one: Geometry, other: Geometry) -> None:
    assert one.shape == other.shape
    np.testing.assert_allclose(one.affine_lps, other.affine_lps, atol=2e-5)  # float32 heads


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("token", ["QSM", "MAGNITUDE", "CHAMBERS"])
def test_values_and_place_survive_the_wire(
    token: str, geometry: Geometry, profile: Profile, example: Callable[..., Volume]
) -> None:
    sent = example(token, geometry)
    received = decode_volume(list(reversed(encode_images(sent, profile))))
    assert received.token == token
    assert_same_place(received.geometry, geometry)
    step = {"QSM": 1.0, "MAGNITUDE": float(sent.filled.max()) / 4095, "CHAMBERS": 0.0}[token]
    tolerance = 0 if profile == "research" else 0.5 * step * (1 + 1e-5)
    np.testing.assert_allclose(received.values, sent.filled, rtol=0, atol=tolerance)
    if SERIES[token].kind is Kind.SIGNED:
        np.testing.assert_array_equal(received.valid, sent.valid)


@given(
    values=arrays(
        np.float32,
        (2, 3, 4),
        elements=st.floats(-3000, 3000, width=32) | st.sampled_from([0.0, float("nan")]),
    ),
    mask=arrays(np.bool_, (2, 3, 4)),
    profile=st.sampled_from(PROFILES),
)
def test_negative_zero_and_missing_values_survive_the_wire(
    values: np.typing.NDArray[np.float32], mask: np.typing.NDArray[np.bool_], profile: Profile
) -> None:
    sent = Volume("QSM", values, Geometry((2, 3, 4), (3.0, 2.0, 1.5)), mask=mask)
    images = encode_images(sent, profile)
    received = decode_volume(images)
    half_a_step = float(attributes(images[0])["RescaleSlope"][0]) / 2
    assert received.mask is not None
    np.testing.assert_array_equal(received.mask, mask & np.isfinite(values))
    np.testing.assert_allclose(
        received.values, sent.filled, rtol=0, atol=half_a_step if profile == "scanner" else 1e-30
    )


def test_the_scanner_gets_slices_of_twelve_bits(
    oblique: Geometry, example: Callable[..., Volume]
) -> None:
    images = encode_images(example("QSM"), "scanner")
    assert len(images) == 5
    for index, image in enumerate(images):
        assert image.pixels.shape == (1, 1, 6, 7)
        assert image.pixels.dtype == np.uint16
        assert image.pixels.max() <= 4095
        head = image.head
        assert head["data_type"] == 1
        assert head["matrix_size"].tolist() == [7, 6, 1]
        assert head["field_of_view"].tolist() == [10.5, 12.0, 3.0]
        assert head["channels"] == 1
        assert head["slice"] == index
        assert head["image_index"] == index + 1
        assert head["image_series_index"] == 10
        assert head["image_type"] == 1
        assert head["attribute_string_len"] == len(image.attributes.encode())
        np.testing.assert_allclose(head["position"], oblique.slice_position(index), atol=1e-5)
        np.testing.assert_allclose(head["read_dir"], oblique.read_dir, atol=1e-7)
        np.testing.assert_allclose(head["phase_dir"], oblique.phase_dir, atol=1e-7)
        np.testing.assert_allclose(head["slice_dir"], oblique.slice_dir, atol=1e-7)


def test_research_gets_one_volume_of_physical_floats(
    oblique: Geometry, example: Callable[..., Volume]
) -> None:
    volume = example("QSM")
    (image,) = encode_images(volume, "research")
    assert image.pixels.dtype == np.float32
    assert image.pixels.shape == (1, 5, 6, 7)
    np.testing.assert_array_equal(image.pixels[0][volume.valid], volume.values[volume.valid])
    assert not image.pixels[0][~volume.valid].any()
    assert image.head["data_type"] == 5
    assert image.head["matrix_size"].tolist() == [7, 6, 5]
    assert image.head["field_of_view"].tolist() == [10.5, 12.0, 15.0]
    np.testing.assert_allclose(image.head["position"], oblique.position)
    assert attributes(image)["RescaleSlope"] == ["1.0"]
    assert attributes(image)["Keep_image_geometry"] == ["0"]
    assert "BitsStored" not in attributes(image)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("token", list(SERIES))
def test_a_series_has_one_matrix_and_one_type(
    token: str, profile: Profile, example: Callable[..., Volume]
) -> None:
    images = encode_images(example(token), profile) + encode_images(example(token, seed=2), profile)
    assert len({(image.pixels.shape, image.pixels.dtype) for image in images}) == 1


def test_the_attributes_are_those_a_console_reads(oblique: Geometry) -> None:
    volume = Volume(
        "QSM",
        np.full(oblique.shape, 3.0),
        oblique,
        echo_time=0.00246,
        comments="Reference: left ventricle, R2* < 40 & smooth.",
        meta={"ROI_RV": [1, 0, 0, 1, 0, 1]},
    )
    meta = Meta.deserialize(encode_images(volume, "scanner")[0].attributes)
    assert meta["DataRole"] == ["Image", "Quantitative"]
    assert meta["SeriesDescription"] == "ChiStream QSM [ppb]"
    assert meta["ImageType"] == r"DERIVED\PRIMARY\M\QSM"
    assert meta["ImageTypeValue4"] == "QSM"
    assert meta["ComplexImageComponent"] == "MAGNITUDE"
    assert meta["SequenceDescription"] == meta["ProtocolName"] == meta["SeriesDescription"]
    assert "SequenceDescriptionAdditional" not in meta
    assert meta["Units"] == "ppb"
    assert (meta["RescaleSlope"], meta["RescaleIntercept"]) == ("1.0", "-2048.0")
    assert (meta["WindowCenter"], meta["WindowWidth"]) == ("100", "800")
    assert meta["ImageComments"].startswith("Reference: left ventricle, R2* < 40 & smooth.")
    assert meta["ImageComments"].endswith("Not for diagnostic use")
    assert meta["EchoTime"] == "2.46"
    assert meta["Keep_image_geometry"] == "1"
    assert meta["PixelPaddingValue"] == "0"
    assert meta["BitsStored"] == "12"
    assert meta["ROI_RV"] == ["1", "0", "0", "1", "0", "1"]
    for name, direction in [
        ("ImageRowDir", oblique.read_dir),
        ("ImageColumnDir", oblique.phase_dir),
        ("ImageSliceDir", oblique.slice_dir),
    ]:
        np.testing.assert_allclose([float(text) for text in meta[name]], direction, atol=1e-15)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("token", sorted(SERIES.keys() - {"REPORT"}))
def test_windows_are_whole_numbers_and_open(
    token: str, profile: Profile, example: Callable[..., Volume]
) -> None:
    meta = attributes(encode_images(example(token), profile)[0])
    int(meta["WindowCenter"][0])
    assert int(meta["WindowWidth"][0]) >= 1


@pytest.mark.parametrize("level", [1e-6, 1.0, 1e6])
def test_magnitude_of_any_level_fills_the_range_and_its_window(
    level: float, oblique: Geometry, example: Callable[..., Volume]
) -> None:
    values = level * example("MAGNITUDE").values
    images = encode_images(Volume("MAGNITUDE", values, oblique), "scanner")
    assert max(image.pixels.max() for image in images) == 4095
    meta = attributes(images[0])
    assert 2000 < int(meta["WindowWidth"][0]) <= 4095
    assert (meta["RescaleSlope"], meta["RescaleIntercept"]) == (["1.0"], ["0.0"])
    np.testing.assert_allclose(
        decode_volume(images).values, values, rtol=0, atol=values.max() / 8189
    )


def test_a_report_is_a_picture_without_a_window(example: Callable[..., Volume]) -> None:
    page = example("REPORT")
    (image,) = encode_images(page, "scanner", results='{"version": "0.1.0"}')
    assert image.pixels.shape == (3, 1, 8, 9)
    assert image.pixels.dtype == np.uint16
    assert image.pixels.max() <= 255
    assert (image.head["image_type"], image.head["channels"]) == (6, 3)
    meta = attributes(image)
    assert not {"WindowCenter", "WindowWidth", "RescaleSlope"} & meta.keys()
    assert meta["ChiStreamResults"] == ['{"version": "0.1.0"}']
    received = decode_volume([image])
    np.testing.assert_array_equal(received.values, page.values)
    assert received.values.dtype == np.uint8


def test_the_numbers_go_with_the_first_map_and_the_report_only(
    example: Callable[..., Volume],
) -> None:
    carried = {
        token: [
            "ChiStreamResults" in attributes(image)
            for image in encode_images(example(token), "scanner", results="{}")
        ]
        for token in ("QSM", "REPORT", "MAGNITUDE")
    }
    assert carried == {"QSM": [True] + [False] * 4, "REPORT": [True], "MAGNITUDE": [False] * 5}


def test_the_scan_s_stamps_are_those_of_the_readout(example: Callable[..., Volume]) -> None:
    readout = new_head(
        ACQUISITION_HEAD,
        measurement_uid=77,
        acquisition_time_stamp=123456,
        physiology_time_stamp=(1, 2, 3),
        patient_table_position=(0.0, 0.0, -250.0),
        repetition=4,
        set=2,
    )
    for image in encode_images(example("QSM"), "scanner", readout):
        assert image.head["measurement_uid"] == 77
        assert image.head["acquisition_time_stamp"] == 123456
        assert image.head["physiology_time_stamp"].tolist() == [1, 2, 3]
        assert image.head["patient_table_position"].tolist() == [0, 0, -250]
        assert (image.head["repetition"], image.head["set"]) == (4, 2)


def test_echoes_are_contrasts_with_their_own_instance_numbers(
    oblique: Geometry, example: Callable[..., Volume]
) -> None:
    images: list[Image] = []
    for echo in range(2):
        volume = example("PHASE", seed=echo)
        images += encode_images(
            Volume("PHASE", volume.values, oblique, echo=echo, echo_time=0.002 * (echo + 1)),
            "scanner",
        )
    assert [int(image.head["image_index"]) for image in images] == list(range(1, 11))
    assert {int(image.head["image_type"]) for image in images} == {2}
    first, second = decode_volumes(images)
    assert (first.echo, second.echo) == (0, 1)
    assert second.echo_time == pytest.approx(0.004)
    np.testing.assert_allclose(second.values, example("PHASE", seed=1).values, atol=8e-4)


def test_series_are_told_apart_even_under_one_index(example: Callable[..., Volume]) -> None:
    sent = [example(token) for token in ("QSM", "MASK", "CHAMBERS", "REPORT")]
    images = [image for volume in sent for image in encode_images(volume, "scanner")]
    assert [volume.token for volume in decode_volumes(images)] == [
        "QSM",
        "MASK",
        "CHAMBERS",
        "REPORT",
    ]


def test_comments_do_not_grow_on_the_way(oblique: Geometry) -> None:
    sent = Volume("QSM", np.ones(oblique.shape), oblique, comments="Reference: LV.")
    once = decode_volume(encode_images(sent, "scanner"))
    assert once.comments == "Reference: LV."
    assert decode_volume(encode_images(once, "research")).comments == "Reference: LV."


def test_an_unknown_profile_is_refused(example: Callable[..., Volume]) -> None:
    with pytest.raises(ValueError, match="profile 'clinic' is neither"):
        encode_images(example("QSM"), "clinic")  # type: ignore[arg-type]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("token", ["QSM", "MASK", "REPORT"])
def test_the_ismrmrd_package_reads_the_bytes(
    token: str, profile: Profile, example: Callable[..., Volume]
) -> None:
    serialization = pytest.importorskip(
        "ismrmrd.serialization", reason="this version of ismrmrd has no serializer of streams"
    )
    images = encode_images(example(token), profile, results='{"a": "<&>"}')
    messages: list[Message] = [*images, Close()]
    stream = b"".join(bytes(piece) for message in messages for piece in encode(message))
    received = list(serialization.ProtocolDeserializer(io.BytesIO(stream)).deserialize())
    assert len(received) == len(images)
    for sent, image in zip(images, received, strict=True):
        np.testing.assert_array_equal(image.data, sent.pixels)
        assert image.data.dtype == sent.pixels.dtype
        assert image.getHead().image_series_index == SERIES[token].index
        assert Meta.deserialize(image.attribute_string)["ImageType"].rpartition("\\")[2] == token


def moved(image: Image, **fields: Any) -> Image:  # noqa: ANN401
    head = image.head.copy()
    for name, value in fields.items():
        head[name] = value
    return Image(head, image.attributes, image.pixels)


def test_what_is_no_volume_is_refused(example: Callable[..., Volume]) -> None:
    images = encode_images(example("QSM"), "scanner")
    (whole,) = encode_images(example("QSM"), "research")
    shifted = moved(images[2], position=(0.0, 0.0, 0.0))
    foreign = Image(whole.head, write_attributes({"ImageType": "THICK"}), whole.pixels)
    for broken, message in [
        ([], "no image"),
        ([*images[:2], *images[3:]], "slices are missing: 2"),
        ([*images, images[1]], "twice"),
        ([*images[:2], shifted, *images[3:]], "equal distances"),
        ([whole, moved(whole, slice=1)], "not several 3D images"),
        ([foreign], "no ImageType of a ChiStream series"),
    ]:
        with pytest.raises(ValueError, match=message):
            decode_volume(broken)
