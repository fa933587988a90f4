"""Where the middle of k-space lies among the scan's counters."""

from typing import TypeVar

import numpy as np

from chistream.acquisition.plan import CentreSource, EncodingPlan
from chistream.acquisition.readouts import Readout
from chistream.arrays import ComplexArray, Mask, RealArray
from chistream.errors import ReconstructionError

PerLine = TypeVar("PerLine", Mask, RealArray)
"""One value for each line ``(..., z, y)``."""

_AXES = (("partition", "encode_step_2", 6), ("line", "encode_step_1", 5))


class CentreFinder:
    """Remembers what the readouts say about their centre, and which counters there are."""

    def __init__(self) -> None:
        self._stated: tuple[set[int], set[int]] = (set(), set())
        self._first = [np.iinfo(int).max] * 2
        self._last = [-1] * 2

    def see(self, readout: Readout) -> None:
        """Take note of an imaging readout."""
        counters = (readout.encode_step_2, readout.encode_step_1)
        for axis, counter in enumerate(counters):
            self._first[axis] = min(self._first[axis], counter)
            self._last[axis] = max(self._last[axis], counter)
            stated = self._stated[axis]
            if len(stated) < 2:  # two values already differ
                stated.add(readout.user[_AXES[axis][2]])

    def stated(self, plan: EncodingPlan, source: CentreSource) -> tuple[int, int]:
        """Return the centre ``(z, y)`` as far as the first readouts tell, without a judgement."""
        z, y = (
            next(iter(values)) if source != "header" and len(values) == 1 else 0
            for values in self._stated
        )
        return z or plan.centre[0], y or plan.centre[1]

    def decide(
        self, plan: EncodingPlan, source: CentreSource
    ) -> tuple[tuple[int, int], tuple[str, ...]]:
        """Choose the centre.

        Parameters
        ----------
        plan
            The header's centre, and the encoded size.
        source
            As in `AcquisitionOptions`.

        Returns
        -------
        centre : tuple[int, int]
            Counters ``(z, y)`` of the centre partition and line.
        warnings : tuple[str, ...]
            Where readouts and header disagree.

        Raises
        ------
        ReconstructionError
            If the readouts must state it and do not, or lines would lie outside k-space.
        """
        z, z_warnings = self._decide_axis(0, plan, source)
        y, y_warnings = self._decide_axis(1, plan, source)
        return (z, y), (*z_warnings, *y_warnings)

    def _decide_axis(
        self, axis: int, plan: EncodingPlan, source: CentreSource
    ) -> tuple[int, tuple[str, ...]]:
        name, header, n = _AXES[axis][0], plan.centre[axis], plan.encoded_size[axis]
        stated = self._stated[axis]
        user = next(iter(stated)) if len(stated) == 1 else 0
        if source == "user" and not user and n > 1:
            raise ReconstructionError(
                "acquisition",
                f"the readouts state no single centre {name} (user[{_AXES[axis][2]}]: "
                f"{sorted(stated)}); set centre_source to header",
            )
        wanted = {"auto": (user, header), "user": (user,), "header": (header,)}[source]
        for centre in wanted:
            is_chosen = centre == header or centre > 0
            if is_chosen and self._fits(axis, centre, n):
                return centre, self._disagreement(name, user, header, centre, source)
        raise ReconstructionError(
            "acquisition",
            f"{name}s {self._first[axis]} to {self._last[axis]} do not fit {n} encoded ones with "
            f"the centre at {' or '.join(map(str, wanted))}; check centre_source ({source})",
        )

    def _fits(self, axis: int, centre: int, n: int) -> bool:
        shift = n // 2 - centre
        return self._first[axis] + shift >= 0 and self._last[axis] + shift < n

    def _disagreement(
        self, name: str, user: int, header: int, chosen: int, source: CentreSource
    ) -> tuple[str, ...]:
        if source != "auto" or user in {0, header}:
            return ()
        return (
            f"The readouts put the centre {name} at {user}, the header at {header}: "
            f"{chosen} was used.",
        )


def shift_to_centre(volume: ComplexArray, centre: tuple[int, int]) -> None:
    """Move the centre partition and line to ``n // 2``, in place.

    Parameters
    ----------
    volume
        ``(coils, z, y, x)`` in the scan's counters, contiguous. What would leave the grid must be
        empty.
    centre
        Counters ``(z, y)`` of the centre.
    """
    n_coils, nz, ny, nx = volume.shape
    n_lines = nz * ny
    # Lines that pass the end of their partition are empty: they may go on into the next one.
    shift = (nz // 2 - centre[0]) * ny + ny // 2 - centre[1]
    source = slice(max(-shift, 0), n_lines - max(shift, 0))
    target = slice(max(shift, 0), n_lines - max(-shift, 0))
    freed = slice(0, shift) if shift > 0 else slice(n_lines + shift, n_lines)
    if shift:
        for lines in volume.reshape(n_coils, n_lines, nx):  # coil by coil: no second volume
            lines[target] = lines[source]
            lines[freed] = 0


def shift_lines_to_centre(lines: PerLine, centre: tuple[int, int]) -> PerLine:
    """Move values of lines ``(..., z, y)`` as `shift_to_centre` moves their samples."""
    nz, ny = lines.shape[-2:]
    shift = (nz // 2 - centre[0], ny // 2 - centre[1])
    return np.roll(lines, shift, axis=(-2, -1))
