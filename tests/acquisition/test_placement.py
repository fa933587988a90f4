"""Where samples land, against k-space written down by hand."""

import numpy as np
import pytest

from chistream.acquisition.lines import Line, ReadoutBatch
from chistream.acquisition.placement import ReadoutShape, place_readout
from chistream.acquisition.readouts import Readout
from chistream.arrays import ComplexArray
from chistream.errors import ReconstructionError

REVERSE = 1 << 21


def samples_of(n: int, seed: int = 1) -> ComplexArray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((2, n)) + 1j * rng.standard_normal((2, n))).astype(np.complex64)


def on_grid(samples: ComplexArray, centre: int, grid: int) -> ComplexArray:
    """Place sample by sample: k = index - centre goes to grid // 2 + k, if it exists."""
    placed = np.zeros((len(samples), grid), complex)
    for index in range(samples.shape[1]):
        k = index - centre
        if 0 <= grid // 2 + k < grid:
            placed[:, grid // 2 + k] = samples[:, index]
    return placed


def image_of(placed: ComplexArray, kept: int) -> ComplexArray:
    """Transform by a matrix and keep ``kept`` voxels about the origin."""
    n = placed.shape[1]
    k, x = np.arange(n) - n // 2, np.arange(kept) - kept // 2
    image: ComplexArray = placed @ np.exp(2j * np.pi * np.outer(k, x) / n) / np.sqrt(n)
    return image


def reconstruct(readout: Readout, encoded: int, kept: int) -> tuple[ComplexArray, dict[str, int]]:
    batch = ReadoutBatch(encoded, kept)
    batch.put(readout, Line(0, 0, 0), 0.0)
    (values,) = batch.take().values
    return values, batch.notes


@pytest.mark.parametrize(
    ("encoded", "kept"), [(16, 8), (16, 9), (17, 8), (17, 9), (16, 16), (7, 7)]
)
def test_oversampling_is_removed_as_if_everything_were_reconstructed_and_cropped(
    encoded: int, kept: int
) -> None:
    samples = samples_of(encoded)
    found, notes = reconstruct(Readout(samples, center_sample=encoded // 2), encoded, kept)
    whole = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(samples, 1), norm="ortho"), 1)
    start = encoded // 2 - kept // 2
    np.testing.assert_allclose(found, whole[:, start : start + kept], atol=1e-6)
    assert found.dtype == np.complex64
    assert not notes


@pytest.mark.parametrize(("encoded", "kept"), [(8, 11), (9, 12)])
def test_an_image_longer_than_the_encoded_field_of_view_is_dark_beyond_it(
    encoded: int, kept: int
) -> None:
    samples = samples_of(encoded)
    found, _ = reconstruct(Readout(samples, center_sample=encoded // 2), encoded, kept)
    start = kept // 2 - encoded // 2
    inside = found[:, start : start + encoded]
    np.testing.assert_allclose(inside, image_of(samples, encoded), atol=1e-5)
    assert np.count_nonzero(found) == np.count_nonzero(inside)


@pytest.mark.parametrize(("encoded", "kept"), [(16, 8), (17, 9)])
@pytest.mark.parametrize(("n", "centre"), [(12, 4), (11, 4), (13, 8), (11, 3)])
def test_a_partial_echo_keeps_its_centre_and_is_filled_with_zeros(
    n: int, centre: int, encoded: int, kept: int
) -> None:
    samples = samples_of(n)
    found, _ = reconstruct(Readout(samples, center_sample=centre), encoded, kept)
    expected = image_of(on_grid(samples, centre, encoded), kept)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(("n", "centre"), [(16, 8), (17, 8), (12, 4), (11, 7)])
def test_a_reversed_readout_counts_its_centre_from_the_other_end(n: int, centre: int) -> None:
    samples = samples_of(n)
    readout = Readout(samples, flags=REVERSE, center_sample=centre)
    found, notes = reconstruct(readout, 17, 9)
    expected = image_of(on_grid(samples[:, ::-1], n - 1 - centre, 17), 9)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not notes


def test_a_reversed_even_readout_loses_only_its_highest_frequency_and_says_nothing() -> None:
    samples = samples_of(16)
    readout = Readout(samples, flags=REVERSE, center_sample=8)
    found, notes = reconstruct(readout, 16, 8)
    np.testing.assert_allclose(found, image_of(on_grid(samples[:, ::-1], 7, 16), 8), atol=1e-5)
    assert not notes


@pytest.mark.parametrize("flags", [0, REVERSE])
def test_discarded_samples_do_not_matter_and_do_not_move_the_rest(flags: int) -> None:
    samples = samples_of(16)
    spoilt = samples.copy()
    spoilt[:, :3] = spoilt[:, 14:] = 1e6
    cut = samples.copy()
    cut[:, :3] = cut[:, 14:] = 0
    found, _ = reconstruct(
        Readout(spoilt, flags=flags, center_sample=8, discard_pre=3, discard_post=2), 16, 8
    )
    expected, _ = reconstruct(Readout(cut, flags=flags, center_sample=8), 16, 8)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(("kept", "centre"), [(8, 4), (9, 4)])
def test_oversampling_that_is_gone_is_not_removed_again(kept: int, centre: int) -> None:
    samples = samples_of(kept)
    found, notes = reconstruct(Readout(samples, center_sample=centre), 16, kept)
    np.testing.assert_allclose(found, image_of(samples, kept), atol=1e-5)
    assert not notes


@pytest.mark.parametrize(
    ("n", "stated", "meant"),
    [(8, 8, 4), (6, 6, 3), (6, 7, 3), (7, 7, 3), (8, 9, 4), (8, 0, 4), (8, 200, 4)],
)
def test_a_centre_not_updated_with_the_oversampling_is_scaled_and_it_is_said(
    n: int, stated: int, meant: int
) -> None:
    samples = samples_of(n)
    found, notes = reconstruct(Readout(samples, center_sample=stated), 16, 8)
    np.testing.assert_allclose(found, image_of(on_grid(samples, meant, 8), 8), atol=1e-5)
    ((note, n_readouts),) = notes.items()
    assert f"center_sample {stated} " in note
    assert note.endswith(f"taken as {meant}")
    assert n_readouts == 1


def test_samples_beyond_k_space_are_cut_and_it_is_said() -> None:
    samples = samples_of(16)
    found, notes = reconstruct(Readout(samples, center_sample=5), 16, 8)
    np.testing.assert_allclose(found, image_of(on_grid(samples, 5, 16), 8), atol=1e-5)
    assert notes == {"3 of 16 samples lie beyond k-space and were cut": 1}


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        (ReadoutShape(18, 9), "18 samples, 0 \\+ 0 of them to discard, does not fit an encoded"),
        (ReadoutShape(16, 8, 10, 6), "10 \\+ 6 of them"),
        (ReadoutShape(12, 14), "center_sample 14 lies outside a readout of 12"),
        (ReadoutShape(7, 40), "center_sample 40 lies outside"),
        (ReadoutShape(16, 15, 0, 14), "leaves no sample inside"),
    ],
)
def test_what_cannot_be_placed_is_refused_with_its_values(shape: ReadoutShape, reason: str) -> None:
    with pytest.raises(ReconstructionError, match=reason):
        place_readout(shape, 16, 8)


def test_readouts_of_different_shape_share_a_batch() -> None:
    batch = ReadoutBatch(16, 8, capacity=4)
    sent = [(16, 8, 16), (11, 3, 16), (8, 4, 8), (16, 8, 16)]  # samples, centre, grid
    for i, (n, centre, _) in enumerate(sent):
        assert not batch.is_full
        batch.put(Readout(samples_of(n, i), center_sample=centre), Line(0, 0, i), float(i))
    assert batch.is_full
    lines = batch.take()
    for i, (n, centre, grid) in enumerate(sent):
        expected = image_of(on_grid(samples_of(n, i), centre, grid), 8)
        np.testing.assert_allclose(lines.values[i], expected, atol=1e-5)
    assert [address.step_1 for address in lines.addresses] == lines.times.tolist() == [0, 1, 2, 3]


def test_a_batch_handed_on_is_not_written_again() -> None:
    batch = ReadoutBatch(8, 8, capacity=1)
    batch.put(Readout(samples_of(8, 1), center_sample=4), Line(0, 0, 0), 0.0)
    first = batch.take()
    kept = first.values.copy()
    batch.put(Readout(samples_of(8, 2), center_sample=4), Line(0, 0, 0), 0.0)
    batch.take()
    np.testing.assert_array_equal(first.values, kept)


@pytest.mark.parametrize("bad", [np.nan, np.inf, complex(0, -np.inf)])
def test_readouts_that_are_not_finite_are_left_out_and_counted(bad: complex) -> None:
    batch = ReadoutBatch(8, 5)
    spoilt = samples_of(8, 2)
    spoilt[1, 6] = bad
    for i, samples in enumerate([samples_of(8), spoilt, samples_of(8, 3)]):
        batch.put(Readout(samples, center_sample=4), Line(0, 0, i), 0.0)
    lines = batch.take()
    assert [address.step_1 for address in lines.addresses] == [0, 2]
    assert len(lines) == len(lines.values) == len(lines.times) == 2
    assert batch.n_not_finite == 1
    np.testing.assert_allclose(lines.values[1], image_of(samples_of(8, 3), 5), atol=1e-5)


def test_an_empty_batch_gives_nothing() -> None:
    assert len(ReadoutBatch(8, 5).take()) == 0


def test_a_change_of_coils_is_refused() -> None:
    batch = ReadoutBatch(8, 8)
    batch.put(Readout(samples_of(8), center_sample=4), Line(0, 0, 0), 0.0)
    with pytest.raises(ReconstructionError, match="2 coils, then 1"):
        batch.put(Readout(samples_of(8)[:1], center_sample=4), Line(0, 0, 1), 0.0)
