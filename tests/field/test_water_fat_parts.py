"""The parts of the separation against brute force and closed forms."""

import itertools

import numpy as np
import pytest

from chistream.arrays import ComplexArray, IntArray, Mask, RealArray
from chistream.errors import ReconstructionError
from chistream.field.ideal import separate_signals
from chistream.field.in_phase import in_phase_echoes
from chistream.field.message_passing import Lattice, cheapest_labels
from chistream.field.separability import FieldCost, distinctness, moments_of_voxels
from chistream.field.shift_update import update_fat_shift
from chistream.field.swaps import centre_regions, echo_period, join_periods, settle_parts
from chistream.physics.fat import FAT_SPECTRA, FatSpectrum
from chistream.physics.grouping import block_for, block_sums, refine

TE = np.array([1.7, 5.2, 8.7, 12.2, 15.7]) * 1e-3
UNEVEN = np.array([1.2, 3.1, 5.7, 7.0]) * 1e-3
F0 = 127.73e6
HAMILTON = FAT_SPECTRA["hamilton6"]


def signals_of(
    water: RealArray,
    fat: RealArray,
    frequency: RealArray,
    r2star: RealArray,
    times: RealArray = TE,
    spectrum: FatSpectrum = HAMILTON,
) -> ComplexArray:
    species = water[:, None] + fat[:, None] * spectrum.precession(times, F0)
    rates = 2j * np.pi * frequency - r2star
    signals: ComplexArray = species * np.exp(np.multiply.outer(rates, times)) * np.exp(0.7j)
    return signals


def energy(
    labels: tuple[int, ...], costs: RealArray, first: IntArray, lattice: Lattice, slopes: RealArray
) -> float:
    edges, axes = lattice.edges
    jumps = np.abs(np.subtract(*np.asarray(labels)[edges.T]))
    places = np.asarray(labels) - first
    return float(costs[np.arange(len(costs)), places].sum() + slopes[axes] @ jumps)


@pytest.mark.parametrize("seed", range(5))
def test_message_passing_finds_the_cheapest_of_all_labellings_of_a_tree(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = np.array([[[1, 1, 1, 1], [0, 1, 0, 0]]], dtype=bool)
    lattice = Lattice.of(mask)
    costs = rng.random((5, 4)).astype(np.float32)
    first = rng.integers(-2, 3, 5)
    slopes = np.array([0.3, 0.2, 0.1])
    found = cheapest_labels(lattice, costs, first, slopes, 6)
    every = itertools.product(*(range(f, f + 4) for f in first.tolist()))
    best = min(energy(labels, costs, first, lattice, slopes) for labels in every)
    assert energy(tuple(found.tolist()), costs, first, lattice, slopes) == pytest.approx(best, 1e-5)


def test_message_passing_comes_close_on_a_lattice_with_loops() -> None:
    rng = np.random.default_rng(3)
    lattice = Lattice.of(np.ones((2, 2, 2), dtype=bool))
    costs, first = rng.random((8, 3)).astype(np.float32), np.zeros(8, dtype=np.int64)
    slopes = np.array([0.2, 0.1, 0.3])
    found = cheapest_labels(lattice, costs, first, slopes, 10)
    every = itertools.product(range(3), repeat=8)
    best = min(energy(labels, costs, first, lattice, slopes) for labels in every)
    assert energy(tuple(found.tolist()), costs, first, lattice, slopes) <= best * 1.02


def test_a_lattice_joins_neighbours_inside_the_mask_alone() -> None:
    mask = np.array([[[1, 1, 0, 1]], [[1, 0, 0, 1]]], dtype=bool)
    edges, axes = Lattice.of(mask).edges
    assert {(*map(int, edge), int(axis)) for edge, axis in zip(edges, axes, strict=True)} == {
        (0, 1, 2),
        (0, 3, 0),
        (2, 4, 0),
    }


def test_a_part_that_lies_off_as_a_whole_is_moved_as_a_whole() -> None:
    n, period, wrong = 40, 16, slice(25, 35)
    lattice = Lattice.of(np.ones((1, 1, n), dtype=bool))
    true = 24 + np.rint(3 * np.sin(np.arange(n) / 6)).astype(int)
    places = np.arange(48)
    costs = 1 - np.cos(2 * np.pi * (places - true[:, None]) / period)
    labels = true.copy()
    labels[wrong] += period
    slopes = np.array([0.0, 0.0, 0.01])
    assert np.array_equal(settle_parts(lattice, labels, costs, 0, slopes, 4), true)
    assert labels[30] == true[30] + period, "the input must not change"


def test_a_part_whose_echoes_ask_for_its_place_stays_there() -> None:
    lattice = Lattice.of(np.ones((1, 1, 30), dtype=bool))
    labels = np.where(np.arange(30) < 20, 5, 15)
    costs = np.abs(np.arange(20) - labels[:, None]) * 1.0
    slopes = np.array([0.0, 0.0, 0.1])
    assert np.array_equal(settle_parts(lattice, labels, costs, 0, slopes, 4), labels)


def test_a_whole_body_in_which_water_and_fat_changed_places_is_put_right() -> None:
    # Most voxels hold one of the two and fit either way; a few hold both, and those know.
    shape, step, n_labels = (1, 4, 30), 9.0, 80
    part = np.zeros(shape)
    part[..., 12:] = 1.0
    part[..., 11] = 0.5
    flat = part.ravel()
    ones = np.ones(flat.size)
    single = FAT_SPECTRA["single"]
    signals = signals_of(1 - flat, flat, 0 * ones, 40 * ones, spectrum=single)
    cost = FieldCost(TE, single.precession(TE, F0))
    mask = np.ones(shape, dtype=bool)
    moments = moments_of_voxels(signals.T.reshape(5, *shape).astype(np.complex64), mask)
    first = -n_labels // 2
    costs = cost.of(moments, np.full(flat.size, first), n_labels, step)
    costs += 1e-3 * (np.arange(n_labels) + first) ** 2 / n_labels**2
    # What was water lies where fat would be: 434 Hz below, or as good, 148 Hz above.
    swapped = np.full(flat.size, round((1 / 3.5e-3 - 434.3 % (1 / 3.5e-3)) / step))
    slopes = np.array([0.1, 0.1, 0.1])
    found = settle_parts(Lattice.of(mask), swapped, costs, first, slopes, 8)
    assert np.array_equal(found, np.zeros(flat.size))


def test_regions_take_the_period_nearest_to_zero_and_to_each_other() -> None:
    mask = np.ones((3, 5, 20), dtype=bool)
    mask[:, :, 12:14] = False
    true = np.broadcast_to(np.linspace(-20, 230, 20), mask.shape)
    found = np.where(mask, true, 0.0)
    found[:, :, :12] += 300
    found[:, :, 14:] -= 600
    centred = centre_regions(found, np.ones(mask.shape), mask, 300.0)
    np.testing.assert_allclose(centred, np.where(mask, true, 0), atol=1e-9)


def test_a_part_on_another_period_joins_the_tissue_around_it() -> None:
    mask = np.zeros((7, 20, 24), dtype=bool)
    mask[1:6, 2:18, 2:22] = True
    z, y, x = np.meshgrid(*(np.arange(n) for n in mask.shape), indexing="ij")
    true = np.where(mask, 30.0 * z + 12.0 * y - 25.0 * x, 0)  # over two periods in all
    found = true + np.where((y + z > 12) & mask, 300, 0) - np.where((x > 17) & mask, 600, 0)
    joined = join_periods(found, np.ones(mask.shape), mask, 300.0)
    turns = (joined - true)[mask] / 300
    np.testing.assert_allclose(turns, np.rint(turns[0]), atol=1e-9)


def test_only_even_echoes_leave_a_period_open() -> None:
    assert echo_period(TE) == pytest.approx(1 / 3.5e-3)
    assert echo_period(np.array([1.0, 2.0, 4.0]) * 1e-3) == pytest.approx(1000)
    assert echo_period(UNEVEN) is None


@pytest.mark.parametrize("times", [TE, UNEVEN, TE[:3]])
@pytest.mark.parametrize("decay", [True, False])
def test_noiseless_signals_give_back_what_they_were_made_of(
    times: RealArray, decay: bool, rng: np.random.Generator
) -> None:
    n = 60
    water, fat = rng.uniform(0.2, 1, n), rng.uniform(0.2, 1, n)
    frequency = rng.uniform(-200, 200, n)
    r2star = rng.uniform(0, 80, n) * decay
    precession = HAMILTON.precession(times, F0)
    fit = separate_signals(
        signals_of(water, fat, frequency, r2star, times),
        times,
        precession,
        frequency + rng.uniform(-8, 8, n),
        r2star,
        fit_decay=decay,
    )
    np.testing.assert_allclose(fit.frequency, frequency, atol=0.02)
    np.testing.assert_allclose(fit.r2star, r2star, atol=0.2)
    np.testing.assert_allclose(fit.water, water * np.exp(0.7j), atol=2e-3)
    np.testing.assert_allclose(fit.fat, fat * np.exp(0.7j), atol=2e-3)
    assert fit.misfit.max() < 1e-6


@pytest.mark.usefixtures("plain_kernels")
def test_a_far_start_is_approached_in_bounded_steps_and_silence_says_nothing() -> None:
    ones = np.ones(3)
    signals = signals_of(0.8 * ones, 0.2 * ones, 30 * ones, 40 * ones)
    signals[2] = 0
    starts = np.array([30.0 + 65, 30.0 + 135, 30.0])
    fit = separate_signals(signals, TE, HAMILTON.precession(TE, F0), starts, 300 * ones)
    assert fit.frequency[0] == pytest.approx(30, abs=0.05)
    # Half a period away lies another minimum, or none: the misfit must not have grown.
    assert fit.misfit[1] <= np.sum(np.abs(signals[1]) ** 2)
    assert fit.frequency[2] == 30
    assert fit.unit_sd[2] > 1e10


@pytest.mark.parametrize("part", [0.0, 0.4, 1.0])
def test_the_noise_of_the_field_is_the_cramer_rao_bound(part: float) -> None:
    n, sd = 4000, 1 / 40
    rng = np.random.default_rng(7)
    ones = np.ones(n)
    clean = signals_of((1 - part) * ones, part * ones, 30 * ones, 40 * ones)
    noise = rng.standard_normal((2, *clean.shape)) * sd
    fit = separate_signals(
        clean + noise[0] + 1j * noise[1], TE, HAMILTON.precession(TE, F0), 30 * ones, 40 * ones
    )
    predicted = sd * np.median(fit.unit_sd)
    # 4000 voxels know a standard deviation to 1.1 %; the bound is for small noise.
    assert np.std(fit.frequency) == pytest.approx(predicted, rel=0.05)
    assert abs(np.mean(fit.frequency) - 30) < 0.1 * predicted
    # Ten real numbers less six that are fitted.
    assert np.mean(fit.misfit) / sd**2 == pytest.approx(4, rel=0.05)


def test_the_cost_is_what_least_squares_leave(rng: np.random.Generator) -> None:
    mask = np.ones((1, 1, 3), dtype=bool)
    echoes = rng.standard_normal((5, 1, 1, 3)) + 1j * rng.standard_normal((5, 1, 1, 3))
    cost = FieldCost(TE, HAMILTON.precession(TE, F0), (50.0,))
    moments = moments_of_voxels(echoes.astype(np.complex64), mask)
    first = np.array([-3, 0, 4])
    costs = cost.of(moments, first, 5, 20.0)
    for voxel, label in itertools.product(range(3), range(5)):
        turned = np.exp((2j * np.pi * 20.0 * (first[voxel] + label) - 50.0) * TE)
        model = np.stack([turned, turned * cost.precession], axis=1)
        signal = echoes[:, 0, 0, voxel]
        _, left, *_ = np.linalg.lstsq(model, signal, rcond=None)
        expected = left[0] / np.sum(np.abs(signal) ** 2)
        assert costs[voxel, label] == pytest.approx(expected, abs=1e-5)


def test_the_best_decay_is_the_nearest_to_the_true_one() -> None:
    ones = np.ones(2)
    signals = signals_of(ones, 0.3 * ones, 0 * ones, np.array([35.0, 520.0]))
    moments = moments_of_voxels(signals.T.reshape(5, 1, 1, 2), np.ones((1, 1, 2), dtype=bool))
    cost = FieldCost(TE, HAMILTON.precession(TE, F0))
    labels = np.zeros(2, dtype=np.int64)
    np.testing.assert_array_equal(cost.best_decay(moments, labels, 9.0), [40, 500])


def test_a_voxel_without_signal_costs_nothing() -> None:
    mask = np.ones((1, 1, 2), dtype=bool)
    moments = moments_of_voxels(np.zeros((5, 1, 1, 2), np.complex64), mask)
    cost = FieldCost(TE, HAMILTON.precession(TE, F0))
    assert not cost.of(moments, np.zeros(2, dtype=np.int64), 4, 9.0).any()


@pytest.mark.parametrize("offset", [-0.15, 0.2])
def test_the_shift_of_fat_is_found(offset: float) -> None:
    n = 300
    rng = np.random.default_rng(11)
    part = rng.uniform(0, 1, n)
    frequency, r2star = rng.uniform(-60, 60, n), np.full(n, 40.0)
    clean = signals_of(1 - part, part, frequency, r2star, spectrum=HAMILTON.shifted(offset))
    noise = rng.standard_normal((2, *clean.shape)) / 50
    signals = clean + noise[0] + 1j * noise[1]
    start = separate_signals(signals, TE, HAMILTON.precession(TE, F0), frequency, r2star)
    found = update_fat_shift(signals, TE, HAMILTON, F0, start)
    assert abs(found.offset - offset) < 4 * found.offset_sd / 50
    assert found.offset_sd / 50 < 0.01
    fat = part > 0.5
    before = np.median(np.abs(start.frequency - frequency)[fat])
    assert before > 5, "a wrong shift must show in the field of fat, or this test shows nothing"
    assert np.median(np.abs(found.separated.frequency - frequency)[fat]) < 2


def test_the_shift_of_fat_needs_echoes_and_mixed_voxels() -> None:
    ones = np.ones(30)
    signals = signals_of(ones, 0 * ones, 0 * ones, 40 * ones)
    precession = HAMILTON.precession(TE, F0)
    start = separate_signals(signals, TE, precession, 0 * ones, 40 * ones)
    with pytest.raises(ReconstructionError, match="20 voxels with water and fat, found 0"):
        update_fat_shift(signals, TE, HAMILTON, F0, start)
    with pytest.raises(ReconstructionError, match="at least 4 echoes, got 3"):
        update_fat_shift(signals[:, :3], TE[:3], HAMILTON, F0, start)


def test_in_phase_echoes_are_chosen_by_the_cycles_of_fat() -> None:
    np.testing.assert_array_equal(in_phase_echoes(TE, -434.3), [0, 2, 4])
    half_turns = np.array([1.7, 4.0, 6.3, 8.6]) * 1e-3
    np.testing.assert_array_equal(in_phase_echoes(half_turns, -217.0), [0, 2])
    with pytest.raises(ReconstructionError, match=r"no two echoes at \[1.0, 2.0\] ms are in phase"):
        in_phase_echoes(np.array([1e-3, 2e-3]), -434.0)


def test_echoes_a_cycle_of_fat_apart_do_not_tell_it_from_water() -> None:
    demo = np.array([1.7, 4.0, 6.3, 8.6, 10.9]) * 1e-3
    assert distinctness(demo, HAMILTON.precession(demo, 123.2e6)) < 0.05
    assert distinctness(TE, HAMILTON.precession(TE, F0)) > 0.8


def test_spectra_are_normal_and_shift_with_temperature() -> None:
    for spectrum in FAT_SPECTRA.values():
        assert spectrum.precession([0.0], F0)[0] == pytest.approx(1)
        assert spectrum.main_shift == -3.4
    assert HAMILTON.at_temperature(37.0) == HAMILTON
    # Water moves to lower frequency as it warms up, towards fat.
    assert HAMILTON.at_temperature(20.0).main_shift == pytest.approx(-3.57)


@pytest.mark.parametrize(
    ("shifts", "amplitudes", "words"),
    [
        ((), (), "one amplitude for each shift"),
        ((1.0,), (0.5, 0.5), "1 shifts and 2"),
        ((1.0, 2.0), (1.0, -0.1), "not be negative"),
        ((1.0,), (0.0,), "all zero"),
    ],
)
def test_a_spectrum_that_is_none_is_refused(
    shifts: tuple[float, ...], amplitudes: tuple[float, ...], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        FatSpectrum(shifts, amplitudes)


@pytest.mark.parametrize("block", [(1, 1, 1), (2, 3, 4), (5, 6, 7)])
def test_blocks_hold_everything_and_lines_are_interpolated(block: tuple[int, int, int]) -> None:
    z, y, x = np.meshgrid(np.arange(5.0), np.arange(6.0), np.arange(7.0), indexing="ij")
    line = 2 * z - y + 3 * x
    sums = block_sums(line, block)
    assert sums.sum() == pytest.approx(line.sum())
    counts = block_sums(np.ones_like(line), block)
    fine = refine(sums / counts, block, (5, 6, 7))
    assert fine.shape == line.shape
    if block == (1, 1, 1):
        np.testing.assert_allclose(fine, line)
    full: Mask = np.zeros(line.shape, dtype=bool)
    full[1:3, 1:5, 2:6] = True  # between the centres of blocks that are full
    if block == (2, 3, 4):
        np.testing.assert_allclose(fine[full & (x <= 3)], line[full & (x <= 3)], atol=3)


def test_blocks_are_as_long_as_asked_for() -> None:
    assert block_for((5.0, 1.9, 1.4), 5.0) == (1, 3, 4)
    assert block_for((5.0, 1.9, 1.4), 0.0) == (1, 1, 1)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20250101)
