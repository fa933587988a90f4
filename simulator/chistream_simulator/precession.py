"""What the points of an object emit at an echo time, and where the readout sees them."""

import numpy as np

from chistream.arrays import ComplexArray, RealArray
from chistream.physics.compiled import compiled


@compiled
def precess(
    water: RealArray,
    fat: RealArray,
    r2star: RealArray,
    frequency: RealArray,
    phase: RealArray,
    echo_time: float,
    shift: float,
    seen: ComplexArray,
) -> None:
    r"""Add the signal of points to where a readout shows them.

    .. math:: m \, e^{-R_2^* TE} \, e^{i (2 \pi f TE + \varphi)}

    of water and of fat, whose own spectrum is left to the readout. During the readout the
    frequency f goes on acting, which moves a point by ``shift`` f.

    Parameters
    ----------
    water, fat
        Amplitudes m ``(rows, x)``.
    r2star
        [1/s] ``(rows, x)``.
    frequency
        Off-resonance f ``(rows, x)`` [Hz].
    phase
        What does not grow with TE ``(rows, x)`` [rad].
    echo_time
        TE [s].
    shift
        Displacement along x for each Hz [points].
    seen
        Signals ``(2, rows, x)`` complex64 of water and of fat, added to in place.

    Notes
    -----
    A signal between four points is given to them by cubic Lagrange weights: at half of the
    points' Nyquist frequency, where the scan's samples end, that is exact to 3 %, of the part of
    the signal that is displaced, and far better below.
    """
    n_rows, n = water.shape
    for row in range(n_rows):
        for x in range(n):
            if water[row, x] == 0 and fat[row, x] == 0:
                continue
            decay = np.exp(-echo_time * r2star[row, x])
            angle = 2 * np.pi * frequency[row, x] * echo_time + phase[row, x]
            signal = decay * complex(np.cos(angle), np.sin(angle))
            place = x + shift * frequency[row, x]
            first = int(np.floor(place)) - 1
            t = place - first - 1
            weights = (
                -t * (t - 1) * (t - 2) / 6,
                (t + 1) * (t - 1) * (t - 2) / 2,
                -(t + 1) * t * (t - 2) / 2,
                (t + 1) * t * (t - 1) / 6,
            )
            for i in range(4):
                if 0 <= first + i < n:
                    seen[0, row, first + i] += weights[i] * water[row, x] * signal
                    seen[1, row, first + i] += weights[i] * fat[row, x] * signal
