"""Rejected heartbeats in bins of position: what each bin holds, and how it is corrected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.acquisition.test_frequency_drift import ALL, SHAPE, TE, TIMES, drifting, still
from tests.acquisition.test_schemes import acquire, breathing, heartbeats

from chistream.acquisition.gating import report_ungated
from chistream.acquisition.gating_options import GatingOptions
from chistream.acquisition.kspace import KSpace
from chistream.acquisition.line_corrections import LineCorrections
from chistream.acquisition.lines import Line
from chistream.acquisition.motion_bins import MotionBins
from chistream.acquisition.plan import AcquisitionOptions, EncodingPlan
from chistream.acquisition.tracking import CentralLines

if TYPE_CHECKING:
    from tests.acquisition.conftest import Scanner

    from chistream.acquisition.motion_bins import MotionBin
    from chistream.arrays import ComplexArray, RealArray

LINE = Line(0, 1, 2)


def values(number: float) -> ComplexArray:
    return np.full((2, 5), number, np.complex64)


def test_heartbeats_outside_the_window_are_divided_evenly() -> None:
    bins = MotionBins(2, 4.0)
    bins.learn(np.array([0.0, 1.0, np.nan, -3.0, -4.0, -8.0, -10.0]))
    for position in (-9.0, -5.0, -7.0, 3.0):
        bins.see(LINE, values(position), position, 1.0, (1, 2, 3))
    bins.see(Line(1, 1, 2), values(1), -9.0, 1.0, (1, 2, 3))  # of another repetition
    low, high = bins.kspaces()
    assert low.counts[LINE] == high.counts[LINE] == 2
    assert (low.positions[LINE], high.positions[LINE]) == (-8.0, -1.0)
    np.testing.assert_allclose(low.mean()[0, :, 1, 2], -8.0)


def test_without_bins_nothing_is_kept() -> None:
    for bins in (MotionBins(0, 4.0), MotionBins(2, 4.0)):
        bins.learn(np.zeros(5))
    bins = MotionBins(0, 4.0)
    bins.see(LINE, values(1), -9.0, 1.0, (1, 2, 3))
    assert bins.kspaces() == []


@pytest.mark.parametrize("n", [3, 4])
@pytest.mark.parametrize("scheme", ["window", "soft"])
def test_bins_hold_what_was_measured_there_in_any_order(
    scanner: Scanner, scheme: str, n: int
) -> None:
    readouts = heartbeats(scanner, breathing())
    scan = acquire(scanner, readouts, scheme=scheme, window=4.0, motion_bins=n)
    assert len(scan.bins) == n - 1
    positions = [one.position for one in scan.bins]
    assert positions == sorted(positions)
    truth = scanner.image_along_x()
    for one in scan.bins:
        products = (one.hybrid * truth.conj()).sum(axis=(1, 4)).real
        gain = products / (np.abs(truth) ** 2).sum(axis=(1, 4))
        measured = one.counts > 0
        # Samples grow by 1 for each mm away from rest.
        assert gain[measured].mean() == pytest.approx(1 - one.position, abs=0.5)
        assert not gain[~measured].any()
    total = sum(one.counts.sum() for one in scan.bins)
    outside = (np.abs(scan.gating.displacements) > 2).sum()
    assert total == 5 * outside * scanner.plan.n_echoes
    assert int((scan.line_weights == 0).sum()) == scan.gating.filled_from_rejected
    order = np.random.default_rng(1).permutation(len(readouts))
    options = {"scheme": scheme, "window": 4.0, "motion_bins": n}
    mixed = acquire(scanner, [readouts[i] for i in order], **options)
    for one, other in zip(scan.bins, mixed.bins, strict=True):
        np.testing.assert_allclose(other.hybrid, one.hybrid, atol=1e-4)
        np.testing.assert_array_equal(other.counts, one.counts)


@pytest.mark.parametrize(
    "options", [{}, {"motion_bins": 3, "scheme": "smallest"}, {"motion_bins": 3, "scheme": "none"}]
)
def test_there_are_no_bins_where_there_is_no_window(
    scanner: Scanner, options: dict[str, object]
) -> None:
    assert acquire(scanner, heartbeats(scanner, breathing()), **options).bins == ()


def test_a_scanner_that_gated_has_no_bins() -> None:
    assert GatingOptions(motion_bins=4).n_outer_bins == 3
    assert GatingOptions(motion_bins=4, accepts="flag[57]").n_outer_bins == 0
    with pytest.raises(ValueError, match="motion_bins must be 0, 3 or 4"):
        GatingOptions(motion_bins=2)


def one_bin(corrections: LineCorrections, hybrid: ComplexArray, times: RealArray) -> MotionBin:
    """Every line measured once, 6 mm down."""
    kspace = KSpace(len(hybrid), hybrid.shape[1], hybrid.shape[2:], keeps_reserve=False)
    for echo, z, y in np.ndindex(len(hybrid), *hybrid.shape[2:4]):
        when = float(times[z, y])
        kspace.weigh(Line(echo, z, y), hybrid[echo, :, z, y], -6.0, time=when)
    return corrections.correct_bin(kspace, np.ones(len(hybrid)), len(hybrid))


def test_bins_are_shifted_and_turned_as_the_window_was() -> None:
    fov = (70.0, 96.0, 40.0)
    plan = EncodingPlan(SHAPE, SHAPE, len(TE), encoded_fov=fov, recon_fov=fov, echo_times=TE)
    gating = GatingOptions(tracking="fixed", tracking_factor=0.5)
    options = AcquisitionOptions(gating=gating, removes_drift=True)
    centre = (SHAPE[0] // 2, SHAPE[1] // 2)
    corrections = LineCorrections(plan, options, (1.0, 0.0, 0.0), centre)
    true = 4 * np.cos(np.pi * TIMES / TIMES.max())
    hybrid, none = drifting(still(), true), np.zeros((len(TE), *SHAPE[:2]))
    corrections.track(hybrid, none, CentralLines(centre), report_ungated("", 5.0))
    times = np.broadcast_to(TIMES, none.shape)
    span, _ = corrections.remove_drift(hybrid, ALL, times, none)
    assert span is not None
    # The bin's lines come in another order, so their offsets are others.
    later = TIMES[::-1]
    kz = (np.arange(SHAPE[0]) - centre[0])[:, None, None] / fov[0]
    moved = np.exp(-2j * np.pi * kz * 0.5 * -6.0)
    own = (drifting(still(), true[::-1]) * moved).astype(np.complex64)
    found = one_bin(corrections, own, later)
    assert found.position == -6.0
    assert (found.counts == 1).all()
    rest = still()
    turn = np.vdot(rest, found.hybrid) / np.abs(np.vdot(rest, found.hybrid))
    left = np.linalg.norm(found.hybrid - turn * rest)
    assert left < 0.5 * np.linalg.norm(drifting(rest, true) - rest)
    assert left < 0.3 * np.linalg.norm(own - rest)
