"""What is told of the middle of k-space while a scan goes on is what it will be at the end."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from tests.acquisition.conftest import Scanner

from chistream.acquisition.assembly import AcquiredScan, Acquisition, AcquisitionOptions
from chistream.acquisition.foresight import Middle
from chistream.acquisition.gating_options import GatingOptions
from chistream.acquisition.readouts import Readout

NOISE, CALIBRATION = 1 << 18, 1 << 19


@pytest.fixture
def scanner(make_scanner: Callable[..., Scanner]) -> Scanner:
    return make_scanner(size=(6, 24, 16), acceleration=(1, 2), limits=((0, 5), (0, 23)))


def noise_of(scanner: Scanner) -> Readout:
    noise = scanner.line(0, 0, 0, 35990.0, flags=NOISE)
    noise.samples = np.eye(3, dtype=np.complex64).repeat(8, axis=1) * 4
    return noise


def is_near(line: Readout) -> bool:
    return 7 <= line.encode_step_1 < 17


def undersampled(scanner: Scanner) -> list[Readout]:
    """The middle first, then a lattice; ordered by time."""
    lines = scanner.lines()
    near = [line for line in lines if is_near(line)]
    far = [line for line in lines if not is_near(line) and not line.encode_step_1 % 2]
    for i, line in enumerate([*near, *far]):
        line.time_stamp = scanner.start + 0.01 * i
    return [noise_of(scanner), *near, *far]


def watch(scanner: Scanner, readouts: Sequence[Readout]) -> tuple[list[Middle], AcquiredScan]:
    options = AcquisitionOptions(gating=GatingOptions(scheme="none"))
    acquisition, told = Acquisition(scanner.plan, options), []
    for readout in readouts:
        acquisition.feed(readout)
        middle = acquisition.settled_middle()
        if middle is not None:
            told.append(middle)
    return told, acquisition.finish()


def test_the_middle_is_told_once_and_is_that_of_the_end(scanner: Scanner) -> None:
    told, acquired = watch(scanner, undersampled(scanner))
    assert len(told) == 1
    assert acquired.middle is not None
    assert acquired.middle.shape == (2, 3, 6, 10, 16)
    np.testing.assert_array_equal(told[0].block, acquired.middle)
    np.testing.assert_array_equal(told[0].lattice, acquired.lattice)


def test_what_changes_after_all_is_told_again(scanner: Scanner) -> None:
    readouts = undersampled(scanner)
    again = [scanner.line(0, 3, 12, scanner.start + 5 + i) for i in range(3)]
    again[0].samples *= 2
    told, acquired = watch(scanner, [*readouts[:-40], *again, *readouts[-40:]])
    assert len(told) == 2
    assert not np.array_equal(told[0].block, told[1].block)
    np.testing.assert_array_equal(told[1].block, acquired.middle)


def test_a_calibration_scan_is_told_as_it_will_be(scanner: Scanner) -> None:
    noise, *lines = undersampled(scanner)
    own = [line for line in scanner.lines() if is_near(line)]
    for line in own:
        line.flags |= CALIBRATION
        line.samples *= 3
    told, acquired = watch(scanner, [noise, *own[:50], *lines[:150], *own[50:], *lines[150:]])
    assert len(told) == 1
    np.testing.assert_array_equal(told[0].block, acquired.calibration)
    np.testing.assert_array_equal(told[0].lattice, acquired.lattice)


def test_nothing_is_told_of_what_cannot_be_learnt_from(
    scanner: Scanner, make_scanner: Callable[..., Scanner]
) -> None:
    complete = make_scanner()
    told, acquired = watch(complete, [noise_of(complete), *complete.lines()])
    assert not told
    assert acquired.middle is None
    # Without noise readouts, coils are combined at the end only.
    told, acquired = watch(scanner, undersampled(scanner)[1:])
    assert not told
    assert acquired.middle is not None
    # The middle has not come yet when the scan ends.
    sparse = [line for line in scanner.lines() if not line.encode_step_1 % 2]
    told, acquired = watch(scanner, [noise_of(scanner), *sparse])
    assert not told
    assert acquired.middle is None


def test_a_middle_that_one_echo_lacks_or_that_is_to_be_averaged_is_not_told(
    scanner: Scanner,
) -> None:
    noise, *lines = undersampled(scanner)
    first = [line for line in lines if not line.contrast or not line.encode_step_1 % 2]
    told, acquired = watch(scanner, [noise, *first])
    assert not told
    assert acquired.middle is None
    again = [replace(line, repetition=1) for line in lines]
    told, acquired = watch(scanner, [noise, *lines[:60], *again, *lines[60:]])
    assert not told
    assert acquired.middle is not None
