"""A drift put on the lines of an object seen by coils: found, removed, and not invented."""

import numpy as np
import pytest
from tests.echoes.phantoms import body, complex_noise, grid, smooth_coils

from chistream.acquisition.assembly import (
    AcquiredScan,
    Acquisition,
    AcquisitionOptions,
    EncodingPlan,
)
from chistream.acquisition.compression import CompressionOptions
from chistream.acquisition.frequency_drift import (
    FrequencyDrift,
    estimate_drift,
    is_told_apart,
    remove_drift,
)
from chistream.acquisition.gating_options import GatingOptions
from chistream.acquisition.readouts import Readout
from chistream.arrays import ComplexArray, Mask, RealArray, Size
from chistream.physics.fourier import to_kspace

SHAPE: Size = (14, 32, 10)
TE = (0.002, 0.0045, 0.007, 0.0095)
N_COILS = 6
LINES = np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE[:2])
TIMES: RealArray = 0.4 * LINES  # partition by partition, three minutes
POSITIONS: RealArray = 4 * np.sin(2 * np.pi * (LINES // 5) / 3.7) ** 4
ALL: Mask = np.ones((len(TE), *SHAPE[:2]), bool)


def still() -> ComplexArray:
    """Hybrid k-space ``(echoes, coils, kz, ky, x)`` of an object in a smooth field, with noise."""
    z, y, x = grid(SHAPE)
    chequers = 1.5 + 0.7 * np.sign(np.sin(9 * y) * np.sin(6 * x) * np.cos(7 * z))
    turns = np.multiply.outer(np.array(TE), 30 * x - 25 * y + 20 * z)
    echoes = body(SHAPE) * chequers * np.exp(2j * np.pi * turns)
    images = 30 * echoes[:, None] * smooth_coils(N_COILS, SHAPE)
    lines = to_kspace(images.astype(np.complex64), (-3, -2))
    hybrid: ComplexArray = lines + complex_noise(lines.shape, 1)
    return hybrid


def drifting(hybrid: ComplexArray, offsets: RealArray) -> ComplexArray:
    turns = np.multiply.outer(np.array(TE), offsets)[:, None, :, :, None]
    moved: ComplexArray = (hybrid * np.exp(2j * np.pi * turns)).astype(np.complex64)
    return moved


@pytest.mark.slow
@pytest.mark.parametrize("per_mm", [0.0, 0.5])
def test_a_drift_in_time_and_with_breathing_is_found(per_mm: float) -> None:
    true = 4 * np.cos(np.pi * TIMES / TIMES.max()) + per_mm * POSITIONS
    true -= true.mean()
    hybrid = drifting(still(), true)
    found = estimate_drift(hybrid, ALL, TE, TIMES, POSITIONS)
    assert found is not None
    assert np.std(found.offsets - true) < 0.2 * np.std(true)
    assert found.per_mm == pytest.approx(per_mm, abs=0.15)
    remove_drift(hybrid, TE, found)
    left = np.abs(hybrid - still()).mean()
    assert left < 0.4 * np.abs(drifting(still(), true) - still()).mean()


@pytest.mark.slow
def test_a_steady_frequency_stays_within_a_twentieth_of_a_hertz() -> None:
    found = estimate_drift(still(), ALL, TE, TIMES, POSITIONS)
    assert found is None or np.std(found.offsets) < 0.05


@pytest.mark.slow
def test_a_phase_that_all_echoes_share_is_no_frequency() -> None:
    shift = np.exp(0.15j * POSITIONS)[:, :, None]
    found = estimate_drift((still() * shift).astype(np.complex64), ALL, TE, TIMES, POSITIONS)
    assert found is None or abs(found.per_mm) < 0.1


def test_what_tells_nothing_is_left() -> None:
    hybrid, some = still(), ALL.copy()
    some[1, SHAPE[0] // 2, SHAPE[1] // 2] = False
    assert estimate_drift(hybrid, some, TE, TIMES) is None
    assert estimate_drift(hybrid[:2], ALL[:2], TE[:2], TIMES) is None
    assert estimate_drift(hybrid[:, :1], ALL, TE, TIMES) is None


def test_positions_that_do_not_change_are_no_regressor() -> None:
    true = 4 * np.cos(np.pi * TIMES / TIMES.max())
    found = estimate_drift(drifting(still(), true), ALL, TE, TIMES, np.full_like(TIMES, 1.0))
    assert found is not None
    assert found.per_mm == 0.0


def test_breathing_that_only_sinks_cannot_be_told_from_a_drift() -> None:
    assert is_told_apart(TIMES, POSITIONS, ALL)
    assert is_told_apart(TIMES, np.zeros_like(TIMES), ALL)
    assert is_told_apart(TIMES, POSITIONS - 0.01 * TIMES, ALL)
    assert not is_told_apart(TIMES, -0.05 * TIMES + 0.1 * POSITIONS, ALL)


def test_a_scan_takes_its_drift_out_and_says_how_much() -> None:
    true = 4 * np.cos(np.pi * TIMES / TIMES.max())
    lines = still()
    size = (*SHAPE[:2], 2 * SHAPE[2])
    plan = EncodingPlan(size, SHAPE, len(TE), echo_times=TE)
    hybrid: list[ComplexArray] = []
    for offsets, removes in ((0 * true, False), (true, True), (true, False)):
        options = AcquisitionOptions(
            gating=GatingOptions(scheme="none"),
            compression=CompressionOptions("off"),
            removes_drift=removes,
        )
        scan = acquired(plan, options, drifting(lines, offsets))
        hybrid.append(scan.hybrid)
        if removes:
            assert scan.frequency_drift == pytest.approx(8.0, abs=1.0)
        else:
            assert scan.frequency_drift is None
    rest, removed, before = hybrid
    turn = np.vdot(rest, removed) / np.abs(np.vdot(rest, removed))
    assert np.abs(removed - turn * rest).mean() < 0.5 * np.abs(before - rest).mean()


def test_a_drift_beside_a_sinking_diaphragm_is_left_and_named() -> None:
    plan = EncodingPlan((*SHAPE[:2], 2 * SHAPE[2]), SHAPE, len(TE), echo_times=TE)
    gating = GatingOptions(source="user_float[0]", unit=1.0, window=100.0)
    options = AcquisitionOptions(gating=gating, removes_drift=True)
    scan = acquired(plan, options, still())
    assert scan.frequency_drift is None
    assert any("cannot be told apart" in warning for warning in scan.warnings)


def acquired(plan: EncodingPlan, options: AcquisitionOptions, hybrid: ComplexArray) -> AcquiredScan:
    """Read lines ``(echoes, coils, kz, ky, x)`` one by one, while the diaphragm sinks."""
    nx = plan.encoded_size[2]
    placed = np.zeros((*hybrid.shape[:4], nx), np.complex64)
    first = nx // 2 - hybrid.shape[4] // 2
    placed[..., first : first + hybrid.shape[4]] = hybrid
    samples = to_kspace(placed, (-1,))
    acquisition = Acquisition(plan, options)
    for z, y in np.ndindex(*SHAPE[:2]):
        for echo in range(len(TE)):
            acquisition.feed(
                Readout(
                    samples[echo, :, z, y].astype(np.complex64),
                    encode_step_1=y,
                    encode_step_2=z,
                    contrast=echo,
                    center_sample=nx // 2,
                    dwell_time=5e-6,
                    time_stamp=1000 + float(TIMES[z, y]),
                    user_float=(-0.05 * float(TIMES[z, y]), *(0.0,) * 7),
                )
            )
    return acquisition.finish()


def test_a_span_is_from_the_least_to_the_most() -> None:
    assert FrequencyDrift(np.array([[-1.0, 0.5], [2.0, 0.0]]), 0.0).span == 3.0
