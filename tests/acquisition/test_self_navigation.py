"""Breathing found in a line of k-space that is measured again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from chistream.acquisition.assembly import Acquisition, AcquisitionOptions
from chistream.acquisition.gating_options import GatingOptions
from chistream.acquisition.lines import Line, Lines
from chistream.acquisition.self_navigation import SelfTrack, learn_respiration

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.acquisition.conftest import Scanner

    from chistream.acquisition.assembly import AcquiredScan
    from chistream.acquisition.readouts import Readout
    from chistream.arrays import RealArray

N_BEATS, VIEWS = 120, 5


@pytest.fixture
def scanner(make_scanner: Callable[..., Scanner]) -> Scanner:
    return make_scanner((8, 21, 12), 1)


def descent(times: RealArray) -> RealArray:
    """Breathing that dwells at end-expiration, 12 mm deep."""
    found: RealArray = 12 * np.sin(np.pi * times / 4.3) ** 4
    return found


def beats_of(
    scanner: Scanner, *, repeated: bool = True, depth: float = 1.0, after: int = 0
) -> list[Readout]:
    """Heartbeats with the centre of k-space, first or after some lines.

    Samples grow by 1 for each mm of descent.

    What the centre shows of breathing lies in one coil only, and falls with inspiration.
    """
    n_echoes, n_coils, nz, ny, _ = scanner.kspace.shape
    rng = np.random.default_rng(3)
    readouts = []
    for beat in range(N_BEATS):
        start = beat * 0.9 + rng.uniform(0, 0.05)
        deep = float(descent(np.array(start))) * depth
        lines = [divmod((beat * VIEWS + view) % (nz * ny), ny) for view in range(VIEWS)]
        if repeated:
            lines.insert(after, (nz // 2, ny // 2))
        for view, (z, y) in enumerate(lines):
            for echo in range(n_echoes):
                line = scanner.line(echo, z, y, scanner.start + start + 0.01 * view)
                noise = 1 + 0.01 * rng.standard_normal((n_coils, 1))
                if repeated and view == after:
                    line.samples *= noise * (1 - 0.03 * deep * (np.arange(n_coils) == 0))[:, None]
                else:
                    line.samples *= 1 + deep
                readouts.append(line)
    return readouts


def acquire(scanner: Scanner, readouts: list[Readout], **options: object) -> AcquiredScan:
    gating = GatingOptions(**{"scheme": "window", **options})  # type: ignore[arg-type]
    acquisition = Acquisition(scanner.plan, AcquisitionOptions(gating=gating))
    for readout in readouts:
        acquisition.feed(readout)
    return acquisition.finish()


@pytest.mark.parametrize("source", ["auto", "self"])
def test_a_repeated_line_tells_the_displacement(scanner: Scanner, source: str) -> None:
    readouts = beats_of(scanner)
    scan = acquire(scanner, readouts, source=source)
    assert scan.gating.method == "self-navigated"
    assert scan.gating.scheme == "window"
    assert scan.gating.efficiency == pytest.approx(0.55, abs=0.15)
    # Every visit is a position, those on its own turn in k-space too.
    assert N_BEATS <= len(scan.gating.displacements) <= N_BEATS + 25
    found = scan.gating.displacements
    assert np.percentile(found, 10) < -9
    assert abs(np.median(found[found > -2])) < 1.0
    order = np.random.default_rng(1).permutation(len(readouts))
    mixed = acquire(scanner, [readouts[i] for i in order], source=source)
    np.testing.assert_allclose(mixed.hybrid, scan.hybrid, atol=1e-6 * np.abs(scan.hybrid).max())


def test_the_repeated_line_may_lie_anywhere_in_its_heartbeat(scanner: Scanner) -> None:
    truth = scanner.image_along_x()
    gains = {}
    for after in (0, 3):
        scan = acquire(scanner, beats_of(scanner, after=after))
        assert scan.gating.method == "self-navigated"
        # What comes before the first visit belongs to it as well.
        assert not any("first navigator" in warning for warning in scan.warnings)
        products = (scan.hybrid * truth.conj()).sum(axis=(1, 4)).real
        gain = products / (np.abs(truth) ** 2).sum(axis=(1, 4))
        gains[after] = float(np.delete(gain.ravel(), 4 * 21 + 10).mean())
    assert gains[3] == pytest.approx(gains[0], rel=0.1)


def test_readouts_take_the_nearest_visit() -> None:
    track = SelfTrack(0.6)
    assert track.starts(np.array([1.0, 2.0, 4.0])).tolist() == [-np.inf, 1.5, 3.0]
    assert track.starts(np.zeros(0)).size == 0


@pytest.mark.parametrize(
    ("repeated", "depth", "source", "reason"),
    [
        (False, 1.0, "auto", "the scan has no navigator readouts"),
        (False, 1.0, "self", "no line of k-space is measured again in every heartbeat"),
        (True, 0.0, "auto", "the repeated lines of k-space show no breathing"),
    ],
)
def test_without_breathing_to_see_the_scan_is_not_gated(
    scanner: Scanner, repeated: bool, depth: float, source: str, reason: str
) -> None:
    readouts = beats_of(scanner, repeated=repeated, depth=depth)
    scan = acquire(scanner, readouts, source=source)
    assert (scan.gating.method, scan.gating.reason) == ("ungated", reason)
    assert any(reason in warning for warning in scan.warnings)


def projections(times: RealArray, sign: float) -> RealArray:
    rng = np.random.default_rng(5)
    drift = np.outer(times / times[-1], [0.0, 0.0, 0.0, 3.0])  # not breathing, and as large
    seen = np.outer(descent(times), sign * np.array([0.2, -0.1, 0.0, 0.0]))
    found: RealArray = 50 + seen + drift + 0.05 * rng.standard_normal((len(times), 4))
    return found


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_end_expiration_is_where_the_chest_dwells(sign: float) -> None:
    times = np.cumsum(np.random.default_rng(2).uniform(0.8, 1.0, 90))
    learnt = learn_respiration(times, projections(times, sign), 0.6)
    assert learnt is not None
    found = learnt.displacements(projections(times, sign))
    assert np.corrcoef(found, -descent(times))[0, 1] > 0.98
    np.testing.assert_allclose(found, -descent(times), atol=2.0)
    assert np.median(found[descent(times) < 0.3]) == pytest.approx(0.0, abs=0.5)


def test_too_few_visits_or_none_that_breathe_teach_nothing() -> None:
    times = np.arange(19.0)
    assert learn_respiration(times, projections(times, 1.0), 0.6) is None
    noise = np.random.default_rng(1).standard_normal((60, 40))
    assert learn_respiration(np.arange(60.0), noise, 0.6) is None


def lines_at(times: RealArray, address: Line) -> Lines:
    values = np.ones((len(times), 2, 40), np.complex64)
    return Lines([address] * len(times), times, values)


def test_visits_must_come_often_and_in_the_first_echo() -> None:
    track = SelfTrack(0.6)
    assert not len(track)
    assert track.times().size == 0
    track.add(lines_at(np.arange(40.0), Line(1, 3, 3)))
    assert not len(track)
    track.add(lines_at(3.0 * np.arange(30), Line(0, 2, 2)))
    assert not len(track)  # every 3 s is too seldom
    assert not track.learn(np.inf, None)
    track.add(lines_at(0.9 * np.arange(40), Line(0, 3, 3)))
    assert len(track) == 40
    assert np.isnan(track.by_time()[1]).all()
    track.forget()
    assert len(track) == 40
