"""The chest: in three planes while it breathes, the heart while it beats, its labels."""

from functools import lru_cache

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import ListedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from chistream.physics.geometry import Geometry
from chistream_simulator.case import load_preset
from chistream_simulator.phantoms.anatomy.heart import AXES, LV_CENTRE
from chistream_simulator.phantoms.pose import AT_REST, Pose
from chistream_simulator.phantoms.shapes import point
from pictures.panels import (
    GROUND,
    INK,
    Column,
    Window,
    axial,
    coronal,
    new_figure,
    plane,
    sagittal,
    sheet,
    show,
)
from pictures.seen import View, Viewer

STEP = 1.5
"""Edge of a voxel of the planes through the chest [mm]."""

PLANES = {
    "axial": axial((0.0, 0.0, -15.0), (255.0, 360.0), STEP),
    "coronal": coronal((0.0, -10.0, -25.0), (330.0, 360.0), STEP),
    "sagittal": sagittal((30.0, 0.0, -25.0), (330.0, 255.0), STEP),
}

INSPIRATION = Pose(descent=15.0)
"""A deep breath; the preset's is 11 mm."""

BEATS = {"diastole": AT_REST, "systole": Pose(contraction=1.0)}


@lru_cache(maxsize=1)
def viewer() -> Viewer:
    """Return the patient of the preset ``cardiac-3t-nav``."""
    return Viewer(load_preset("cardiac-3t-nav"))


def breathing(pose: Pose) -> Figure:
    """Draw magnitude, phase and chi in three planes; the outline is that of the lungs at rest."""
    columns = []
    for kind, grid in PLANES.items():
        column = _column(kind, grid, pose, 1.0)
        if pose != AT_REST:
            at_rest = viewer().look(grid).scene.where("lung")[0]
            column = column._replace(outline=at_rest)
        columns.append(column)
    return sheet((10.6, 9.6), columns)


def beating() -> Figure:
    """Draw the heart along and across its long axis, in diastole and in systole."""
    to_rv, inferior, apical = (np.asarray(axis) for axis in AXES)
    centre = point(np.asarray(LV_CENTRE) + 8.0 * to_rv)
    size, step = (150.0, 150.0), 1.0
    grids = {
        "short axis": plane(centre, point(-to_rv), point(inferior), size, step),
        "four chambers": plane(
            point(np.asarray(centre) - 12.0 * apical), point(-to_rv), point(-apical), size, step
        ),
    }
    columns = [
        _column(f"{kind}, {name}", grid, pose, 0.8)
        for kind, grid in grids.items()
        for name, pose in BEATS.items()
    ]
    return sheet((12.4, 9.2), columns)


def labels() -> Figure:
    """Draw what each voxel is called in the truth."""
    views = {kind: viewer().look(grid) for kind, grid in PLANES.items()}
    names = next(iter(views.values())).scene.names
    tables = ((colormaps["tab20"], 20), (colormaps["Set3"], 12))
    palette = [to_hex(table(i)) for table, n in tables for i in range(n)]
    colours = ["black", *(palette[i % len(palette)] for i in range(len(names)))]
    few = ListedColormap(colours)
    figure = new_figure(12.0, 5.4)
    widths = [grid.shape[2] for grid in PLANES.values()]
    for axes, (kind, view) in zip(
        figure.subplots(1, 3, width_ratios=widths), views.items(), strict=True
    ):
        painted = few(view.scene.labels[0])[..., :3]
        show(axes, painted, Window("label", 0, 1), PLANES[kind], kind)
    figure.legend(
        [Patch(color=colour) for colour in colours[1:]], names, loc="outside lower center",
        ncols=8, fontsize=9, labelcolor=INK, facecolor=GROUND, edgecolor=GROUND,
    )  # fmt: skip
    return figure


def _column(title: str, grid: Geometry, pose: Pose, limit: float) -> Column:
    """Make magnitude at the first echo, phase at the second, and chi up to a limit [ppm]."""
    first, second = viewer().case.TE[:2]
    view: View = viewer().look(grid, pose)
    windows = (
        Window(f"magnitude, TE {1e3 * first:g} ms [M0]", 0.0, 0.13, "gray", "max"),
        Window(f"phase, TE {1e3 * second:g} ms [rad]", -np.pi, np.pi, "twilight_shifted"),
        Window("chi [ppm]", -limit, limit, "gray", "both"),
    )
    values = np.abs(view.echo(first)), view.phase(second), view.chi
    return Column(title, grid, list(zip(values, windows, strict=True)))
