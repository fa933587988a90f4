"""Coil maps, parallel imaging and combination beside sigpy's, where that is installed: one run.

Run ``python tests/benchmarks/parallel_imaging.py [Z Y X COILS]`` for a table as JSON. The object
is a body with chequers in magnitude and field, seen by an array of loops (closed form); its k-space
is that of a grid twice as fine along z and y, so no method profits from a model that is exact.
Errors are those of the phase between echoes in the body [rad RMS] against full sampling, and of
maps as 1 minus the cosine between them and the true ones (median). Noise: SNR 100 in the middle.
"""

import importlib
import importlib.util
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from chistream.arrays import ComplexArray, Mask, RealArray, Size
from chistream.echoes.calibration import low_resolution
from chistream.echoes.coil_images import reconstruct_coil_images
from chistream.echoes.combination import combine_coils
from chistream.echoes.espirit import estimate_espirit
from chistream.echoes.grappa import fill_grappa
from chistream.echoes.sense import solve_sense
from chistream.echoes.sensitivities import estimate_sensitivities
from chistream.physics.fourier import to_kspace

SIZE: Size = (16, 64, 48)
N_COILS = 8
LINES = (12, 24)
_FINE = 2
_TE = (0.002, 0.0045)


def grid(size: Size) -> list[RealArray]:
    """Positions from -1 to 1 along z, y, x."""
    axes = [(np.arange(n) - n // 2) / (n / 2) for n in size]
    return list(np.meshgrid(*axes, indexing="ij", sparse=True))


def loops(n_coils: int, size: Size) -> ComplexArray:
    """Fields of dipoles around the body, the far form of loops: steep close to them."""
    z, y, x = grid(size)
    maps = []
    for coil in range(n_coils):
        angle = 2 * np.pi * coil / n_coils
        dz, dy, dx = z - 0.7 * (-1) ** coil, y - 1.5 * np.sin(angle), x - 1.5 * np.cos(angle)
        maps.append((dy - 1j * dx) / (dz**2 + dy**2 + dx**2) ** 1.5)
    return np.array(maps, np.complex64)


def scan(size: Size, n_coils: int) -> tuple[ComplexArray, ComplexArray, Mask]:
    """Hybrid k-space ``(echoes, coils, kz, ky, x)``, true maps, and the body."""
    nz, ny, nx = size
    fine = (nz * _FINE, ny * _FINE, nx)
    z, y, x = grid(fine)
    inside = (y / 0.8) ** 2 + (x / 0.8) ** 2 + (z / 0.9) ** 8 < 1
    chequers = np.sign(np.sin(15 * y) * np.sin(11 * x) * np.cos(7 * z))
    frequency = 60 * x - 40 * y + 15 * chequers
    csm = loops(n_coils, fine)
    hybrid = np.empty((len(_TE), n_coils, *size), np.complex64)
    cut_z, cut_y = (slice(n * _FINE // 2 - n // 2, n * _FINE // 2 - n // 2 + n) for n in (nz, ny))
    for echo, TE in enumerate(_TE):
        image = inside * (1.5 + 0.7 * chequers) * np.exp(2j * np.pi * TE * frequency)
        for coil in range(n_coils):
            kspace = to_kspace((image * csm[coil]).astype(np.complex64), (-3, -2))
            hybrid[echo, coil] = kspace[cut_z, cut_y] / _FINE
    rng = np.random.default_rng(1)
    level = float(np.sqrt((np.abs(csm[:, nz, ny, nx // 2]) ** 2).sum())) / 100
    parts = rng.standard_normal((2, *hybrid.shape), np.float32) * level / np.sqrt(2)
    true = loops(n_coils, size)
    true /= np.sqrt((np.abs(true) ** 2).sum(axis=0))
    # Of the body, what is whole voxels from its surface.
    return hybrid + parts[0] + 1j * parts[1], true, inside[::_FINE, ::_FINE]


def phase_error(found: ComplexArray, reference: ComplexArray, mask: Mask) -> float:
    """RMS error of the phase between two echoes [rad]."""
    one, other = (echoes[1] * echoes[0].conj() for echoes in (found, reference))
    return float(np.sqrt(np.mean(np.angle((one * other.conj())[mask]) ** 2)))


def deviation(csm: ComplexArray, true: ComplexArray, mask: Mask) -> float:
    """Median of 1 - cosine between maps."""
    found = csm[:, mask]
    norm = np.sqrt((np.abs(found) ** 2).sum(axis=0))
    overlap = np.abs((true[:, mask].conj() * found).sum(axis=0)) / np.where(norm > 0, norm, 1)
    return float(np.median(1 - overlap))


def timed(make: Callable[[], ComplexArray]) -> tuple[ComplexArray, float]:
    """Return what was made, and how long that took [s]; compiled beforehand."""
    start = time.perf_counter()
    made = make()
    return made, round(time.perf_counter() - start, 3)


def sigpy_app() -> Any:  # noqa: ANN401
    """Load what sigpy calls its apps."""
    return importlib.import_module("sigpy.mri.app")


def sigpy_maps(block: ComplexArray, size: Size) -> ComplexArray:
    """ESPIRiT of sigpy, from the first echo: its interface knows one."""
    kspace = np.zeros((block.shape[1], *size), np.complex64)
    lines = low_resolution(np.ascontiguousarray(block[:1]), size[:2])[0]
    first = [n // 2 - m // 2 for n, m in zip(size[:2], block.shape[2:4], strict=True)]
    z, y = (slice(f, f + m) for f, m in zip(first, block.shape[2:4], strict=True))
    lines[:, z, y] = block[0]
    kspace[...] = to_kspace(lines, (-1,))
    maps = (
        sigpy_app()
        .EspiritCalib(
            kspace, calib_width=24, thresh=0.02, kernel_width=6, crop=0.0, show_pbar=False
        )
        .run()
    )
    return np.asarray(maps, np.complex64)


def sigpy_sense(hybrid: ComplexArray, pattern: Mask, csm: ComplexArray) -> ComplexArray:
    """CG-SENSE of sigpy, echo by echo, in 3D."""
    weights = np.broadcast_to(pattern[:, :, None], hybrid.shape[-3:]).astype(np.float32)
    echoes = [
        sigpy_app()
        .SenseRecon(
            to_kspace(echo, (-1,)), csm, lamda=2e-4, weights=weights, max_iter=30, show_pbar=False
        )
        .run()
        for echo in hybrid
    ]
    return np.asarray(echoes, np.complex64)


def measure(size: Size = SIZE, n_coils: int = N_COILS) -> dict[str, dict[str, float]]:
    """Compare methods on one scan with a 2 x 2 CAIPIRINHA pattern and an embedded centre.

    Parameters
    ----------
    size
        Size of the volume ``(z, y, x)``.
    n_coils
        Number of coils.

    Returns
    -------
    dict
        For each method its ``seconds`` and its ``error``: of maps 1 - cosine, of echoes [rad].
    """
    hybrid, true, body = scan(size, n_coils)
    z, y = (np.arange(n) - n // 2 for n in size[:2])
    lattice = (z[:, None] % 2 == 0) & ((y - z[:, None] // 2) % 2 == 0)
    near_z, near_y = (
        (k >= -(n // 2)) & (k < n - n // 2) for k, n in zip((z, y), LINES, strict=True)
    )
    pattern = lattice | (near_z[:, None] & near_y)
    block = hybrid[:, :, near_z][:, :, :, near_y]
    lines, sampled = hybrid * pattern[:, :, None], np.stack([pattern] * len(hybrid))
    reference = combine_coils(reconstruct_coil_images(hybrid), true)
    everywhere = np.ones(size[:2], bool)
    plane = (size[0], size[1])

    def adaptive() -> ComplexArray:
        return estimate_sensitivities(reconstruct_coil_images(low_resolution(block, plane)))

    def grappa() -> ComplexArray:
        filled = fill_grappa(lines, sampled, everywhere, lattice, block)
        return combine_coils(reconstruct_coil_images(filled), true)

    maps: dict[str, Callable[[], ComplexArray]] = {
        "maps, adaptive": adaptive,
        "maps, ESPIRiT": lambda: estimate_espirit(block, plane),
    }
    echoes: dict[str, Callable[[], ComplexArray]] = {
        "SENSE": lambda: solve_sense(lines, sampled, true),
        "GRAPPA": grappa,
    }
    if importlib.util.find_spec("sigpy") is not None:
        maps["maps, ESPIRiT of sigpy"] = lambda: sigpy_maps(block, size)
        echoes["SENSE of sigpy"] = lambda: sigpy_sense(lines, pattern, true)
    figures = {}
    for name, make in maps.items():
        make()
        csm, seconds = timed(make)
        figures[name] = {"seconds": seconds, "error": deviation(csm, true, body)}
    for name, make in echoes.items():
        found, seconds = timed(make)
        figures[name] = {"seconds": seconds, "error": phase_error(found, reference, body)}
    return figures


def main(arguments: list[str]) -> None:
    """Write the figures."""
    if arguments:
        nz, ny, nx, n_coils = (int(value) for value in arguments)
        figures = measure((nz, ny, nx), n_coils)
    else:
        figures = measure()
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
