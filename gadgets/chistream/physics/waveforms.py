"""Gradient waveforms that a sequence describes, and what they leave behind at each echo."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from chistream.arrays import RealArray

PARAMETERS: Mapping[str, str] = MappingProxyType(
    {
        "read": "GradientWaveformRead",
        "phase": "GradientWaveformPhase",
        "slice": "GradientWaveformSlice",
    }
)
"""Names of the header's user parameters (texts) that hold the waveform of each direction."""

_MILLI = 1e-3


@dataclass(frozen=True)
class Waveform:
    """One gradient after an excitation, in straight lines between corners; zero outside them.

    Parameters
    ----------
    times
        Of the corners, from the centre of the excitation [s]; never descending.
    strengths
        At the corners, positive where k grows along its direction [T/m].

    Raises
    ------
    ValueError
        If the numbers do not fit, are not finite, or times descend.

    Examples
    --------
    >>> Waveform.from_text("0 0; 0.1 8; 1.1 8; 1.2 0").strengths
    (0.0, 0.008, 0.008, 0.0)
    """

    times: tuple[float, ...]
    strengths: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.times) != len(self.strengths) or not self.times:
            raise ValueError(f"{len(self.times)} times and {len(self.strengths)} strengths")
        if not np.isfinite([*self.times, *self.strengths]).all():
            raise ValueError("a waveform's times and strengths must be finite")
        if any(later < time for time, later in zip(self.times, self.times[1:], strict=False)):
            raise ValueError("the times of a waveform must not descend")

    @classmethod
    def from_text(cls, text: str) -> "Waveform":
        """Read corners ``"ms mT/m; ms mT/m; ..."``.

        Parameters
        ----------
        text
            Pairs of time [ms] and strength [mT/m], parted by semicolons.

        Returns
        -------
        Waveform
            In SI units.

        Raises
        ------
        ValueError
            If the text is no such list.
        """
        try:
            corners = [
                (float(time), float(strength))
                for time, strength in (pair.split() for pair in text.split(";") if pair.strip())
            ]
        except ValueError:
            raise ValueError(f"{text[:60]!r} is no waveform 'ms mT/m; ms mT/m; ...'") from None
        times = tuple(_MILLI * time for time, _ in corners)
        return cls(times, tuple(_MILLI * strength for _, strength in corners))

    def to_text(self) -> str:
        """Write the corners as `from_text` reads them, to 0.1 ns and 1 nT/m."""
        pairs = zip(self.times, self.strengths, strict=True)
        return "; ".join(f"{1e3 * time:.7g} {1e3 * strength:.7g}" for time, strength in pairs)


def read_waveforms(parameters: Mapping[str, object]) -> dict[str, Waveform]:
    """Find the gradient waveforms among the user parameters of a header.

    Parameters
    ----------
    parameters
        User parameters by name, see `PARAMETERS`.

    Returns
    -------
    dict[str, Waveform]
        By direction: read, phase, slice; those that the header describes.

    Raises
    ------
    ValueError
        If one of them cannot be read.
    """
    texts = {axis: parameters.get(name) for axis, name in PARAMETERS.items()}
    return {axis: Waveform.from_text(text) for axis, text in texts.items() if isinstance(text, str)}


def product_integrals(
    waveforms: Mapping[str, Waveform], directions: Sequence[str], times: Sequence[float]
) -> RealArray:
    r"""Integrate the products of gradients up to each time, exactly.

    .. math:: Q_{ab}(t) = \int_0^t G_a(t') \, G_b(t') \, dt'

    Parameters
    ----------
    waveforms
        By direction; one that is missing is zero throughout.
    directions
        Names of the axes a and b, in order.
    times
        Ends of the integrals, from the centre of the excitation ``(n,)`` [s].

    Returns
    -------
    RealArray
        ``(n, directions, directions)`` [T^2 s/m^2], symmetric.
    """
    corners = [time for waveform in waveforms.values() for time in waveform.times]
    grid = np.unique([*corners, *times, 0.0])
    grid = grid[grid >= 0]
    # Between two neighbours of this grid all gradients are straight lines; their values at either
    # end are taken from inside, so that a gradient may jump at a corner.
    start, end = grid[:-1], grid[1:]
    zero = np.zeros(len(start))
    lines = [
        _line(waveforms[name], start, end) if name in waveforms else (zero, zero)
        for name in directions
    ]
    first, last = (np.array(values) for values in zip(*lines, strict=True))
    mean = np.einsum("at,bt->tab", first, first) + np.einsum("at,bt->tab", last, last)
    cross = np.einsum("at,bt->tab", first, last)
    steps = (end - start)[:, None, None] * (2 * mean + cross + cross.swapaxes(1, 2)) / 6
    total = np.concatenate([np.zeros((1, *steps.shape[1:])), np.cumsum(steps, axis=0)])
    integrals: RealArray = total[np.searchsorted(grid, times)]
    return integrals


def _line(waveform: Waveform, start: RealArray, end: RealArray) -> tuple[RealArray, RealArray]:
    """Return the values just behind ``start`` and just before ``end`` of each interval."""
    times, strengths = np.array(waveform.times), np.array(waveform.strengths)
    middle = (start + end) / 2
    right = np.searchsorted(times, middle)
    inside = (right > 0) & (right < len(times))
    right = np.clip(right, 1, max(len(times) - 1, 1)) % len(times)
    left = np.maximum(right - 1, 0)
    span = times[right] - times[left]
    slope = (strengths[right] - strengths[left]) / np.where(span > 0, span, math.inf)
    first, last = (
        np.where(inside, strengths[left] + slope * (t - times[left]), 0.0) for t in (start, end)
    )
    return first, last
