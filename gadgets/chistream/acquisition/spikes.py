"""Sparks in raw readouts: found one readout at a time, and taken out."""

import numpy as np
from scipy.signal import firwin

from chistream.arrays import ComplexArray, IntArray, RealArray
from chistream.physics.compiled import compiled

LONGEST = 3
"""Samples that one spark lasts, at most."""

_N_TAPS = 33
"""As many as `add_filtered` has."""

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
_TINY = float(np.finfo(np.float32).tiny)
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
            hit = find_spark(
                np.ascontiguousarray(samples, np.complex64).view(np.float32), self._taps
            )
            if hit < 0:
                break
            if not found:
                samples = samples.copy()
            self._mend(samples, hit)
            found += 1
        return samples, found

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


@compiled
def find_spark(samples: RealArray, taps: RealArray) -> int:
    """Return the sample most likely to be hit, -1 if none is.

    Parameters
    ----------
    samples
        Real and imaginary parts, one after the other ``(coils, 2 samples)`` float32.
    taps
        The high-pass filter, symmetrical and of odd length, float32.

    Returns
    -------
    int
        Number of a sample, or -1.
    """
    outside, power = powers(samples, taps)
    largest, n_low = np.max(outside), 0
    for value in outside:
        n_low += _ABOVE_MEDIAN * value < largest
    # The median is low where half of the samples are. Most readouts end here, and so do those that
    # are not finite, which are left out later.
    if not np.isfinite(largest) or 2 * n_low < len(outside):
        return -1
    usual = _ABOVE_MEDIAN * float(np.median(outside))
    hit, ratio = -1, 1.0
    for s in range(len(outside)):
        if outside[s] > usual:
            # A spark's own power must not speak for it: the strongest sample beside it does.
            beside = _ABOVE * largest_around(outside, s, _NEAR, _FAR)
            leaked = _LEAKAGE * largest_around(power, s, LONGEST, _FAR)
            limit = max(beside, leaked, usual, _TINY)
            if outside[s] > ratio * limit:
                hit, ratio = s, outside[s] / limit
    return hit


@compiled
def powers(samples: RealArray, taps: RealArray) -> tuple[RealArray, RealArray]:
    """Sum over coils ``(coils, 2 samples)`` the power of filtered samples, and of the samples."""
    n_coils, n = samples.shape
    # Real and imaginary parts are filtered alike: as one row of numbers, many at a time.
    row = np.empty(n + 2 * (len(taps) - 1), np.float32)
    outside, power = np.zeros(n, np.float32), np.zeros(n, np.float32)
    for coil in range(n_coils):
        continue_oddly(samples[coil], row)
        add_filtered(row, taps, outside)
        for i in range(n):
            power[i] += samples[coil, i] ** 2
    return outside[::2] + outside[1::2], power[::2] + power[1::2]


@compiled
def continue_oddly(samples: RealArray, row: RealArray) -> None:
    """Continue complex samples beyond their ends, oddly about the last one: no jump, no kink."""
    n = len(samples)
    beyond = (len(row) - n) // 2
    row[beyond : beyond + n] = samples
    for i in range(0, beyond, 2):
        for part in range(2):
            row[i + part] = 2 * samples[part] - samples[beyond - i + part]
            last, mirrored = n - 2 + part, n - 4 - i + part
            row[beyond + n + i + part] = 2 * samples[last] - samples[mirrored]


@compiled
def add_filtered(row: RealArray, taps: RealArray, power: RealArray) -> None:
    """Add the squares of what symmetrical taps, 16 on either side, leave of complex samples."""
    # Written out, the sum stays in registers: half the time of a loop over the taps.
    c0, c1, c2, c3, c4, c5, c6, c7, c8 = taps[16:25]
    c9, c10, c11, c12, c13, c14, c15, c16 = taps[25:33]
    for i in range(len(power)):
        m = i + 32
        total = c0 * row[m] + c1 * (row[m - 2] + row[m + 2]) + c2 * (row[m - 4] + row[m + 4])
        total += c3 * (row[m - 6] + row[m + 6]) + c4 * (row[m - 8] + row[m + 8])
        total += c5 * (row[m - 10] + row[m + 10]) + c6 * (row[m - 12] + row[m + 12])
        total += c7 * (row[m - 14] + row[m + 14]) + c8 * (row[m - 16] + row[m + 16])
        total += c9 * (row[m - 18] + row[m + 18]) + c10 * (row[m - 20] + row[m + 20])
        total += c11 * (row[m - 22] + row[m + 22]) + c12 * (row[m - 24] + row[m + 24])
        total += c13 * (row[m - 26] + row[m + 26]) + c14 * (row[m - 28] + row[m + 28])
        total += c15 * (row[m - 30] + row[m + 30]) + c16 * (row[m - 32] + row[m + 32])
        power[i] += total * total


@compiled
def largest_around(values: RealArray, at: int, near: int, far: int) -> float:
    """Return the largest value between ``near`` and ``far`` samples away, on either side."""
    largest = 0.0
    for s in range(max(at - far, 0), max(at - near + 1, 0)):
        largest = max(largest, float(values[s]))
    for s in range(at + near, min(at + far + 1, len(values))):
        largest = max(largest, float(values[s]))
    return largest


def _convolution(n: int, taps: RealArray) -> RealArray:
    """Matrix ``(n, n)`` of the filter, zeros beyond the ends."""
    offsets: IntArray = np.arange(n)[:, None] - np.arange(n) + len(taps) // 2
    inside = (offsets >= 0) & (offsets < len(taps))
    matrix: RealArray = np.where(inside, taps[np.clip(offsets, 0, len(taps) - 1)], 0.0)
    return matrix
