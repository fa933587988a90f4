"""Imaging readouts on their way into k-space, transformed along x as they come."""

import math
import mmap
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyfftw

from chistream.acquisition.placement import Placement, ReadoutShape, place_readout
from chistream.acquisition.readouts import Readout
from chistream.arrays import ComplexArray, Mask, RealArray
from chistream.errors import ReconstructionError


class Line(NamedTuple):
    """Address of a readout in k-space, in the scan's own counters.

    Echoes of a further repetition count on from those of the one before.
    """

    echo: int
    step_2: int
    step_1: int


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Readouts in hybrid space: image along x, k-space along y and z.

    Parameters
    ----------
    addresses
        Where each belongs ``(n)``.
    times
        When each was measured ``(n,)`` [s].
    values
        Samples ``(n, coils, x)`` complex64.
    """

    addresses: list[Line]
    times: RealArray
    values: ComplexArray

    def __len__(self) -> int:
        return len(self.addresses)


class ReadoutTransform:
    """Transforms readouts from k-space to image along x, and crops their oversampling.

    Planned once; each readout goes through the same two buffers, which stay in the cache.

    Parameters
    ----------
    n_coils
        Number of coils.
    grid
        Length of the grid that readouts are placed on; k = 0 lies at ``grid // 2``.
    kept
        Length of the image; longer than the grid leaves zeros at both ends.
    """

    def __init__(self, n_coils: int, grid: int, kept: int) -> None:
        self._grid = grid
        self._samples = pyfftw.zeros_aligned((n_coils, grid), "complex64")
        self._image = pyfftw.empty_aligned((n_coils, grid), "complex64")
        self._plan = pyfftw.FFTW(
            self._samples, self._image, (1,), "FFTW_BACKWARD", ("FFTW_MEASURE",), 1
        )
        self._samples[...] = 0  # planning scribbles on its arrays
        self._target = slice(0, 0)
        self._placing = _unshifted(self._target, grid)
        first = max(grid // 2 - kept // 2, 0)
        last = min(grid // 2 - kept // 2 + kept, grid)
        self._crop = _unshifted(slice(first, last), grid)
        self._offset = kept // 2 - grid // 2
        self._leaves_zeros = last - first < kept

    def apply(self, samples: ComplexArray, placement: Placement, image: ComplexArray) -> bool:
        """Transform ``samples (coils, samples)`` into ``image (coils, kept)``, unitary.

        Returns
        -------
        bool
            False if a sample is not finite; nothing is written then.
        """
        if placement.target != self._target:
            self._samples[...] = 0
            self._target = placement.target
            self._placing = _unshifted(placement.target, self._grid)
        placed = samples[:, placement.kept][:, :: placement.step][:, placement.source]
        start = placement.target.start
        for centred, unshifted in self._placing:
            self._samples[:, unshifted] = placed[:, centred.start - start : centred.stop - start]
        self._plan.execute()
        # A sample that is not finite spoils every voxel of its coil: one voxel tells.
        if not np.isfinite(self._image[:, 0]).all():
            return False
        scale = np.float32(self._grid**-0.5)
        if self._leaves_zeros:
            image[...] = 0
        for centred, unshifted in self._crop:
            inside = slice(centred.start + self._offset, centred.stop + self._offset)
            np.multiply(self._image[:, unshifted], scale, out=image[:, inside])
        return True


class ReadoutBatch:
    """Collects readouts of one volume in hybrid space.

    Parameters
    ----------
    encoded
        Length of the encoded readout.
    kept
        Length of the image's field of view along x, in voxels of the encoded grid.
    capacity
        Readouts that are handed on together, >= 1.
    """

    def __init__(self, encoded: int, kept: int, capacity: int = 32) -> None:
        self._encoded, self._kept, self._capacity = encoded, kept, capacity
        self._values: ComplexArray = np.zeros((0, 0, 0), np.complex64)
        self._transforms: dict[int, ReadoutTransform] = {}
        self._addresses: list[Line] = []
        self._times: list[float] = []
        self._targets: set[tuple[int, int, int]] = set()
        self.notes: dict[str, int] = {}
        self.n_not_finite = 0

    @property
    def is_full(self) -> bool:
        """Whether the batch must be taken before another readout goes in."""
        return len(self._addresses) >= self._capacity

    def put(self, readout: Readout, address: Line, time: float) -> None:
        """Transform a readout and keep the result, if all samples are finite.

        Parameters
        ----------
        readout
            The readout; its samples are not kept.
        address
            Where it belongs.
        time
            When it was measured [s].

        Raises
        ------
        ReconstructionError
            If its samples cannot be placed, or it has not the coils of the ones before.
        """
        n_coils, n_samples = readout.samples.shape
        placement = place_readout(
            ReadoutShape(
                n_samples,
                readout.center_sample,
                readout.discard_pre,
                readout.discard_post,
                readout.is_reversed,
            ),
            self._encoded,
            self._kept,
        )
        self._make_room(n_coils)
        if placement.grid not in self._transforms:
            self._transforms[placement.grid] = ReadoutTransform(n_coils, placement.grid, self._kept)
        transform = self._transforms[placement.grid]
        if not transform.apply(readout.samples, placement, self._values[len(self._addresses)]):
            self.n_not_finite += 1
            return
        self._addresses.append(address)
        self._times.append(time)
        self._targets.add((placement.target.start, placement.target.stop, placement.grid))
        if placement.note:
            self.notes[placement.note] = self.notes.get(placement.note, 0) + 1

    @property
    def readout_support(self) -> Mask:
        """Samples of k-space along the kept x ``(x,)`` that all readouts have reached."""
        k = np.arange(self._kept) - self._kept // 2
        support = np.ones(self._kept, bool)
        for start, stop, grid in self._targets:
            on_grid = k * (grid / self._kept) + grid // 2
            # A reversed even readout lacks its outermost sample: no partial echo for that.
            support &= (on_grid >= start) | (start == 1)
            support &= (on_grid < stop) | (stop == grid - 1)
        return support

    def take(self) -> Lines:
        """Empty the batch and return what was in it."""
        # A copy of what there is: a few readouts do not keep the room of a full batch, and the
        # room stays in the cache.
        filled = self._values[: len(self._addresses)]
        values = own_pages(filled.shape)
        values[...] = filled
        lines = Lines(self._addresses, np.array(self._times), values)
        self._addresses, self._times = [], []
        return lines

    def _make_room(self, n_coils: int) -> None:
        known = self._values.shape[1]
        if known not in {0, n_coils}:
            raise ReconstructionError(
                "acquisition",
                f"imaging readouts have {known} coils, then {n_coils}: "
                "one volume needs the same coils throughout",
            )
        if not len(self._values):
            self._values = np.empty((self._capacity, n_coils, self._kept), np.complex64)


def own_pages(shape: tuple[int, ...]) -> ComplexArray:
    """Make an array of zeros whose memory goes back to the system when it is let go.

    Readouts are held for a while and then copied into k-space. From the common heap, what they
    leave behind would stay with the process, and hold k-space twice.

    Parameters
    ----------
    shape
        Shape of the array.

    Returns
    -------
    ComplexArray
        Array of complex64.
    """
    n_bytes = np.dtype(np.complex64).itemsize * math.prod(shape)
    return np.frombuffer(mmap.mmap(-1, max(n_bytes, 8)), np.complex64, math.prod(shape)).reshape(
        shape
    )


def _unshifted(centred: slice, grid: int) -> tuple[tuple[slice, slice], ...]:
    """Pair the parts of a range on a centred grid with where FFT order keeps them."""
    middle = grid // 2
    halves = (
        (slice(centred.start, min(centred.stop, middle)), grid - middle),
        (slice(max(centred.start, middle), centred.stop), -middle),
    )
    return tuple(
        (half, slice(half.start + shift, half.stop + shift))
        for half, shift in halves
        if half.start < half.stop
    )
