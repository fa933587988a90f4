"""Which field fit a scan gets: by its chain, its settings and its echo times."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from chistream import field_maps
from chistream.arrays import ComplexArray
from chistream.chain import CHAINS
from chistream.config import parse_settings
from chistream.errors import ReconstructionError
from chistream.field.water_fat import WaterFatMaps
from chistream.field_maps import estimate_maps
from chistream.job import Job
from chistream.physics.fat import FAT_SPECTRA

F0 = 127.73e6
DISTINCT = (1.7e-3, 5.2e-3, 8.7e-3, 12.2e-3)
A_CYCLE_APART = (1.7e-3, 4.0e-3, 6.3e-3, 8.6e-3)


def scan(TE: tuple[float, ...], chain: str = "cardiac_qsm", **settings: object) -> Job:
    checked, _ = parse_settings(settings)
    parts = {
        "settings": checked,
        "chain": CHAINS[chain],
        "echo_times": TE,
        "header": SimpleNamespace(h1_frequency=F0),
        "geometry": SimpleNamespace(voxel_size=(5.0, 3.0, 2.0)),
        "bandwidth": None,
        "reversed_echoes": (False,) * len(TE),
    }
    return cast("Job", SimpleNamespace(**parts))


def echoes_of(TE: tuple[float, ...]) -> ComplexArray:
    """Water beside fat at 30 Hz."""
    fat = np.where(np.arange(14) < 7, 0.0, 0.9) * np.ones((4, 12, 1))
    precession = FAT_SPECTRA["hamilton6"].precession(TE, F0).reshape(-1, 1, 1, 1)
    turned = np.exp((60j * np.pi - 30) * np.asarray(TE)).reshape(-1, 1, 1, 1)
    noise = np.random.default_rng(1).standard_normal((2, len(TE), *fat.shape)) / 100
    echoes: ComplexArray = (1 - fat + fat * precession) * turned + noise[0] + 1j * noise[1]
    return echoes.astype(np.complex64)


def test_the_cardiac_chain_separates_fat() -> None:
    maps, warnings = estimate_maps(scan(DISTINCT), echoes_of(DISTINCT))
    assert isinstance(maps, WaterFatMaps)
    assert not warnings
    assert np.abs(maps.frequency[maps.mask] - 30).max() < 10
    assert maps.fat_fraction[:, :, 9:].mean() == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize(("chain", "settings"), [("qsm", {}), ("cardiac_qsm", {"field": "water"})])
def test_others_take_all_for_water(chain: str, settings: dict[str, str]) -> None:
    maps, warnings = estimate_maps(scan(DISTINCT, chain, **settings), echoes_of(DISTINCT))
    assert not isinstance(maps, WaterFatMaps)
    assert not warnings


def test_any_chain_separates_fat_if_asked() -> None:
    maps, _ = estimate_maps(scan(DISTINCT, "qsm", field="water_fat"), echoes_of(DISTINCT))
    assert isinstance(maps, WaterFatMaps)


def test_echoes_a_cycle_of_fat_apart_are_not_separated_and_that_is_said() -> None:
    maps, warnings = estimate_maps(scan(A_CYCLE_APART), echoes_of(A_CYCLE_APART))
    assert not isinstance(maps, WaterFatMaps)
    assert len(warnings) == 1
    assert "At echoes 2.30 ms apart fat looks like water" in warnings[0]


@pytest.mark.parametrize(
    ("backwards", "bandwidth", "told"),
    [
        ((False,) * 4, 390.0, 390.0),
        ((True,) * 4, 390.0, -390.0),
        ((False, True) * 2, 390.0, None),
        ((False,) * 4, None, None),
    ],
)
def test_the_bandwidth_goes_to_the_fit_with_the_direction_of_the_readout(
    backwards: tuple[bool, ...],
    bandwidth: float | None,
    told: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: dict[str, object] = {}
    monkeypatch.setattr(
        field_maps, "estimate_water_fat", lambda *_, **options: asked.update(options)
    )
    job = scan(DISTINCT)
    job.bandwidth = bandwidth  # type: ignore[misc]
    job.reversed_echoes = backwards  # type: ignore[misc]
    estimate_maps(job, echoes_of(DISTINCT))
    assert asked["bandwidth"] == told


def test_too_few_echoes_are_not_separated_unless_asked() -> None:
    two = DISTINCT[:2]
    maps, warnings = estimate_maps(scan(two), echoes_of(two))
    assert not isinstance(maps, WaterFatMaps)
    assert "needs 3 echoes, there are 2" in warnings[0]
    with pytest.raises(ReconstructionError, match="at least 3 echoes"):
        estimate_maps(scan(two, field="water_fat"), echoes_of(two))


def test_temperature_and_fitted_shift_reach_the_fit() -> None:
    job = scan(DISTINCT, fat_shift="fitted", water_fat_start="in_phase")
    with pytest.raises(ReconstructionError, match="20 voxels with water and fat"):
        estimate_maps(job, echoes_of(DISTINCT) * (np.arange(14) < 7))
    maps, _ = estimate_maps(scan(DISTINCT, temperature=20.0), echoes_of(DISTINCT))
    # Fat taken for 0.17 ppm farther away than it is: its field comes out too high.
    fat = maps.frequency[:, :, 9:][maps.mask[:, :, 9:]]
    assert np.median(fat) - 30 == pytest.approx(0.17 * 127.73, abs=3)
