"""Sparks in raw readouts: found one readout at a time, and taken out."""

import numpy as np
from scipy.signal import firwin

from chistream.arrays import ComplexArray, IntArray, RealArray
from chistream.physics.compiled import compiled

LONGEST = 3
"""Samples that one spark lasts, at most."""

_N_TAPS = 33
_MARGIN = 0.1
"""Width of the filter's edge, beyond the field of view [cycles per sample]."""

_MOST_SUPPORT = 0.7
"""Part of the encoded field of view beyond which too little lies outside the image's to tell."""

_NEAR, _FAR = 8, 24
"""Samples around one that are not, and that are, compared with it."""

_ABOVE = 40.0
"""Power outside the field of view over the largest in the surroundings at which a sample is hit."""

_LEAKAGE = 1e-2
"""Power outside over the largest power of the surrounding samples that an object may have there:
arms, the filter's stop band, truncation."""

_ABOVE_MEDIAN = 100.0
_MOST_SPARKS = 6
_BETTER = 0.5
"""Residual power that one more sample must leave less of, to be taken as hit."""


class SpikeFilter:
    r"""Finds sparks by what they leave outside the field of view.

    Readouts are oversampled: the object fills the image's field of view, a spark of one sample the
    whole encoded one. A high-pass filter along the readout keeps what lies outside,

    .. math:: P(s) = \sum_c |(h * d_c)(s)|^2

    in which the steep centre of k-space does not show, and a spark stands alone. Samples that are
    hit are replaced by those that leave least outside, which is a small linear problem, with full
    knowledge of them from their neighbours.

    Parameters
    ----------
    support
        Part of the encoded field of view along x that the image's covers, in (0, 1].

    Raises
    ------
    ValueError
        If the support is out of its range.

    Notes
    -----
    Each readout is judged by itself, so the order in which readouts come does not matter. Without
    oversampling (support above 0.7) nothing is found: what is no object's cannot be told then.
    """

    def __init__(self, support: float) -> None:
        if not 0 < support <= 1:
            raise ValueError(f"support must be in (0, 1], got {support}")
        self.is_able = support <= _MOST_SUPPORT
        edge = min(support / 2 + _MARGIN / 2, 0.45)
        taps = firwin(_N_TAPS, 2 * edge, pass_zero=False) if self.is_able else np.zeros(_N_TAPS)
        self._taps = np.asarray(taps, np.float32)

    def clean(self, samples: ComplexArray) -> tuple[ComplexArray, int]:
        """Take the sparks out of one readout.

        Parameters
        ----------
        samples
            ``(coils, samples)`` in the order of acquisition, as they come from the receiver.

        Returns
        -------
        cleaned : ComplexArray
            The same array if there was none, a copy otherwise.
        n : int
            Sparks that were found.
        """
        n_samples = samples.shape[1]
        if not self.is_able or n_samples < 2 * _FAR:
            return samples, 0
        found = 0
        while found < _MOST_SPARKS:
            hit = self._find(samples)
            if hit < 0:
                break
            if not found:
                samples = samples.copy()
            self._mend(samples, hit)
            found += 1
        return samples, found

    def _find(self, samples: ComplexArray) -> int:
        """Return the sample most likely to be hit, -1 if none is."""
        outside, power = _powers(_continued(samples), self._taps)
        usual = _ABOVE_MEDIAN * np.median(outside)
        # Most readouts end here; so do those that are not finite, which are left out later.
        if not outside.max() > usual:
            return -1
        surroundings = _largest_around(outside, _NEAR, _FAR)
        # A spark's own power must not speak for it: the strongest sample beside it does.
        limit = np.maximum(_ABOVE * surroundings, _LEAKAGE * _largest_around(power, LONGEST, _FAR))
        ratio = outside / np.maximum(np.maximum(limit, usual), np.finfo(np.float32).tiny)
        hit = int(np.argmax(ratio))
        return hit if ratio[hit] > 1 else -1

    def _mend(self, samples: ComplexArray, hit: int) -> None:
        """Replace the run of samples around ``hit`` that leaves least outside; in place."""
        n = samples.shape[1]
        half = _N_TAPS // 2
        first, last = max(0, hit - 2 * half), min(n, hit + 2 * half + 1)
        window = samples[:, first:last]
        matrix = _convolution(last - first, self._taps)
        residual = window @ matrix.T
        best, lowest = (hit, 1), np.inf
        for length in range(1, LONGEST + 1):
            for start in range(max(first, hit - LONGEST), min(last - length, hit + LONGEST) + 1):
                columns = matrix[:, start - first : start - first + length]
                left = residual - (residual @ np.linalg.pinv(columns).T) @ columns.T
                misfit = float((np.abs(left) ** 2).sum()) / _BETTER**length
                if misfit < lowest:
                    best, lowest = (start, length), misfit
        start, length = best
        columns = matrix[:, start - first : start - first + length]
        samples[:, start : start + length] -= (residual @ np.linalg.pinv(columns).T).astype(
            samples.dtype
        )


def _continued(samples: ComplexArray) -> ComplexArray:
    """Continue readouts beyond their ends, oddly about the last sample: no jump, no kink."""
    half = _N_TAPS // 2
    before = 2 * samples[:, :1] - samples[:, half:0:-1]
    after = 2 * samples[:, -1:] - samples[:, -2 : -half - 2 : -1]
    return np.concatenate([before, samples, after], axis=1)


@compiled
def _powers(continued: ComplexArray, taps: RealArray) -> tuple[RealArray, RealArray]:
    """Sum over coils the power of filtered samples, and of the samples ``(samples,)``."""
    n_coils, n = continued.shape
    half = len(taps) // 2
    outside = np.zeros(n - 2 * half, np.float32)
    power = np.zeros(n - 2 * half, np.float32)
    for coil in range(n_coils):
        row = continued[coil]
        for s in range(n - 2 * half):
            centre = s + half
            filtered = taps[half] * row[centre]
            for t in range(1, half + 1):
                filtered += taps[half + t] * (row[centre - t] + row[centre + t])
            outside[s] += filtered.real**2 + filtered.imag**2
            power[s] += row[centre].real ** 2 + row[centre].imag ** 2
    return outside, power


def _largest_around(values: RealArray, near: int, far: int) -> RealArray:
    """Return the largest value between ``near`` and ``far`` samples away, on either side."""
    n = len(values)
    padded = np.full(n + 2 * far, 0, values.dtype)
    padded[far : far + n] = values
    windows = np.lib.stride_tricks.sliding_window_view(padded, far - near + 1).max(axis=1)
    before, after = windows[:n], windows[far + near : far + near + n]
    largest: RealArray = np.maximum(before, after)
    return largest


def _convolution(n: int, taps: RealArray) -> RealArray:
    """Matrix ``(n, n)`` of the filter, zeros beyond the ends."""
    offsets: IntArray = np.arange(n)[:, None] - np.arange(n) + len(taps) // 2
    inside = (offsets >= 0) & (offsets < len(taps))
    matrix: RealArray = np.where(inside, taps[np.clip(offsets, 0, len(taps) - 1)], 0.0)
    return matrix
