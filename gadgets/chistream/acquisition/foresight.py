"""The middle of k-space while the scan goes on, for what may be learnt from it beforehand."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from chistream.acquisition.centre import shift_lines_to_centre
from chistream.acquisition.completeness import find_missing
from chistream.acquisition.kspace import KSpace
from chistream.acquisition.plan import EncodingPlan
from chistream.arrays import ComplexArray, Mask, RealArray
from chistream.physics.middle import complete_middle

_LOOKS = 50
"""Looks at k-space while as many lines come as it has."""


class Middle(NamedTuple):
    """The fully sampled middle of an undersampled k-space.

    Attributes
    ----------
    block
        ``(echoes, virtual coils, z, y, x)`` complex64: image along x; k = 0 at ``n // 2`` of z
        and y.
    lattice
        Places ``(z, y)`` of the undersampling, all over k-space.
    """

    block: ComplexArray
    lattice: Mask


class Foresight:
    """Looks now and then whether the middle of k-space is complete, and does not change any more.

    Parameters
    ----------
    plan
        How the scan encodes its volume.
    """

    def __init__(self, plan: EncodingPlan) -> None:
        nz, ny, _ = plan.encoded_size
        n_lines = plan.n_echoes * nz * ny // int(np.prod(plan.acceleration))
        self._plan, self._interval = plan, max(1, n_lines // _LOOKS)
        self._due = self._interval
        self._last: tuple[object, ...] = ()
        self._told: tuple[object, ...] = ()

    def is_due(self, n_readouts: int) -> bool:
        """Tell whether it is time for a look, by the readouts that came."""
        if n_readouts < self._due:
            return False
        self._due = n_readouts + self._interval
        return True

    def look(
        self,
        kspace: KSpace,
        centre: tuple[int, int],
        factors: RealArray,
        separate: Callable[[], ComplexArray | None],
    ) -> Middle | None:
        """Return the middle of k-space as it will be at the end, if that is news.

        Parameters
        ----------
        kspace
            As it is now, of white virtual coils.
        centre
            Counters ``(z, y)`` of its centre.
        factors
            What to multiply each echo with ``(echoes,)``.
        separate
            Makes the block of a calibration scan of its own; None if there is none.

        Returns
        -------
        Middle | None
            None if it is not complete, has changed since the last look, or was returned already.
        """
        is_sampled = kspace.is_sampled[: _measured(kspace)]
        if kspace.n_repetitions > 1 or not len(is_sampled):
            return None
        block = separate()
        if block is None:
            block = self._middle_of(kspace, is_sampled, centre, factors)
        else:
            block = self._middle_of_scan(block)
        if block is None:
            return None
        lattice = find_missing(is_sampled, self._plan, centre, 1.0).lattice
        return Middle(block, shift_lines_to_centre(lattice, centre))

    def _middle_of(
        self, kspace: KSpace, is_sampled: Mask, centre: tuple[int, int], factors: RealArray
    ) -> ComplexArray | None:
        """Cut out the middle of k-space, with the arithmetic of `KSpace.mean`."""
        bounds = complete_middle(shift_lines_to_centre(is_sampled, centre))
        if bounds is None:
            return None
        z, y = (
            slice(part.start + c - n // 2, part.stop + c - n // 2)
            for part, c, n in zip(bounds, centre, is_sampled.shape[1:], strict=True)
        )
        sums, weights = kspace.sums()
        sums, weights = sums[: len(is_sampled), :, z, y], weights[: len(is_sampled), z, y]
        if not self._is_news((sums.shape, weights.tobytes(), complex(sums[:, 0].sum()))):
            return None
        means = factors[: len(is_sampled), None, None] / weights
        block: ComplexArray = sums * means.astype(np.float32)[:, None, :, :, None]
        return block

    def _middle_of_scan(self, scan: ComplexArray) -> ComplexArray | None:
        """Cut out the middle of a calibration scan of its own."""
        bounds = complete_middle(np.any(scan != 0, axis=(1, 4)))
        if bounds is None or not self._is_news((scan.shape, complex(scan[:, 0].sum()))):
            return None
        return scan[:, :, bounds[0], bounds[1]]

    def _is_news(self, state: tuple[object, ...]) -> bool:
        """Tell whether it is as it was at the last look, but not as it was when it was told."""
        # One coil tells whether something was replaced; if it does not, weights that were learnt
        # too early are found out at the end.
        is_settled, self._last = state == self._last, state
        if not is_settled or state == self._told:
            return False
        self._told = state
        return True


def _measured(kspace: KSpace) -> int:
    """Count the echoes up to the last that has a line."""
    has_line = np.flatnonzero(kspace.is_sampled.any(axis=(1, 2)))
    return int(has_line.max(initial=-1)) + 1
