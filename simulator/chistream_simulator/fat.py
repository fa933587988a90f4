"""The spectrum of fat."""

from types import MappingProxyType

import numpy as np

from chistream.arrays import ComplexArray, RealArray

FAT_SPECTRA = MappingProxyType(
    {
        "hamilton6": (
            (-3.80, -3.40, -2.60, -1.94, -0.39, 0.60),
            (0.087, 0.693, 0.128, 0.004, 0.039, 0.048),
        ),
        "single": ((-3.40,), (1.0,)),
    }
)
"""Shifts relative to water [ppm] and amplitudes of the peaks, by name of the spectrum.

Six peaks: Hamilton G, et al. In vivo characterization of the liver fat 1H MR spectrum. NMR Biomed.
2011;24(7):784-790. doi:10.1002/nbm.1622"""


def fat_precession(spectrum: str, times: RealArray, h1_frequency: float) -> ComplexArray:
    r"""Find what has become of fat's signal relative to water's.

    .. math:: c(t) = \sum_p a_p \, e^{i 2 \pi \delta_p f_0 t}, \quad \sum_p a_p = 1

    Parameters
    ----------
    spectrum
        One of `FAT_SPECTRA`.
    times
        Since the excitation ``(n,)`` [s].
    h1_frequency
        f0, of protons [Hz].

    Returns
    -------
    ComplexArray
        c ``(n,)`` complex64; 1 at time 0.

    Examples
    --------
    >>> opposed = fat_precession("single", np.array([0.0, 0.5 / (3.4 * 127.7)]), 127.7e6)
    >>> opposed.real.round(3).tolist()
    [1.0, -1.0]
    """
    shifts, amplitudes = map(np.asarray, FAT_SPECTRA[spectrum])
    turns = np.multiply.outer(times, shifts * 1e-6 * h1_frequency)
    precession = np.exp(2j * np.pi * turns) @ (amplitudes / amplitudes.sum())
    return np.asarray(precession, np.complex64)
