"""The report shows what was measured, fits its page, and says why something is missing."""

import html
import io
import itertools
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.text import Text

from chistream.physics.geometry import Geometry
from chistream.series import drawing, wording
from chistream.series.contents import ReportContent
from chistream.series.html_report import write_html_report
from chistream.series.png import write_png
from chistream.series.report import LIGHTS, render_report, report_volume
from chistream.series.volumes import Volume

LONG = "The inversion had not converged after 300 iterations, and the map is a draft only. "


@dataclass(frozen=True)
class Region:
    mean_ppb: float = 251.6
    sd_ppb: float = 21.0
    se_ppb: float = 3.5
    n_voxels: int = 175
    volume_ml: float = 5.47


@dataclass(frozen=True)
class Gated:
    method: str = "navigator"
    efficiency: float = 0.604
    window_mm: tuple[float, float] = (-2.5, 2.5)
    n_accepted: int = 61
    n_rejected: int = 40


@dataclass(frozen=True)
class Judged:
    light: str = "amber"
    reasons: tuple[str, ...] = ("No noise scan.",)


@dataclass(frozen=True)
class Numbers:
    version: str = "0.1.0"
    chain: str = "cardiac_qsm"
    reference: str | None = "blood of the left ventricle"
    delta_chi_ppb: float | None = 251.6
    delta_chi_se_ppb: float | None = 12.2
    hematocrit: float | None = 0.42
    calibration: str | None = "wen2018"
    calibration_source: str | None = "Wen Y, et al. 2018"
    delta_sao2: float | None = 0.1879
    delta_sao2_se: float | None = 0.0103
    svo2: float | None = 0.7821
    svo2_se: float | None = 0.0103
    se_covers: tuple[str, ...] = ("noise of the map", "haematocrit")
    chambers: dict[str, Region] = field(
        default_factory=lambda: {"RV": Region(), "LV": Region(mean_ppb=0.0)}
    )
    gating: Gated | None = field(default_factory=Gated)
    quality: Judged = field(default_factory=Judged)
    null_reasons: dict[str, str] = field(default_factory=dict)


NOTHING = Numbers(
    reference=None,
    delta_chi_ppb=None,
    delta_chi_se_ppb=None,
    hematocrit=None,
    calibration=None,
    calibration_source=None,
    delta_sao2=None,
    delta_sao2_se=None,
    svo2=None,
    svo2_se=None,
    se_covers=(),
    chambers={},
    gating=None,
    quality=Judged("red", (LONG * 3, "31 % of k-space is missing.") * 4),
    null_reasons={
        "delta_chi_ppb": "ROI 'RV' holds 3 voxels with signal and needs 10.",
        "delta_sao2": "No haematocrit was given; none is assumed.",
        "svo2": "No arterial saturation was given.",
        "gating": "The scan has no navigator.",
    },
)


def content(
    shape: tuple[int, int, int] = (9, 40, 36), numbers: Numbers | None = None
) -> ReportContent:
    grid = Geometry(shape, (5.0, 2.5, 3.0))
    rng = np.random.default_rng(1)
    mask = np.ones(shape, dtype=bool)
    mask[:, :4] = False
    rois = {name: np.zeros(shape, dtype=bool) for name in ("RV", "LV")}
    rois["RV"][shape[0] // 3, 10:16, 8:14] = True
    rois["LV"][shape[0] // 2, 20:28, 20:36] = True
    displacements = np.abs(rng.normal(0, 3, 101))
    displacements[4] = np.nan
    return ReportContent(
        results=numbers or Numbers(),
        echo_times=(0.0023, 0.0046, 0.0069),
        field_strength=2.8936,
        protocol="heart_qsm",
        qsm=Volume("QSM", rng.normal(0, 200, shape), grid, mask=mask),
        magnitude=Volume("MAGNITUDE", rng.uniform(0, 900, shape), grid),
        rois=rois,
        displacements=displacements,
    )


CONTENTS = {
    "full": content(),
    "one slice": content((1, 40, 36)),
    "no map": replace(content(numbers=NOTHING), qsm=None, rois={}, no_map_reason=LONG * 4),
    "no picture": replace(content(), magnitude=None, rois={}),
    "nothing": replace(content(numbers=NOTHING), qsm=None, magnitude=None, rois={}),
    "odd words": replace(
        content(
            numbers=replace(
                Numbers(),
                chain="a_chain_with_a_long_name",
                reference="$x^2$ <b>&amp; 心臓",
                chambers={f"{k} region of a name that is long": Region() for k in range(8)},
                quality=Judged("green", (LONG, "$\\frac$ <script>alert(1)</script>")),
            )
        ),
        protocol="心臓 $\\alpha <b>protocol</b> " * 5,
        echo_times=tuple(0.0012 * k for k in range(1, 13)),
    ),
}

LIT = {"amber": "full", "red": "nothing", "green": "odd words"}

every_content = pytest.mark.parametrize("name", CONTENTS)


@cache
def rendered(name: str) -> tuple[npt.NDArray[np.uint8], list[Text]]:
    """Render a page once, with the texts really drawn: axes keep labels beyond their ends."""
    drawn: list[Text] = []

    def draw(text: Text, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        drawn.append(text)
        original(text, *arguments, **options)

    original = Text.draw
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", draw)
        page = render_report(CONTENTS[name])
    return page, [text for text in drawn if text.get_text().strip()]


def page_of(name: str) -> npt.NDArray[np.uint8]:
    return rendered(name)[0]


def texts_of(name: str) -> list[Text]:
    return rendered(name)[1]


@every_content
def test_the_page_is_rgb_of_one_size_and_not_empty(name: str) -> None:
    page = page_of(name)
    assert page.shape == (1080, 1440, 3)
    assert page.dtype == np.uint8
    assert page.flags.c_contiguous
    assert page.std() > 10


@every_content
def test_every_text_lies_on_the_page_and_none_on_another(name: str) -> None:
    boxes = {
        (number, text.get_text()): text.get_window_extent()
        for number, text in enumerate(texts_of(name))
        if text.get_text() not in ("RV", "LV")
    }
    for (_, text), box in boxes.items():
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= 1440, text
        assert box.y1 <= 1080, text
    for (one, first), (other, second) in itertools.combinations(boxes.items(), 2):
        # Two pixels: boxes hold the line spacing as well as the ink.
        apart = (
            first.x1 <= second.x0 + 2
            or second.x1 <= first.x0 + 2
            or first.y1 <= second.y0 + 2
            or second.y1 <= first.y0 + 2
        )
        assert apart, (one, other)


def test_the_page_says_the_numbers_with_their_light() -> None:
    said = "\n".join(text.get_text() for text in texts_of("full"))
    for words in (
        "252 \N{PLUS-MINUS SIGN} 12 ppb",
        "18.8 \N{PLUS-MINUS SIGN} 1.0 %",
        "78.2 \N{PLUS-MINUS SIGN} 1.0 %",
        "QUALITY AMBER",
        "No noise scan.",
        "cardiac_qsm",
        "2.89 T",
        "2.30, 4.60, 6.90 ms",
        "3.00 x 2.50 x 5.00 mm",
        "36 x 40 x 9",
        "ChiStream 0.1.0",
        "heart_qsm",
        "Hct 0.42, calibration wen2018",
        "Window 5.0 mm, efficiency 60 % (61 of 101 heartbeats)",
        "Research use. Not a medical device.",
    ):
        assert words in said, words


def test_what_is_missing_says_why() -> None:
    said = " ".join(text.get_text().replace("\n", " ") for text in texts_of("nothing"))
    for reason in NOTHING.null_reasons.values():
        assert reason in said
    assert said.count("not measured") == 3
    assert "No susceptibility map." in said
    assert "No region was measured." in said


def test_a_red_light_forbids_the_number_beside_it() -> None:
    red = replace(Numbers(), quality=Judged("red", ("31 % of k-space is missing.",)))
    notes = [number.note for number in wording.key_numbers(red)]
    assert all(note.startswith("Quality red: do not use.") for note in notes)
    assert not any("do not use" in number.note for number in wording.key_numbers(NOTHING))


def test_errors_that_are_not_known_are_not_shown() -> None:
    bare = replace(Numbers(), delta_chi_se_ppb=None, delta_sao2_se=None, se_covers=())
    difference, saturation, _ = wording.key_numbers(bare)
    assert (difference.value, saturation.value) == ("252 ppb", "18.8 %")
    assert "SE not known" in saturation.note


def test_more_regions_than_fit_are_counted() -> None:
    said = [text.get_text() for text in texts_of("odd words")]
    assert "and 4 more in the results that go with the images" in said


@pytest.mark.parametrize("light", LIGHTS)
def test_the_page_shows_the_colour_of_the_light(light: str) -> None:
    colour = np.array([int(LIGHTS[light][k : k + 2], 16) for k in (1, 3, 5)])
    assert np.all(page_of(LIT[light])[:75] == colour, axis=-1).sum() > 2000


def test_regions_are_outlined_in_their_colours() -> None:
    with_rois, without = page_of("full"), render_report(replace(CONTENTS["full"], rois={}))
    for hexadecimal in drawing.ROI_COLOURS[:2]:
        colour = np.array([int(hexadecimal[k : k + 2], 16) for k in (1, 3, 5)])
        near = [
            np.all(np.abs(page.astype(int) - colour) < 25, axis=-1).sum()
            for page in (with_rois, without)
        ]
        assert near[0] > near[1] + 50


def test_a_page_becomes_a_volume_in_the_middle_of_the_scan() -> None:
    scan = Geometry((9, 40, 36), (5.0, 2.5, 3.0), position=(1.0, 2.0, 3.0))
    page = page_of("full")
    volume = report_volume(page, scan)
    assert volume.token == "REPORT"
    np.testing.assert_array_equal(np.moveaxis(volume.values, 0, -1), page)
    assert volume.geometry.position == scan.position
    assert volume.geometry.shape == (1, 1080, 1440)
    assert volume.geometry.voxel_size == pytest.approx((5.0, 0.075, 0.075))


class Outline(HTMLParser):
    """Check that tags nest, and gather what a browser would fetch or run."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href")]
        assert tag != "script"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@every_content
def test_the_html_is_well_formed_and_self_contained(name: str, tmp_path: Path) -> None:
    page = write_html_report(tmp_path / "report.html", CONTENTS[name]).read_text("utf-8")
    outline = Outline()
    outline.feed(page)
    outline.close()
    assert outline.open == []
    assert all(address.startswith("data:image/png;base64,") for address in outline.fetched)
    assert not re.search(r"url\(|@import|https?://", page)
    said = " ".join(outline.words)
    assert "Research use. Not a medical device." in said
    for number in wording.key_numbers(CONTENTS[name].results):
        assert (number.value or "not measured") in said
        assert html.escape(number.note) in page


def test_the_html_follows_the_reader_s_light_and_dark_and_width(tmp_path: Path) -> None:
    page = write_html_report(tmp_path / "report.html", CONTENTS["full"]).read_text("utf-8")
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page
    assert "Calibration wen2018: Wen Y, et al. 2018" in page


@pytest.mark.parametrize(
    ("direction", "letters"),
    [
        ((1.0, 0.0, 0.0), "L"),
        ((-1.0, 0.0, 0.0), "R"),
        ((0.0, 1.0, 0.0), "P"),
        ((0.0, -0.96, 0.28), "A"),
        ((0.0, 0.0, -1.0), "F"),
        ((0.6, 0.0, 0.8), "HL"),
        ((-0.577, -0.577, 0.578), "HRA"),
    ],
)
def test_directions_have_the_letters_of_the_patient(
    direction: tuple[float, float, float], letters: str
) -> None:
    assert drawing.direction_letters(direction) == letters


@pytest.mark.parametrize(
    ("depth", "rois", "count", "expected"),
    [
        (24, {}, 3, [8, 12, 16]),
        (24, {"RV": 3, "LV": 20}, 3, [3, 11, 20]),
        (24, {"RV": 23}, 3, [15, 19, 23]),
        (2, {}, 3, [0, 1]),
        (1, {"RV": 0}, 3, [0]),
        (9, {"empty": -1}, 3, [3, 4, 5]),
    ],
)
def test_slices_through_the_regions_are_shown_first(
    depth: int,
    rois: dict[str, int],
    count: int,
    expected: list[int],
    example: Callable[..., Volume],
) -> None:
    volume = example("QSM", Geometry((depth, 6, 7), (3.0, 2.0, 1.5)))
    masks = {}
    for name, index in rois.items():
        masks[name] = np.zeros((depth, 6, 7), dtype=bool)
        masks[name][max(index, 0), 2:4, 2:4] = index >= 0
    assert drawing.shown_slices(volume, masks, count) == expected


def test_a_slice_is_drawn_as_stored_with_its_aspect_and_black_where_nothing_is() -> None:
    values = np.full((1, 10, 20), 400.0)
    values[0, 0, 0] = -400.0
    mask = np.ones((1, 10, 20), dtype=bool)
    mask[0, :, 10:] = False
    grid = Geometry((1, 10, 20), (5.0, 4.0, 2.0))
    figure = drawing.new_figure(4, 4, "white")
    axes = figure.add_axes((0, 0, 1, 1))
    drawing.draw_slice(axes, Volume("QSM", values, grid, mask=mask, window=(0, 800)), 0, {})
    page = drawing.pixels_of(figure)
    assert page.shape == (400, 400, 3)
    assert page[200, 100].tolist() == [255, 255, 255]
    assert page[200, 300].tolist() == [0, 0, 0]
    # 20 voxels of 2 mm by 10 of 4 mm: a square that fills the axes, first voxel top left.
    assert page[20, 10].tolist() == [0, 0, 0]
    assert page[60, 10].tolist() == [255, 255, 255]


def test_a_region_at_the_edge_does_not_change_the_scale() -> None:
    volume = Volume("QSM", np.zeros((1, 10, 20)), Geometry((1, 10, 20), (5.0, 4.0, 2.0)))
    axes = drawing.new_figure(4, 4, "white").add_axes((0, 0, 1, 1))
    drawing.draw_slice(axes, volume, 0, {"RV": np.ones((1, 10, 20), dtype=bool)})
    assert axes.get_xlim() == (-0.5, 19.5)
    assert axes.get_ylim() == (9.5, -0.5)


def test_a_figure_never_loses_a_pixel_to_rounding() -> None:
    for n in (1, 29, 57, 820, 829, 1440):
        width, height = drawing.new_figure(n / 100, 2.4 * 3 + 1, "white").bbox.size
        assert (int(width), int(height)) == (n, 820)


def test_glyphs_that_the_font_lacks_are_replaced() -> None:
    assert drawing.printable("Herz 心\nü") == "Herz \N{REPLACEMENT CHARACTER}\nü"


@pytest.mark.parametrize("token", ["QSM", "MAGNITUDE", "CHAMBERS", "REPORT"])
def test_any_series_makes_a_png(token: str, tmp_path: Path, example: Callable[..., Volume]) -> None:
    volume = example(token)
    path = write_png(volume, tmp_path / "series.png", columns=3)
    picture = matplotlib.image.imread(io.BytesIO(path.read_bytes()))
    if token == "REPORT":
        rgb = np.rint(255 * picture[..., :3]).astype(np.uint8)
        np.testing.assert_array_equal(rgb, np.moveaxis(volume.values, 0, -1))
    else:
        assert picture.shape[1] == 820
        assert picture[..., :3].std() > 0.1


def test_a_deep_volume_is_thinned_to_a_page(tmp_path: Path, example: Callable[..., Volume]) -> None:
    deep = example("QSM", Geometry((60, 6, 7), (3.0, 2.0, 1.5)))
    shown = matplotlib.image.imread(write_png(deep, tmp_path / "deep.png", columns=4, most=8))
    tile = 240 * (6 * 2.0) / (7 * 1.5)
    assert shown.shape[0] == pytest.approx(2 * tile + 40, abs=1)


def test_drawing_leaves_pyplot_alone_and_images_leave_matplotlib_alone() -> None:
    code = (
        "import sys, chistream.series.images; assert 'matplotlib' not in sys.modules;"
        "import chistream.series.report, chistream.series.html_report, chistream.series.png;"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
