"""Undersampled scans whose answer is known: a body in closed form, and a simulated chest."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tests.benchmarks.parallel_imaging import scan

from chistream.arrays import ComplexArray, Mask, Size
from chistream.chain import CHAINS
from chistream.config import Settings
from chistream.echoes.coil_images import reconstruct_coil_images
from chistream.echoes.combination import combine_coils
from chistream.echoes.espirit import estimate_espirit
from chistream.job import Job
from chistream.stream.files import read_messages
from chistream.stream.header import read_header
from chistream.stream.messages import Header

CENTRE = (12, 24)
"""Calibration lines (z, y), at most."""


@dataclass(frozen=True, eq=False)
class Case:
    """What the methods get, and what they are held against.

    Parameters
    ----------
    lines
        Hybrid k-space ``(echoes, coils, kz, ky, x)``, zero where nothing was sampled.
    pattern, lattice
        What was sampled, and its periodic part ``(kz, ky)``.
    block
        Calibration lines ``(echoes, coils, kz, ky, x)``.
    maps
        Sensitivities for the methods that need some, the same for all.
    true_maps
        The coils in closed form; None of a chest, whose ``maps`` ESPIRiT learns from all lines.
    reference
        Echoes from all lines, combined by ``maps``.
    body
        Where the result counts ``(z, y, x)``.
    TE
        Echo times [s].
    """

    lines: ComplexArray
    pattern: Mask
    lattice: Mask
    block: ComplexArray
    maps: ComplexArray
    true_maps: ComplexArray | None
    reference: ComplexArray
    body: Mask
    TE: tuple[float, ...]

    @property
    def size(self) -> Size:
        """Size of the volume ``(z, y, x)``."""
        z, y, x = self.lines.shape[2:]
        return z, y, x


def closed_form(size: Size, n_coils: int) -> Case:
    """Body with chequers, loops around it, 2 x 2 CAIPIRINHA, SNR 100 in the middle."""
    hybrid, true, body = scan(size, n_coils)
    return _undersampled(hybrid, true, true, body, (0.002, 0.0045))


def chest(path: Path, n_echoes: int = 2) -> Case:
    """Undersample a fully sampled raw file by 2 x 2 CAIPIRINHA; its coils learnt from all lines."""
    messages = read_messages(path)
    header = next(messages)
    if not isinstance(header, Header):
        raise TypeError(f"{path} does not start with a header")
    job = Job(CHAINS["qsm"], read_header(header.xml), Settings(tracking="off"))
    for _ in job.receive(messages):
        pass
    hybrid = np.ascontiguousarray(job.acquired.hybrid[:n_echoes])
    maps = estimate_espirit(hybrid, (hybrid.shape[2], hybrid.shape[3]), least_eigenvalue=0.0)
    echo = np.abs(combine_coils(reconstruct_coil_images(hybrid[:1]), maps)[0])
    body: Mask = echo > 0.15 * np.percentile(echo, 98)
    return _undersampled(hybrid, maps, None, body, job.echo_times[:n_echoes])


def _undersampled(
    hybrid: ComplexArray,
    maps: ComplexArray,
    true_maps: ComplexArray | None,
    body: Mask,
    TE: tuple[float, ...],
) -> Case:
    kz, ky = (np.arange(n) - n // 2 for n in hybrid.shape[2:4])
    lattice = (kz[:, None] % 2 == 0) & ((ky - kz[:, None] // 2) % 2 == 0)
    near_z, near_y = (
        (k >= -(n // 2)) & (k < n - n // 2) for k, n in zip((kz, ky), CENTRE, strict=True)
    )
    pattern = lattice | (near_z[:, None] & near_y)
    block = np.ascontiguousarray(hybrid[:, :, near_z][:, :, :, near_y])
    reference = combine_coils(reconstruct_coil_images(hybrid), maps)
    lines = np.asarray(hybrid * pattern[:, :, None], np.complex64)
    maps = np.ascontiguousarray(maps, np.complex64)
    return Case(lines, pattern, lattice, block, maps, true_maps, reference, body, TE)


def save(case: Case, path: Path) -> None:
    """Write a case for another process."""
    np.savez(path, **{name: part for name, part in vars(case).items() if part is not None})


def load(path: Path) -> Case:
    """Read a case."""
    with np.load(path) as file:
        parts: dict[str, Any] = {name: file[name] for name in file.files}
    parts.setdefault("true_maps", None)
    parts["TE"] = tuple(parts["TE"].tolist())
    return Case(**parts)
