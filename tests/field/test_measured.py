"""Real phase: no jump of half a turn is left between voxels that can be trusted."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy.io import loadmat

from chistream.arrays import ComplexArray, Mask, RealArray
from chistream.field.masking import estimate_mask
from chistream.field.quality import phase_quality
from chistream.field.total_field import estimate_field
from chistream.field.unwrapping import unwrap_echoes


def brain(folder: Path) -> tuple[ComplexArray, RealArray]:
    magnitude, phase = (
        nibabel.Nifti1Image.from_filename(folder / f"{part}.nii").get_fdata()
        for part in ("Mag", "Phase")
    )
    radians = np.pi * (2 * (phase - phase.min()) / np.ptp(phase) - 1)
    echoes = magnitude * np.exp(1j * radians)
    return echoes.transpose(3, 2, 1, 0).astype(np.complex64), np.array([4.0, 8.0, 12.0]) * 1e-3


def thorax(folder: Path) -> tuple[ComplexArray, RealArray, Mask]:
    case = loadmat(folder / "12.mat", squeeze_me=True, struct_as_record=False)["imDataParams"]
    assert case.PrecessionIsClockwise == 1
    # Its phase falls where the field grows.
    echoes = case.images.transpose(3, 2, 1, 0).conj().astype(np.complex64)
    return echoes, np.asarray(case.TE, dtype=float), case.mask.transpose(2, 1, 0) > 0


def jumps(phase: RealArray, trusted: Mask) -> int:
    """Count the pairs of neighbours that differ by more than pi in any echo."""
    total = 0
    for axis in range(3):
        values, good = np.moveaxis(phase, axis + 1, 1), np.moveaxis(trusted, axis, 0)
        steps = np.abs(np.diff(values, axis=1)) > np.pi
        total += int((steps & (good[1:] & good[:-1])).sum())
    return total


@pytest.mark.parametrize("name", ["romeo_small", "clearswi_small"])
def test_a_brain_is_unwrapped_whole(measured_data: Path, name: str) -> None:
    echoes, TE = brain(measured_data / name)
    mask = estimate_mask(echoes, TE)
    assert mask.mean() > 0.99
    phase = np.angle(echoes)
    unwrapped = unwrap_echoes(phase, np.abs(echoes), TE, mask)
    trusted = mask & (phase_quality(echoes, TE) > 0.5)
    assert trusted.mean() > 0.95
    before, after = jumps(phase, trusted), jumps(unwrapped, trusted)
    assert before > 500
    assert after <= 0.01 * before
    whole = (unwrapped - phase)[:, mask] / (2 * np.pi)
    np.testing.assert_allclose(whole, np.rint(whole), atol=1e-6)


def test_the_field_of_a_brain_is_small_and_smooth(measured_data: Path) -> None:
    maps = estimate_field(*brain(measured_data / "romeo_small"))
    low, high = np.percentile(maps.frequency[maps.mask], [0.1, 99.9])
    assert -150 < low < high < 150
    steps = np.abs(np.diff(maps.frequency, axis=2))[maps.mask[:, :, 1:] & maps.mask[:, :, :-1]]
    assert np.median(steps) < 3
    assert 10 < np.median(maps.r2star[maps.mask]) < 60
    assert 0.7 < np.median(maps.residual[maps.mask]) < 1.1


def test_a_thorax_is_masked_and_unwrapped(measured_data: Path) -> None:
    echoes, TE, tissue = thorax(measured_data / "thorax_1p5t")
    mask = estimate_mask(echoes, TE)
    assert mask[tissue].mean() > 0.995
    assert mask[~tissue].mean() < 0.15
    maps = estimate_field(echoes, TE, mask)
    period = 1 / np.diff(TE).mean()
    trusted = mask & (maps.quality > 0.5)
    wrapped = np.angle((echoes[1:] * echoes[:-1].conj()).sum(axis=0))[None]
    unwrapped = 2 * np.pi * maps.frequency[None] / period
    before, after = jumps(wrapped, trusted), jumps(unwrapped, trusted)
    assert before > 100
    assert after <= 0.02 * before
    assert np.percentile(np.abs(maps.frequency[trusted]), 99) < 0.6 * period
