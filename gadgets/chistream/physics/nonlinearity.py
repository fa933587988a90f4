"""Gradient coils that are not linear: spherical harmonics, and where they let spins appear."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from chistream.arrays import RealArray
from chistream.errors import FileFormatError

_MM = 1e3
_ENTRY = re.compile(
    r"(?P<kind>[AB])\s*\(\s*(?P<n>\d+)\s*,\s*(?P<m>\d+)\s*\)"
    r"\s+(?P<value>[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)\s+(?P<axis>[xyz])\b"
)
_RADIUS = re.compile(r"(?P<radius>\d*\.?\d+)\s*m\s*=\s*R0")
_HIGHEST = 40

# From the coil's axes (left, anterior, inferior) to the patient's (L, P, S), and back.
_TO_PATIENT = np.array([1.0, -1.0, -1.0])


@dataclass(frozen=True)
class Harmonic:
    """One term of the field of one gradient coil.

    Parameters
    ----------
    coil
        0, 1, 2 for x, y, z.
    n, m
        Degree and order, 0 <= m <= n.
    is_sine
        Whether it goes with sin(m phi) (B in files) or cos(m phi) (A).
    value
        Coefficient, relative to the gradient at the reference radius.
    """

    coil: int
    n: int
    m: int
    is_sine: bool
    value: float


@dataclass(frozen=True)
class GradientNonlinearity:
    r"""Displacement of spins by gradient coils, as a sum of spherical harmonics.

    .. math:: \Delta_i = R_0 \sum_{n, m} N_n^m \left(\tfrac{r}{R_0}\right)^n P_n^m(\cos\theta)
              \left[ A_n^m \cos m\varphi + B_n^m \sin m\varphi \right], \qquad
              N_n^m = \sqrt{\frac{(2n+1)\,(n-m)!}{2\,(n+m)!}} \; (m > 0), \quad N_n^0 = 1

    without the Condon-Shortley phase, about the isocentre, with the coil's x to the left, y to the
    front and z to the feet of a patient who lies supine and head first.

    Parameters
    ----------
    radius
        R_0 [mm].
    terms
        Harmonics beyond the linear one.

    Notes
    -----
    The normalisation and the axes are those of Siemens' tables, as public tools read them [1]_.

    References
    ----------
    .. [1] Jovicich J, Czanner S, Greve D, et al. Reliability in multi-site structural MRI studies:
       effects of gradient non-linearity correction on phantom and human data. NeuroImage.
       2006;30(2):436-443. doi:10.1016/j.neuroimage.2005.09.046
    """

    radius: float
    terms: tuple[Harmonic, ...]

    def displacement(self, positions: RealArray) -> RealArray:
        """Find how far from its place a spin appears.

        Parameters
        ----------
        positions
            True positions ``(3, ...)`` (L, P, S) from the isocentre [mm].

        Returns
        -------
        RealArray
            Apparent minus true position ``(3, ...)`` (L, P, S) [mm].
        """
        shape = (3,) + (1,) * (positions.ndim - 1)
        scaled = positions * _TO_PATIENT.reshape(shape) / self.radius
        moved = np.zeros(positions.shape)
        for term in self.terms:
            value = self.radius * term.value * _norm(term.n, term.m)
            moved[term.coil] += value * _solid_harmonic(scaled, term)
        found: RealArray = moved * _TO_PATIENT.reshape(shape)
        return found


def read_coefficients(text: str) -> GradientNonlinearity:
    r"""Read a table of coefficients.

    Parameters
    ----------
    text
        Content of a ``.grad`` or ``.coef`` file: somewhere ``0.25 m = R0``, and lines with
        ``A( 3, 1)  -0.0123  x`` or ``B( 3, 1)  -0.0123  y``, numbered or not. All else is comment.

    Returns
    -------
    GradientNonlinearity
        Its harmonics; the linear terms, which encode, are left out.

    Raises
    ------
    FileFormatError
        If radius or coefficients are missing, or a degree or order is impossible.

    Examples
    --------
    >>> read_coefficients("0.25 m = R0\n 1 A( 3, 0)  -0.05  z").terms
    (Harmonic(coil=2, n=3, m=0, is_sine=False, value=-0.05),)
    """
    radius = _RADIUS.search(text)
    if radius is None or not float(radius["radius"]) > 0:
        raise FileFormatError("the gradient coefficients have no radius, as in '0.25 m = R0'")
    terms = tuple(term for term in _terms(text) if term.n != 1)
    if not terms:
        raise FileFormatError("the file holds no gradient coefficients as 'A( 3, 1)  -0.01  x'")
    return GradientNonlinearity(_MM * float(radius["radius"]), terms)


def _terms(text: str) -> Iterator[Harmonic]:
    for entry in _ENTRY.finditer(text):
        n, m = int(entry["n"]), int(entry["m"])
        if m > n or n > _HIGHEST:
            raise FileFormatError(f"there is no gradient coefficient {entry.group(0)!r}")
        coil = "xyz".index(entry["axis"])
        yield Harmonic(coil, n, m, entry["kind"] == "B", float(entry["value"]))


def _norm(n: int, m: int) -> float:
    if m == 0:
        return 1.0
    return math.sqrt((2 * n + 1) * math.factorial(n - m) / (2 * math.factorial(n + m)))


def _solid_harmonic(scaled: RealArray, term: Harmonic) -> RealArray:
    """Evaluate r^n P_n^m(cos theta) times cosine or sine of m phi, by recurrence over n."""
    x, y, z = scaled
    around = (x + 1j * y) ** term.m
    before, now = np.zeros_like(z), np.full_like(z, math.prod(range(1, 2 * term.m, 2)))
    squared = x**2 + y**2 + z**2
    for n in range(term.m + 1, term.n + 1):
        after = ((2 * n - 1) * z * now - (n + term.m - 1) * squared * before) / (n - term.m)
        before, now = now, after
    harmonic: RealArray = now * (around.imag if term.is_sine else around.real)
    return harmonic
