"""The report page: one picture with what a person must see before using the numbers."""

import textwrap
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from chistream.physics.geometry import Geometry
from chistream.series import drawing, wording
from chistream.series.contents import ReportContent
from chistream.series.volumes import Volume

_INK, _QUIET, _PAPER, _CARD, _BAND = "#17212b", "#5b6b7a", "#ffffff", "#f2f5f8", "#10263c"
LIGHTS = {"green": "#23804a", "amber": "#ad6800", "red": "#c62f2f"}
"""Colours of the quality lights."""

Box: TypeAlias = tuple[float, float, float, float]

_PLACES = ((0.01, 0.508), (0.455, 0.508), (0.01, 0.012), (0.455, 0.012))
_MOST_ROWS = 5
_WIDTH, _HEIGHT = 14.4, 10.8  # inch, at 100 dpi: 4:3 as a console's viewport


def render_report(content: ReportContent) -> npt.NDArray[np.uint8]:
    """Draw the report page.

    Parameters
    ----------
    content
        What to show.

    Returns
    -------
    numpy.ndarray
        Picture ``(1080, 1440, 3)`` uint8, RGB.
    """
    figure = drawing.new_figure(_WIDTH, _HEIGHT, _PAPER)
    _draw_head(figure, content)
    _draw_key_numbers(figure, content)
    draw_maps(figure, content, (0.03, 0.055, 0.585, 0.67))
    _draw_chambers(figure, content)
    _draw_gating(figure, content)
    _draw_quality(figure, content)
    drawing.write(figure, 0.03, 0.018, wording.DISCLAIMER, color=_INK, fontsize=10, weight="bold")
    drawing.write(figure, 0.97, 0.018, wording.ERROR_NOTE, color=_QUIET, fontsize=8, ha="right")
    return drawing.pixels_of(figure)


def report_volume(page: npt.NDArray[np.uint8], scan: Geometry) -> Volume:
    """Make a REPORT volume of a page, placed at the centre of the scan.

    Parameters
    ----------
    page
        Picture ``(y, x, 3)`` uint8.
    scan
        Where the scan lies.

    Returns
    -------
    Volume
        The page ``(3, y, x)``, as wide as the scan and one slice thick.
    """
    ny, nx, _ = page.shape
    pixel = scan.shape[2] * scan.voxel_size[2] / nx
    geometry = Geometry(
        (1, ny, nx),
        (scan.voxel_size[0], pixel, pixel),
        scan.position,
        scan.read_dir,
        scan.phase_dir,
        scan.slice_dir,
    )
    return Volume("REPORT", np.ascontiguousarray(np.moveaxis(page, -1, 0)), geometry)


def _draw_head(figure: Figure, content: ReportContent) -> None:
    band = figure.add_axes((0, 0.93, 1, 0.07), facecolor=_BAND)
    _bare(band)
    drawing.write(
        band, 0.03, 0.5, "ChiStream", color="white", fontsize=19, weight="bold", va="center"
    )
    drawing.write(band, 0.155, 0.48, wording.TITLE, color="#b8c7d6", fontsize=16, va="center")
    light = content.results.quality.light
    drawing.write(
        band,
        0.97,
        0.5,
        f" QUALITY {light.upper()} ",
        color="white",
        fontsize=14,
        weight="bold",
        ha="right",
        va="center",
        bbox={"boxstyle": "round,pad=0.45", "facecolor": LIGHTS[light], "edgecolor": "none"},
    )
    _draw_facts(figure, wording.scan_facts(content))


def _draw_facts(figure: Figure, facts: list[tuple[str, str]]) -> None:
    texts = [(label, textwrap.shorten(value, 34, placeholder="...")) for label, value in facts]
    widths = [0.028 + 0.0065 * max(map(len, text)) for text in texts]
    scale = min(1.0, 0.96 / sum(widths))
    left = 0.03
    for (label, value), width in zip(texts, widths, strict=True):
        drawing.write(figure, left, 0.908, label, color=_QUIET, fontsize=8.5 * scale)
        drawing.write(figure, left, 0.887, value, color=_INK, fontsize=10.5 * scale)
        left += scale * width


def _draw_key_numbers(figure: Figure, content: ReportContent) -> None:
    colour = LIGHTS[content.results.quality.light]
    for place, number in enumerate(wording.key_numbers(content.results)):
        card = figure.add_axes((0.03 + 0.3175 * place, 0.745, 0.305, 0.12), facecolor=_CARD)
        _bare(card)
        card.add_patch(Rectangle((0, 0), 0.012, 1, color=colour, transform=card.transAxes))
        drawing.write(card, 0.045, 0.82, number.label, color=_QUIET, fontsize=10.5, va="center")
        missing = number.value is None
        drawing.write(
            card,
            0.045,
            0.53,
            number.value or "not measured",
            color=_QUIET if missing else _INK,
            fontsize=16 if missing else 23,
            weight="normal" if missing else "bold",
            va="center",
        )
        drawing.write(
            card, 0.045, 0.29, _wrapped(number.note, 62, 2), color=_QUIET, fontsize=8.5, va="top"
        )


def draw_maps(figure: Figure, content: ReportContent, box: Box) -> None:
    """Draw magnitude and map with the regions, or why there is no map.

    Parameters
    ----------
    figure
        Where to.
    content
        What to show.
    box
        Left, bottom, width and height, as fractions of the figure.
    """
    left, bottom, width, height = box
    frame = figure.add_axes(box, facecolor="black")
    _bare(frame)

    def part(x: float, y: float, w: float, h: float) -> Box:
        return left + x * width, bottom + y * height, w * width, h * height

    for (title, volume, index), (x, y) in zip(_panels(content), _PLACES, strict=False):
        drawing.draw_slice(figure.add_axes(part(x, y, 0.44, 0.445)), volume, index, content.rois)
        name = f"{title}, slice {index + 1} of {volume.geometry.shape[0]}"
        drawing.write(frame, x, y + 0.458, name, color="white", fontsize=9.5)
    if content.qsm is not None:
        bar = figure.add_axes(part(0.918, 0.22, 0.018, 0.56))
        drawing.draw_colour_bar(bar, content.qsm, "white")
    else:
        text = _wrapped(f"No susceptibility map. {content.no_map_reason}", 42, 6)
        drawing.write(frame, 0.48, 0.72, text, color="white", fontsize=12, va="center")


def _panels(content: ReportContent) -> list[tuple[str, Volume, int]]:
    around = content.qsm or content.magnitude
    if around is None:
        return []
    slices = drawing.shown_slices(around, content.rois, 3)
    middle = slices[len(slices) // 2]
    panels = []
    if content.magnitude is not None:
        panels.append(("Magnitude", content.magnitude, middle))
    if content.qsm is not None:
        others = [index for index in slices if index != middle]
        panels += [("QSM", content.qsm, index) for index in (middle, *others)]
    return panels


def _draw_chambers(figure: Figure, content: ReportContent) -> None:
    axes = _section(figure, 0.535, 0.19, "Regions")
    rows = wording.chamber_rows(content.results)
    columns = (0.0, 0.36, 0.5, 0.62, 0.79, 1.0)
    for column, (x, name) in enumerate(zip(columns, wording.CHAMBER_COLUMNS, strict=True)):
        drawing.write(
            axes, x, 0.74, name, color=_QUIET, fontsize=8.5, ha="right" if column else "left"
        )
    if len(rows) > _MOST_ROWS:
        more = f"and {len(rows) - _MOST_ROWS + 1} more in the results that go with the images"
        rows = [*rows[: _MOST_ROWS - 1], (more, "", "", "", "", "")]
    for line, row in enumerate(rows):
        for column, (x, text) in enumerate(zip(columns, row, strict=True)):
            drawing.write(
                axes,
                x,
                0.6 - 0.14 * line,
                text,
                color=_INK,
                fontsize=10,
                ha="right" if column else "left",
            )
    if not rows:
        drawing.write(axes, 0, 0.6, "No region was measured.", color=_INK, fontsize=10)


def _draw_gating(figure: Figure, content: ReportContent) -> None:
    axes = _section(figure, 0.275, 0.245, "Respiratory gating")
    gating = content.results.gating
    text = _wrapped(wording.gating_text(content.results), 66, 2)
    drawing.write(axes, 0, 0.87, text, color=_INK, fontsize=9.5, va="top")
    if gating is None or content.displacements is None:
        return
    plot = figure.add_axes((0.675, 0.315, 0.295, 0.145))
    drawing.draw_navigator(plot, content.displacements, gating.window_mm, _QUIET, LIGHTS["green"])


def _draw_quality(figure: Figure, content: ReportContent) -> None:
    axes = _section(figure, 0.055, 0.2, "Quality")
    quality = content.results.quality
    drawing.write(
        axes,
        0,
        0.8,
        wording.light_text(content.results),
        color=LIGHTS[quality.light],
        fontsize=10,
        weight="bold",
        va="top",
    )
    lines = [
        line
        for reason in quality.reasons
        for line in textwrap.wrap(f"- {reason}", 66, subsequent_indent="  ")
    ]
    if len(lines) > 8:
        lines = [*lines[:7], "- More in the results that go with the images."]
    drawing.write(
        axes, 0, 0.64, "\n".join(lines), color=_INK, fontsize=9, va="top", linespacing=1.3
    )


def _section(figure: Figure, bottom: float, height: float, title: str) -> Axes:
    axes = figure.add_axes((0.64, bottom, 0.33, height))
    _bare(axes)
    axes.patch.set_visible(False)
    drawing.write(axes, 0, 1, title, color=_INK, fontsize=12, weight="bold", va="top")
    return axes


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _wrapped(text: str, width: int, lines: int) -> str:
    return "\n".join(textwrap.wrap(text, width, max_lines=lines, placeholder=" ..."))
