"""How well and how fast the simulator computes the field of an object.

Run ``python tests/benchmarks/forward_model.py [PICTURE.png]`` for the tables: the errors of sphere,
cylinder and ellipsoid against their closed forms, what the surroundings of a chest change, and the
time and memory of a cardiac slab; and for a picture of the objects' fields. Errors are a part of
the largest field, at all voxels of the target more than two of the largest voxel edges off the
surface.
"""

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from chistream.arrays import Mask, RealArray, Size, Vector
from chistream.physics.geometry import Geometry
from chistream_simulator.magnetics.closed_forms import cylinder_field, ellipsoid_field, sphere_field
from chistream_simulator.magnetics.forward import SplitField
from chistream_simulator.magnetics.shim import shim_field, shim_terms
from chistream_simulator.phantoms.scene import block_points
from chistream_simulator.phantoms.shapes import Ellipsoid, Point, Points, axes_with, cylinder, point

CENTRE: Point = (3.0, -2.0, 1.0)
LOW: Point = (-45.0, -45.0, -45.0)
HIGH: Point = (45.0, 45.0, 45.0)
OBJECTS = {
    "sphere": Ellipsoid(CENTRE, (16.0, 16.0, 16.0)),
    "cylinder": cylinder(CENTRE, (14.0, 14.0)),
    "ellipsoid": Ellipsoid(CENTRE, (14.0, 18.0, 25.0), axes_with((1.0, 2.0, 3.0))),
}
DIRECTIONS: dict[str, Point] = {
    "along S": (0.0, 0.0, 1.0),
    "30 deg": (0.0, 0.5, 0.75**0.5),
    "59 deg": (0.5, -0.7, 0.51),
    "along L": (1.0, 0.0, 0.0),
}
CHEST = (
    (cylinder((0.0, 0.0, 0.0), (165.0, 106.0)), -9.4),
    (Ellipsoid((-85.0, 5.0, 20.0), (52.0, 80.0, 115.0)), -4.4),
    (Ellipsoid((90.0, 10.0, 15.0), (48.0, 78.0, 110.0)), -4.4),
    (Ellipsoid((0.0, -25.0, -5.0), (48.0, 42.0, 55.0), axes_with((0.62, -0.58, -0.53))), -9.15),
)
"""A trunk, two lungs and a heart, in air, from below to above; chi relative to it [ppm]."""


class Grid(NamedTuple):
    """A target: size and spacing (z, y, x), and the turns about P and about L [rad]."""

    shape: Size
    voxel_size: Vector
    turns: tuple[float, float] = (0.0, 0.0)

    def geometry(self, position: Point = (1.0, -2.0, 3.0)) -> Geometry:
        """Place it in the patient."""
        (ca, cb), (sa, sb) = np.cos(self.turns), np.sin(self.turns)
        about_p = np.array([[ca, 0, sa], [0, 1, 0], [-sa, 0, ca]])
        read, phase, normal = (
            point(v) for v in (about_p @ [[1, 0, 0], [0, cb, -sb], [0, sb, cb]]).T
        )
        return Geometry(self.shape, self.voxel_size, position, read, phase, normal)


GRIDS = {
    "1.5 iso, even": Grid((40, 48, 60), (1.5, 1.5, 1.5)),
    "1.5 iso, odd, oblique": Grid((41, 47, 59), (1.5, 1.5, 1.5), (0.5, 0.4)),
    "2.5 x 0.94 x 0.7": Grid((24, 65, 87), (2.5, 0.94, 0.7)),
    "2.5 x 0.94 x 0.7, oblique": Grid((24, 64, 86), (2.5, 0.94, 0.7), (0.5, 0.4)),
    "3 x 1 x 1, oblique 45": Grid((17, 60, 61), (3.0, 1.0, 1.0), (np.pi / 4, 0.7)),
    "0.9 iso, oblique": Grid((50, 61, 72), (0.9, 0.9, 0.9), (0.5, 0.4)),
}
CARDIAC = Grid((48, 288, 480), (2.5, 0.94, 0.7), (0.6, 0.5))


def cover(shape: Ellipsoid, geometry: Geometry, subdivision: int = 6) -> RealArray:
    """Part of each voxel ``(z, y, x)`` that a solid fills, by counting points."""
    points = block_points(geometry)
    distance = np.broadcast_to(shape.signed_distance(points), geometry.shape)
    covered: RealArray = (distance < 0).astype(np.float32)
    cut = np.abs(distance) < 0.6 * np.linalg.norm(geometry.voxel_size)
    places = [np.broadcast_to(p, geometry.shape)[cut] for p in points]
    axes = np.array([geometry.slice_dir, geometry.phase_dir, geometry.read_dir])
    steps = axes * np.array(geometry.voxel_size)[:, None]
    parts = (np.arange(subdivision) + 0.5) / subdivision - 0.5
    shifts = np.stack(np.meshgrid(parts, parts, parts), axis=-1).reshape(-1, 3) @ steps
    count = np.zeros(len(places[0]), np.float32)
    for left, posterior, superior in shifts.astype(np.float32):
        inside: Points = (places[0] + left, places[1] + posterior, places[2] + superior)
        count += shape.signed_distance(inside) < 0
    covered[cut] = count / len(shifts)
    return covered


def painted(
    solids: Sequence[tuple[Ellipsoid, float]], geometry: Geometry, subdivision: int = 6
) -> RealArray:
    """Susceptibility ``(z, y, x)`` [ppm] of solids painted one over the other, in nothing."""
    chi: RealArray = np.zeros(geometry.shape, np.float32)
    for shape, value in solids:
        chi += cover(shape, geometry, subdivision) * (np.float32(value) - chi)
    return chi


def split_field(
    solids: Sequence[tuple[Ellipsoid, float]], split: SplitField, subdivision: int = 6
) -> RealArray:
    """Field ``(z, y, x)`` [ppm] of painted solids."""
    body, slab = (
        painted(solids, grid, subdivision) for grid in (split.body_geometry, split.slab_geometry)
    )
    return split.field(body, slab)


def exact_field(name: str, geometry: Geometry, b0_direction: Point) -> RealArray:
    """Field ``(z, y, x)`` [ppm] of one of the objects with chi = 1 ppm, in closed form."""
    shape, points = OBJECTS[name], block_points(geometry)
    if name == "sphere":
        radius = shape.semi_axes[0]
        return sphere_field(points, CENTRE, radius, 1.0, b0_direction=b0_direction)
    if name == "cylinder":
        along, radius = shape.axes[2], shape.semi_axes[0]
        return cylinder_field(points, CENTRE, along, radius, 1.0, b0_direction=b0_direction)
    return ellipsoid_field(
        points, CENTRE, shape.semi_axes, 1.0, axes=shape.axes, b0_direction=b0_direction
    )


class Errors(NamedTuple):
    """Largest and root-mean-square error, relative to the largest field."""

    worst: float
    rms: float


def errors(name: str, grid: Grid, b0_direction: Point) -> Errors:
    """Compare the forward model with a closed form."""
    geometry = grid.geometry()
    split = SplitField(geometry, LOW, HIGH, b0_direction=b0_direction)
    found = split_field([(OBJECTS[name], 1.0)], split)
    expected = exact_field(name, geometry, b0_direction)
    away = clear_of(OBJECTS[name], geometry, 2 * max(grid.voxel_size))
    difference = (found - expected)[away] / np.abs(expected).max()
    return Errors(float(np.abs(difference).max()), float(np.sqrt(np.mean(difference**2))))


def clear_of(shape: Ellipsoid, geometry: Geometry, distance: float) -> Mask:
    """Voxels ``(z, y, x)`` that lie farther than a distance [mm] from a surface."""
    away = np.abs(shape.signed_distance(block_points(geometry))) > distance
    return np.broadcast_to(away, geometry.shape)


def surroundings_change(
    b0_direction: Point, step: float = 3.0, extra: float = 306.0, factor: float = 2.0
) -> float:
    """Find how much the field in a chest changes [ppm] with more air and a longer period.

    A constant and three gradients, which any shim removes, are taken away first. The extra air is
    a multiple of 6 steps, so that both grids lie on one lattice and nothing but the air differs.
    """
    geometry = Grid((15, 34, 42), (8.0, 8.0, 8.0), (0.6, 0.5)).geometry((0.0, 0.0, 0.0))
    fields = []
    for air, times in ((0.0, 1.0), (extra, factor)):
        low, high = (-170.0 - air, -110.0 - air, -150.0), (170.0 + air, 110.0 + air, 150.0)
        split = SplitField(
            geometry, low, high, b0_direction=b0_direction, coarse_step=step, period=1500.0 * times
        )
        fields.append(split_field(CHEST, split, 2))
    change = fields[1] - fields[0]
    points = block_points(geometry)
    everywhere = np.ones(geometry.shape, dtype=bool)
    rest = change - shim_field(points, shim_terms(points, change, everywhere, "linear"))
    return float(np.abs(rest).max())


class Cost(NamedTuple):
    """Seconds to prepare, for the first field and for the next, and memory on top [MB]."""

    preparation: float
    first: float
    next: float
    megabytes: float


def cost(components: int, repeats: int = 2) -> Cost:
    """Measure a cardiac slab in a trunk; memory only shows in a process that did nothing before."""
    start = time.perf_counter()
    split = SplitField(CARDIAC.geometry(), (-170.0, -110.0, -250.0), (170.0, 110.0, 250.0))
    preparation = time.perf_counter() - start
    leading = () if components == 1 else (components,)
    maps = [
        np.ones((*leading, *grid.shape), np.float32)
        for grid in (split.body_geometry, split.slab_geometry)
    ]
    before, seconds = _peak(), []
    for _ in range(repeats):
        start = time.perf_counter()
        split.field(maps[0], maps[1])
        seconds.append(time.perf_counter() - start)
    return Cost(preparation, seconds[0], min(seconds), _peak() - before)


def _peak() -> float:
    """Most memory that this program has held [MB]; getrusage counts its parent's as well."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def cost_alone(components: int) -> Cost:
    """Measure the cost in a process of its own."""
    command = [sys.executable, __file__, "--cost", str(components)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return Cost(**json.loads(result.stdout))


def picture(path: str, label: str = "2.5 x 0.94 x 0.7, oblique", tilt: str = "59 deg") -> None:
    """Draw the middle slice of each object: closed form, forward model, and their difference."""
    from matplotlib.figure import Figure

    geometry, b0_direction = GRIDS[label].geometry(), DIRECTIONS[tilt]
    figure = Figure(figsize=(9.0, 8.0), layout="constrained")
    figure.suptitle(f"Field / chi; target {label} [mm], B0 {tilt} off S")
    middle, (_, dy, dx) = geometry.shape[0] // 2, geometry.voxel_size
    for row, name in zip(figure.subplots(len(OBJECTS), 3), OBJECTS, strict=True):
        split = SplitField(geometry, LOW, HIGH, b0_direction=b0_direction)
        found = split_field([(OBJECTS[name], 1.0)], split)[middle]
        expected = exact_field(name, geometry, b0_direction)[middle]
        panels = (("closed form", expected, 0.4), ("forward model", found, 0.4))
        for axes, (title, values, limit) in zip(
            row, (*panels, ("difference", found - expected, 0.02)), strict=True
        ):
            shown = axes.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect=dy / dx)
            axes.set(title=f"{name}: {title}", xticks=[], yticks=[])
            figure.colorbar(shown, ax=axes, shrink=0.8)
    figure.savefig(path, dpi=100)


def tables() -> None:
    """Write the tables."""
    write = sys.stdout.write
    for kind, components in (("susceptibility", 1), ("magnetisation", 3)):
        taken = cost_alone(components)
        write(
            f"{kind}: {taken.preparation:.2f} s to prepare, {taken.first:.2f} s the first field, "
        )
        write(f"{taken.next:.2f} s each further, {taken.megabytes:.0f} MB\n")
    write(f"\n{'object':10s} {'B0':8s} {'target':27s} {'worst %':>8s} {'rms %':>8s}\n")
    for name, (tilt, b0_direction), (label, grid) in itertools.product(
        OBJECTS, DIRECTIONS.items(), GRIDS.items()
    ):
        found = errors(name, grid, b0_direction)
        write(f"{name:10s} {tilt:8s} {label:27s} {100 * found.worst:8.2f} {100 * found.rms:8.3f}\n")
    write("\nmore air and twice the period change the field of a chest by\n")
    for tilt, b0_direction in DIRECTIONS.items():
        write(f"{tilt:8s} {1000 * surroundings_change(b0_direction):8.3f} ppb\n")


def main(arguments: list[str]) -> None:
    """Write the cost, for the process that measures; or the tables, and the picture if asked."""
    if arguments[:1] == ["--cost"]:
        sys.stdout.write(json.dumps(cost(int(arguments[1]))._asdict()))
        return
    tables()
    for path in arguments:
        picture(path)


if __name__ == "__main__":
    main(sys.argv[1:])
