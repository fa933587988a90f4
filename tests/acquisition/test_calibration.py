"""A calibration scan of its own: averaged, placed about the centre, kept apart from the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from chistream.acquisition.calibration import CalibrationScan
from chistream.acquisition.lines import Line
from chistream.acquisition.plan import EncodingPlan

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.acquisition.conftest import Scanner

    from chistream.arrays import ComplexArray

CALIBRATION = 1 << 19
CALIBRATION_AND_IMAGING = 1 << 20


def as_it_is(values: ComplexArray) -> ComplexArray:
    return values


def test_without_readouts_there_is_no_block() -> None:
    assert (
        CalibrationScan(EncodingPlan((5, 6, 12), (5, 6, 12), 2)).block((2, 3), as_it_is, np.ones(2))
        is None
    )


@pytest.mark.parametrize(("z", "y"), [((2, 4), (1, 5)), ((1, 3), (2, 5)), ((2, 3), (3, 4))])
def test_lines_are_averaged_and_centred(
    scanner: Scanner, z: tuple[int, int], y: tuple[int, int]
) -> None:
    scan = CalibrationScan(scanner.plan)
    for factor in (1, 3):
        for echo in range(2):
            for step_2 in range(*z):
                for step_1 in range(*y):
                    readout = scanner.line(echo, step_2, step_1)
                    readout.samples *= factor
                    scan.add(readout, Line(echo, step_2, step_1))
    centre = (2, 3)
    block = scan.block(centre, as_it_is, np.ones(2))
    assert block is not None
    expected = scanner.image_along_x()
    nz, ny = block.shape[2:4]
    for step_2 in range(*z):
        for step_1 in range(*y):
            there = block[:, :, step_2 - centre[0] + nz // 2, step_1 - centre[1] + ny // 2]
            np.testing.assert_allclose(there, 2 * expected[:, :, step_2, step_1], atol=1e-5)
    n_lines = np.any(block != 0, axis=(0, 1, 4)).sum()
    assert n_lines == (z[1] - z[0]) * (y[1] - y[0])


def test_readouts_that_are_not_finite_are_left_out(scanner: Scanner) -> None:
    scan = CalibrationScan(scanner.plan)
    broken = scanner.line(0, 2, 3)
    broken.samples[0, 0] = np.nan
    scan.add(broken, Line(0, 2, 3))
    assert scan.block((2, 3), as_it_is, np.ones(2)) is None


def test_a_separate_calibration_is_whitened_and_no_part_of_the_image(
    make_scanner: Callable[..., Scanner],
) -> None:
    scanner = make_scanner()
    extra = [scanner.line(echo, 2, 3, flags=CALIBRATION) for echo in range(2)]
    for readout in extra:
        readout.samples *= 5
    beyond = scanner.line(0, 2, 3, flags=CALIBRATION, encode_step_1=60000)
    noise = scanner.line(0, 0, 0, flags=1 << 18)
    noise.samples = np.eye(3, dtype=np.complex64).repeat(8, axis=1) * 4
    plain = scanner.acquire([noise, *scanner.lines()])
    found = scanner.acquire([noise, *extra, beyond, *scanner.lines()])
    np.testing.assert_array_equal(found.hybrid, plain.hybrid)
    assert plain.calibration is None
    assert found.calibration is not None
    middle = found.calibration[:, :, found.calibration.shape[2] // 2, -1]
    np.testing.assert_allclose(middle, 5 * plain.hybrid[:, :, 2, 3], rtol=1e-4)
    assert any("counters beyond" in warning for warning in found.warnings)


def test_an_embedded_calibration_fills_k_space(make_scanner: Callable[..., Scanner]) -> None:
    scanner = make_scanner(has_embedded_calibration=True)
    flags = (0, CALIBRATION, CALIBRATION_AND_IMAGING)
    lines = scanner.lines()
    for i, readout in enumerate(lines):
        readout.flags |= flags[i % 3]
    found = scanner.acquire(lines)
    assert found.sampled.all()
    assert found.calibration is None
    np.testing.assert_allclose(found.hybrid, scanner.image_along_x(), atol=1e-5)
