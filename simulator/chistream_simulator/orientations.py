"""Several scans of one object, turned in the magnet: for COSMOS and for tensor imaging."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from chistream.arrays import RealArray, Vector
from chistream.errors import SettingsError
from chistream_simulator.case import load_preset
from chistream_simulator.commands import simulate_cases
from chistream_simulator.rendering import Progress
from chistream_simulator.whole_files import refuse_folder

HEAD_TILT = 25.0
"""How far a patient can turn the head in a coil [degrees]."""

GOLDEN = (1 + 5**0.5) / 2


def cosmos_orientations(n: int) -> list[Vector]:
    """Turn an object about L, evenly over half a turn.

    Parameters
    ----------
    n
        Number of orientations, 2 or more; three make the inversion well-posed everywhere.

    Returns
    -------
    list
        Turns about L, P and S [degrees] for the setting ``orientation``.

    References
    ----------
    .. [1] Liu T, Spincemaille P, de Rochefort L, Kressler B, Wang Y. Calculation of susceptibility
       through multiple orientation sampling (COSMOS): a method for conditioning the inverse
       problem from measured magnetic field map to susceptibility source image in MRI. Magn Reson
       Med. 2009;61(1):196-204. doi:10.1002/mrm.21828

    Examples
    --------
    >>> cosmos_orientations(3)
    [(0.0, 0.0, 0.0), (60.0, 0.0, 0.0), (120.0, 0.0, 0.0)]
    """
    _check_count(n)
    return [(180.0 * i / n, 0.0, 0.0) for i in range(n)]


def head_orientations(n: int, tilt: float = HEAD_TILT) -> list[Vector]:
    """Tilt a head as far as a coil allows: straight, then to all sides in turn.

    Parameters
    ----------
    n
        Number of orientations, 2 or more.
    tilt
        Of all but the first [degrees].

    Returns
    -------
    list
        Turns about L, P and S [degrees].

    Examples
    --------
    >>> head_orientations(3, 20.0)
    [(0.0, 0.0, 0.0), (20.0, 0.0, 0.0), (-20.0, 0.0, 0.0)]
    """
    _check_count(n)
    polar = np.deg2rad(tilt)
    sides = 2 * np.pi * np.arange(n - 1) / (n - 1)
    directions = np.column_stack(
        [
            np.sin(polar) * np.sin(sides),
            np.sin(polar) * np.cos(sides),
            np.full(n - 1, np.cos(polar)),
        ]
    )
    return [(0.0, 0.0, 0.0), *map(turn_to, directions)]


def tensor_orientations(n: int) -> list[Vector]:
    """Spread the direction of B0 evenly over all directions in the object.

    Parameters
    ----------
    n
        Number of orientations; a tensor needs 6 or more. 6 and 10 are the axes through the
        corners of an icosahedron and of a dodecahedron; others lie on a spiral.

    Returns
    -------
    list
        Turns about L, P and S [degrees].

    References
    ----------
    .. [1] Liu C. Susceptibility tensor imaging. Magn Reson Med. 2010;63(6):1471-1477.
       doi:10.1002/mrm.22482
    """
    _check_count(n)
    return [turn_to(direction) for direction in _SOLIDS.get(n, _spiral(n))]


def turn_to(b0_direction: RealArray) -> Vector:
    """Find the turn of an object that brings B0 into one of its directions.

    Parameters
    ----------
    b0_direction
        Direction of B0 in the object (L, P, S), need not be normalised.

    Returns
    -------
    Vector
        Turns about L, P and S [degrees], the last of them zero.

    Examples
    --------
    >>> turn_to(np.array([0.0, 1.0, 0.0]))
    (90.0, 0.0, 0.0)
    """
    left, posterior, superior = b0_direction / np.linalg.norm(b0_direction)
    about_l = np.rad2deg(np.arctan2(posterior, superior))
    about_p = np.rad2deg(np.arcsin(-left))
    # Two digits less than a float has: 20 degrees should read as 20. Zero has no sign.
    return round(float(about_l), 12) + 0.0, round(float(about_p), 12) + 0.0, 0.0


def parse_orientations(text: str) -> list[Vector]:
    """Read what a person asks for: ``3``, ``head:5`` or ``tensor:6``.

    Parameters
    ----------
    text
        A number of orientations, or a kind and a number.

    Returns
    -------
    list
        Turns about L, P and S [degrees].

    Raises
    ------
    SettingsError
        If there is no such kind, or the number is none or too small.

    Examples
    --------
    >>> len(parse_orientations("tensor:6"))
    6
    """
    kind, _, count = text.rpartition(":")
    try:
        return _KINDS[kind or "cosmos"](int(count))
    except (KeyError, ValueError) as error:
        raise SettingsError(
            f"orientations {text!r} should be a number from 2 on, maybe with a kind, such as 3, "
            f"cosmos:3, head:5 or tensor:6"
        ) from error


def simulate_orientations(
    out: Path,
    preset: str,
    turns: Sequence[Vector],
    *,
    seed: int | None = None,
    overrides: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Scan an object in several orientations: ``OUT-1.h5``, ``OUT-2.h5``, ... with their truths.

    Parameters
    ----------
    out
        File whose name the others are made of.
    preset
        One of the presets.
    turns
        Turns of object, slab and coils about L, then P, then S [degrees].
    seed
        Of the first scan; each further one counts up, so that their noise differs.
    overrides
        Values of the case as text, by name.
    progress
        Told what is being done and how much of it is done.

    Returns
    -------
    list[Path]
        The raw files, in the order of the turns.

    Raises
    ------
    SettingsError
        If there is no such preset or value, or values contradict each other.
    OSError
        If no file can be written there.

    Notes
    -----
    The files appear together, once the last is whole, for a set of scans of which some are older
    is worse than none.

    The slab turns with the object. So all truths lie on one grid, voxel by voxel, and only the
    direction of B0 in it differs.
    """
    refuse_folder(out)
    first = load_preset(preset, seed=seed, overrides=overrides).seed
    cases = {}
    for number, turn in enumerate(turns):
        path = out.with_name(f"{out.stem}-{number + 1}{out.suffix}")
        values = {**(overrides or {}), "orientation": str(list(turn))}
        cases[path] = load_preset(preset, seed=first + number, overrides=values)
    simulate_cases(cases, progress)
    return list(cases)


def _check_count(n: int) -> None:
    if n < 2:
        raise ValueError(f"one object needs 2 orientations or more, got {n}")


def _spiral(n: int) -> RealArray:
    """Directions on a half sphere, each with as much room: B0 and its opposite do the same."""
    height = (np.arange(n) + 0.5) / n
    angle = 2 * np.pi * np.arange(n) / GOLDEN
    around = np.sqrt(1 - height**2)
    return np.column_stack([around * np.cos(angle), around * np.sin(angle), height])


_KINDS = {
    "cosmos": cosmos_orientations,
    "head": head_orientations,
    "tensor": tensor_orientations,
}

_ICOSAHEDRON = [(0.0, s, GOLDEN) for s in (1.0, -1.0)]
_ICOSAHEDRON += [(s, GOLDEN, 0.0) for s in (1.0, -1.0)]
_ICOSAHEDRON += [(GOLDEN, 0.0, s) for s in (1.0, -1.0)]

_DODECAHEDRON = [(1.0, p, s) for p in (1.0, -1.0) for s in (1.0, -1.0)]
_DODECAHEDRON += [(0.0, s / GOLDEN, GOLDEN) for s in (1.0, -1.0)]
_DODECAHEDRON += [(s / GOLDEN, GOLDEN, 0.0) for s in (1.0, -1.0)]
_DODECAHEDRON += [(GOLDEN, 0.0, s / GOLDEN) for s in (1.0, -1.0)]

_SOLIDS = {6: np.array(_ICOSAHEDRON), 10: np.array(_DODECAHEDRON)}
"""Axes through the corners of the two, by their number."""
