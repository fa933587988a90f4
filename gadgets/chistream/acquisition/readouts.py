"""One readout of the receiver, and what its flags say it is for."""

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from chistream.arrays import ComplexArray


class ReadoutKind(Enum):
    """What a readout was measured for; every readout is of exactly one kind."""

    NOISE = "noise"
    NAVIGATOR = "navigator"
    PHASE_CORRECTION = "phase correction"
    DUMMY = "dummy"
    SURFACE_COIL = "surface coil correction"
    PHASE_STABILISATION = "phase stabilisation"
    CALIBRATION = "calibration"
    CALIBRATION_AND_IMAGING = "calibration and imaging"
    IMAGING = "imaging"

    @property
    def is_imaging(self) -> bool:
        """Whether readouts of this kind belong into k-space."""
        return self in _IMAGING


_IMAGING = frozenset({ReadoutKind.IMAGING, ReadoutKind.CALIBRATION_AND_IMAGING})


@dataclass(slots=True)
class Readout:
    """Samples of all coils during one readout, with the counters that say where they belong.

    Parameters
    ----------
    samples
        Complex samples ``(coils, samples)``; copied before `Acquisition.feed` returns.
    flags
        Flags of the ISMRMRD header; flag n is bit n - 1.
    encode_step_1, encode_step_2
        Line (y) and partition (z) counters.
    average, slice, contrast, phase, repetition, set, segment
        Further counters; ``contrast`` is the echo.
    user
        The eight user counters; some converters store the centre line in ``user[5]`` and the
        centre partition in ``user[6]``.
    center_sample
        Index of the sample at k = 0, in the order of acquisition.
    discard_pre, discard_post
        Samples to drop at the start and at the end, in the order of acquisition.
    dwell_time
        Time between samples [s]; 0 if unknown.
    time_stamp
        Time of the readout since midnight [s].
    time_since_trigger
        Time since the last heartbeat's trigger [s].
    user_int, user_float
        The header's free numbers.
    """

    samples: ComplexArray
    flags: int = 0
    encode_step_1: int = 0
    encode_step_2: int = 0
    average: int = 0
    slice: int = 0
    contrast: int = 0
    phase: int = 0
    repetition: int = 0
    set: int = 0
    segment: int = 0
    user: tuple[int, ...] = (0, 0, 0, 0, 0, 0, 0, 0)
    center_sample: int = 0
    discard_pre: int = 0
    discard_post: int = 0
    dwell_time: float = 0.0
    time_stamp: float = 0.0
    time_since_trigger: float = 0.0
    user_int: tuple[int, ...] = (0, 0, 0, 0, 0, 0, 0, 0)
    user_float: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)

    @property
    def is_reversed(self) -> bool:
        """Whether the samples run against the readout direction (flag 22)."""
        return bool(self.flags & _bit(22))


@lru_cache(maxsize=1024)
def kind_of(flags: int) -> ReadoutKind:
    """Tell what a readout is for, from nothing but its flags.

    Parameters
    ----------
    flags
        Flags of the ISMRMRD header; flag n is bit n - 1.

    Returns
    -------
    ReadoutKind
        The first that applies, in the order noise (19), navigator (23, 26 or 28), phase
        correction (24), dummy (27), surface coil correction (29), phase stabilisation (30, 31),
        calibration and imaging (21), calibration (20), imaging (none of them).

    Notes
    -----
    Navigator readouts carry line and partition counters that look like an image's, so this is
    asked before any counter is read. Siemens converters set 23 and 28 together for a navigator
    and 26 for other feedback; all three mean that the readout is no image line.

    Examples
    --------
    >>> kind_of(1 << 18), kind_of(1 << 22 | 1 << 27), kind_of(1 << 21 | 1 << 24)
    (<ReadoutKind.NOISE: 'noise'>, <ReadoutKind.NAVIGATOR: 'navigator'>, \
<ReadoutKind.IMAGING: 'imaging'>)
    """
    return next((kind for mask, kind in _KINDS if flags & mask), ReadoutKind.IMAGING)


def _bit(flag: int) -> int:
    return 1 << (flag - 1)


_KINDS = (
    (_bit(19), ReadoutKind.NOISE),
    (_bit(23) | _bit(26) | _bit(28), ReadoutKind.NAVIGATOR),
    (_bit(24), ReadoutKind.PHASE_CORRECTION),
    (_bit(27), ReadoutKind.DUMMY),
    (_bit(29), ReadoutKind.SURFACE_COIL),
    (_bit(30) | _bit(31), ReadoutKind.PHASE_STABILISATION),
    (_bit(21), ReadoutKind.CALIBRATION_AND_IMAGING),
    (_bit(20), ReadoutKind.CALIBRATION),
)
