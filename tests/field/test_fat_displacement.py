"""Fat and off-resonance put back to where they lie, against echoes read sample by sample."""

import numpy as np
import pytest

from chistream.arrays import ComplexArray, RealArray
from chistream.field.fat_displacement import FatReadout, Seen, put_back
from chistream.field.water_fat import WaterFatMaps, estimate_water_fat
from chistream.physics.fat import FAT_SPECTRA

F0 = 127.73e6
TE = np.array([1.7, 5.2, 8.7, 12.2, 15.7]) * 1e-3
HAMILTON = FAT_SPECTRA["hamilton6"]


def read(
    water: RealArray, fat: RealArray, frequency: RealArray, bandwidth: float, r2star: float = 30.0
) -> ComplexArray:
    """Sum up what every point gives to every sample, field and fat turning all the while."""
    n = water.shape[-1]
    x, k = np.arange(n), np.fft.fftfreq(n)
    echoes = np.empty((len(TE), *water.shape), np.complex64)
    for echo, echo_time in enumerate(TE):
        times = echo_time + k / bandwidth
        sources = np.exp(-2j * np.pi * np.outer(x, k))
        precession = HAMILTON.precession(times, F0)
        turned = np.exp(2j * np.pi * frequency[..., None] * times - r2star * echo_time)
        species = water[..., None] + fat[..., None] * precession
        echoes[echo] = np.fft.ifft((turned * species * sources).sum(axis=-2), axis=-1)
    return echoes


class Slab:
    """Water between layers of fat, smooth enough for its samples, in a sloping field."""

    def __init__(self, shape: tuple[int, int, int] = (2, 3, 40)) -> None:
        x = np.arange(shape[-1]) - shape[-1] // 2
        inside = 1 / (1 + np.exp((np.abs(x) - 0.42 * shape[-1]) / 0.7))
        self.fraction = 0.95 / (1 + np.exp(-(np.abs(x) - 0.25 * shape[-1]) / 0.7)) * np.ones(shape)
        self.fat = self.fraction * inside
        self.water = inside - self.fat
        self.frequency = 5.0 * x + np.zeros(shape)
        self.core = np.broadcast_to(inside > 0.9, shape)

    def maps(self, bandwidth: float, *, told: bool = True, n: float = 0.01) -> WaterFatMaps:
        echoes = read(self.water, self.fat, self.frequency, bandwidth)
        noise = np.random.default_rng(2).standard_normal((2, *echoes.shape)) * n
        return estimate_water_fat(
            (echoes + noise[0] + 1j * noise[1]).astype(np.complex64),
            TE,
            F0,
            (5.0, 3.0, 2.0),
            self.core,
            bandwidth=bandwidth if told else None,
        )


@pytest.mark.parametrize("bandwidth", [390.0, -390.0, 800.0])
@pytest.mark.parametrize("n", [40, 41])
def test_fat_and_its_field_come_back_to_their_place(bandwidth: float, n: int) -> None:
    slab = Slab((2, 3, n))
    errors = []
    for told in (False, True):
        maps = slab.maps(bandwidth, told=told, n=0.002)
        fraction = (maps.fat_fraction - slab.fraction)[slab.core]
        field = (maps.frequency - slab.frequency)[slab.core]
        errors.append((np.sqrt(np.mean(fraction**2)), np.sqrt(np.mean(field**2))))
    before, after = errors
    assert after[0] < 0.012
    assert after[0] < 0.3 * before[0], "unless displacement shows, this test shows nothing"
    assert after[1] < 0.45
    assert after[1] < 0.3 * before[1]


def test_noise_stays_what_it_was() -> None:
    slab = Slab((6, 20, 40))
    maps = slab.maps(390.0, n=0.02)
    assert maps.noise_sd == pytest.approx(0.02, rel=0.15)


def test_what_is_in_its_place_stays_there() -> None:
    slab = Slab()
    nothing = np.zeros(slab.water.shape)
    readout = FatReadout.of(TE, slab.water.shape[-1], HAMILTON, F0, 400.0)
    echoes = read(slab.water, nothing, nothing, 400.0)
    seen = Seen(nothing, nothing + 30, slab.water + 0j, nothing + 0j)
    placed, start = put_back(echoes, readout, seen)
    np.testing.assert_allclose(placed, echoes, atol=1e-5)
    np.testing.assert_allclose(start.r2star, 30)


def test_where_nothing_is_seen_nothing_is_put() -> None:
    nothing = np.zeros((2, 3, 12))
    readout = FatReadout.of(TE, 12, HAMILTON, F0, 400.0)
    seen = Seen(nothing, nothing, nothing + 0j + np.eye(3, 12), nothing + 0j)
    silent = np.zeros((5, 2, 3, 12), np.complex64)
    placed, _ = put_back(silent, readout, seen)
    assert np.abs(placed).max() < 1e-4
