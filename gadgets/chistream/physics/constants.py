"""Constants and the conversions between field units, stated once.

Signal at echo time TE is ``m * exp(+i 2 pi f TE)``: the phase grows with the frequency, the
frequency with the field, the field with susceptibility.
"""

from typing import TypeVar

from scipy import constants

from chistream.arrays import RealArray

GAMMA_BAR = float(constants.value("shielded proton gyromag. ratio in MHz/T")) * 1e6
"""Gyromagnetic ratio of the shielded proton (water) over 2 pi [Hz/T]."""

PPM = 1e-6
PPB_PER_PPM = 1000.0

Field = TypeVar("Field", float, RealArray)


def field_strength(h1_frequency: float) -> float:
    """Convert the scanner's proton frequency to B0.

    Parameters
    ----------
    h1_frequency
        H1 resonance frequency of the scan [Hz], > 0.

    Returns
    -------
    float
        B0 [T].

    Raises
    ------
    ValueError
        If the frequency is not positive.

    Examples
    --------
    >>> round(field_strength(123.2e6), 3)
    2.894
    """
    if not h1_frequency > 0:
        raise ValueError(f"h1_frequency must be positive, got {h1_frequency} Hz")
    return h1_frequency / GAMMA_BAR


def hz_to_ppm(frequency: Field, h1_frequency: float) -> Field:
    """Express a frequency offset [Hz] as a part of B0 [ppm].

    Parameters
    ----------
    frequency
        Frequency offset, any shape [Hz].
    h1_frequency
        H1 resonance frequency of the scan [Hz].

    Returns
    -------
    Field
        Field offset, same shape [ppm of B0].

    Examples
    --------
    >>> round(hz_to_ppm(127.732, 127.732e6), 6)
    1.0
    """
    return frequency / (PPM * h1_frequency)


def ppm_to_hz(field: Field, h1_frequency: float) -> Field:
    """Express a field offset [ppm of B0] as a frequency offset [Hz].

    Parameters
    ----------
    field
        Field offset, any shape [ppm of B0].
    h1_frequency
        H1 resonance frequency of the scan [Hz].

    Returns
    -------
    Field
        Frequency offset, same shape [Hz].
    """
    return field * (PPM * h1_frequency)
