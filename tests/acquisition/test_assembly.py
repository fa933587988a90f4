"""Readouts in, k-space out, against k-space sorted by plain numpy."""

from __future__ import annotations

import ctypes
import gc
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from chistream.acquisition.assembly import Acquisition, AcquisitionOptions, EncodingPlan
from chistream.acquisition.compression import CompressionOptions
from chistream.acquisition.gating_options import GatingOptions
from chistream.acquisition.readouts import Readout, ReadoutKind
from chistream.errors import ReconstructionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.acquisition.conftest import Scanner

    from chistream.arrays import ComplexArray

NOISE, CALIBRATION, BOTH, REVERSE, NAVIGATOR, DUMMY = (
    1 << (n - 1) for n in (19, 20, 21, 22, 23, 27)
)
ALL_COILS = CompressionOptions("off")
SORTED_ONLY = AcquisitionOptions(compression=ALL_COILS)
UNGATED = AcquisitionOptions(gating=GatingOptions(scheme="none"))


def shuffled(readouts: list[Readout], seed: int = 1) -> list[Readout]:
    order = np.random.default_rng(seed).permutation(len(readouts))
    return [readouts[i] for i in order]


def bump(position: float, coils: int = 3, n: int = 64) -> ComplexArray:
    """Navigator samples: a bump ``position`` samples off the middle of the column."""
    place = np.arange(n) - n // 2
    profile = np.exp(-((place - position) ** 2) / 20) * np.ones((coils, 1))
    samples: ComplexArray = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(profile, 1)), 1)
    return samples.astype(np.complex64)


def navigator(position: float, time: float, **changes: object) -> Readout:
    # Counters that look like an image's: they must not matter.
    fields: dict[str, object] = {"flags": NAVIGATOR, "time_stamp": time, "encode_step_1": 1}
    return Readout(bump(position), **(fields | changes))  # type: ignore[arg-type]


def noise_scan(scanner: Scanner, n: int = 3000) -> Readout:
    coils = scanner.kspace.shape[1]
    rng = np.random.default_rng(5)
    white = rng.standard_normal((2, coils, n)) / np.sqrt(2)
    mixing = np.tri(coils) + np.eye(coils)
    samples = mixing @ (white[0] + 1j * white[1])
    return Readout(samples.astype(np.complex64), flags=NOISE, dwell_time=5e-6)


def gated_scan(
    scanner: Scanner, positions: list[float], *, views: int = 5, period: float = 1.0
) -> list[Readout]:
    """Heartbeats that walk through k-space again and again; 1 mm per navigator sample.

    Heartbeats away from rest have samples that are scaled by 1 + their distance.
    """
    n_echoes, _, nz, ny, _ = scanner.kspace.shape
    readouts = []
    for beat, position in enumerate(positions):
        start = scanner.start + period * beat
        readouts.append(navigator(position, start))
        for view in range(views):
            z, y = np.unravel_index((beat * views + view) % (nz * ny), (nz, ny))
            for echo in range(n_echoes):
                line = scanner.line(echo, int(z), int(y), start + 0.05 + 0.01 * view)
                line.samples *= 1 + abs(position)
                readouts.append(line)
    return readouts


GATED = AcquisitionOptions(gating=GatingOptions(column=64.0))


@pytest.mark.parametrize(
    ("size", "n_echoes", "n_coils"), [((5, 6, 12), 2, 3), ((4, 7, 9), 1, 1), ((1, 8, 8), 3, 2)]
)
def test_k_space_is_sorted_and_transformed_along_x(
    make_scanner: Callable[..., Scanner], size: tuple[int, int, int], n_echoes: int, n_coils: int
) -> None:
    scanner = make_scanner(size, n_echoes, n_coils)
    scan = scanner.acquire(scanner.lines())
    np.testing.assert_allclose(scan.hybrid, scanner.image_along_x(), atol=1e-5)
    assert scan.hybrid.dtype == np.complex64
    assert scan.sampled.shape == (n_echoes, *size[:2])
    assert scan.sampled.all()
    assert (scan.missing_lines, scan.missing_fraction) == ((), 0.0)
    assert not scan.noise.measured
    assert scan.gating.method == "ungated"
    assert scan.n_readouts == {ReadoutKind.IMAGING: n_echoes * size[0] * size[1]}
    assert scan.warnings == (
        "The scan was not gated: the scan has no navigator readouts.",
        "The noise was not whitened: the scan has no noise readouts.",
    )


@pytest.mark.parametrize("options", [replace(UNGATED, compression=ALL_COILS), SORTED_ONLY])
def test_repeated_lines_are_averaged_in_any_order(
    scanner: Scanner, options: AcquisitionOptions
) -> None:
    rng = np.random.default_rng(3)
    readouts, expected = [noise_scan(scanner)], np.zeros_like(scanner.kspace)
    for average in range(3):
        for line in scanner.lines():
            line.average = average
            line.samples += rng.standard_normal(line.samples.shape).astype(np.float32)
            readouts.append(line)
            expected[line.contrast, :, line.encode_step_2, line.encode_step_1] += line.samples / 3
    ordered = scanner.acquire(readouts, options)
    mixed = scanner.acquire(shuffled(readouts), options)
    scale = np.abs(ordered.hybrid).max()
    np.testing.assert_allclose(mixed.hybrid, ordered.hybrid, atol=1e-6 * scale)
    raw = scanner.acquire(readouts[1:], options)
    scanner.kspace = expected
    np.testing.assert_allclose(raw.hybrid, scanner.image_along_x(), atol=1e-5)


def test_other_readouts_never_touch_image_lines(scanner: Scanner) -> None:
    lines = scanner.lines()
    others = [
        scanner.line(0, 1, 1, flags=1 << (flag - 1))
        for flag in (20, 23, 24, 26, 27, 28, 29, 30, 31)
    ]
    for other in others:
        other.samples[...] = 1e6
    expected = scanner.acquire(scanner.lines(), UNGATED)
    found = scanner.acquire([*others, *lines, *others], UNGATED)
    np.testing.assert_array_equal(found.hybrid, expected.hybrid)
    assert found.n_readouts[ReadoutKind.NAVIGATOR] == 6
    assert found.n_readouts[ReadoutKind.CALIBRATION] == 2


def test_calibration_lines_that_are_image_lines_are_used(scanner: Scanner) -> None:
    lines = scanner.lines()
    for line in lines[::2]:
        line.flags = BOTH | CALIBRATION
    scan = scanner.acquire(lines)
    np.testing.assert_allclose(scan.hybrid, scanner.image_along_x(), atol=1e-5)


def test_reversed_lines_are_flipped(make_scanner: Callable[..., Scanner]) -> None:
    scanner = make_scanner((3, 4, 11))
    lines = scanner.lines()
    for line in lines:
        if line.contrast == 1:
            line.flags |= REVERSE
            line.samples = line.samples[:, ::-1]
            line.center_sample = 11 - 1 - line.center_sample
    scan = scanner.acquire(lines)
    np.testing.assert_allclose(scan.hybrid, scanner.image_along_x(), atol=1e-5)


def test_the_other_phase_sign_conjugates_samples_and_noise(scanner: Scanner) -> None:
    readouts = [noise_scan(scanner), *scanner.lines()]
    expected = scanner.acquire(readouts)
    for readout in readouts:
        readout.samples = readout.samples.conj()
    found = scanner.acquire(readouts, AcquisitionOptions(phase_sign=-1))
    np.testing.assert_array_equal(found.hybrid, expected.hybrid)


def test_noise_is_whitened_wherever_it_comes_in_the_stream(scanner: Scanner) -> None:
    noise = noise_scan(scanner)
    noise.samples[:, :50] = noise.samples[:, -70:] = 1e6
    noise.discard_pre, noise.discard_post = 50, 70
    lines = scanner.lines()
    first = scanner.acquire([noise, *lines])
    last = scanner.acquire([*lines, noise])
    np.testing.assert_array_equal(first.hybrid, last.hybrid)
    assert first.noise.measured
    assert first.noise.n_samples == 3000 - 120
    kept = noise.samples[:, 50:-70].astype(complex)
    covariance = kept @ kept.conj().T / kept.shape[1]
    # Whatever the matrix, the noise-weighted energy of every sample is its squared length.
    raw = scanner.image_along_x()
    energy = np.einsum("eczyx,cd,edzyx->ezyx", raw.conj(), np.linalg.inv(covariance), raw).real
    np.testing.assert_allclose((np.abs(first.hybrid) ** 2).sum(axis=1), energy, rtol=1e-4)


def test_the_samples_are_copied(scanner: Scanner) -> None:
    acquisition = Acquisition(scanner.plan)
    for line in scanner.lines():
        acquisition.feed(line)
        line.samples[...] = np.nan
    scan = acquisition.finish()
    np.testing.assert_allclose(scan.hybrid, scanner.image_along_x(), atol=1e-5)


@pytest.mark.parametrize("source", ["user", "header"])
def test_partial_fourier_lines_lie_around_the_centre(
    make_scanner: Callable[..., Scanner], source: str
) -> None:
    # The first two partitions and three lines are not measured: counters begin at what is.
    centre = (5 // 2 - 2, 8 // 2 - 3)
    header = {"centre_header": centre} if source == "header" else {}
    scanner = make_scanner((5, 8, 6), limits=((0, 2), (0, 4)), **header)
    readouts = []
    for line in scanner.lines():
        if line.encode_step_2 >= 2 and line.encode_step_1 >= 3:
            line.encode_step_2 -= 2
            line.encode_step_1 -= 3
            if source == "user":
                line.user = (0, 0, 0, 0, 0, centre[1], centre[0], 0)
            readouts.append(line)
    expected = scanner.image_along_x()
    expected[:, :, :2] = expected[:, :, :, :3] = 0
    if source == "user":
        # A centre partition of 0 cannot be told from none stated: shift it by one.
        for line in readouts:
            line.encode_step_2 += 1
            line.user = (0, 0, 0, 0, 0, centre[1], centre[0] + 1, 0)
        scanner.plan = EncodingPlan((5, 8, 6), (5, 8, 6), 2, limits=((1, 3), (0, 4)))
    scan = scanner.acquire(readouts)
    np.testing.assert_allclose(scan.hybrid, expected, atol=1e-5)
    np.testing.assert_array_equal(scan.sampled, np.abs(expected).sum(axis=(1, 4)) > 0)
    assert not scan.missing_lines


def test_missing_lines_are_zero_and_reported(scanner: Scanner) -> None:
    lines = [
        line
        for line in scanner.lines()
        if (line.contrast, line.encode_step_2, line.encode_step_1) != (1, 3, 2)
    ]
    scan = scanner.acquire(lines)
    assert scan.missing_lines == ((1, 3, 2),)
    assert scan.missing_fraction == pytest.approx(1 / 60)
    assert not scan.sampled[1, 3, 2]
    assert not scan.hybrid[1, :, 3, 2].any()
    assert "1 of 60 lines" in scan.warnings[-1]


def test_a_scan_that_stops_early_is_refused(scanner: Scanner) -> None:
    with pytest.raises(ReconstructionError, match=r"20 of 60 lines .* are missing"):
        scanner.acquire(scanner.lines()[:40])


def test_broken_lines_are_left_out_and_said(scanner: Scanner) -> None:
    lines = scanner.lines()
    lines[7].samples[0, 3] = np.nan
    stray = scanner.line(0, 0, 0)
    stray.encode_step_1 = 77
    scan = scanner.acquire([*lines, stray])
    assert len(scan.missing_lines) == 1
    assert scan.warnings[0] == (
        "1 readouts were left out: counters beyond 2 echoes, 5 partitions, 6 lines."
    )
    assert scan.warnings[1] == "1 readouts were left out: samples that are not finite."


@pytest.mark.parametrize("length", [5, 11])
def test_a_readout_shorter_than_its_neighbours_is_left_out(scanner: Scanner, length: int) -> None:
    lines = scanner.lines()
    lines[8].samples = lines[8].samples[:, :length]
    scan = scanner.acquire(lines)
    assert len(scan.missing_lines) == 1
    assert scan.warnings[0] == (
        f"1 readouts were left out: {length} samples where others of echo 0 have 12."
    )


def test_readouts_of_two_lengths_are_refused(scanner: Scanner) -> None:
    lines = scanner.lines()
    for line in lines[1:]:
        line.samples = line.samples[:, :8]
    with pytest.raises(ReconstructionError, match=r"29 with 8 samples where .* echo 0 have 12"):
        scanner.acquire(lines)


def test_each_echo_may_have_its_own_length(make_scanner: Callable[..., Scanner]) -> None:
    scanner = make_scanner((3, 4, 12))
    lines = scanner.lines()
    for line in lines:  # an asymmetric first echo: it lacks the samples before its centre
        if line.contrast == 0:
            line.samples = line.samples[:, 3:]
            line.center_sample -= 3
    scanner.kspace[0, ..., :3] = 0
    scan = scanner.acquire([noise_scan(scanner, 500), *lines], UNGATED)
    assert not scan.missing_lines
    assert not any("left out" in warning for warning in scan.warnings)


@pytest.mark.parametrize("name", ["encode_step_1", "encode_step_2", "contrast"])
def test_many_lines_out_of_range_are_refused(scanner: Scanner, name: str) -> None:
    lines = scanner.lines()
    for line in lines:
        setattr(line, name, getattr(line, name) + 1)
    with pytest.raises(ReconstructionError, match="of 60 imaging readouts cannot be used"):
        scanner.acquire(lines)


@pytest.mark.parametrize("name", ["slice", "phase", "set"])
def test_a_second_volume_is_refused_by_name(scanner: Scanner, name: str) -> None:
    lines = scanner.lines()
    setattr(lines[-1], name, 1)
    with pytest.raises(ReconstructionError, match=rf"more than one {name} \(0 and 1\)"):
        scanner.acquire(lines)


def test_a_change_of_coils_is_refused(scanner: Scanner) -> None:
    lines = scanner.lines()
    lines[9].samples = lines[9].samples[:2]
    with pytest.raises(ReconstructionError, match="3 coils, then 2"):
        scanner.acquire(lines)


@pytest.mark.parametrize(
    ("readouts", "reason"),
    [
        ([], "no imaging readout came, nor any other"),
        ([navigator(0.0, 1.0), navigator(0.0, 2.0)], "only: 2 navigator"),
    ],
)
def test_a_scan_without_image_lines_is_refused(
    scanner: Scanner, readouts: list[Readout], reason: str
) -> None:
    with pytest.raises(ReconstructionError, match=reason):
        scanner.acquire(readouts)


def test_notes_on_the_centre_sample_reach_the_warnings(
    make_scanner: Callable[..., Scanner],
) -> None:
    scanner = make_scanner((3, 4, 8))
    scanner.plan = EncodingPlan((3, 4, 16), (3, 4, 8), 2)
    lines = scanner.lines()
    for line in lines:
        line.center_sample = 8
    scan = scanner.acquire(lines)
    np.testing.assert_allclose(scan.hybrid, scanner.image_along_x(), atol=1e-5)
    assert scan.warnings[0].startswith("24 readouts: center_sample 8 was not updated")


def test_echoes_with_unknown_dwell_time_are_whitened_as_the_noise_scan(scanner: Scanner) -> None:
    lines = scanner.lines()
    lines[0].dwell_time = 7e-6
    scan = scanner.acquire([noise_scan(scanner), *lines])
    assert scan.noise.measured
    assert any("Dwell times are unknown" in warning for warning in scan.warnings)


def test_only_accepted_heartbeats_enter_k_space(scanner: Scanner) -> None:
    positions = [0.0, 9.0, 0.3, -0.4, 12.0, 0.0, 8.0] * 6
    readouts = gated_scan(scanner, positions)
    scan = scanner.acquire(readouts, GATED)
    expected, counts = np.zeros_like(scanner.kspace), np.zeros((2, 5, 6))
    for position, beat in zip(positions, np.array_split(np.arange(len(readouts)), 42), strict=True):
        for readout in (readouts[i] for i in beat[1:]):
            if abs(position) < 2:
                address = readout.contrast, readout.encode_step_2, readout.encode_step_1
                expected[address[0], :, address[1], address[2]] += readout.samples
                counts[address] += 1
    assert (counts > 0).all()
    scanner.kspace = expected / counts[:, None, :, :, None]
    np.testing.assert_allclose(scan.hybrid, scanner.image_along_x(), atol=1e-5)
    gating = scan.gating
    assert gating.method == "navigator"
    assert (gating.n_heartbeats, gating.n_accepted) == (42, 24)
    assert gating.efficiency == pytest.approx(24 / 42)
    assert gating.filled_from_rejected == 0
    np.testing.assert_allclose(gating.displacements, positions, atol=0.5)
    assert scan.warnings == ("The noise was not whitened: the scan has no noise readouts.",)


@pytest.mark.parametrize("n_beats", [12, 60])
def test_a_gated_scan_may_come_in_any_order(scanner: Scanner, n_beats: int) -> None:
    # 60 heartbeats go ten times through k-space: learnt and sorted while they come.
    rng = np.random.default_rng(4)
    positions = list(rng.choice([0.0, 0.5, -0.5, 6.0, 3.4, 12.0], n_beats))
    readouts = [noise_scan(scanner), *gated_scan(scanner, positions)]
    ordered = scanner.acquire(readouts, GATED)
    for seed in range(3):
        mixed = scanner.acquire(shuffled(readouts, seed), GATED)
        scale = np.abs(ordered.hybrid).max()
        np.testing.assert_allclose(mixed.hybrid, ordered.hybrid, atol=1e-6 * scale)
        np.testing.assert_allclose(mixed.gating.displacements, ordered.gating.displacements)
        assert mixed.gating.filled_from_rejected == ordered.gating.filled_from_rejected
        assert mixed.warnings == ordered.warnings


def test_a_navigator_after_the_lines_counts_while_the_scan_runs(scanner: Scanner) -> None:
    # Ten times through k-space; every seventh heartbeat moves out of the window while it lasts.
    readouts = []
    for beat in range(60):
        leaves = beat % 7 == 3
        heartbeat = gated_scan(scanner, [0.0] * (beat + 1))[11 * beat :]
        for line in heartbeat[1:]:
            line.samples *= 9 if leaves else 1
        after = navigator(8.0 * leaves, heartbeat[-1].time_stamp + 0.02)
        readouts += [*heartbeat, after]
    for order in (readouts, shuffled(readouts)):
        scan = scanner.acquire(order, GATED)
        assert (scan.gating.n_heartbeats, scan.gating.n_accepted) == (60, 51)
        np.testing.assert_allclose(scan.hybrid, scanner.image_along_x(), atol=1e-5)


def test_a_line_without_an_accepted_heartbeat_takes_the_nearest(scanner: Scanner) -> None:
    # k-space takes six heartbeats; the third of each round is never at rest.
    positions = [0.0, 0.0, 8.0, 0.0, 0.0, 0.0, 0.1, 0.0, 5.0, 0.0, -0.1, 0.0]
    scan = scanner.acquire(gated_scan(scanner, positions), GATED)
    assert scan.gating.filled_from_rejected == 2 * 5
    factor = np.ones(30)
    factor[10:15] = 6.0
    expected = scanner.image_along_x()[..., :, :, :] * factor.reshape(5, 6)[:, :, None]
    np.testing.assert_allclose(
        scan.hybrid[:, :, 1, 4:], expected[:, :, 1, 4:], rtol=1e-4, atol=1e-4
    )
    assert scan.warnings[0].startswith("10 lines come from rejected heartbeats")
    assert scan.sampled.all()


def test_low_efficiency_is_said(scanner: Scanner) -> None:
    positions = [0.0, 0.1, *(np.linspace(6, 40, 10).tolist())]
    scan = scanner.acquire(gated_scan(scanner, positions), GATED)
    assert scan.warnings[0] == "Only 2 of 12 heartbeats were accepted."


def test_lines_before_the_first_navigator_are_the_last_choice(scanner: Scanner) -> None:
    readouts = gated_scan(scanner, [0.0] * 7)
    scan = scanner.acquire(readouts[1:], GATED)
    assert scan.gating.n_heartbeats == 6
    assert scan.gating.filled_from_rejected == 0
    assert "10 readouts came before the first navigator." in scan.warnings
    np.testing.assert_allclose(scan.hybrid, scanner.image_along_x(), atol=1e-5)


def test_time_runs_on_across_midnight(scanner: Scanner) -> None:
    positions = [0.0, 6.0, 0.2, 0.0, 7.0, 0.0, -0.3, 0.0] * 3
    expected = scanner.acquire(gated_scan(scanner, positions), GATED)
    scanner.start = 86400 - 3.3
    readouts = gated_scan(scanner, positions)
    for readout in readouts:
        readout.time_stamp %= 86400
    for order in (readouts, shuffled(readouts)):
        found = scanner.acquire(order, GATED)
        np.testing.assert_allclose(found.hybrid, expected.hybrid, atol=1e-6 * 20)
        np.testing.assert_array_equal(found.gating.displacements, expected.gating.displacements)


def test_without_time_stamps_the_order_of_arrival_pairs(scanner: Scanner) -> None:
    positions = [0.0, 6.0, 0.2, 0.0, 7.0, 0.0, -0.3, 0.0] * 3
    readouts = gated_scan(scanner, positions)
    expected = scanner.acquire(readouts, GATED)
    for readout in readouts:
        readout.time_stamp = 0.0
    found = scanner.acquire(readouts, GATED)
    np.testing.assert_array_equal(found.hybrid, expected.hybrid)
    assert any("no time stamps" in warning for warning in found.warnings)


def test_broken_navigators_reject_their_heartbeats(scanner: Scanner) -> None:
    readouts = gated_scan(scanner, [0.0] * 13)
    readouts[0].samples[0, 0] = np.nan
    scan = scanner.acquire(readouts, GATED)
    assert (scan.gating.n_heartbeats, scan.gating.n_accepted) == (13, 12)
    assert "1 navigator readouts could not be used." in scan.warnings
    np.testing.assert_allclose(scan.hybrid, scanner.image_along_x(), atol=1e-5)


@pytest.mark.parametrize("n_beats", [7, 20])
def test_a_scan_whose_navigators_are_all_broken_is_not_gated(
    scanner: Scanner, n_beats: int
) -> None:
    readouts = gated_scan(scanner, [0.0] * n_beats)
    for readout in readouts:
        if readout.flags == NAVIGATOR:
            readout.samples[...] = 0
    scan = scanner.acquire(readouts, GATED)
    assert scan.gating.method == "ungated"
    assert "no navigator readout could be used" in scan.gating.reason
    assert not any("too late" in warning for warning in scan.warnings)
    np.testing.assert_allclose(scan.hybrid, scanner.image_along_x(), atol=1e-5)


def test_navigators_that_come_after_a_whole_k_space_are_too_late(scanner: Scanner) -> None:
    late = [navigator(0.0, 36500.0), navigator(9.0, 36501.0)]
    scan = scanner.acquire([*scanner.lines(), *late], GATED)
    assert "after a whole k-space" in scan.gating.reason
    assert "2 navigator readouts came too late to be used." in scan.warnings


def test_a_straggler_is_judged_by_its_own_heartbeat(scanner: Scanner) -> None:
    positions = [0.0, 6.0, 0.2, 0.0, 7.0, 0.0, -0.3, 0.0] * 3
    readouts = gated_scan(scanner, positions)
    expected = scanner.acquire(readouts, GATED)
    # One line of the second, rejected heartbeat comes when all is learnt and sorted.
    straggler = readouts.pop(14)
    found = scanner.acquire([*readouts, straggler], GATED)
    np.testing.assert_allclose(found.hybrid, expected.hybrid, atol=1e-5)
    late_navigator = readouts.pop(0)
    with_late = scanner.acquire([*readouts, late_navigator], GATED)
    assert "1 navigator readouts came too late to be used." in with_late.warnings


@pytest.fixture
def memory_goes_back() -> None:
    """Let freed arrays go back to the system at once, as in the service's workers."""
    mmap_threshold = -3
    gc.collect()
    ctypes.CDLL(None).mallopt(mmap_threshold, 1 << 17)
    ctypes.CDLL(None).malloc_trim(0)


def resident_bytes() -> int:
    """Memory that the process really holds; pages of zeros that nobody wrote do not count."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.usefixtures("memory_goes_back")
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    ("has_navigators", "options"), [(False, GATED), (True, GATED), (True, UNGATED)]
)
def test_memory_stays_that_of_k_space(
    make_scanner: Callable[..., Scanner], has_navigators: bool, options: AcquisitionOptions
) -> None:
    scanner = make_scanner((8, 48, 256), n_echoes=2, n_coils=16)
    rng = np.random.default_rng(1)
    # What kernels take to compile is not the scan's.
    warm = Acquisition(scanner.plan, replace(options, compression=ALL_COILS))
    warm.feed(scanner.line(0, 4, 24, 36000.0))
    acquisition = Acquisition(scanner.plan, replace(options, compression=ALL_COILS))
    before, peak = resident_bytes(), 0
    for beat in range(4 * 32):  # four times the data of one k-space
        start = 36000.0 + beat
        if has_navigators:
            position = float(rng.choice([0.0, 0.0, 7.0]))
            acquisition.feed(Readout(bump(position, coils=16), flags=NAVIGATOR, time_stamp=start))
        for view in range(12):
            z, y = divmod((12 * beat + view) % (8 * 48), 48)
            for echo in range(2):
                acquisition.feed(scanner.line(echo, z, y, start + 0.05 + 0.01 * view))
        peak = max(peak, resident_bytes() - before)
    scan = acquisition.finish()
    peak = max(peak, resident_bytes() - before)
    assert scan.gating.method == ("navigator" if has_navigators and options is GATED else "ungated")
    # Measured: 1.04 without gating, 1.2 with it.
    assert peak <= 1.4 * scan.hybrid.nbytes


def test_partial_echoes_and_polarities_are_told(make_scanner: Callable[..., Scanner]) -> None:
    scanner = make_scanner((5, 6, 12), n_echoes=2)
    readouts = []
    for readout in scanner.lines():
        if readout.contrast == 1:
            samples = readout.samples[:, ::-1]
            changes = {"samples": samples, "flags": REVERSE, "center_sample": 5}
        else:
            changes = {"samples": readout.samples[:, 3:], "center_sample": 3}
        readouts.append(replace(readout, **changes))  # type: ignore[arg-type]
    found = scanner.acquire(readouts)
    assert found.reversed_echoes == (False, True)
    # Three samples were left out; the one that a reversed even readout lacks does not count.
    assert found.readout_support.tolist() == [False] * 3 + [True] * 9
    assert found.region.all()
    assert found.lattice.all()
