"""What a person may choose about gating and motion."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from chistream.acquisition.readouts import Readout

Estimator: TypeAlias = Literal["template", "correlation", "edge"]
Scheme: TypeAlias = Literal["none", "window", "drift", "smallest", "two_bin", "soft"]
Tracking: TypeAlias = Literal["off", "fixed", "estimate"]

_SOURCES = {"auto", "profile", "respiration", "self"}
_FIELD = re.compile(r"(user_int|user_float|idx_user)\[([0-7])\]|flag\[([1-9]|[1-5]\d|6[0-4])\]")


@dataclass(frozen=True)
class GatingOptions:
    """How breathing is measured, which heartbeats count, and what is corrected.

    Parameters
    ----------
    scheme
        ``none``: every heartbeat counts. ``window``: those within a fixed window around
        end-expiration. ``drift``: the window follows end-expiration as it drifts. ``smallest``: the
        smallest window, wherever it lies, that completes k-space (CLAWS). ``two_bin``: the two
        neighbouring bins, each half a window wide, that have most of k-space (PAWS). ``soft``: all,
        weighted by their distance from end-expiration.
    source
        Where positions come from: ``profile`` (navigator readouts), ``respiration`` (the belt's
        waveform), ``self`` (a line of k-space that is measured again in every heartbeat), a number
        in the heads of readouts (``user_int[0]``, ``user_float[0]``, ``idx_user[0]``,
        ``flag[57]``), or ``auto``: profiles if there are any, else the belt, else such lines.
    accepts
        Where the scanner's own verdict is, which then stands in place of a window: a number in the
        heads that is not 0 where it accepted, or ``none``.
    estimator
        How profiles are compared: ``correlation`` (normalised, over the whole column), ``template``
        (least squares around its edge), or ``edge`` (the steepest place).
    window
        Full width of the acceptance window [mm], > 0. The usual 5 mm accepts 25 to 60 % of the
        heartbeats.
    column
        Length of the navigator's column over all of its samples [mm], > 0. Readouts do not carry
        it; 256 mm means that a navigator of 256 samples has 1 mm each.
    unit
        Displacement towards the head for each unit of a number in the heads [mm], not 0; negative
        if the number grows as the diaphragm descends.
    max_change
        Largest change between the navigators before and after a heartbeat [mm]; a heartbeat with
        more is rejected.
    rr_tolerance
        Heartbeats whose RR interval, or the one before it, is farther than this part from the
        median (or a multiple of it: a trigger that was not used) are rejected; 0: none.
    tracking
        Whether lines are shifted back by the heart's displacement: ``off``, ``fixed``, or
        ``estimate`` its factor from the data.
    tracking_factor
        Displacement of the heart for that of the diaphragm, if fixed.
    prospective_tracking
        Part of the diaphragm's displacement by which the sequence already moved the slab.
    motion_bins
        Bins of position that steady heartbeats are sorted into, with that of the window: 3 or 4; 0
        leaves out what is outside the window. Schemes that choose their window at the end, and
        scanners that gate themselves, have one bin only.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    scheme: Scheme = "window"
    source: str = "auto"
    accepts: str = "none"
    estimator: Estimator = "correlation"
    window: float = 5.0
    column: float = 256.0
    unit: float = 0.1
    max_change: float = 2.0
    rr_tolerance: float = 0.25
    tracking: Tracking = "off"
    tracking_factor: float = 0.6
    prospective_tracking: float = 0.0
    motion_bins: int = 0

    def __post_init__(self) -> None:
        lengths = (self.window, self.max_change, self.column)
        if not all(length > 0 for length in lengths):
            raise ValueError(f"window, largest change and column must be positive [mm]: {lengths}")
        if not abs(self.unit) > 0:
            raise ValueError(f"the unit of positions must not be 0, got {self.unit}")
        if not 0 <= self.rr_tolerance < 0.5:
            raise ValueError(f"rr_tolerance {self.rr_tolerance} is not in [0, 0.5)")
        if not (self.source in _SOURCES or _FIELD.fullmatch(self.source)):
            raise ValueError(f"positions cannot come from {self.source!r}")
        if self.motion_bins not in {0, 3, 4}:
            raise ValueError(f"motion_bins must be 0, 3 or 4, got {self.motion_bins}")
        if self.accepts != "none" and not _FIELD.fullmatch(self.accepts):
            raise ValueError(f"verdicts cannot come from {self.accepts!r}")

    @property
    def is_on(self) -> bool:
        """Whether anything is gated."""
        return self.scheme != "none"

    @property
    def chooses_window(self) -> bool:
        """Whether the window is chosen at the end, among all that was measured."""
        return self.scheme in {"smallest", "two_bin"} and self.accepts == "none"

    @property
    def n_outer_bins(self) -> int:
        """Bins of position outside the window."""
        has_window = self.scheme in {"window", "drift", "soft"} and self.accepts == "none"
        return max(self.motion_bins - 1, 0) if has_window else 0

    @property
    def is_reported(self) -> bool:
        """Whether positions come from numbers in the heads of readouts."""
        return self.source not in _SOURCES


def field_reader(name: str) -> Callable[[Readout], float] | None:
    """Make what reads a number from the head of a readout.

    Parameters
    ----------
    name
        ``user_int[i]``, ``user_float[i]``, ``idx_user[i]`` or ``flag[n]``; another name gives None.

    Returns
    -------
    Callable | None
        Integers of 16 bits are taken with their sign: 65526 is -10.

    Examples
    --------
    >>> import numpy as np
    >>> read = field_reader("user_int[0]")
    >>> read(Readout(np.zeros((1, 1)), user_int=(65526,) * 8))
    -10.0
    """
    found = _FIELD.fullmatch(name)
    if found is None:
        return None
    field, index, flag = found.groups()
    if flag is not None:
        mask = 1 << (int(flag) - 1)
        return lambda readout: float(bool(readout.flags & mask))
    i = int(index)
    if field == "user_float":
        return lambda readout: readout.user_float[i]
    if field == "user_int":
        return lambda readout: _signed(readout.user_int[i])
    return lambda readout: _signed(readout.user[i])


def _signed(number: int) -> float:
    """Undo the wrap of a negative number that was kept in 16 bits without sign."""
    return float(number - 0x10000 if 0x8000 <= number <= 0xFFFF else number)
