"""What plain numpy makes of a scan: the centre of k-space, missing parts, reversal, fat, T2*."""

from typing import Any

import numpy as np
import pytest

from chistream.arrays import ComplexArray, Mask
from chistream_simulator.case import Case
from chistream_simulator.scanner import Scan
from chistream_simulator.truth import Truth, make_truth
from pictures.scans import combined, sorted_kspace

STILL_CHEST: dict[str, Any] = {
    "matrix": (10, 46, 61),
    "fov": (60.0, 276.0, 366.0),
    "position": (20.0, -15.0, -3.0),
    "rotation": (15.0, -10.0, 5.0),
    "h1_frequency": 63.87e6,  # fat turns by half a cycle from echo to echo
    "TE": (0.0017, 0.0040, 0.0063, 0.0086, 0.0109),
    "n_coils": 3,
    "snr": float("inf"),
    "breathing_amplitude": 0.0,
    "heart_states": 0,
    "blood_velocity": 0.0,
    "shim": "quadratic",
    "object_oversampling": (2, 2, 2),
}


def scanned(changes: dict[str, Any]) -> tuple[ComplexArray, Truth, Case]:
    case = Case(**{**STILL_CHEST, **changes})
    scan = Scan(case)
    kspace = sorted_kspace(scan.messages(), case)
    return kspace, make_truth(scan), case


@pytest.fixture(scope="module")
def full() -> tuple[ComplexArray, Truth, Case]:
    return scanned({})


def without_field(echoes: ComplexArray, truth: Truth) -> ComplexArray:
    phase = 2 * np.pi * np.multiply.outer(truth.TE, truth.frequency) + truth.phase_offset
    return np.asarray(echoes * np.exp(-1j * phase))


@pytest.mark.slow
def test_the_centre_of_every_readout_is_where_the_heads_say(
    full: tuple[ComplexArray, Truth, Case],
) -> None:
    kspace, _, case = full
    power = np.sum(np.abs(kspace[0]) ** 2, axis=0)
    nz, ny, nx = power.shape
    peak = np.unravel_index(int(np.argmax(power)), power.shape)
    # A shim leaves little phase, so the echo is within a sample of k = 0.
    np.testing.assert_allclose(peak, (nz // 2, ny // 2, nx // 2), atol=1)
    assert case.matrix == (nz, ny, nx // 2)


@pytest.mark.slow
def test_water_fat_and_relaxation_come_back_from_echoes_by_least_squares(
    full: tuple[ComplexArray, Truth, Case],
) -> None:
    kspace, truth, case = full
    echoes = without_field(combined(kspace, truth, case), truth)
    peaks = np.array([-3.8, -3.4, -2.6, -1.94, -0.39, 0.6])
    parts = np.array([0.087, 0.693, 0.128, 0.004, 0.039, 0.048])
    turns = np.outer(truth.TE, peaks * case.h1_frequency * 1e-6)
    fat = np.exp(2j * np.pi * turns) @ parts / parts.sum()
    model = np.stack([np.ones_like(fat), fat], axis=1)

    # A voxel's own R2* is tried on a grid; water and fat follow linearly.
    inner = {name: _core(truth, name) for name in ("LV", "body", "fat")}
    where = np.any(list(inner.values()), axis=0)
    signals = echoes[:, where]
    best = np.full(signals.shape[1], np.inf)
    fraction, rate = np.zeros_like(best), np.zeros_like(best)
    for r2star in np.arange(2.0, 120.0, 2.0):
        decayed = model * np.exp(-r2star * truth.TE)[:, None]
        found, *_ = np.linalg.lstsq(decayed, signals, rcond=None)
        residual = np.sum(np.abs(signals - decayed @ found) ** 2, axis=0)
        better = residual < best
        # The real part, which errors leave in the middle: a magnitude would add them up.
        fraction[better] = (found[1] / found.sum(axis=0)).real[better]
        rate[better], best[better] = r2star, residual[better]
    for name, region in inner.items():
        chosen = region[where]
        assert chosen.sum() > 10, name
        true_fraction = np.median(truth.fat_fraction[region])
        assert np.median(fraction[chosen]) == pytest.approx(true_fraction, abs=0.03), name
        true_rate = np.median(truth.r2star[region])
        assert np.median(rate[chosen]) == pytest.approx(true_rate, rel=0.12, abs=2.5), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "tolerance"),
    [
        ({"partial_fourier": (0.8, 0.75)}, 1e-5),
        ({"asymmetric_echo": 0.75}, 1e-5),
        ({"line_order": "spiral", "views_per_beat": 7}, 1e-5),
        ({"line_order": "random"}, 1e-5),
        ({"elliptical": True}, 1e-5),
        ({"acceleration": (2, 2), "caipirinha_shift": 1, "calibration": "none"}, 1e-5),
    ],
)
def test_what_is_sampled_is_what_a_full_scan_samples(
    full: tuple[ComplexArray, Truth, Case], changes: dict[str, Any], tolerance: float
) -> None:
    case = Case(**{**STILL_CHEST, **changes})
    part = sorted_kspace(Scan(case).messages(), case)
    sampled = np.abs(part).sum(axis=(0, 1)) > 0
    assert 0.2 < sampled.mean() <= 1
    scale = np.abs(full[0]).max()
    np.testing.assert_allclose(part[:, :, sampled], full[0][:, :, sampled], atol=tolerance * scale)


@pytest.mark.slow
def test_reversed_echoes_are_the_same_object_under_eddies_of_the_other_sign() -> None:
    changes = {
        "matrix": (6, 32, 43),
        "readout": "bipolar",
        "eddy_phase": 0.6,
        "subcutaneous_fat": 0.0,
        "epicardial_fat": 0.0,
    }
    kspace, truth, case = scanned(changes)
    echoes = without_field(combined(kspace, truth, case), truth)
    region = _core(truth, "myocardium") | _core(truth, "LV")
    phases = np.angle(np.sum(echoes[:, region], axis=1))
    np.testing.assert_allclose(phases, [0.3, -0.3, 0.3, -0.3, 0.3], atol=0.03)


def _core(truth: Truth, name: str) -> Mask:
    """Voxels of a label whose neighbours are of it too."""
    mask = truth.masks[name]
    core = mask.copy()
    for axis in range(3):
        core &= np.roll(mask, 1, axis) & np.roll(mask, -1, axis)
    return core
