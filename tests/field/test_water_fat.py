"""Water-fat separation of whole images: no swaps, no wraps, the right fraction."""

from typing import Any

import numpy as np
import pytest

from chistream.arrays import ComplexArray, Mask, RealArray, Vector
from chistream.errors import ReconstructionError
from chistream.field import voxel_problem, water_fat
from chistream.field.global_field import find_global_field
from chistream.field.noise import estimate_noise
from chistream.field.separability import FieldStart
from chistream.field.water_fat import WaterFatMaps, estimate_water_fat, fat_fraction
from chistream.physics.fat import FAT_SPECTRA

F0 = 127.73e6
TE = np.array([1.7, 5.2, 8.7, 12.2, 15.7]) * 1e-3
VOXEL: Vector = (5.0, 3.0, 2.5)
SHAPE = (7, 32, 37)


class Torso:
    """Fat around muscle, a lung that cuts off an island of water and fat, a steep field."""

    def __init__(self, shape: tuple[int, int, int] = SHAPE) -> None:
        axes = [(np.arange(n) - n // 2) * d for n, d in zip(shape, VOXEL, strict=True)]
        z, y, x = np.meshgrid(*axes, indexing="ij")
        body = (y / 46) ** 2 + (x / 44) ** 2 < 1
        inside = (y / 36) ** 2 + (x / 34) ** 2 < 1
        lung = ((y / 24) ** 2 + (x / 22) ** 2 < 1) & (z > -100)
        island = (y / 15) ** 2 + (x / 13) ** 2 < 1
        heart = (y / 10) ** 2 + (x / 9) ** 2 < 1
        self.mask: Mask = body & (~lung | island)
        self.fat = np.where(inside, 0.02, 0.95)
        self.fat[island & ~heart] = 0.9
        self.fat[island & (x > 0) & (z > 0)] = 0.4
        self.field: RealArray = 4.2 * x - 1.5 * y + 0.03 * y**2 + z
        self.size = np.where(body & ~inside, 3.0, 1.0)

    def echoes(self, times: RealArray, snr: float, seed: int = 0, f0: float = F0) -> ComplexArray:
        shaped = times.reshape(-1, 1, 1, 1)
        precession = FAT_SPECTRA["hamilton6"].precession(times, f0).reshape(-1, 1, 1, 1)
        species = self.size * (1 - self.fat + self.fat * precession)
        signal = species * np.exp((2j * np.pi * self.field - 40) * shaped + 0.4j)
        parts = np.random.default_rng(seed).standard_normal((2, *signal.shape)) / snr
        noisy: ComplexArray = np.where(self.mask, signal, 0) + parts[0] + 1j * parts[1]
        return noisy.astype(np.complex64)


@pytest.fixture(scope="module")
def torso() -> Torso:
    return Torso()


def separated(torso: Torso, snr: float = 50, times: RealArray = TE, **options: Any) -> WaterFatMaps:  # noqa: ANN401
    return estimate_water_fat(
        torso.echoes(times, snr, f0=options.pop("f0", F0)), times, F0, VOXEL, torso.mask, **options
    )


@pytest.mark.parametrize("initialisation", ["global", "in_phase"])
def test_no_voxel_is_swapped_or_wrapped(torso: Torso, initialisation: str) -> None:
    maps = separated(torso, initialisation=initialisation)
    error = (maps.frequency - torso.field)[torso.mask]
    assert np.abs(torso.field[torso.mask]).max() > 0.5 / 3.5e-3, "the field must wrap"
    assert np.abs(error).max() < 40
    assert np.abs(np.median(error)) < 0.2
    fraction = (maps.fat_fraction - torso.fat)[torso.mask]
    # Noise: 1/50 in each part of an echo makes 2.5 % in the weak part of the image.
    assert np.sqrt(np.mean(fraction**2)) < 0.03
    assert np.abs(fraction).max() < 0.3
    assert not maps.frequency[~torso.mask].any()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_swaps_stay_away_at_a_signal_to_noise_of_15(torso: Torso, seed: int) -> None:
    maps = estimate_water_fat(torso.echoes(TE, 15, seed), TE, F0, VOXEL, torso.mask)
    swapped = np.abs(maps.frequency - torso.field)[torso.mask] > 70
    assert swapped.mean() < 1e-3


def test_field_bias_is_below_a_hertz_in_water_and_in_fat(torso: Torso) -> None:
    maps = separated(torso)
    for tissue in (torso.fat < 0.1, torso.fat > 0.9, torso.fat == 0.4):
        assert abs(np.mean((maps.frequency - torso.field)[torso.mask & tissue])) < 0.3


def test_the_standard_deviation_is_that_of_the_errors_and_the_residual_one(torso: Torso) -> None:
    maps = separated(torso)
    core = torso.mask & (torso.fat != 0.4)
    scaled = ((maps.frequency - torso.field) / np.maximum(maps.frequency_sd, 1e-9))[core]
    assert np.std(scaled) == pytest.approx(1, abs=0.07)
    assert maps.noise_sd == pytest.approx(1 / 50, rel=0.03)
    assert np.median(maps.residual[torso.mask]) == pytest.approx(0.92, abs=0.03)
    assert np.median(maps.r2star[core]) == pytest.approx(40, abs=1)
    assert np.median(maps.phase_offset[core]) == pytest.approx(0.4, abs=0.01)


def test_uneven_echoes_know_the_field_without_a_period(torso: Torso) -> None:
    maps = separated(torso, times=np.array([1.3, 3.2, 5.9, 8.1, 11.4]) * 1e-3)
    assert np.abs(maps.frequency - torso.field)[torso.mask].max() < 40


def test_three_echoes_without_decay_are_enough(torso: Torso) -> None:
    times = np.array([1.7, 5.2, 8.7]) * 1e-3
    maps = separated(torso, times=times, fit_decay=False, snr=100)
    error = np.abs(maps.frequency - torso.field)[torso.mask]
    assert np.mean(error > 70) < 0.005
    assert not maps.r2star.any()


def test_three_echoes_with_decay_leave_no_misfit_to_tell_the_noise(torso: Torso) -> None:
    times = np.array([1.7, 5.2, 8.7]) * 1e-3
    maps = separated(torso, times=times, snr=100)
    assert maps.noise_sd == estimate_noise(torso.echoes(times, 100))
    assert not maps.residual.any()


def test_the_shift_of_fat_is_fitted_in_the_regions_asked_for(torso: Torso) -> None:
    # Another f0 in the simulation moves all peaks: -3.4 ppm become -3.4 * 1.04.
    regions = np.where(np.arange(SHAPE[0]).reshape(-1, 1, 1) > SHAPE[0] // 2, 1, 0)
    regions = np.broadcast_to(regions, SHAPE)
    plain = separated(torso, f0=1.04 * F0)
    maps = separated(torso, f0=1.04 * F0, shift_regions=regions)
    asked = torso.mask & (regions == 1)
    assert maps.fat_shift[asked].max() == maps.fat_shift[asked].min()
    assert maps.fat_shift[asked][0] == pytest.approx(-3.4 * 0.04, abs=0.03)
    assert not maps.fat_shift[~asked].any()
    fat = asked & (torso.fat > 0.8)
    before, after = (np.median((m.frequency - torso.field)[fat]) for m in (plain, maps))
    assert abs(before) > 5
    assert abs(after) < 2


def test_a_mask_is_found_where_none_is_given(torso: Torso) -> None:
    maps = estimate_water_fat(torso.echoes(TE, 50), TE, F0, VOXEL)
    assert np.mean(maps.mask == torso.mask) > 0.97


def test_noise_does_not_lift_the_fraction_of_water_without_fat() -> None:
    rng = np.random.default_rng(5)
    noise = rng.standard_normal((2, 20000)) + 1j * rng.standard_normal((2, 20000))
    water, fat = 10 + noise[0], noise[1]
    assert abs(fat_fraction(water, fat).mean()) < 0.02
    assert np.mean(np.abs(fat) / np.abs(water + fat)) > 0.1, "plain magnitudes are biased"
    assert abs(fat_fraction(fat, water).mean() - 1) < 0.02
    assert fat_fraction(np.zeros(1, complex), np.zeros(1, complex))[0] == 0


def test_two_echoes_are_refused_with_the_reason() -> None:
    with pytest.raises(ReconstructionError, match="at least 3 echoes, got 2"):
        estimate_water_fat(np.ones((2, 3, 4, 5), complex), TE[:2], F0, VOXEL)


def test_a_voxel_without_neighbours_is_fitted_by_itself() -> None:
    echoes = np.zeros((5, 3, 4, 5), np.complex64)
    echoes[:, 1, 1, 1] = np.exp(2j * np.pi * 20 * TE)
    echoes[:, 1, 3, 3] = np.exp(2j * np.pi * 40 * TE)
    maps = estimate_water_fat(echoes, TE, F0, VOXEL, np.abs(echoes[0]) > 0, noise_sd=0.01)
    assert maps.frequency[1, 1, 1] == pytest.approx(20, abs=0.1)
    assert maps.frequency[1, 3, 3] == pytest.approx(40, abs=0.1)


@pytest.mark.usefixtures("plain_kernels")
@pytest.mark.parametrize("fit_decay", [True, False])
def test_the_plain_form_of_the_kernels_does_the_same(fit_decay: bool) -> None:
    torso = Torso((2, 7, 6))
    torso.mask[...] = True
    maps = separated(torso, fit_decay=fit_decay)
    assert np.abs(maps.frequency - torso.field).max() < 40


def test_a_voxel_that_jumps_from_its_neighbours_joins_them(
    torso: Torso, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started_wrong(*arguments: Any, **options: Any) -> FieldStart:  # noqa: ANN401
        start = find_global_field(*arguments, **options)
        frequency = start.frequency.copy()
        frequency[::3, ::5, ::5] += 141  # a swap, for fat has 434 Hz modulo 286 Hz
        return FieldStart(frequency, start.r2star)

    monkeypatch.setattr(water_fat, "find_global_field", started_wrong)
    maps = separated(torso, snr=30)
    assert not np.any(np.abs(maps.frequency - torso.field)[torso.mask] > 70)
    monkeypatch.setattr(voxel_problem, "LARGEST_JUMP", np.inf)
    unmended = separated(torso, snr=30)
    assert np.any(np.abs(unmended.frequency - torso.field)[torso.mask] > 70)


def test_dim_walls_are_edges_beside_bright_fat(torso: Torso) -> None:
    structure = separated(torso).structure
    middle = structure[SHAPE[0] // 2, SHAPE[1] // 2]
    assert not structure[~torso.mask].any()
    # Fat is three times as bright, the logarithm of that is 1.1.
    fat, muscle = structure[torso.mask & (torso.size > 2)], middle[torso.mask[3, 16]]
    assert np.median(fat) - np.median(muscle) < 1.5
