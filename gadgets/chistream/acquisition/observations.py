"""What the readouts of a scan look like: their counters, lengths, dwell times and kinds."""

from collections import Counter
from typing import NamedTuple

import numpy as np

from chistream.acquisition.lines import Line
from chistream.acquisition.plan import EncodingPlan
from chistream.acquisition.readouts import Readout, ReadoutKind
from chistream.arrays import RealArray
from chistream.errors import ReconstructionError

_MAX_REPETITIONS = 16
"""More are a series of volumes over time, which no average should hide."""


class _Volume(NamedTuple):
    """Counters of which one 3D volume has one value each."""

    slice: int
    phase: int
    set: int


class Observations:
    """Takes note of readouts, and tells which of them cannot be used.

    Parameters
    ----------
    plan
        How the scan encodes its volume.
    """

    def __init__(self, plan: EncodingPlan) -> None:
        self._plan = plan
        self.kinds: Counter[ReadoutKind] = Counter()
        self.skipped: Counter[str] = Counter()
        self._volume: _Volume | None = None
        self._repetitions: dict[int, int] = {}
        self._lengths: dict[int, int] = {}
        self._polarities: dict[int, set[bool]] = {}
        self._dwell_times: dict[int, set[float]] = {}

    def address_of(self, readout: Readout) -> Line | None:
        """Return where a readout belongs; count it as left out if that is beyond k-space."""
        step_2, step_1, n_echoes = readout.encode_step_2, readout.encode_step_1, self._plan.n_echoes
        nz, ny, _ = self._plan.encoded_size
        if readout.contrast < n_echoes and step_2 < nz and step_1 < ny:
            return Line(readout.contrast + n_echoes * self._index_of(readout), step_2, step_1)
        self.skipped[f"counters beyond {n_echoes} echoes, {nz} partitions, {ny} lines"] += 1
        return None

    @property
    def reference_repetition(self) -> int:
        """Place of the repetition with the least number among those that came."""
        return self._repetitions[min(self._repetitions)]

    def has_usual_length(self, readout: Readout) -> bool:
        """Tell whether a readout is as long as the first of its echo; count it as left out if not.

        Where a shorter one belongs cannot be told: what its sender lost may be either end.
        """
        n = int(readout.samples.shape[1])
        usual = self._lengths.setdefault(readout.contrast, n)
        if n != usual:
            self.skipped[f"{n} samples where others of echo {readout.contrast} have {usual}"] += 1
        return n == usual

    def note(self, readout: Readout) -> None:
        """Take note of an imaging readout that is used."""
        self._polarities.setdefault(readout.contrast, set()).add(readout.is_reversed)
        self._dwell_times.setdefault(readout.contrast, set()).add(readout.dwell_time)

    def reversed_echoes(self, n_echoes: int) -> tuple[bool, ...]:
        """Tell of each echo whether it was read backwards."""
        return tuple(self._polarities.get(echo) == {True} for echo in range(n_echoes))

    def dwell_times(self) -> RealArray:
        """Give the dwell time of each echo [s], 0 where its readouts disagree."""
        known = (self._dwell_times.get(echo, set()) for echo in range(self._plan.n_echoes))
        return np.array([next(iter(times)) if len(times) == 1 else 0.0 for times in known])

    def refuse_second_volume(self, readout: Readout) -> None:
        """Refuse a scan of more than one volume.

        Raises
        ------
        ReconstructionError
            If the readout has another slice, phase or set than the first one.
        """
        volume = _Volume(readout.slice, readout.phase, readout.set)
        if self._volume is None:
            self._volume = volume
        if volume != self._volume:
            (name, one, other) = next(
                (name, one, other)
                for name, one, other in zip(_Volume._fields, self._volume, volume, strict=True)
                if one != other
            )
            raise ReconstructionError(
                "acquisition",
                f"the scan has more than one {name} ({one} and {other}): only one 3D volume with "
                "its echoes can be reconstructed; send a single 3D slab (repetitions of it are "
                "averaged)",
            )

    def refuse_many_skipped(self, max_fraction: float) -> None:
        """Refuse a scan of which too much was left out.

        Raises
        ------
        ReconstructionError
            If more than this part of the imaging readouts cannot be used.
        """
        n_imaging = sum(n for kind, n in self.kinds.items() if kind.is_imaging)
        n_skipped = self.skipped.total()
        if n_skipped > max_fraction * n_imaging:
            reasons = ", ".join(f"{n} with {reason}" for reason, n in self.skipped.items())
            raise ReconstructionError(
                "acquisition",
                f"{n_skipped} of {n_imaging} imaging readouts cannot be used: {reasons}",
            )

    def _index_of(self, readout: Readout) -> int:
        """Place of a repetition in the order of arrival; each takes as much room as k-space."""
        index = self._repetitions.setdefault(readout.repetition, len(self._repetitions))
        if index >= _MAX_REPETITIONS:
            raise ReconstructionError(
                "acquisition",
                f"the scan has more than {_MAX_REPETITIONS} repetitions: a series of volumes "
                "cannot be reconstructed; send a single 3D slab (repetitions of it are averaged)",
            )
        return index
