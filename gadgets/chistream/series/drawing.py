"""Pictures of slices: grey, with outlines of regions, patient directions and a colour bar."""

import io
import math
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

from chistream.arrays import Mask, RealArray, Vector
from chistream.physics.geometry import Geometry
from chistream.series.volumes import Volume

ROI_COLOURS = ("#4fc3f7", "#ff7043", "#aed581", "#ba68c8", "#ffd54f")
"""Outlines of regions, in their order; told apart by people who do not see red or green."""

_FAMILY = "DejaVu Sans"  # comes with matplotlib
_LETTERS = (("L", "R"), ("P", "A"), ("H", "F"))
_HALO = withStroke(linewidth=2, foreground="black")  # readable on white and on black
_OBLIQUE = 0.35  # a direction has a second letter from about 20 degrees


def new_figure(width: float, height: float, colour: str, dpi: int = 100) -> Figure:
    """Make a figure of its own canvas, without the state of pyplot.

    Parameters
    ----------
    width, height
        Size [inch]; it becomes that of the nearest whole number of pixels.
    colour
        Background.
    dpi
        Pixels an inch.

    Returns
    -------
    Figure
        The empty figure.
    """
    size = _whole_pixels(width, dpi), _whole_pixels(height, dpi)
    figure = Figure(figsize=size, dpi=dpi, facecolor=colour)
    FigureCanvasAgg(figure)
    return figure


def _whole_pixels(length: float, dpi: int) -> float:
    # matplotlib before 3.11 cuts the fraction off: 100 * 8.29 inch would be 828 pixels.
    pixels = round(length * dpi)
    inches = pixels / dpi
    return inches if inches * dpi >= pixels else math.nextafter(inches, math.inf)


def write(axes: Axes | Figure, x: float, y: float, text: str, **style: Any) -> Text:  # noqa: ANN401
    """Put a text somewhere, as it is: no formulas, no glyph that the font lacks.

    Parameters
    ----------
    axes
        Where to; of axes and figures in fractions of their size.
    x, y
        Position, in [0, 1].
    text
        What to write.
    **style
        Of `matplotlib.text.Text`.

    Returns
    -------
    Text
        What was written.
    """
    where: dict[str, Any] = {"transform": axes.transAxes} if isinstance(axes, Axes) else {}
    return axes.text(x, y, printable(text), family=_FAMILY, parse_math=False, **{**where, **style})


def printable(text: str) -> str:
    """Replace what the font cannot draw by U+FFFD, line breaks kept.

    Parameters
    ----------
    text
        Any text.

    Returns
    -------
    str
        Text of the same length.
    """
    known = _glyphs()
    return "".join(c if ord(c) in known or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def pixels_of(figure: Figure) -> npt.NDArray[np.uint8]:
    """Render a figure to RGB ``(y, x, 3)``."""
    target = io.BytesIO()
    figure.savefig(target, format="rgba")
    width, height = figure.get_size_inches() * figure.dpi
    rgba = np.frombuffer(target.getvalue(), np.uint8).reshape(round(height), round(width), 4)
    return rgba[..., :3].copy()


def png_of(figure: Figure) -> bytes:
    """Render a figure to the bytes of a PNG file."""
    target = io.BytesIO()
    figure.savefig(target, format="png")
    return target.getvalue()


def direction_letters(direction: Vector) -> str:
    """Name a patient direction as radiologists letter it.

    Parameters
    ----------
    direction
        Unit vector (L, P, S).

    Returns
    -------
    str
        L or R, P or A, H or F; oblique directions have two or three, the main one first.

    Examples
    --------
    >>> direction_letters((-0.8, 0.6, 0.0)), direction_letters((0.0, 0.1, 0.99))
    ('RP', 'H')
    """
    order = sorted(range(3), key=lambda axis: -abs(direction[axis]))
    return "".join(
        _LETTERS[axis][int(direction[axis] < 0)]
        for axis in order
        if abs(direction[axis]) > _OBLIQUE
    )


def shown_slices(volume: Volume, rois: Mapping[str, Mask], count: int) -> list[int]:
    """Choose slices to show: those through the middle of the regions, and others around.

    Parameters
    ----------
    volume
        The volume.
    rois
        Regions ``(z, y, x)``.
    count
        Most slices wanted.

    Returns
    -------
    list[int]
        Slice indices, ascending and without repetition, all inside the volume; the slices through
        the regions come before others.
    """
    nz = volume.geometry.shape[0]
    through = [int(np.median(np.nonzero(roi)[0])) for roi in rois.values() if roi.any()]
    centre = int(np.median(through)) if through else nz // 2
    step = max(1, nz // (2 * count))
    around = (centre + sign * step * k for k in range(1, count) for sign in (1, -1))
    wanted = dict.fromkeys([*through, centre, *around])
    return sorted([index for index in wanted if 0 <= index < nz][:count])


def draw_slice(axes: Axes, volume: Volume, index: int, rois: Mapping[str, Mask]) -> None:
    """Draw one slice in grey with outlines of the regions and the patient's directions.

    Parameters
    ----------
    axes
        Where to.
    volume
        What to draw.
    index
        Slice.
    rois
        Regions ``(z, y, x)`` by name.
    """
    geometry = volume.geometry
    low, high = volume.display_range
    axes.set_facecolor("black")  # seen where there is no value
    axes.imshow(
        np.ma.masked_array(volume.filled[index], ~volume.valid[index]),
        cmap="gray",
        vmin=low,
        vmax=high,
        aspect=geometry.voxel_size[1] / geometry.voxel_size[2],
        interpolation="nearest",
    )
    axes.set_xticks([])
    axes.set_yticks([])
    for number, (name, roi) in enumerate(rois.items()):
        _outline(axes, name, roi[index], ROI_COLOURS[number % len(ROI_COLOURS)])
    # Outlines may reach beyond the voxels; every slice keeps the same scale.
    _, ny, nx = geometry.shape
    axes.set(xlim=(-0.5, nx - 0.5), ylim=(ny - 0.5, -0.5))
    _letter(axes, geometry)


def draw_colour_bar(axes: Axes, volume: Volume, colour: str) -> None:
    """Draw the grey scale of a volume with its unit.

    Parameters
    ----------
    axes
        Where to.
    volume
        Whose scale.
    colour
        Of the numbers.
    """
    low, high = volume.display_range
    bar = axes.figure.colorbar(
        ScalarMappable(Normalize(low, high), "gray"), cax=axes, extend="neither"
    )
    bar.outline.set_edgecolor(colour)
    axes.tick_params(colors=colour, labelsize=9)
    axes.set_title(volume.series.unit, color=colour, fontsize=10, family=_FAMILY)


def draw_navigator(
    axes: Axes, displacements: RealArray, window: tuple[float, float], colour: str, accepted: str
) -> None:
    """Plot the displacement of each heartbeat and the acceptance window.

    Parameters
    ----------
    axes
        Where to.
    displacements
        Displacement from end-expiration ``(n,)`` [mm]; NaN is left out.
    window
        Lowest and highest displacement that is accepted [mm].
    colour, accepted
        Of the axes with the rejected heartbeats, and of the window with the accepted ones.
    """
    beats = np.arange(1, len(displacements) + 1)
    low, high = window
    inside = (displacements >= low) & (displacements <= high)
    axes.axhspan(low, high, color=accepted, alpha=0.18, linewidth=0)
    axes.plot(beats, displacements, color=colour, alpha=0.4, linewidth=0.7)
    axes.plot(beats[~inside], displacements[~inside], ".", color=colour, markersize=3.5)
    axes.plot(beats[inside], displacements[inside], ".", color=accepted, markersize=4.5)
    axes.set_xlabel("heartbeat", color=colour, fontsize=9, family=_FAMILY)
    axes.set_ylabel("displacement [mm]", color=colour, fontsize=9, family=_FAMILY)
    axes.tick_params(colors=colour, labelsize=8)
    axes.set_facecolor("none")
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_edgecolor(colour)


def _outline(axes: Axes, name: str, region: Mask, colour: str) -> None:
    if not region.any():
        return
    # Padding closes the outline of a region that touches the edge.
    padded = np.pad(region.astype(float), 1)
    y, x = (np.arange(n) - 1 for n in padded.shape)
    axes.contour(x, y, padded, levels=[0.5], colors=[colour], linewidths=1.4)
    rows, columns = np.nonzero(region)
    axes.annotate(
        printable(name),
        (float(columns.mean()), float(rows.min())),
        xytext=(0, 4),
        textcoords="offset points",
        color=colour,
        fontsize=9,
        fontweight="bold",
        ha="center",
        family=_FAMILY,
        parse_math=False,
        path_effects=[_HALO],
    )


def _letter(axes: Axes, geometry: Geometry) -> None:
    read, phase = geometry.read_dir, geometry.phase_dir
    places: Iterable[tuple[float, float, Vector, float]] = (
        (0.98, 0.5, read, 1),
        (0.02, 0.5, read, -1),
        (0.5, 0.03, phase, 1),
        (0.5, 0.97, phase, -1),
    )
    for x, y, axis, sign in places:
        letters = direction_letters((sign * axis[0], sign * axis[1], sign * axis[2]))
        write(
            axes,
            x,
            y,
            letters,
            color="#ffd54f",
            fontsize=8,
            path_effects=[_HALO],
            ha={0.98: "right", 0.02: "left"}.get(x, "center"),
            va={0.03: "bottom", 0.97: "top"}.get(y, "center"),
        )


@cache
def _glyphs() -> frozenset[int]:
    font = font_manager.get_font(font_manager.findfont(_FAMILY))
    return frozenset(font.get_charmap())
