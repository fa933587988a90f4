"""Things that are no chest: solids with fields in closed form, and the other phantoms."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from chistream.arrays import RealArray
from chistream.physics.geometry import Geometry
from chistream_simulator.case import Case, load_preset
from chistream_simulator.magnetics.closed_forms import cylinder_field, ellipsoid_field, sphere_field
from chistream_simulator.magnetics.forward import SplitField
from chistream_simulator.options.slab import turn_matrix
from chistream_simulator.phantoms.plaque import OUTWARDS, plaque_centres
from chistream_simulator.phantoms.scene import Part, blank_scene, block_points
from chistream_simulator.phantoms.shapes import Ellipsoid, Point, axes_with, cylinder, point
from pictures.panels import (
    Column,
    Window,
    axial,
    colour_bar,
    coronal,
    dress,
    new_figure,
    plane,
    sheet,
    show,
)
from pictures.seen import Viewer

B0: Point = (0.0, 0.5, 0.75**0.5)
"""Direction of B0 in the comparison with closed forms: 30 degrees off S."""

CENTRE: Point = (3.0, -2.0, 1.0)

SOLIDS = {
    "sphere": Ellipsoid(CENTRE, (16.0, 16.0, 16.0)),
    "cylinder along S": cylinder(CENTRE, (14.0, 14.0)),
    "ellipsoid": Ellipsoid(CENTRE, (14.0, 18.0, 25.0), axes_with((1.0, 2.0, 3.0))),
}


def closed_forms() -> Figure:
    """Compare the forward model with closed forms: B0 tilted, slab oblique, voxels unequal."""
    turned = turn_matrix((25.0, 20.0, 0.0))
    read, phase, normal = (point(axis) for axis in turned.T)
    grid = Geometry((23, 65, 87), (2.5, 1.2, 0.9), (0.0, 0.0, 0.0), read, phase, normal)
    figure = new_figure(11.6, 8.4)
    rows = figure.subplots(3, 4)
    for row, (name, solid) in zip(rows, SOLIDS.items(), strict=True):
        exact, found = _exact(name, solid, grid), _forward(solid, grid)
        field = Window("field / chi", -0.4, 0.4, "RdBu_r")
        error = Window("difference / chi", -0.02, 0.02, "RdBu_r", "both")
        middle = grid.shape[0] // 2
        for axes, values, window, title in zip(
            row,
            (exact, found, found - exact),
            (field, field, error),
            (f"{name}: closed form", "forward model", "difference"),
            strict=False,
        ):
            shown = show(axes, values[middle], window, grid, title)
            if axes is not row[0]:
                colour_bar(figure, shown, [axes], window)
        _profile(row[3], exact[middle, 32], found[middle, 32], grid.voxel_size[2])
    return figure


def phantoms() -> Figure:
    """Draw magnitude and chi of the phantoms that are no chest."""
    columns = [_vials(), _plaque(), _fibres(), _head()]
    return sheet((14.0, 6.2), columns, to_scale=False)


def _exact(name: str, solid: Ellipsoid, grid: Geometry) -> RealArray:
    points = block_points(grid)
    if name == "sphere":
        return sphere_field(points, CENTRE, solid.semi_axes[0], 1.0, b0_direction=B0)
    if name == "ellipsoid":
        return ellipsoid_field(
            points, CENTRE, solid.semi_axes, 1.0, axes=solid.axes, b0_direction=B0
        )
    along, radius = solid.axes[2], solid.semi_axes[0]
    return cylinder_field(points, CENTRE, along, radius, 1.0, b0_direction=B0)


def _forward(solid: Ellipsoid, grid: Geometry) -> RealArray:
    split = SplitField(grid, (-45.0, -45.0, -45.0), (45.0, 45.0, 45.0), b0_direction=B0)
    body, slab = (
        blank_scene(part, {"chi": 0.0}).paint(
            [Part(solid, "solid", "solid")], {"solid": {"chi": 1.0}}
        )
        for part in (split.body_geometry, split.slab_geometry)
    )
    return split.field(body.quantities["chi"], slab.quantities["chi"])


def _profile(axes: Axes, exact: RealArray, found: RealArray, step: float) -> None:
    places = (np.arange(len(exact)) - len(exact) // 2) * step
    axes.plot(places, exact, color="#7cc4ff", linewidth=4, alpha=0.6)
    axes.plot(places, found, color="#ffa657", linewidth=1.2)
    dress(axes, "blue: closed form, orange: model", "position along the row [mm]", "field / chi")


def _vials() -> Column:
    case = load_preset("calibration-phantom")
    return _column("vials", case, coronal(case.position, (150.0, 150.0), 0.75), (-0.1, 1.4))


def _plaque() -> Column:
    case = load_preset("carotid-plaque")
    centres = list(plaque_centres(case.plaque_size).values())
    outwards = point(np.array([*OUTWARDS, 0.0]))
    grid = plane(centres[len(centres) // 2], outwards, (0.0, 0.0, -1.0), (52.0, 52.0), 0.25)
    return _column("carotid plaque", case, grid, (-2.0, 2.0))


def _fibres() -> Column:
    case = Case(phantom="fibres", navigators="none", breathing_amplitude=0.0)
    return _column("fibres", case, axial(case.position, (130.0, 130.0), 0.65), (-0.012, 0.012))


def _head() -> Column:
    case = load_preset("brain-3t")
    return _column("head", case, axial((0.0, -4.0, 3.0), (230.0, 230.0), 1.0), (-0.15, 0.15))


def _column(title: str, case: Case, grid: Geometry, window: tuple[float, float]) -> Column:
    view = Viewer(case).look(grid)
    magnitude = np.abs(view.echo(case.TE[0]))
    bright = float(np.percentile(magnitude, 99.8))
    label = f"magnitude, TE {1e3 * case.TE[0]:g} ms [M0]"
    return Column(
        title,
        grid,
        (
            (magnitude, Window(label, 0.0, bright, "gray", "max")),
            (view.chi, Window("chi [ppm]", *window, "gray", "both")),
        ),
    )
