"""The table of series and what a volume refuses."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from chistream.physics.geometry import Geometry
from chistream.series.volumes import SERIES, Kind, Volume


def test_the_table_is_the_published_one() -> None:
    assert {series.token: (series.index, series.unit) for series in SERIES.values()} == {
        "MAGNITUDE": (1, "a.u."),
        "PHASE": (2, "rad"),
        "QSM": (10, "ppb"),
        "LOCAL_FIELD": (11, "ppb"),
        "FIELD": (12, "Hz"),
        "R2STAR": (13, "1/s"),
        "FATFRACTION": (14, "%"),
        "WATER": (15, "a.u."),
        "FAT": (16, "a.u."),
        "MASK": (17, "label"),
        "CHAMBERS": (17, "label"),
        "NOISE": (18, "a.u."),
        "FLOW_QC": (19, "rad"),
        "REPORT": (90, "RGB"),
    }


def test_tokens_fit_a_dicom_code_string() -> None:
    assert all(len(token) <= 16 and token.replace("_", "").isalnum() for token in SERIES)


def test_series_of_one_index_share_pixel_type() -> None:
    kinds: dict[int, set[Kind]] = {}
    for series in SERIES.values():
        kinds.setdefault(series.index, set()).add(series.kind)
    assert all(len(same) == 1 for same in kinds.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"token": "CHI"}, "series 'CHI' is none of MAGNITUDE"),
        ({"values": np.zeros((5, 6, 8))}, r"QSM values \(5, 6, 8\) do not fit"),
        ({"mask": np.ones((5, 6, 8), bool)}, r"QSM mask \(5, 6, 8\) and values"),
        ({"token": "MAGNITUDE", "values": np.full((5, 6, 7), -1.0)}, "must not be negative"),
        ({"token": "MASK", "values": np.full((5, 6, 7), 0.5)}, "whole numbers"),
        ({"token": "MASK", "values": np.full((5, 6, 7), 4096)}, "whole numbers"),
        ({"token": "MASK", "values": np.full((5, 6, 7), np.nan)}, "whole numbers"),
        ({"token": "REPORT", "values": np.zeros((3, 6, 7), np.uint8)}, "do not fit"),
    ],
)
def test_what_cannot_be_is_refused(
    changes: dict[str, Any], message: str, oblique: Geometry
) -> None:
    fields: dict[str, Any] = {"token": "QSM", "values": np.zeros((5, 6, 7))}
    with pytest.raises(ValueError, match=message):
        Volume(geometry=oblique, **(fields | changes))


def test_a_page_of_floats_is_refused(example: Callable[..., Volume]) -> None:
    page = example("REPORT")
    with pytest.raises(ValueError, match="must be uint8, got float64"):
        Volume("REPORT", page.values / 255, page.geometry)


def test_negative_magnitude_outside_the_mask_does_not_matter(oblique: Geometry) -> None:
    values = np.ones((5, 6, 7))
    values[0] = -1.0
    mask = np.ones((5, 6, 7), dtype=bool)
    mask[0] = False
    assert not Volume("WATER", values, oblique, mask=mask).filled[0].any()


def test_what_has_no_value_is_filled_with_zero(oblique: Geometry) -> None:
    values = np.full((5, 6, 7), 3.0)
    values[1, 2, 3], values[1, 2, 4] = np.nan, np.inf
    volume = Volume("QSM", values, oblique)
    assert volume.filled.dtype == np.float32
    assert volume.filled.sum() == 3.0 * (5 * 6 * 7 - 2)
    assert not volume.valid[1, 2, 3]


def test_the_display_range_is_the_window_or_that_of_the_values(oblique: Geometry) -> None:
    values = np.arange(210.0).reshape(5, 6, 7)
    assert Volume("QSM", values, oblique).display_range == (-300, 500)
    assert Volume("QSM", values, oblique, window=(0, 200)).display_range == (-100, 100)
    low, high = Volume("MAGNITUDE", values, oblique).display_range
    assert low == 0
    assert 200 < high < 209
    assert Volume("MAGNITUDE", 0 * values, oblique).display_range == (0, 1)
    assert Volume("CHAMBERS", values, oblique).display_range == (0, 209)
