"""Volumes for the tests of this folder: oblique, anisotropic, no two axes alike."""

from collections.abc import Callable

import numpy as np
import pytest

from chistream.arrays import Size, Vector
from chistream.physics.geometry import Geometry
from chistream.series.volumes import SERIES, Kind, Volume


def turned(angles: Vector) -> tuple[Vector, Vector, Vector]:
    """Rotate the axes about z, y and x by these angles [degrees]."""
    z, y, x = np.deg2rad(angles)
    about_z = [[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]]
    about_y = [[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]]
    about_x = [[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]]
    read, phase, through = (np.array(about_z) @ about_y @ about_x).T.tolist()
    return tuple(read), tuple(phase), tuple(through)


def grid(shape: Size = (5, 6, 7), angles: Vector = (20.0, -35.0, 50.0)) -> Geometry:
    read, phase, through = turned(angles)
    return Geometry(shape, (3.0, 2.0, 1.5), (12.5, -31.25, 44.0), read, phase, through)


OBLIQUE = grid()
GEOMETRIES = {
    "straight": grid((4, 7, 6), (0.0, 0.0, 0.0)),
    "oblique": OBLIQUE,
    "one slice": grid((1, 6, 7)),
    "sagittal": grid((6, 5, 9), (90.0, 0.0, -90.0)),
}


@pytest.fixture
def oblique() -> Geometry:
    return OBLIQUE


@pytest.fixture(params=GEOMETRIES)
def geometry(request: pytest.FixtureRequest) -> Geometry:
    return GEOMETRIES[request.param]


@pytest.fixture
def example() -> Callable[..., Volume]:
    return make_example


def make_example(token: str, geometry: Geometry = OBLIQUE, seed: int = 1) -> Volume:
    """Make a volume with a mask and values that its series may hold."""
    rng = np.random.default_rng(seed)
    kind = SERIES[token].kind
    if kind is Kind.RGB:
        page = rng.integers(0, 256, (3, 8, 9), dtype=np.uint8)
        return Volume(token, page, Geometry((1, 8, 9), (3.0, 1.0, 1.0)))
    mask = rng.random(geometry.shape) < 0.7
    if kind is Kind.LABEL:
        return Volume(token, rng.integers(0, 5, geometry.shape), geometry)
    values = rng.normal(0, 400, geometry.shape).astype(np.float32)
    if SERIES[token].unit == "rad":
        values = rng.uniform(-np.pi, np.pi, geometry.shape).astype(np.float32)
    if kind is Kind.ARBITRARY:
        return Volume(token, np.abs(values), geometry)
    return Volume(token, values, geometry, mask=mask)
