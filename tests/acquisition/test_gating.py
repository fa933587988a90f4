"""Which heartbeats count, against verdicts written down by hand."""

import numpy as np
import pytest

from chistream.acquisition.beats import Heartbeats, heartbeat_of, judge_heartbeats
from chistream.acquisition.gating import GatingReport, report_gating
from chistream.acquisition.positions import NavigatorTrack
from chistream.acquisition.readouts import Readout
from chistream.arrays import RealArray

NAN = np.nan


def judge(
    navigators: list[tuple[float, float]], lines: list[float], window: float = 5.0
) -> Heartbeats:
    times, displacement = np.array(navigators).T
    return judge_heartbeats(times, displacement, np.array(lines), window=window, max_change=2.0)


def test_a_readout_belongs_to_the_navigator_before_it() -> None:
    found = heartbeat_of(np.array([0.5, 1.0, 1.5, 9.0]), np.array([1.0, 2.0]))
    np.testing.assert_array_equal(found, [-1, 0, 0, 1])


def test_the_window_is_a_full_width_around_end_expiration() -> None:
    beats = judge([(0, 2.4), (1, 2.6), (2, -2.4), (3, -2.6)], [0.1, 1.1, 2.1, 3.1])
    np.testing.assert_array_equal(beats.is_accepted, [True, False, True, False])
    np.testing.assert_array_equal(beats.displacement, [2.4, 2.6, -2.4, -2.6])


def test_a_navigator_after_the_lines_counts_with_the_one_before() -> None:
    # before, lines, after; before, lines, after: the second breathes in during its heartbeat.
    navigators = [(0.0, 0.2), (0.3, 1.0), (1.0, 0.1), (1.3, 2.3), (2.0, 2.0), (2.3, 3.0)]
    lines = [0.1, 0.2, 1.1, 1.2, 2.1, 2.2]
    beats = judge(navigators, lines)
    np.testing.assert_array_equal(beats.has_lines, [True, False] * 3)
    np.testing.assert_allclose(beats.displacement[::2], [0.6, 1.2, 2.5])
    np.testing.assert_allclose(beats.distance[::2], [1.0, 2.3, 3.0])
    # accepted; changes by 2.2 mm; leaves the window
    np.testing.assert_array_equal(beats.is_accepted[::2], [True, False, False])


def test_the_next_heartbeats_navigator_says_nothing_about_this_one() -> None:
    beats = judge([(0.0, 0.0), (0.2, 9.0)], [0.1, 0.3])
    np.testing.assert_array_equal(beats.is_accepted, [True, False])
    late = judge([(0.0, 0.0), (0.5, 9.0)], [0.1, 0.2])
    assert late.is_accepted[0]


def test_a_heartbeat_without_a_usable_navigator_is_rejected_and_last_choice() -> None:
    beats = judge([(0.0, NAN), (1.0, 0.0), (1.2, NAN)], [0.1, 1.1])
    np.testing.assert_array_equal(beats.is_accepted, [False, False, False])
    assert np.isinf(beats.distance[:2]).all()


def readout(*, peak: float, coils: int = 1, n: int = 64) -> Readout:
    """A navigator whose profile is a bump at ``peak`` samples off the middle."""
    place = np.arange(n) - n // 2
    bump = np.exp(-((place - peak) ** 2) / 20) * np.ones((coils, 1))
    samples = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(bump, 1)), 1)
    return Readout(samples.astype(np.complex64))


def fill(track: NavigatorTrack, peaks: RealArray) -> None:
    for i, peak in enumerate(peaks):
        track.add(readout(peak=peak), float(i))


def test_navigators_are_measured_before_and_after_learning() -> None:
    peaks = np.array([3.0, 0.0, 0.1, -0.1, 0.0, 4.0])
    track = NavigatorTrack(64.0, 0.625)
    assert (len(track), track.is_learnt, track.reference) == (0, False, None)
    fill(track, peaks)
    assert track.learn(np.inf, None)
    track.add(readout(peak=-5.0), 2.5)
    times, found = track.by_time()
    np.testing.assert_array_equal(times, [0, 1, 2, 2.5, 3, 4, 5])
    np.testing.assert_allclose(found, [3, 0, 0.1, -5, -0.1, 0, 4], atol=0.15)
    assert track.reference == pytest.approx(-3, abs=0.2)


def test_learning_stops_at_its_time() -> None:
    track = NavigatorTrack(64.0, 0.625)
    fill(track, np.array([0.0, 0.0, 8.0, 8.0, 8.0, 8.0]))
    assert track.learn(1.5, None)
    _, found = track.by_time()
    np.testing.assert_allclose(found, [0, 0, 8, 8, 8, 8], atol=0.1)


def test_nothing_can_be_learnt_from_broken_navigators() -> None:
    track = NavigatorTrack(64.0, 0.625)
    track.add(Readout(np.full((1, 64), NAN, np.complex64)), 0.0)
    track.add(Readout(np.zeros((1, 64), np.complex64)), 1.0)
    track.add(readout(peak=0.0), 5.0)
    assert not track.learn(2.0, None)
    assert track.n_unusable == 2
    assert track.learn(5.0, np.ones(7))  # noise of other coils: not used
    np.testing.assert_allclose(track.by_time()[1], [NAN, NAN, 0.0], atol=0.1)


@pytest.mark.parametrize("is_learnt", [False, True])
def test_navigators_of_another_shape_are_not_used(is_learnt: bool) -> None:
    track = NavigatorTrack(64.0, 0.625)
    track.add(readout(peak=0.0), 0.0)
    if is_learnt:
        track.learn(np.inf, None)
    track.add(readout(peak=0.0, coils=2), 1.0)
    track.add(readout(peak=0.0), 2.0)
    if not is_learnt:
        track.learn(np.inf, None)
    np.testing.assert_allclose(track.by_time()[1], [0.0, NAN, 0.0], atol=0.05)
    assert track.n_unusable == 1


def beats_of(displacements: RealArray) -> Heartbeats:
    return judge_heartbeats(
        np.arange(len(displacements), dtype=float),
        displacements,
        np.arange(len(displacements)) + 0.5,
        window=5.0,
        max_change=2.0,
    )


def report(beats: Heartbeats) -> GatingReport:
    return report_gating(
        beats,
        method="navigator",
        scheme="window",
        window=(-2.5, 2.5),
        reference=-2.0,
        filled_from_rejected=7,
    )


def test_the_report_counts_heartbeats() -> None:
    found = report(beats_of(np.array([0.0, 4.0, -1.0, NAN])))
    assert (found.n_heartbeats, found.n_accepted, found.efficiency) == (4, 2, 0.5)
    assert (found.method, found.reason, found.window_mm) == ("navigator", "", 5.0)
    assert (found.reference, found.filled_from_rejected, found.drift_mm) == (-2.0, 7, None)
    np.testing.assert_array_equal(found.displacements, np.array([0, 4, -1, NAN], np.float32))


def test_navigators_without_lines_are_no_heartbeats() -> None:
    found = report(judge([(0.0, 0.0), (5.0, 0.0)], []))
    assert (found.n_heartbeats, found.efficiency) == (0, None)


def test_drift_is_how_far_end_expiration_moved() -> None:
    rng = np.random.default_rng(1)
    breathing = -rng.uniform(0, 12, 90) * (rng.uniform(size=90) < 0.5)
    drift = np.linspace(0, 4.5, 90)
    found = report(beats_of(breathing + drift))
    assert found.drift_mm == pytest.approx(3.0, abs=1.0)  # middle of first to middle of last third
