"""Noise without a noise scan: what the outermost samples of k-space say of it."""

import numpy as np
from scipy.special import gammainc, gammaincinv

from chistream.acquisition.lines import Line, Lines
from chistream.acquisition.plan import EncodingPlan
from chistream.arrays import ComplexArray, IntArray, Mask, RealArray
from chistream.physics.fourier import to_kspace

_OUTSIDE = 0.8
"""Lines farther out than this part of the way from the centre of k-space to its edge."""

_ENDS = 16
"""One in so many samples at either end of a line is kept."""

_FEWEST = 400
"""Samples of each coil, beside ten for each coil, that tell a covariance to a tenth or better."""

_ROUNDS = 10
_CORE, _MOST = 0.5, 0.95
"""Part of the samples that hold no signal for sure, and part of noise that is kept at the end."""

_TAIL = 0.25
"""If more samples than this are farther out than 95 % of noise would be, they are signal."""


class EdgeLines:
    """Ends of the outermost lines of the first echo, each from its first measurement by time.

    Parameters
    ----------
    plan
        How the scan encodes its volume.
    centre
        Counters ``(z, y)`` of the centre.
    """

    def __init__(self, plan: EncodingPlan, centre: tuple[int, int]) -> None:
        self._centre, self._n_echoes = centre, plan.n_echoes
        limits = plan.limits or tuple((0, n - 1) for n in plan.encoded_size[:2])
        self._reaches = tuple(
            max(c - first, last - c, 1) for c, (first, last) in zip(centre, limits, strict=True)
        )
        self._first: dict[Line, tuple[float, ComplexArray]] = {}

    def see(self, lines: Lines) -> None:
        """Keep the ends of what lies outside."""
        for i, (address, time) in enumerate(
            zip(lines.addresses, lines.times.tolist(), strict=True)
        ):
            line = address._replace(echo=0)
            if not self._is_outside(address):
                continue
            if line not in self._first or time < self._first[line][0]:
                # One at a time: what stays would otherwise lie between the pages of all others,
                # and keep them from going back to the system.
                samples = to_kspace(lines.values[i], (-1,))
                self._first[line] = (time, samples[:, _ends(samples.shape[1])])

    def samples(self, readout_support: Mask) -> ComplexArray:
        """Return what was measured at the ends ``(coils, n)``.

        Parameters
        ----------
        readout_support
            Samples of k-space along x that the readouts reached ``(x,)``.
        """
        if not self._first:
            return np.zeros((0, 0), np.complex64)
        measured = readout_support[_ends(len(readout_support))]
        kept = [samples[:, measured] for _, (_, samples) in sorted(self._first.items())]
        return np.concatenate(kept, axis=1)

    def _is_outside(self, line: Line) -> bool:
        if line.echo % self._n_echoes:
            return False
        away = (
            (step - c) / reach
            for step, c, reach in zip(line[1:3], self._centre, self._reaches, strict=True)
        )
        return sum(part**2 for part in away) >= _OUTSIDE**2


def estimate_covariance(samples: ComplexArray) -> ComplexArray | None:
    r"""Estimate the covariance of noise from samples of which some hold signal.

    .. math:: \Sigma \leftarrow \frac{1}{\gamma}\, \mathrm{mean}\left( d\, d^H :
              d^H \Sigma^{-1} d \le q \right), \qquad \gamma = \frac{P(n + 1, q)}{P(n, q)}

    with the regularised incomplete gamma function P: the squared length of whitened noise of n
    coils follows it, and :math:`\gamma` is what cutting it off at q takes from the variance.

    Parameters
    ----------
    samples
        Samples ``(coils, n)``.

    Returns
    -------
    ComplexArray | None
        Covariance ``(coils, coils)``, float64; None if there are fewer than 400 samples and ten
        for each coil, a coil gives nothing, or more than a quarter of them hold signal.

    References
    ----------
    .. [1] Rousseeuw PJ, Van Driessen K. A fast algorithm for the minimum covariance determinant
       estimator. Technometrics. 1999;41(3):212-223. doi:10.1080/00401706.1999.10485670
    """
    n_coils = len(samples)
    if samples.shape[1] < _FEWEST + 10 * n_coils:
        return None
    wide = samples.astype(np.complex128)
    powers = np.median(np.abs(wide) ** 2, axis=1) / np.log(2)  # the median of an exponential
    if not powers.all():
        return None
    covariance: ComplexArray = np.diag(powers).astype(np.complex128)
    for _ in range(_ROUNDS):
        lengths = _squared_lengths(wide, covariance)
        core = wide[:, lengths <= np.quantile(lengths, _CORE)]
        covariance = core @ core.conj().T / core.shape[1] / _kept_variance(n_coils, _CORE)
    lengths = _squared_lengths(wide, covariance)
    is_noise = lengths <= gammaincinv(n_coils, _MOST)
    if is_noise.mean() < 1 - _TAIL:
        return None
    noise = wide[:, is_noise]
    found: ComplexArray = noise @ noise.conj().T / noise.shape[1] / _kept_variance(n_coils, _MOST)
    return found


def _ends(n: int) -> IntArray:
    """Index the outermost samples of a line of n."""
    each = max(n // _ENDS, 1)
    places: IntArray = np.r_[:each, n - each : n]
    return places


def _squared_lengths(samples: ComplexArray, covariance: ComplexArray) -> RealArray:
    solved = np.linalg.solve(covariance, samples)
    lengths: RealArray = np.einsum("cn,cn->n", samples.conj(), solved).real
    return lengths


def _kept_variance(n_coils: int, part: float) -> float:
    limit = gammaincinv(n_coils, part)
    return float(gammainc(n_coils + 1, limit) / part)
