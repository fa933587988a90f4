"""A smooth field on a coarse grid, at the voxels of a fine and maybe oblique one."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy.interpolate import make_interp_spline
from scipy.ndimage import map_coordinates

from chistream.arrays import RealArray
from chistream.physics.fourier import N_THREADS
from chistream.physics.geometry import Geometry
from chistream_simulator.magnetics.grids import directions

ORDER = 5
"""Degree of the splines."""

_BEYOND = 3
"""Nodes beyond the target's ends: a spline is less accurate near its own."""


class Resampling:
    """Interpolation in two steps: at sparse nodes along the target's axes, then between them.

    The first step costs ``(ORDER + 1)**3`` products a point but has few points; the second has
    them all but goes axis by axis.

    Parameters
    ----------
    source
        Grid along the patient's axes, continued periodically.
    target
        Any grid.
    step
        Largest spacing of the nodes [mm].
    """

    def __init__(self, source: Geometry, target: Geometry, step: float) -> None:
        lines = [
            (np.arange(n) - n // 2) * d
            for n, d in zip(target.shape, target.voxel_size, strict=True)
        ]
        nodes = [_nodes(line, step) for line in lines]
        self._weights = [_weights(n, line) for n, line in zip(nodes, lines, strict=True)]
        self._coordinates = _coordinates(nodes, source, target)

    def __call__(self, coefficients: RealArray) -> RealArray:
        """Interpolate.

        Parameters
        ----------
        coefficients
            Of B-splines of degree `ORDER` ``(z, y, x)`` on the source grid, not its values.

        Returns
        -------
        RealArray
            Values ``(z, y, x)`` float32 on the target grid.
        """
        values: RealArray = np.empty(self._coordinates.shape[1:], np.float32)

        def fill(plane: int) -> None:
            map_coordinates(
                coefficients,
                self._coordinates[:, plane],
                output=values[plane],
                order=ORDER,
                mode="grid-wrap",
                prefilter=False,
            )

        with ThreadPoolExecutor(N_THREADS) as pool:
            list(pool.map(fill, range(len(values))))
        z, y, x = self._weights
        stack = z @ values.reshape(len(values), -1)
        values = stack.reshape(len(z), *values.shape[1:])
        return np.asarray((y @ values) @ x.T)


def _nodes(line: RealArray, step: float) -> RealArray:
    extent = float(line[-1] - line[0])
    n = int(np.ceil(extent / step - 1e-6)) + 1
    if n + 2 * _BEYOND >= len(line):
        return line
    nodes: RealArray = line[0] + extent / (n - 1) * np.arange(-_BEYOND, n + _BEYOND)
    return nodes


def _weights(nodes: RealArray, line: RealArray) -> RealArray:
    if nodes is line:
        return np.eye(len(line), dtype=np.float32)
    return np.asarray(make_interp_spline(nodes, np.eye(len(nodes)), k=ORDER)(line), np.float32)


def _coordinates(nodes: list[RealArray], source: Geometry, target: Geometry) -> RealArray:
    """Find the indices in the source (3, z, y, x) of the nodes."""
    z, y, x = nodes
    axes = directions(target)[:, ::-1]  # (S, P, L) is the order of the source's axes
    offset = np.subtract(target.position, source.position)[::-1]
    coordinates = np.empty((3, len(z), len(y), len(x)), np.float32)
    for c, (n, d) in enumerate(zip(source.shape, source.voxel_size, strict=True)):
        along = z[:, None, None] * axes[0, c] + y[:, None] * axes[1, c] + x * axes[2, c]
        coordinates[c] = (along + offset[c]) / d + n // 2
    return coordinates
