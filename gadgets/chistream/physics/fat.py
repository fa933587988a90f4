"""The spectrum of fat, and what it does to the echoes."""

from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from chistream.arrays import ComplexArray
from chistream.physics.constants import PPM

BODY_TEMPERATURE = 37.0
"""Temperature at which the published spectra hold [degrees Celsius]."""

WATER_SHIFT_PER_KELVIN = -0.01
"""Change of water's own resonance with temperature [ppm/K]; fat's hardly changes. Hindman JC.
Proton resonance shift of water in the gas and liquid states. J Chem Phys. 1966;44(12):4582-4592.
doi:10.1063/1.1726676"""


@dataclass(frozen=True)
class FatSpectrum:
    """Peaks of fat.

    Parameters
    ----------
    shifts
        Resonances relative to water [ppm]; fat's main peak is negative.
    amplitudes
        Their relative amplitudes, >= 0; they are taken in proportion to their sum.

    Raises
    ------
    ValueError
        If the lists differ in length or are empty, or an amplitude is negative or all are zero.
    """

    shifts: tuple[float, ...]
    amplitudes: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.shifts or len(self.shifts) != len(self.amplitudes):
            raise ValueError(
                f"a spectrum needs one amplitude for each shift, got {len(self.shifts)} shifts "
                f"and {len(self.amplitudes)} amplitudes"
            )
        if min(self.amplitudes) < 0 or sum(self.amplitudes) <= 0:
            raise ValueError(f"amplitudes must not be negative nor all zero, got {self.amplitudes}")

    @property
    def main_shift(self) -> float:
        """Shift of the largest peak [ppm]."""
        return self.shifts[int(np.argmax(self.amplitudes))]

    def shifted(self, offset: float) -> "FatSpectrum":
        """Move all peaks by an offset [ppm]."""
        return replace(self, shifts=tuple(shift + offset for shift in self.shifts))

    def at_temperature(self, temperature: float) -> "FatSpectrum":
        """Return the spectrum at a temperature [degrees Celsius]: cold water lies farther away."""
        return self.shifted(-WATER_SHIFT_PER_KELVIN * (temperature - BODY_TEMPERATURE))

    def precession(self, TE: npt.ArrayLike, h1_frequency: float) -> ComplexArray:
        r"""Find what has become of fat's signal relative to water's.

        .. math:: c(TE) = \sum_p a_p \, e^{i 2 \pi \delta_p f_0 TE}, \quad \sum_p a_p = 1

        Parameters
        ----------
        TE
            True echo times, from the excitation on ``(echoes,)`` [s].
        h1_frequency
            f0, the scanner's proton frequency [Hz].

        Returns
        -------
        ComplexArray
            c ``(echoes,)`` complex128; 1 at TE = 0.

        Examples
        --------
        >>> FAT_SPECTRA["single"].precession([0.0, 0.5 / (3.4 * 127.7)], 127.7e6).real.round(3)
        array([ 1., -1.])
        """
        weights = np.asarray(self.amplitudes) / sum(self.amplitudes)
        turns = np.multiply.outer(np.asarray(TE, float), np.asarray(self.shifts))
        precession: ComplexArray = np.exp(2j * np.pi * PPM * h1_frequency * turns) @ weights
        return precession


FAT_SPECTRA = MappingProxyType(
    {
        "hamilton6": FatSpectrum(
            (-3.80, -3.40, -2.60, -1.94, -0.39, 0.60),
            (0.087, 0.693, 0.128, 0.004, 0.039, 0.048),
        ),
        "hamilton9": FatSpectrum(
            (-3.80, -3.40, -3.10, -2.68, -2.46, -1.95, -0.50, 0.49, 0.59),
            (0.088, 0.642, 0.058, 0.062, 0.058, 0.006, 0.039, 0.010, 0.037),
        ),
        "ren9": FatSpectrum(
            (-3.80, -3.40, -3.10, -2.68, -2.46, -1.95, -0.50, 0.49, 0.59),
            (0.0899, 0.5834, 0.0599, 0.0849, 0.0599, 0.0150, 0.0400, 0.0100, 0.0569),
        ),
        "single": FatSpectrum((-3.40,), (1.0,)),
    }
)
"""Spectra by name, at body temperature.

hamilton6, hamilton9 : fat of the liver. Hamilton G, et al. In vivo characterization of the liver
fat 1H MR spectrum. NMR Biomed. 2011;24(7):784-790. doi:10.1002/nbm.1622

ren9 : marrow and fat under the skin. Ren J, et al. Composition of adipose tissue and marrow fat in
humans by 1H NMR at 7 Tesla. J Lipid Res. 2008;49(9):2055-2062. doi:10.1194/jlr.D800010-JLR200

single : the main peak alone."""
