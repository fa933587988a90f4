"""A free-breathing chest whose scanner gated, tracked or left out lines itself."""

from types import ModuleType
from typing import Any, Literal

import numpy as np
import pytest

from chistream.acquisition.assembly import AcquiredScan
from chistream.acquisition.readouts import kind_of
from chistream.arrays import ComplexArray, Size
from chistream.echoes.options import EchoOptions
from chistream.echoes.reconstruction import Sampling, reconstruct_echoes
from chistream.stream.messages import Acquisitions, Message

SIZE: Size = (16, 36, 40)


@pytest.fixture(scope="module")
def gating(gating_benchmark: ModuleType) -> ModuleType:
    return gating_benchmark


@pytest.fixture(scope="module")
def chest(chest_at_rest: Any) -> Any:  # noqa: ANN401
    return chest_at_rest


@pytest.fixture(scope="module")
def vendor(breathing_chest: Any) -> Any:  # noqa: ANN401
    return breathing_chest


@pytest.mark.slow
def test_what_the_scanner_accepted_is_not_gated_again(
    gating: ModuleType,
    chest: Any,  # noqa: ANN401
    vendor: Any,  # noqa: ANN401
) -> None:
    told = {"accepts": "user_int[1]", "source": "user_int[0]", "unit": -0.1}
    window = gating.acquire(vendor, scheme="window", **told)
    assert window.gating.efficiency == pytest.approx(vendor.efficiency)
    assert set(window.gating.rejected) == {"rejected by the scanner"}
    # The scanner repeats each line until it accepts it once: whatever the scheme, it is that one.
    for scheme in ("soft", "smallest", "two_bin", "drift"):
        scan = gating.acquire(vendor, scheme=scheme, window=0.5, **told)
        assert scan.gating.n_accepted == window.gating.n_accepted
        np.testing.assert_array_equal(scan.hybrid, window.hybrid)
    shifted = gating.acquire(vendor, scheme="soft", tracking="estimate", **told)
    assert shifted.gating.tracking_factor == pytest.approx(gating.FACTOR, abs=0.1)
    assert chest.error(vendor, shifted) <= 1.15 * chest.perfect


@pytest.mark.slow
def test_what_the_scanner_tracked_is_not_shifted_again(gating: ModuleType, chest: Any) -> None:  # noqa: ANN401
    tracked = chest.breathing(prospective_tracking=gating.FACTOR)
    as_it_is = gating.acquire(tracked, scheme="soft")
    options = {"scheme": "soft", "prospective_tracking": gating.FACTOR}
    fixed = gating.acquire(tracked, tracking="fixed", tracking_factor=gating.FACTOR, **options)
    np.testing.assert_array_equal(fixed.hybrid, as_it_is.hybrid)
    assert fixed.gating.tracking_factor == gating.FACTOR
    estimated = gating.acquire(tracked, tracking="estimate", **options)
    assert estimated.gating.tracking_factor == pytest.approx(gating.FACTOR, abs=0.1)
    assert chest.error(tracked, estimated) <= 1.15 * chest.perfect
    twice = gating.acquire(tracked, scheme="soft", tracking="fixed", tracking_factor=gating.FACTOR)
    assert chest.error(tracked, twice) > 1.05 * chest.error(tracked, estimated)


@pytest.mark.slow
def test_lines_that_gating_left_open_are_filled_and_named(
    gating: ModuleType,
    vendor: Any,  # noqa: ANN401
) -> None:
    # The inner lines, which coils are learnt from, have all come.
    away = np.indices(SIZE[:2]) - np.array([8, 18])[:, None, None]
    outer = np.argwhere((np.abs(away[0]) > 2) | (np.abs(away[1]) > 5))
    chosen = np.random.default_rng(1).choice(len(outer), 40, replace=False)
    left_out = {(int(z), int(y)) for z, y in outer[chosen]}
    holed = vendor._replace(messages=[without(left_out, message) for message in vendor.messages])
    complete = gating.acquire(vendor, scheme="soft", tracking="estimate")
    scan = gating.acquire(holed, scheme="soft", tracking="estimate")
    assert {(line.step_2, line.step_1) for line in scan.missing_lines} == left_out
    assert any("40 of 576 lines" in warning for warning in scan.warnings)
    expected = echo_of(complete, "none")
    zeros, filled = (
        np.linalg.norm(echo_of(scan, method) - expected) for method in ("none", "sense")
    )
    # What is left is the noise of the lines themselves: measured 0.83.
    assert filled < 0.9 * zeros


def without(lines: set[tuple[int, int]], message: Message) -> Message:
    """Drop the imaging readouts of some lines ``(z, y)``."""
    if (
        not isinstance(message, Acquisitions)
        or not kind_of(int(message.heads[0]["flags"])).is_imaging
    ):
        return message
    idx = message.heads["idx"]
    places = zip(idx["kspace_encode_step_2"], idx["kspace_encode_step_1"], strict=True)
    kept = np.array([place not in lines for place in places])
    return Acquisitions(message.heads[kept], message.samples[kept], message.trajectories[kept])


def echo_of(scan: AcquiredScan, method: Literal["none", "sense"]) -> ComplexArray:
    sampling = Sampling(scan.sampled, scan.region, scan.lattice, scan.readout_support)
    options = EchoOptions(parallel_imaging=method)
    found: ComplexArray = reconstruct_echoes(
        scan.hybrid.copy(), sampling, SIZE, options=options
    ).echoes[0]
    return found
