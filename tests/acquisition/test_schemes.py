"""Schemes and sources of gating on a whole small scan: what enters k-space, and what is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from chistream.acquisition.assembly import Acquisition, AcquisitionOptions
from chistream.acquisition.compression import CompressionOptions
from chistream.acquisition.gating import gating_figures
from chistream.acquisition.gating_options import GatingOptions, field_reader
from chistream.acquisition.positions import BeltTrack, NavigatorTrack
from chistream.acquisition.readouts import Readout
from chistream.acquisition.runs import Run, RunLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.acquisition.conftest import Scanner

    from chistream.acquisition.assembly import AcquiredScan
    from chistream.arrays import ComplexArray, RealArray

SCHEMES = ("window", "drift", "smallest", "two_bin", "soft")
VIEWS, N_BEATS = 5, 120
NAVIGATOR, KEPT = 1 << 22, 1 << 56


def breathing(n: int = N_BEATS, seed: int = 4) -> RealArray:
    """Rests at 0 for half of the heartbeats, lies down to 12 mm below in the others."""
    rng = np.random.default_rng(seed)
    moves = rng.uniform(size=n) < 0.5
    return np.where(moves, -rng.uniform(1, 12, n), rng.uniform(-0.3, 0.3, n))


def bump(position: float, coils: int, n: int = 64) -> ComplexArray:
    place = np.arange(n) - n // 2
    profile = np.exp(-((place - position) ** 2) / 20) * np.ones((coils, 1))
    samples: ComplexArray = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(profile, 1)), 1)
    return samples.astype(np.complex64)


def heartbeats(scanner: Scanner, positions: RealArray, *, navigators: bool = True) -> list[Readout]:
    """Heartbeats that walk through k-space; samples grow by 1 for each mm away from rest.

    Every head also tells trigger, position (tenths of a millimetre, downwards, in 16 bits), and
    whether the scanner kept the heartbeat.
    """
    n_echoes, _, nz, ny, _ = scanner.kspace.shape
    readouts = []
    for beat, position in enumerate(positions):
        start = scanner.start + beat
        told = {
            "user_int": (round(-10 * position) & 0xFFFF, *(0,) * 7),
            "user": (0, 0, 0, int(abs(position) < 1), 0, 0, 0, 0),
            "user_float": (float(position), *(0.0,) * 7),
        }
        if navigators:
            samples = bump(float(position), scanner.kspace.shape[1])
            readouts.append(Readout(samples, flags=NAVIGATOR, time_stamp=start))
        for view in range(VIEWS):
            z, y = divmod((beat * VIEWS + view) % (nz * ny), ny)
            time = start + 0.05 + 0.01 * view
            for echo in range(n_echoes):
                line = scanner.line(
                    echo,
                    z,
                    y,
                    time,
                    time_since_trigger=time - start + 0.5,
                    flags=KEPT if abs(position) < 1 else 0,
                    **told,
                )
                line.samples *= 1 + abs(float(position))
                readouts.append(line)
    return readouts


def acquire(scanner: Scanner, readouts: list[Readout], **options: object) -> AcquiredScan:
    chosen = GatingOptions(**{"column": 64.0, **options})  # type: ignore[arg-type]
    return scanner.acquire(readouts, AcquisitionOptions(gating=chosen))


def gain(scanner: Scanner, scan: AcquiredScan) -> RealArray:
    """How many times each line is larger than at rest ``(echoes, z, y)``."""
    truth = scanner.image_along_x()
    products = (scan.hybrid * truth.conj()).sum(axis=(1, 4)).real
    ratio: RealArray = products / (np.abs(truth) ** 2).sum(axis=(1, 4))
    return ratio


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_scheme_finds_the_heart_at_rest_in_any_order(scanner: Scanner, scheme: str) -> None:
    readouts = heartbeats(scanner, breathing())
    scan = acquire(scanner, readouts, scheme=scheme, window=4.0)
    assert (scan.gating.scheme, scan.gating.method) == (scheme, "navigator")
    assert gain(scanner, scan).mean() < 2.0
    assert gain(scanner, acquire(scanner, readouts, scheme="none")).mean() > 3.0
    order = np.random.default_rng(1).permutation(len(readouts))
    mixed = acquire(scanner, [readouts[i] for i in order], scheme=scheme, window=4.0)
    scale = np.abs(scan.hybrid).max()
    np.testing.assert_allclose(mixed.hybrid, scan.hybrid, atol=1e-6 * scale)
    np.testing.assert_array_equal(mixed.gating.displacements, scan.gating.displacements)
    assert mixed.gating.rejected == scan.gating.rejected
    assert mixed.gating.window_centre_mm == scan.gating.window_centre_mm


def test_the_smallest_window_may_lie_away_from_rest(scanner: Scanner) -> None:
    # Two of three rounds through k-space rest, but for their last heartbeat; the third lies deep.
    positions = np.where(np.arange(N_BEATS) // 6 % 3 == 2, -8.0, 0.0)
    positions[5::6] = -7.7
    scan = acquire(scanner, heartbeats(scanner, positions), scheme="smallest")
    assert scan.gating.window_centre_mm == pytest.approx(-7.8, abs=0.5)
    assert scan.gating.window_mm == pytest.approx(2.5)
    fixed = acquire(scanner, heartbeats(scanner, positions), scheme="window")
    assert fixed.gating.filled_from_rejected == 10
    assert scan.gating.filled_from_rejected == 0


def test_a_following_window_keeps_what_drifts(scanner: Scanner) -> None:
    positions = breathing(300) - np.linspace(0, 8, 300)
    fixed, following = (
        acquire(scanner, heartbeats(scanner, positions), scheme=scheme)
        for scheme in ("window", "drift")
    )
    assert following.gating.efficiency is not None
    assert fixed.gating.efficiency is not None
    assert following.gating.efficiency > fixed.gating.efficiency + 0.1
    assert following.gating.window_centre_mm < -5
    assert following.gating.drift_mm == pytest.approx(-5.3, abs=1.0)


@pytest.mark.parametrize(
    ("source", "unit"), [("user_int[0]", -0.1), ("user_float[0]", 1.0), ("profile", 1.0)]
)
def test_positions_come_from_where_they_are_said_to_be(
    scanner: Scanner, source: str, unit: float
) -> None:
    positions = breathing()
    readouts = heartbeats(scanner, positions, navigators=source == "profile")
    scan = acquire(scanner, readouts, source=source, unit=unit)
    assert scan.gating.method == ("navigator" if source == "profile" else "reported")
    found = scan.gating.displacements
    np.testing.assert_allclose(found - np.median(found - positions), positions, atol=0.4)
    assert gain(scanner, scan).mean() < 2.0


@pytest.mark.parametrize("accepts", ["idx_user[3]", "flag[57]"])
@pytest.mark.parametrize("navigators", [False, True])
@pytest.mark.parametrize("scheme", ["window", "soft", "smallest"])
def test_what_the_scanner_gated_is_not_gated_again(
    scanner: Scanner, accepts: str, navigators: bool, scheme: str
) -> None:
    positions = breathing()
    readouts = heartbeats(scanner, positions, navigators=navigators)
    options = {"scheme": scheme, "window": 0.1, "max_change": 0.1}
    scan = acquire(scanner, readouts, accepts=accepts, **options)
    assert scan.gating.n_accepted == int((np.abs(positions) < 1).sum())
    assert list(scan.gating.rejected) == ["rejected by the scanner"]
    assert gain(scanner, scan).max() < 2.0
    assert not scan.warnings[0].startswith("Only")


def belt(positions: RealArray, start: float) -> list[tuple[float, float, RealArray]]:
    """Pieces of a second; the belt holds still during a heartbeat's lines."""
    return [
        (start + beat, 0.02, np.full(50, 2000.0 - 40 * position))
        for beat, position in enumerate(positions)
    ]


@pytest.mark.parametrize("when", ["before", "meanwhile", "after"])
def test_a_belt_gates_where_there_are_no_navigators(scanner: Scanner, when: str) -> None:
    positions = breathing()
    readouts = heartbeats(scanner, positions, navigators=False)
    options = GatingOptions(source="auto" if when != "after" else "respiration")
    acquisition = Acquisition(scanner.plan, AcquisitionOptions(gating=options))
    pieces = belt(positions, scanner.start)
    per_beat = len(readouts) // N_BEATS
    for piece in pieces if when == "before" else []:
        acquisition.feed_respiration(*piece)
    for i, readout in enumerate(readouts):
        acquisition.feed(readout)
        if when == "meanwhile" and i % per_beat == per_beat - 1:
            acquisition.feed_respiration(*pieces[i // per_beat])
    for piece in pieces if when == "after" else []:
        acquisition.feed_respiration(*piece)
    scan = acquisition.finish()
    assert scan.gating.method == "respiration"
    assert gain(scanner, scan).mean() < 2.0
    found = scan.gating.displacements
    assert np.corrcoef(found, positions)[0, 1] > 0.99


@pytest.mark.parametrize("pieces", [[], [(36000.0, 0.02, np.full(50, 7.0))]])
def test_without_a_usable_belt_the_scan_is_not_gated(
    scanner: Scanner, pieces: list[tuple[float, float, RealArray]]
) -> None:
    options = AcquisitionOptions(gating=GatingOptions(source="respiration"))
    acquisition = Acquisition(scanner.plan, options)
    for piece in pieces:
        acquisition.feed_respiration(*piece)
    for readout in heartbeats(scanner, np.zeros(12), navigators=False):
        acquisition.feed(readout)
    scan = acquisition.finish()
    assert scan.gating.method == "ungated"
    assert scan.gating.reason == "the scan has no usable respiratory waveform"


def test_figures_are_there_while_the_scan_runs(scanner: Scanner) -> None:
    positions = breathing()
    readouts = heartbeats(scanner, positions)
    options = AcquisitionOptions(gating=GatingOptions(column=64.0))
    acquisition = Acquisition(scanner.plan, options)
    assert acquisition.progress().reason == "end-expiration is not known yet"
    seen = []
    for readout in readouts:
        acquisition.feed(readout)
        seen.append(acquisition.progress())
    found = seen[len(readouts) // 2]
    assert 50 <= found.n_heartbeats <= 60
    assert found.efficiency == pytest.approx(0.5, abs=0.2)
    assert found.rejected["outside the window"] == found.n_heartbeats - found.n_accepted
    assert found.histogram.sum() == found.n_heartbeats
    assert found.histogram_start < -9
    assert found.histogram.argmax() + found.histogram_start in {-1.0, 0.0}
    assert found.navigator_snr is not None
    assert found.navigator_snr > 20
    complete = [one.completeness for one in seen if one.completeness is not None]
    assert complete == sorted(complete)
    assert acquisition.finish().gating.completeness == pytest.approx(1.0, abs=0.1)
    ungated = Acquisition(scanner.plan, AcquisitionOptions(gating=GatingOptions(scheme="none")))
    assert ungated.progress().reason == "gating is switched off"
    live = gating_figures(found)
    assert live["histogram"] == found.histogram.tolist()
    assert live["drift_mm"] == found.drift_mm is not None
    assert live["rejected"] == found.rejected
    assert live["completeness"] == found.completeness
    low, high = live["window_mm"]
    assert high - low == pytest.approx(found.window_mm)


def test_completeness_is_told_of_scans_that_are_not_gated(scanner: Scanner) -> None:
    ungated = Acquisition(scanner.plan, AcquisitionOptions(gating=GatingOptions(scheme="none")))
    assert ungated.progress().completeness == 0.0
    lines = scanner.lines()
    for readout in lines[:40]:  # of 60; 32 are handed on together
        ungated.feed(readout)
    assert 0.1 < gating_figures(ungated.progress())["completeness"] < 0.9
    for readout in lines[40:]:
        ungated.feed(readout)
    assert ungated.finish().gating.completeness == 1.0


def test_an_ectopic_beat_is_rejected_with_its_neighbours(scanner: Scanner) -> None:
    readouts = heartbeats(scanner, np.zeros(30))
    for beat in range(30):  # a navigator after the lines as well
        samples = bump(0.0, scanner.kspace.shape[1])
        readouts.append(Readout(samples, flags=NAVIGATOR, time_stamp=scanner.start + beat + 0.15))
    early = [r for r in readouts if 20 <= r.time_stamp - scanner.start < 20.9]
    for readout in early:
        readout.time_stamp -= 0.4
    ordered = sorted(readouts, key=lambda readout: readout.time_stamp)
    scan = acquire(scanner, ordered)
    assert scan.gating.rejected == {"irregular heartbeat": 3}
    assert scan.gating.n_heartbeats == 30
    order = np.random.default_rng(1).permutation(len(ordered))
    mixed = acquire(scanner, [ordered[i] for i in order])
    assert mixed.gating.rejected == scan.gating.rejected
    np.testing.assert_allclose(mixed.hybrid, scan.hybrid, atol=1e-5)
    careless = acquire(scanner, ordered, rr_tolerance=0.0)
    assert careless.gating.rejected == {}


@pytest.mark.parametrize("tracking", ["fixed", "estimate"])
def test_lines_are_shifted_back(make_scanner: Callable[..., Scanner], tracking: str) -> None:
    fov = (80.0, 90.0, 100.0)
    scanner = make_scanner((16, 18, 20), 1, encoded_fov=fov, recon_fov=fov)
    rng = np.random.default_rng(3)
    shape = (16, 18, 20)
    squares = [((np.arange(n) - n // 2) * f / n) ** 2 for n, f in zip(shape, fov, strict=True)]
    body = np.exp(-(squares[0][:, None, None] + squares[1][:, None] + squares[2]) / (2 * 15.0**2))
    spectrum = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(body), norm="ortho"))
    scanner.kspace = (spectrum * np.exp(1j * np.arange(3))[:, None, None, None])[None].astype(
        np.complex64
    )
    positions = np.where(rng.uniform(size=200) < 0.7, 0.0, -4.0)
    readouts = heartbeats(scanner, positions)
    kz = (np.arange(16) - 8) / fov[0]
    for readout in readouts:
        if readout.flags != NAVIGATOR:
            position = readout.user_float[0]
            turn = np.exp(-2j * np.pi * kz[readout.encode_step_2] * 0.5 * position)
            readout.samples = (readout.samples * turn / (1 + abs(position))).astype(np.complex64)
    options = {"scheme": "soft", "window": 12.0, "tracking": tracking, "tracking_factor": 0.5}
    errors, factor = [], None
    for superior in (None, (1.0, 0.0, 0.0)):
        chosen = GatingOptions(column=64.0, **options)  # type: ignore[arg-type]
        all_coils = AcquisitionOptions(gating=chosen, compression=CompressionOptions("off"))
        acquisition = Acquisition(scanner.plan, all_coils)
        for readout in readouts:
            acquisition.feed(readout)
        if superior is not None:
            acquisition.orient(superior)
        scan = acquisition.finish()
        errors.append(np.abs(scan.hybrid - scanner.image_along_x()).mean())
        factor = scan.gating.tracking_factor
    assert factor == pytest.approx(0.5, abs=0.06)
    assert errors[1] < 0.35 * errors[0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"window": 0.0}, "window"),
        ({"column": -1.0}, "column"),
        ({"max_change": float("nan")}, "change"),
        ({"unit": 0.0}, "unit"),
        ({"rr_tolerance": 0.5}, "rr_tolerance"),
        ({"source": "user_int[8]"}, r"user_int\[8\]"),
        ({"source": "none"}, "none"),
        ({"accepts": "flag[65]"}, r"flag\[65\]"),
        ({"accepts": "profile"}, "profile"),
    ],
)
def test_options_that_make_no_sense_are_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        GatingOptions(**changes)  # type: ignore[arg-type]


def test_numbers_are_read_from_heads() -> None:
    readout = Readout(
        np.zeros((1, 1), np.complex64),
        flags=1 << 63,
        user=(0, 65535, 0, 0, 0, 0, 0, 0),
        user_int=(65526, -7, 32767, 70000, 0, 0, 0, 0),
        user_float=(1.5,) * 8,
    )
    names = ("user_int[0]", "user_int[1]", "user_int[2]", "user_int[3]", "idx_user[1]")
    readers = [field_reader(name) for name in (*names, "user_float[7]", "flag[64]", "flag[1]")]
    found = [reader(readout) for reader in readers if reader is not None]
    assert found == [-10, -7, 32767, 70000, -1, 1.5, 1, 0]
    assert field_reader("profile") is None


def test_noisy_navigators_are_unknown_not_wrong() -> None:
    track = NavigatorTrack(64.0, 0.625)
    for time in range(8):
        track.add(Readout(bump(0.0, 2)), float(time))
    track.learn(np.inf, None)
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((2, 2, 64))
    track.add(Readout((noise[0] + 1j * noise[1]).astype(np.complex64)), 9.0)
    assert np.isnan(track.by_time()[1][-1])
    assert track.n_unusable == 1
    assert track.snr is not None
    assert track.covers(1e9)


def test_a_belt_that_does_not_reach_a_heartbeat_leaves_it_unknown() -> None:
    log = RunLog()
    for start in (0.0, 1.0, 2.0):
        log.note(Run(start, start + 0.2, np.nan, np.nan, np.nan))
    track = BeltTrack(log, 0.6)
    assert not track.learn(np.inf, None)
    track.add(0.0, 0.1, np.linspace(0, 1, 16))
    assert track.learn(np.inf, None)
    assert track.reference is not None
    times, found = track.by_time()
    assert len(times) == 6
    np.testing.assert_array_equal(np.isnan(found), [False] * 4 + [True] * 2)
    assert (track.covers(1.4), track.covers(1.6), track.settled()) == (True, False, 1.5)
