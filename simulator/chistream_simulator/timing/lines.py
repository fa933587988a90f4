"""Which lines of k-space a scan takes, and what each is for."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from chistream.arrays import IntArray, Mask
from chistream_simulator.case import Case


class Purpose(IntEnum):
    """What a line is for; MRD flags say the same (20: CALIBRATION, 21: both)."""

    IMAGING = 0
    CALIBRATION_AND_IMAGING = 1
    CALIBRATION = 2


@dataclass(frozen=True)
class Limit:
    """Counters of an encode step: smallest, largest, and that of k = 0."""

    minimum: int
    maximum: int
    centre: int


@dataclass(frozen=True)
class LinePlan:
    """The lines of a scan on the whole grid of k-space.

    Parameters
    ----------
    lines
        Places ``(n, 2)`` (kz, ky) on the grid, 0 to size - 1, whose centre is ``size // 2``; along
        ky, then kz. A separate calibration comes first, and takes its lines once more.
    purposes
        Purpose of each ``(n,)``.
    size
        Grid ``(z, y)``.
    dropped
        Lines at the start of each axis ``(z, y)`` that partial Fourier leaves out.
    """

    lines: IntArray
    purposes: IntArray
    size: tuple[int, int]
    dropped: tuple[int, int] = (0, 0)

    @property
    def centre(self) -> tuple[int, int]:
        """Place (kz, ky) of the centre of k-space on the grid."""
        return self.size[0] // 2, self.size[1] // 2

    def counters(self, lines: IntArray, *, from_first: bool) -> IntArray:
        """Count lines as readouts do.

        Parameters
        ----------
        lines
            Places ``(..., 2)`` (kz, ky) on the grid.
        from_first
            Whether the first line that partial Fourier leaves counts as 0, as on a Siemens
            scanner; otherwise lines count from the start of the whole grid.

        Returns
        -------
        IntArray
            Counters ``(..., 2)`` of encode steps (2, 1).
        """
        return lines - np.array(self.dropped) if from_first else lines

    def limits(self, *, from_first: bool) -> tuple[Limit, Limit]:
        """Find the true limits of encode steps 2 and 1 (z, y), counted as in `counters`."""
        z, y = (
            Limit(0, n - 1 - skip, n // 2 - skip) if from_first else Limit(skip, n - 1, n // 2)
            for n, skip in zip(self.size, self.dropped, strict=True)
        )
        return z, y

    def converter_limits(self) -> tuple[Limit, Limit]:
        """Find the limits (z, y) that siemens_to_ismrmrd writes into the header.

        Its centre of encode step 1 knows nothing of partial Fourier; that of the heads
        (``idx.user[5]``) does.

        References
        ----------
        .. [1] IsmrmrdParameterMap_Siemens.xsl, https://github.com/ismrmrd/siemens_to_ismrmrd
        """
        z, y = self.limits(from_first=True)
        return z, Limit(y.minimum, y.maximum, self.size[1] // 2)


def plan_lines(case: Case) -> LinePlan:
    """Choose the lines of a scan.

    Parameters
    ----------
    case
        Matrix, partial Fourier, ellipse, acceleration, calibration and missing lines.

    Returns
    -------
    LinePlan
        Its lines.

    Notes
    -----
    Partial Fourier drops the start of an axis, as Siemens scanners do, but never the centre line.
    The undersampled grid always holds the centre line. With CAIPIRINHA it moves along ky from one
    of its partitions to the next [1]_. Missing lines are missing for any purpose.

    References
    ----------
    .. [1] Breuer FA, et al. Controlled aliasing in volumetric parallel imaging (2D CAIPIRINHA).
       Magn Reson Med. 2006;55(3):549-556. doi:10.1002/mrm.20787
    """
    nz, ny = size = case.matrix[:2]
    dropped = (_dropped(nz, case.partial_fourier[0]), _dropped(ny, case.partial_fourier[1]))
    dz, dy = np.meshgrid(np.arange(nz) - nz // 2, np.arange(ny) - ny // 2, indexing="ij")
    present = (dz >= dropped[0] - nz // 2) & (dy >= dropped[1] - ny // 2)
    for z, y in case.missing_lines:
        present[z, y] = False
    grid = _undersampled(case, dz, dy) & present
    if case.elliptical:
        grid &= (dz / (0.5 * nz)) ** 2 + (dy / (0.5 * ny)) ** 2 <= 1
    centre = _centre_block(case, dz, dy) & present
    parts = _parts(case, grid, centre)
    return LinePlan(
        np.concatenate([np.argwhere(where) for where, _ in parts]),
        np.concatenate([purposes[where] for where, purposes in parts]),
        size,
        dropped,
    )


def _dropped(n: int, kept: float) -> int:
    return n - round(kept * n)  # at most n // 2, since more than half is kept


def _undersampled(case: Case, dz: IntArray, dy: IntArray) -> Mask:
    step_z, step_y = case.acceleration
    shift = case.caipirinha_shift * (dz // step_z)
    grid: Mask = (dz % step_z == 0) & ((dy - shift) % step_y == 0)
    return grid


def _centre_block(case: Case, dz: IntArray, dy: IntArray) -> Mask:
    if case.calibration == "none" or case.acceleration == (1, 1):
        return np.zeros(dz.shape, bool)
    n_z, n_y = case.calibration_lines
    block: Mask = (dz >= -(n_z // 2)) & (dz < n_z - n_z // 2)
    return block & (dy >= -(n_y // 2)) & (dy < n_y - n_y // 2)


def _parts(case: Case, grid: Mask, centre: Mask) -> list[tuple[Mask, IntArray]]:
    """Return runs of lines: where they lie, and the purpose at each place of the grid."""
    if case.calibration == "separate":
        return [
            (centre, np.full(grid.shape, Purpose.CALIBRATION)),
            (grid, np.full(grid.shape, Purpose.IMAGING)),
        ]
    purposes = np.where(
        centre, np.where(grid, Purpose.CALIBRATION_AND_IMAGING, Purpose.CALIBRATION), 0
    )
    return [(grid | centre, purposes)]
