"""Fat is seen beside where it lies: put back along the readout.

While an echo is read, fat goes on turning against water. That displaces its image along x by its
frequency over the bandwidth of a voxel, which no fit of single voxels can know: at the border of
fat, water and fat of different places meet, and the field of fat is that of its true place.
"""

from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

from chistream.arrays import ComplexArray, Mask, RealArray
from chistream.field.separability import FieldStart
from chistream.physics.constants import PPM
from chistream.physics.displacement import undo_displacement
from chistream.physics.fat import FatSpectrum

_N_STEPS = 4
"""Steps of conjugate gradients: the residual of the normal equations falls below a thousandth."""

_LEAST_POWER = 0.05
_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class FatReadout:
    """What becomes of fat while the echoes are read.

    Parameters
    ----------
    TE
        True echo times, of the centre of k-space ``(echoes,)`` [s].
    bandwidth
        Of the readout per voxel along x [Hz]; negative if it ran backwards.
    at_centre
        What has become of fat's signal relative to water's at TE ``(echoes,)``.
    at_samples
        The same at the samples along kx ``(echoes, x)``, in the order of the Fourier transform.
    turn
        What of that the main peak does after TE ``(x,)``: a shift of the image.
    displacement
        Of the main peak [voxels]: it is seen that far towards -x.
    """

    TE: RealArray
    bandwidth: float
    at_centre: ComplexArray
    at_samples: ComplexArray
    turn: ComplexArray
    displacement: float

    @classmethod
    def of(
        cls, TE: RealArray, n: int, spectrum: FatSpectrum, h1_frequency: float, bandwidth: float
    ) -> "FatReadout":
        """Work it out for ``n`` voxels along x."""
        times = fft.fftfreq(n) / bandwidth
        main = spectrum.main_shift * PPM * h1_frequency
        return cls(
            TE,
            bandwidth,
            spectrum.precession(TE, h1_frequency).astype(np.complex64),
            spectrum.precession(np.add.outer(TE, times), h1_frequency).astype(np.complex64),
            np.exp(2j * np.pi * main * times).astype(np.complex64),
            main / bandwidth,
        )


@dataclass(frozen=True)
class Seen:
    """What a fit of single voxels has found, each where it was seen; all ``(z, y, x)``.

    Parameters
    ----------
    frequency
        Field [Hz].
    r2star
        Decay rate [1/s].
    water, fat
        Complex amplitudes at TE = 0; 0 outside the mask.
    """

    frequency: RealArray
    r2star: RealArray
    water: ComplexArray
    fat: ComplexArray


def put_back(
    echoes: ComplexArray, readout: FatReadout, seen: Seen
) -> tuple[ComplexArray, FieldStart]:
    r"""Make the echoes that would have been measured had nothing been displaced.

    .. math:: \hat s_e(k_x) = F\{\rho_w E_e\} + c(TE_e + k_x / b) \, F\{\rho_f E_e\}, \qquad
              E_e = e^{(i 2 \pi f - R_2^*) TE_e}

    Parameters
    ----------
    echoes
        Complex echoes ``(echoes, z, y, x)``.
    readout
        How they were read.
    seen
        What a fit of their voxels has found.

    Returns
    -------
    echoes : ComplexArray
        The echoes ``(echoes, z, y, x)`` complex64 with water and fat in their places.
    start : FieldStart
        Where a fit of their voxels starts; known everywhere.

    Notes
    -----
    What the field displaces is moved first (`undo_displacement`). Field and decay of fat are
    taken from where fat is seen, then water and fat are fitted to all samples of a line at once,
    by conjugate gradients. What that leaves is given back to each voxel from where its water and
    its fat are seen, in proportion to their power, so that noise stays what it was.

    References
    ----------
    .. [1] Brodsky EK, Holmes JH, Yu H, Reeder SB. Generalized k-space decomposition with chemical
       shift correction for non-Cartesian water-fat imaging. Magn Reson Med. 2008;59(5):1151-1164.
       doi:10.1002/mrm.21580
    """
    frequency, r2star, support = _in_place(seen, readout.displacement)
    displacement = frequency / readout.bandwidth
    source = undo_displacement(echoes, displacement, [1.0] * len(echoes))
    rows = support.any(axis=-1)
    inside = support[rows]
    fat = _shifted_back(seen.fat[rows], readout.turn)
    start = np.stack([seen.water[rows], fat]).astype(np.complex64) * inside
    rate = (2j * np.pi * frequency - r2star)[rows]
    turns = np.exp(rate * readout.TE.reshape(-1, 1, 1)).astype(np.complex64) * inside
    source[:, rows] = _aligned(source[:, rows], readout, turns, start)
    return source, FieldStart(frequency, r2star)


def _in_place(seen: Seen, displacement: float) -> tuple[RealArray, RealArray, Mask]:
    """Average what is known of each place: from water seen there, and fat seen elsewhere."""
    water, fat = (np.abs(part).astype(np.float32) ** 2 for part in (seen.water, seen.fat))

    def moved(volume: RealArray) -> RealArray:
        shifted: RealArray = ndimage.shift(volume, (0, 0, displacement), order=1)
        return shifted

    power = water + moved(fat)
    support = moved((water + fat > 0).astype(np.float32)) > 0.5
    support = (support | (water + fat > 0)) & (power > 0)
    nearest = ndimage.distance_transform_edt(~support, return_distances=False, return_indices=True)
    known = []
    for values in (seen.frequency, seen.r2star):
        total = water * values + moved(fat * values)
        mean = np.divide(total, power, out=np.zeros(total.shape), where=support)
        known.append(mean[tuple(nearest)])
    return known[0], known[1], support


def _aligned(
    echoes: ComplexArray, readout: FatReadout, turns: ComplexArray, start: ComplexArray
) -> ComplexArray:
    """Fit water and fat to the lines ``(echoes, lines, x)``, and sum them up in their places."""
    precession = readout.at_samples[:, None]

    def displaced(species: ComplexArray) -> ComplexArray:
        seen: ComplexArray = species[0] * turns + _ifft(precession * _fft(species[1] * turns))
        return seen

    def adjoint(lines: ComplexArray) -> ComplexArray:
        fat = _ifft(precession.conj() * _fft(lines))
        sums: ComplexArray = np.stack([(turns.conj() * part).sum(axis=0) for part in (lines, fat)])
        return sums

    # Water and fat are nearly orthogonal over the echoes, so their power is the diagonal.
    power = np.maximum(np.sum(np.abs(turns) ** 2, axis=0), _LEAST_POWER)
    species, rest = start, echoes - displaced(start)
    gradient = adjoint(rest)
    direction = gradient / power
    size = np.vdot(gradient, direction).real
    for _ in range(_N_STEPS):
        change = displaced(direction)
        step = np.float32(size / max(np.vdot(change, change).real, _TINY))
        species = species + step * direction
        rest -= step * change
        gradient = adjoint(rest)
        before, size = max(size, _TINY), np.vdot(gradient, gradient / power).real
        direction = gradient / power + np.float32(size / before) * direction
    water, fat = np.abs(species) ** 2
    share = fat / np.maximum(water + fat, _TINY)
    placed: ComplexArray = (species[0] + readout.at_centre[:, None, None] * species[1]) * turns
    placed += (1 - share) * rest + share * _shifted_back(rest, readout.turn)
    return placed


def _shifted_back(lines: ComplexArray, turn: ComplexArray) -> ComplexArray:
    """Shift lines to where fat's main peak lies."""
    return _ifft(turn.conj() * _fft(lines))


def _fft(lines: ComplexArray) -> ComplexArray:
    return np.asarray(fft.fft(lines, axis=-1, workers=-1))


def _ifft(lines: ComplexArray) -> ComplexArray:
    return np.asarray(fft.ifft(lines, axis=-1, workers=-1))
