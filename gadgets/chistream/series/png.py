"""Volumes as PNG pictures, to look at."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from chistream.series import drawing
from chistream.series.volumes import Kind, Volume

_TILE = 2.4  # inch across a slice
_MARGIN = 1.0  # inch for the colour bar
_TITLE = 0.4


def write_png(volume: Volume, path: Path | str, *, columns: int = 4, most: int = 12) -> Path:
    """Write slices of a volume as one picture with a colour bar, or a page as it is.

    Parameters
    ----------
    volume
        What to show, in its display window.
    path
        File to write.
    columns, most
        Slices in a row, and in all: evenly spread when there are more.

    Returns
    -------
    Path
        The file written.
    """
    page = volume.series.kind is Kind.RGB
    figure = _page(volume) if page else _montage(volume, columns, most)
    target = Path(path)
    target.write_bytes(drawing.png_of(figure))
    return target


def _page(volume: Volume) -> Figure:
    _, ny, nx = volume.values.shape
    figure = drawing.new_figure(nx / 100, ny / 100, "black")
    figure.figimage(np.moveaxis(volume.values, 0, -1))
    return figure


def _montage(volume: Volume, columns: int, most: int) -> Figure:
    nz, ny, nx = volume.geometry.shape
    _, dy, dx = volume.geometry.voxel_size
    shown = np.unique(np.linspace(0, nz - 1, min(most, nz)).round().astype(int))
    across = min(columns, len(shown))
    down = -(-len(shown) // across)
    tile = _TILE * ny * dy / (nx * dx)
    width, height = _TILE * across + _MARGIN, tile * down + _TITLE
    figure = drawing.new_figure(width, height, "black")
    title = f"{volume.token} [{volume.series.unit}]"
    drawing.write(
        figure,
        0.05 / width,
        1 - _TITLE / 2 / height,
        title,
        color="white",
        fontsize=11,
        va="center",
    )
    for place, index in enumerate(shown):
        row, column = divmod(place, across)
        axes = figure.add_axes(
            (
                column * _TILE / width,
                (down - row - 1) * tile / height,
                _TILE / width,
                tile / height,
            )
        )
        drawing.draw_slice(axes, volume, int(index), {})
        number = f"{index + 1}/{nz}"
        drawing.write(axes, 0.03, 0.97, number, color="#ffd54f", fontsize=8, va="top")
    bar = (1 - 0.75 * _MARGIN / width, 0.12, 0.15 * _MARGIN / width, 0.68)
    drawing.draw_colour_bar(figure.add_axes(bar), volume, "white")
    return figure
