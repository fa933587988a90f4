"""A small Cartesian scan made of plain numpy, and readouts cut from it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from chistream.acquisition.assembly import (
    AcquiredScan,
    Acquisition,
    AcquisitionOptions,
    EncodingPlan,
)
from chistream.acquisition.readouts import Readout
from chistream.arrays import ComplexArray, Size


def complex_noise(shape: tuple[int, ...], seed: int) -> ComplexArray:
    """Unit-variance complex noise, complex64."""
    rng = np.random.default_rng(seed)
    parts = rng.standard_normal((2, *shape)) / np.sqrt(2)
    noise: ComplexArray = (parts[0] + 1j * parts[1]).astype(np.complex64)
    return noise


@dataclass
class Scanner:
    """K-space ``(echoes, coils, z, y, x)`` centred at ``n // 2``, and how it is read out."""

    kspace: ComplexArray
    plan: EncodingPlan
    start: float = 36000.0
    tr: float = 0.01

    def line(self, echo: int, z: int, y: int, time: float = 36000.0, **changes: object) -> Readout:
        """One readout; its position in k-space is its counter unless changed."""
        samples = self.kspace[echo, :, z, y]
        readout = Readout(
            samples.copy(),
            encode_step_1=y,
            encode_step_2=z,
            contrast=echo,
            center_sample=samples.shape[1] // 2,
            dwell_time=5e-6,
            time_stamp=time,
        )
        return replace(readout, **changes)  # type: ignore[arg-type]

    def image_along_x(self) -> ComplexArray:
        """Plain numpy: centred unitary transform of k-space along its last axis."""
        start = np.fft.ifftshift(self.kspace.astype(np.complex128), -1)
        return np.fft.fftshift(np.fft.ifft(start, axis=-1, norm="ortho"), -1)

    def lines(self) -> list[Readout]:
        """Every line once, ordered by time."""
        n_echoes, _, nz, ny, _ = self.kspace.shape
        times = self.start + self.tr * np.arange(nz * ny)
        return [
            self.line(echo, z, y, float(times[z * ny + y]))
            for z in range(nz)
            for y in range(ny)
            for echo in range(n_echoes)
        ]

    def acquire(
        self, readouts: Iterable[Readout], options: AcquisitionOptions | None = None
    ) -> AcquiredScan:
        """Feed readouts and finish."""
        acquisition = Acquisition(self.plan, options)
        for readout in readouts:
            acquisition.feed(readout)
        return acquisition.finish()


@pytest.fixture
def make_scanner() -> Callable[..., Scanner]:
    """Make a scanner of random k-space, its encoded size equal to its image's."""

    def make(
        size: Size = (5, 6, 12), n_echoes: int = 2, n_coils: int = 3, **plan: object
    ) -> Scanner:
        kspace = complex_noise((n_echoes, n_coils, *size), 1)
        return Scanner(kspace, EncodingPlan(size, size, n_echoes, **plan))  # type: ignore[arg-type]

    return make


@pytest.fixture
def scanner(make_scanner: Callable[..., Scanner]) -> Scanner:
    return make_scanner()
