"""Smooth coils around an object with smooth phase, band-limited so that grids are exact."""

import numpy as np

from chistream.arrays import ComplexArray, Mask, RealArray, Size
from chistream.physics.fourier import to_image, to_kspace

TE = (0.002, 0.004, 0.006)


def grid(shape: Size) -> tuple[RealArray, ...]:
    """Positions from -1 to 1 along z, y, x."""
    axes = [(np.arange(n) - n // 2) / max(n // 2, 1) for n in shape]
    return tuple(np.meshgrid(*axes, indexing="ij"))


def complex_noise(shape: tuple[int, ...], seed: int) -> ComplexArray:
    """Unit-variance complex noise, complex64."""
    rng = np.random.default_rng(seed)
    parts = rng.standard_normal((2, *shape)) / np.sqrt(2)
    noise: ComplexArray = (parts[0] + 1j * parts[1]).astype(np.complex64)
    return noise


def body(shape: Size) -> Mask:
    """Where the object lies; it leaves a margin to the field of view."""
    z, y, x = grid(shape)
    inside: Mask = (z / 0.85) ** 2 + (y / 0.8) ** 2 + (x / 0.85) ** 2 < 1
    return inside


def smooth_coils(n_coils: int, shape: Size) -> ComplexArray:
    """Coils of few Fourier terms along each axis; root-sum-of-squares 1 everywhere."""
    z, y, x = grid(shape)
    maps = []
    for coil in range(n_coils):
        angle = 2 * np.pi * coil / n_coils
        dz, dy, dx = z - 0.9 * (-1) ** coil, y - 1.2 * np.sin(angle), x - 1.2 * np.cos(angle)
        maps.append(np.exp(-0.5 * (dz**2 + dy**2 + dx**2) + 1j * (angle + 0.8 * y * np.cos(angle))))
    csm: ComplexArray = np.array(maps)
    csm /= np.sqrt((np.abs(csm) ** 2).sum(axis=0))
    return csm.astype(np.complex64)


def object_echoes(shape: Size, roughness: float = 20.0, seed: int = 3) -> ComplexArray:
    """Three echoes ``(echoes, z, y, x)``: chequers in magnitude and field [Hz], smooth phase."""
    rng = np.random.default_rng(seed)
    z, y, x = grid(shape)
    chequers = np.sign(np.sin(12 * y) * np.sin(8 * x) * np.cos(9 * z))
    magnitude = body(shape) * (1.5 + 0.7 * chequers + 0.2 * rng.uniform(size=shape))
    frequency = 40 * x - 30 * y + 20 * z * y + roughness * chequers
    phase = 0.5 + 0.6 * x + 2 * np.pi * np.multiply.outer(TE, frequency)
    echoes: ComplexArray = (magnitude * np.exp(1j * phase)).astype(np.complex64)
    return echoes


def hybrid_of(echoes: ComplexArray, csm: ComplexArray) -> ComplexArray:
    """Hybrid k-space ``(echoes, coils, kz, ky, x)`` of the coil images."""
    return to_kspace(echoes[:, None] * csm, (-3, -2))


def lattice(size: tuple[int, int], steps: tuple[int, int], shift: int = 0) -> Mask:
    """Lines ``(kz, ky)`` of an undersampled grid through the centre (CAIPIRINHA if shifted)."""
    z, y = (np.arange(n) - n // 2 for n in size)
    on_y = (y - shift * (z[:, None] // steps[0])) % steps[1] == 0
    taken: Mask = on_y & (z[:, None] % steps[0] == 0)
    return taken


def centre_block(size: tuple[int, int], lines: tuple[int, int]) -> Mask:
    """The ``lines (z, y)`` in the middle of ``size (z, y)``."""
    z, y = (np.arange(n) - n // 2 for n in size)
    inside_z, inside_y = (
        (k >= -(n // 2)) & (k < n - n // 2) for k, n in zip((z, y), lines, strict=True)
    )
    block: Mask = inside_z[:, None] & inside_y
    return block


def covered_part(image: ComplexArray, support: Mask) -> ComplexArray:
    """Image of what a support ``(z, y, x)`` leaves of k-space."""
    axes = (-3, -2, -1)
    return to_image(to_kspace(image, axes) * support, axes)
