"""What the stage needs to know of an echo train: that it is one, and its spacings."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chistream.arrays import ComplexArray, IntArray, Mask, RealArray, size_of
from chistream.errors import ReconstructionError

STAGE = "field"

SAME_SPACING = 0.01
"""Echo spacings that differ by less than this part of the smallest one count as one spacing."""


@dataclass(frozen=True)
class Lag:
    """All pairs of echoes that lie equally far apart.

    Parameters
    ----------
    spacing
        Time between the two echoes of a pair, the mean over the pairs [s].
    pairs
        Indices ``(pairs, 2)`` of the earlier and the later echo.
    """

    spacing: float
    pairs: IntArray

    def product(self, echoes: ComplexArray) -> ComplexArray:
        """Sum later echo times conjugate earlier echo: its phase is 2 pi f spacing, no offset.

        Parameters
        ----------
        echoes
            Complex echoes, ``(echoes, ...)``.

        Returns
        -------
        ComplexArray
            Sum over the pairs ``(...)``.
        """
        earlier, later = self.pairs[0]
        total: ComplexArray = echoes[later] * echoes[earlier].conj()
        for earlier, later in self.pairs[1:]:
            total += echoes[later] * echoes[earlier].conj()
        return total


def check_train(echoes: ComplexArray, TE: npt.ArrayLike) -> tuple[ComplexArray, RealArray]:
    """Make sure that these are echoes of which a field can be made.

    Parameters
    ----------
    echoes
        Complex echoes ``(echoes, z, y, x)``; samples that are not finite count as no signal.
    TE
        Echo times ``(echoes,)`` [s].

    Returns
    -------
    echoes, TE
        The echoes as complex64 and finite, the echo times as float64.

    Raises
    ------
    ValueError
        If the arrays do not have these shapes.
    ReconstructionError
        If there are fewer than two echoes, or the echo times do not increase.
    """
    times = np.asarray(TE, dtype=np.float64)
    if echoes.ndim != 4 or times.shape != echoes.shape[:1]:
        raise ValueError(
            f"echoes {echoes.shape} must be (echoes, z, y, x), with one TE each, got {times.shape}"
        )
    if len(times) < 2:
        raise ReconstructionError(STAGE, f"a field map needs at least 2 echoes, got {len(times)}")
    if not (np.isfinite(times).all() and np.all(np.diff(times) > 0)):
        raise ReconstructionError(STAGE, f"echo times must increase, got {times.tolist()} s")
    finite = np.isfinite(echoes)
    whole = echoes if finite.all() else np.where(finite, echoes, 0)
    return whole.astype(np.complex64, copy=False), times


def check_mask(mask: Mask, echoes: ComplexArray) -> Mask:
    """Make sure that a mask fits the echoes and selects something.

    Parameters
    ----------
    mask
        Voxels to use ``(z, y, x)``.
    echoes
        Echoes ``(echoes, z, y, x)`` that it belongs to.

    Returns
    -------
    Mask
        The mask, as bool.

    Raises
    ------
    ValueError
        If the mask does not have the shape of an echo.
    ReconstructionError
        If the mask is empty.
    """
    if mask.shape != size_of(echoes):
        raise ValueError(f"mask {mask.shape} and echoes {echoes.shape} differ in shape")
    if not mask.any():
        raise ReconstructionError(STAGE, "the mask is empty: no voxel has a signal to fit")
    return mask.astype(bool, copy=False)


def lags(TE: RealArray) -> list[Lag]:
    """Group all pairs of echoes by the time between them, the shortest first.

    Parameters
    ----------
    TE
        Increasing echo times ``(echoes,)`` [s], at least two.

    Returns
    -------
    list of Lag
        Groups of increasing spacing.

    Examples
    --------
    >>> [(round(1e3 * lag.spacing, 3), len(lag.pairs)) for lag in lags(np.array([1, 3, 5]) * 1e-3)]
    [(2.0, 2), (4.0, 1)]
    """
    earlier, later = np.triu_indices(len(TE), k=1)
    spacings = TE[later] - TE[earlier]
    order = np.argsort(spacings, kind="stable")
    steps = np.diff(spacings[order]) > SAME_SPACING * spacings[order[0]]
    groups = np.split(order, np.flatnonzero(steps) + 1)
    return [
        Lag(float(spacings[group].mean()), np.stack([earlier[group], later[group]], axis=1))
        for group in groups
    ]
