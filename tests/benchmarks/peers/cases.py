"""Undersampled scans whose answer is known: a body in closed form, and a simulated chest."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tests.benchmarks import undersampling

from chistream.arrays import ComplexArray, Mask, RealArray, Size
from chistream.echoes.coil_images import reconstruct_coil_images
from chistream.echoes.combination import combine_coils
from chistream.physics.fourier import to_kspace

_FINE = 2
_BODY_TE = (0.002, 0.0045)


@dataclass(frozen=True, eq=False)
class Case:
    """What the methods get, and what they are held against.

    Parameters
    ----------
    full
        Whitened hybrid k-space ``(echoes, coils, kz, ky, x)`` of all lines, with noise.
    pattern, lattice
        What was sampled, and its periodic part ``(kz, ky)``.
    true_maps
        The coils, of root-sum-of-squares 1; also what all methods that need maps get.
    clean
        Echoes from all lines without noise, combined by the true maps.
    body
        Where the result counts ``(z, y, x)``.
    TE
        Echo times [s].
    """

    full: ComplexArray
    pattern: Mask
    lattice: Mask
    true_maps: ComplexArray
    clean: ComplexArray
    body: Mask
    TE: tuple[float, ...]

    @property
    def size(self) -> Size:
        """Size of the volume ``(z, y, x)``."""
        z, y, x = self.full.shape[2:]
        return z, y, x

    @property
    def lines(self) -> ComplexArray:
        """What was sampled of `full`, zero elsewhere."""
        return np.asarray(self.full * self.pattern[:, :, None], np.complex64)

    @property
    def block(self) -> ComplexArray:
        """Calibration lines ``(echoes, coils, kz, ky, x)``."""
        middle = undersampling.middle(self.size[:2])
        z, y = np.flatnonzero(middle.any(axis=1)), np.flatnonzero(middle.any(axis=0))
        return np.ascontiguousarray(self.full[:, :, z[0] : z[-1] + 1, y[0] : y[-1] + 1])


Replicas = tuple[Case, Case]
"""One scan twice, with noise of its own each time."""


def closed_form(size: Size, n_coils: int) -> Replicas:
    """Body with chequers, loops around it, 2 x 2 CAIPIRINHA, SNR 100 in the middle.

    Its k-space is that of a grid twice as fine along z and y, so no method profits from a model
    that is exact.
    """
    nz, ny, nx = size
    fine = (nz * _FINE, ny * _FINE, nx)
    z, y, x = _grid(fine)
    inside = (y / 0.8) ** 2 + (x / 0.8) ** 2 + (z / 0.9) ** 8 < 1
    chequers = np.sign(np.sin(15 * y) * np.sin(11 * x) * np.cos(7 * z))
    frequency = 60 * x - 40 * y + 15 * chequers
    csm = _loops(n_coils, fine)
    hybrid = np.empty((len(_BODY_TE), n_coils, *size), np.complex64)
    cut_z, cut_y = (slice(n * _FINE // 2 - n // 2, n * _FINE // 2 - n // 2 + n) for n in (nz, ny))
    for echo, TE in enumerate(_BODY_TE):
        image = inside * (1.5 + 0.7 * chequers) * np.exp(2j * np.pi * TE * frequency)
        for coil in range(n_coils):
            kspace = to_kspace((image * csm[coil]).astype(np.complex64), (-3, -2))
            hybrid[echo, coil] = kspace[cut_z, cut_y] / _FINE
    level = float(np.sqrt((np.abs(csm[:, nz, ny, nx // 2]) ** 2).sum())) / 100
    true = _loops(n_coils, size)
    true /= np.sqrt((np.abs(true) ** 2).sum(axis=0))
    return _replicas(hybrid / np.float32(level), true, inside[::_FINE, ::_FINE], _BODY_TE)


def chest(size: Size, n_coils: int) -> Replicas:
    """Simulate a chest as `undersampling` does, SNR 30: whitened, compressed, its coils known."""
    physical = undersampling.simulate(matrix=list(size), n_coils=n_coils, TE=[1.7e-3, 5.2e-3])
    scan = physical.compress(0.999)
    magnitude = np.abs(combine_coils(reconstruct_coil_images(scan.clean[:1]), scan.csm)[0])
    body: Mask = magnitude > 0.15 * np.percentile(magnitude, 98)
    first, second = (float(time) for time in scan.TE)
    return _replicas(scan.clean, scan.csm, body, (first, second))


def _grid(size: Size) -> list[RealArray]:
    """Positions from -1 to 1 along z, y, x."""
    axes = [(np.arange(n) - n // 2) / (n / 2) for n in size]
    return list(np.meshgrid(*axes, indexing="ij", sparse=True))


def _loops(n_coils: int, size: Size) -> ComplexArray:
    """Fields of dipoles around the body, the far form of loops: steep close to them."""
    z, y, x = _grid(size)
    maps = []
    for coil in range(n_coils):
        angle = 2 * np.pi * coil / n_coils
        dz, dy, dx = z - 0.7 * (-1) ** coil, y - 1.5 * np.sin(angle), x - 1.5 * np.cos(angle)
        maps.append((dy - 1j * dx) / (dz**2 + dy**2 + dx**2) ** 1.5)
    return np.array(maps, np.complex64)


def _replicas(
    hybrid: ComplexArray, true_maps: ComplexArray, body: Mask, TE: tuple[float, ...]
) -> Replicas:
    """Add noise of standard deviation 1 twice, and choose the lines."""
    plane = hybrid.shape[2], hybrid.shape[3]
    lattice = undersampling.places(plane, (2, 2), 1)
    pattern = lattice | undersampling.middle(plane)
    clean = combine_coils(reconstruct_coil_images(hybrid), true_maps)
    rng = np.random.default_rng(1)
    one, other = (
        Case(hybrid + _noise(rng, hybrid.shape), pattern, lattice, true_maps, clean, body, TE)
        for _ in range(2)
    )
    return one, other


def _noise(rng: np.random.Generator, shape: tuple[int, ...]) -> ComplexArray:
    parts = rng.standard_normal((2, *shape), np.float32) * np.float32(np.sqrt(0.5))
    noise: ComplexArray = parts[0] + 1j * parts[1]
    return noise


def save(replicas: Replicas, path: Path) -> None:
    """Write two replicas for another process."""
    one, other = replicas
    np.savez(path, **vars(one), again=other.full)


def load(path: Path) -> Replicas:
    """Read two replicas."""
    with np.load(path) as file:
        parts: dict[str, Any] = {name: file[name] for name in file.files}
    again = parts.pop("again")
    parts["TE"] = tuple(parts["TE"].tolist())
    return Case(**parts), Case(**(parts | {"full": again}))
