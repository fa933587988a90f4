"""Panels in one style: dark, with windows, units, colour bars and marks of orientation."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke
from PIL import Image

from chistream.arrays import Mask, RealArray
from chistream.physics.geometry import Geometry
from chistream_simulator.phantoms.shapes import Point, point

GROUND, INK, EDGE = "#0d1117", "#dfe5ec", "#57606a"

DPI = 100

LARGEST = 250_000
"""Size of a picture [bytes]."""

_LETTERS = (("L", "R"), ("P", "A"), ("S", "I"))


class Window(NamedTuple):
    """What a panel shows, and between which values."""

    label: str
    low: float
    high: float
    colours: str = "gray"
    ends: str = "neither"


class Column(NamedTuple):
    """Panels of one plane, one below the other: slices ``(y, x)`` and their windows.

    An outline is drawn around a mask ``(y, x)`` in all of them.
    """

    title: str
    geometry: Geometry
    panels: Sequence[tuple[RealArray, Window]]
    outline: Mask | None = None


def new_figure(width: float, height: float) -> Figure:
    """Make a dark figure of a size [inches, of 100 pixels]."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor=GROUND, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def dress(axes: Axes, title: str = "", across: str = "", up: str = "") -> None:
    """Give axes that carry a graph the style of the page."""
    axes.set_facecolor(GROUND)
    axes.set_title(title, color=INK, fontsize=10)
    axes.set_xlabel(across, color=INK, fontsize=9)
    axes.set_ylabel(up, color=INK, fontsize=9)
    axes.tick_params(colors=INK, labelsize=8)
    for spine in axes.spines.values():
        spine.set_color(EDGE)


def plane(
    centre: Point, read: Point, phase: Point, size: tuple[float, float], step: float
) -> Geometry:
    """Lay a plane of single voxels into the patient.

    Parameters
    ----------
    centre
        Patient position [mm].
    read, phase
        Directions (L, P, S) to the right and downwards in the picture.
    size
        Height and width [mm].
    step
        Edge of the voxels [mm].

    Returns
    -------
    Geometry
        ``(1, y, x)``.
    """
    ny, nx = (round(extent / step) for extent in size)
    normal = point(np.cross(read, phase))
    return Geometry((1, ny, nx), (step, step, step), centre, read, phase, normal)


def axial(centre: Point, size: tuple[float, float], step: float) -> Geometry:
    """Lay a plane across S, seen from the feet: left is on the right."""
    return plane(centre, (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), size, step)


def coronal(centre: Point, size: tuple[float, float], step: float) -> Geometry:
    """Lay a plane across P, seen from in front: left is on the right."""
    return plane(centre, (1.0, 0.0, 0.0), (0.0, 0.0, -1.0), size, step)


def sagittal(centre: Point, size: tuple[float, float], step: float) -> Geometry:
    """Lay a plane across L, seen from the left: in front is on the left."""
    return plane(centre, (0.0, 1.0, 0.0), (0.0, 0.0, -1.0), size, step)


def show(
    axes: Axes, values: RealArray, window: Window, geometry: Geometry, title: str = ""
) -> AxesImage:
    """Show a slice ``(y, x)`` with marks of where its edges lie in the patient.

    Parameters
    ----------
    axes
        Where.
    values
        The slice, its rows along the geometry's phase direction.
    window
        Between which values.
    geometry
        Of the volume that it is from.
    title
        Above it.

    Returns
    -------
    AxesImage
        For `colour_bar`.
    """
    _, dy, dx = geometry.voxel_size
    axes.set_facecolor("black")  # where there is no value
    shown = axes.imshow(
        values, cmap=window.colours, vmin=window.low, vmax=window.high, aspect=dy / dx,
        interpolation="nearest",
    )  # fmt: skip
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_title(title, color=INK, fontsize=10)
    for direction, x, y in (
        (np.negative(geometry.read_dir), 0.015, 0.5),
        (geometry.read_dir, 0.985, 0.5),
        (np.negative(geometry.phase_dir), 0.5, 0.985),
        (geometry.phase_dir, 0.5, 0.015),
    ):
        _mark(axes, letters(point(np.asarray(direction))), x, y)
    return shown


def letters(direction: Point) -> str:
    """Name a direction in the patient (L, P, S), its largest part first.

    Parameters
    ----------
    direction
        Unit vector.

    Returns
    -------
    str
        One letter, two where the direction is oblique.

    Examples
    --------
    >>> letters((0.0, -1.0, 0.0)), letters((0.7, -0.6, 0.4))
    ('A', 'LA')
    """
    order = np.argsort(-np.abs(direction), kind="stable")[:2]
    return "".join(_LETTERS[i][int(direction[i] < 0)] for i in order if abs(direction[i]) > 0.45)


def sheet(size: tuple[float, float], columns: Sequence[Column], *, to_scale: bool = True) -> Figure:
    """Draw columns of panels, and a colour bar to each row, or to each panel if windows differ.

    Parameters
    ----------
    size
        Of the figure [inches].
    columns
        Each with as many panels as the others.

    to_scale
        Whether a millimetre is as long in all columns.

    Returns
    -------
    Figure
        The picture.
    """
    figure = new_figure(*size)
    widths = [_extent(c.geometry, 2) if to_scale else 1.0 for c in columns]
    rows = figure.subplots(len(columns[0].panels), len(columns), width_ratios=widths, squeeze=False)
    for i, row in enumerate(rows):
        shown = [
            show(axes, *c.panels[i], c.geometry, "" if i else c.title)
            for axes, c in zip(row, columns, strict=True)
        ]
        for axes, c in zip(row, columns, strict=True):
            if c.outline is not None:
                axes.contour(c.outline, levels=[0.5], colors="#56d4dd", linewidths=0.8)
        windows = [c.panels[i][1] for c in columns]
        if len(set(windows)) == 1:
            colour_bar(figure, shown[0], row, windows[0])
        else:
            for axes, image, window in zip(row, shown, windows, strict=True):
                colour_bar(figure, image, [axes], window)
    return figure


def colour_bar(figure: Figure, shown: AxesImage, axes: Iterable[Axes], window: Window) -> None:
    """Put a colour bar with its unit beside some axes."""
    bar = figure.colorbar(shown, ax=list(axes), extend=window.ends, shrink=0.9, aspect=25, pad=0.01)
    bar.set_label(window.label, color=INK, fontsize=9)
    bar.ax.tick_params(colors=INK, labelsize=8)
    bar.outline.set_edgecolor(EDGE)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG; of 256 colours if it would be too large otherwise."""
    figure.savefig(path, facecolor=GROUND, pil_kwargs={"optimize": True})
    if path.stat().st_size > LARGEST:
        with Image.open(path) as image:
            few = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        few.save(path, optimize=True)


def _extent(geometry: Geometry, axis: int) -> float:
    return geometry.shape[axis] * geometry.voxel_size[axis]


def _mark(axes: Axes, text: str, x: float, y: float) -> None:
    across = "left" if x < 0.1 else "right" if x > 0.9 else "center"
    up = "bottom" if y < 0.1 else "top" if y > 0.9 else "center"
    axes.text(
        x, y, text, transform=axes.transAxes, ha=across, va=up, color="white", fontsize=9,
        fontweight="bold", path_effects=[withStroke(linewidth=2, foreground="black")],
    )  # fmt: skip
