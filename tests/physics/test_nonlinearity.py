"""Spherical harmonics of gradient coils against Legendre functions, and their tables."""

import math

import numpy as np
import pytest
from scipy.special import lpmv

from chistream.errors import FileFormatError
from chistream.physics.nonlinearity import GradientNonlinearity, Harmonic, read_coefficients

TABLE = """ AS000, a made-up coil, Gx,y,z
 0.250 m = R0, lnorm = 4? A(1,1) and B(1,1) and A(1,0) = 0
NO.   TYPE        SPECTRUM        AXIS
  1   A( 3, 0)   -0.05000000       z
  2   A( 5, 0)    1.5e-2           z
101   A( 3, 1)   -0.04000000       x
102   A( 1, 1)    1.00000000       x
201   B( 3, 1)   -0.03000000       y
"""


def test_a_table_is_read() -> None:
    found = read_coefficients(TABLE)
    assert found.radius == 250.0
    assert found.terms == (
        Harmonic(2, 3, 0, is_sine=False, value=-0.05),
        Harmonic(2, 5, 0, is_sine=False, value=0.015),
        Harmonic(0, 3, 1, is_sine=False, value=-0.04),
        Harmonic(1, 3, 1, is_sine=True, value=-0.03),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [("A( 3, 0) 0.1 z", "radius"), ("0.25 m = R0", "no gradient"), (TABLE + "A(2,3) 1.0 x", "is")],
)
def test_what_is_no_table_is_refused(text: str, said: str) -> None:
    with pytest.raises(FileFormatError, match=said):
        read_coefficients(text)


@pytest.mark.parametrize(("n", "m"), [(0, 0), (2, 0), (3, 1), (4, 4), (7, 3)])
@pytest.mark.parametrize("is_sine", [False, True])
def test_a_term_is_its_legendre_function(n: int, m: int, *, is_sine: bool) -> None:
    positions = np.random.default_rng(n).uniform(-200, 200, (3, 50))
    coils = GradientNonlinearity(250.0, (Harmonic(1, n, m, is_sine, 0.1),))
    x, y, z = positions * np.array([1, -1, -1])[:, None]
    r, phi = np.sqrt(x**2 + y**2 + z**2), np.arctan2(y, x)
    norm = math.sqrt((2 * n + 1) * math.factorial(n - m) / (2 * math.factorial(n + m)))
    norm = (-1) ** m * norm if m else 1.0  # scipy has the Condon-Shortley phase
    around = np.sin(m * phi) if is_sine else np.cos(m * phi)
    expected = 25.0 * norm * (r / 250) ** n * lpmv(m, n, z / r) * around
    moved = coils.displacement(positions)
    np.testing.assert_allclose(moved[1], -expected, rtol=1e-9, atol=1e-9)
    assert not moved[[0, 2]].any()


def test_the_centre_is_not_moved() -> None:
    assert not read_coefficients(TABLE).displacement(np.zeros((3, 1))).any()
