"""What a readout is for depends on its flags alone."""

import numpy as np
import pytest

from chistream.acquisition.readouts import Readout, ReadoutKind, kind_of


def flags(*numbers: int) -> int:
    """Set flags as ISMRMRD numbers them, from 1."""
    return sum(2 ** (number - 1) for number in numbers)


@pytest.mark.parametrize(
    ("numbers", "kind"),
    [
        ((), ReadoutKind.IMAGING),
        ((1, 7, 14, 25), ReadoutKind.IMAGING),
        ((22,), ReadoutKind.IMAGING),
        ((19,), ReadoutKind.NOISE),
        ((23,), ReadoutKind.NAVIGATOR),
        ((26,), ReadoutKind.NAVIGATOR),
        ((28,), ReadoutKind.NAVIGATOR),
        ((23, 28, 21), ReadoutKind.NAVIGATOR),
        ((24,), ReadoutKind.PHASE_CORRECTION),
        ((22, 24), ReadoutKind.PHASE_CORRECTION),
        ((27,), ReadoutKind.DUMMY),
        ((29,), ReadoutKind.SURFACE_COIL),
        ((30,), ReadoutKind.PHASE_STABILISATION),
        ((31,), ReadoutKind.PHASE_STABILISATION),
        ((20,), ReadoutKind.CALIBRATION),
        ((21,), ReadoutKind.CALIBRATION_AND_IMAGING),
        ((20, 21), ReadoutKind.CALIBRATION_AND_IMAGING),
        ((57, 64), ReadoutKind.IMAGING),
    ],
)
def test_flags_decide_the_kind(numbers: tuple[int, ...], kind: ReadoutKind) -> None:
    assert kind_of(flags(*numbers)) is kind


def test_two_kinds_belong_into_k_space() -> None:
    imaging = {kind for kind in ReadoutKind if kind.is_imaging}
    assert imaging == {ReadoutKind.IMAGING, ReadoutKind.CALIBRATION_AND_IMAGING}


@pytest.mark.parametrize(("numbers", "is_reversed"), [((22,), True), ((21, 23), False)])
def test_flag_22_reverses(numbers: tuple[int, ...], is_reversed: bool) -> None:
    assert Readout(np.zeros((1, 4), complex), flags=flags(*numbers)).is_reversed is is_reversed
