"""Concomitant (Maxwell) fields of the sequence's gradients: their phase, and its removal."""

from collections.abc import Mapping, Sequence

import numpy as np

from chistream.arrays import ComplexArray, RealArray
from chistream.physics.constants import GAMMA_BAR
from chistream.physics.geometry import Geometry
from chistream.physics.waveforms import PARAMETERS, Waveform, product_integrals, read_waveforms

NOT_DESCRIBED = (
    "The header does not describe the sequence's gradients "
    f"({PARAMETERS['read']}): their concomitant fields were not removed."
)

_METRES = 1e-3
_DIRECTIONS = ("slice", "phase", "read")


def correct_concomitant(
    echoes: ComplexArray,
    TE: Sequence[float],
    parameters: Mapping[str, object],
    geometry: Geometry,
    B0: float,
) -> tuple[ComplexArray, tuple[str, ...]]:
    """Remove the phase of concomitant fields, if the header describes the gradients.

    Parameters
    ----------
    echoes
        Complex echoes ``(echoes, z, y, x)``.
    TE
        Echo times [s].
    parameters
        The header's user parameters by name. ``GradientWaveformRead``, ``GradientWaveformPhase``
        and ``GradientWaveformSlice`` are texts of corners ``"ms mT/m; ms mT/m; ..."`` between which
        the gradient runs in straight lines: time from the centre of the excitation, strength
        positive where k grows along that direction. What is the same before every echo of every
        line may be left out; the readout's is needed.
    geometry
        Where the volume lies, about the isocentre.
    B0
        Field strength [T].

    Returns
    -------
    corrected : ComplexArray
        ``(echoes, z, y, x)`` complex64; the echoes themselves if nothing was removed.
    warnings : tuple[str, ...]
        Why nothing was removed, in words for a person.

    Raises
    ------
    ValueError
        If the echoes fit neither their times nor the geometry, or B0 is not positive.
    """
    if len(echoes) != len(TE) or echoes.shape[1:] != geometry.shape or not B0 > 0:
        raise ValueError(
            f"echoes {echoes.shape}, {len(TE)} TE, a volume of {geometry.shape} and B0 {B0} T "
            "do not fit"
        )
    try:
        waveforms = read_waveforms(parameters)
    except ValueError as error:
        return echoes, (f"Concomitant fields were not removed: {error}.",)
    if "read" not in waveforms:
        return echoes, (NOT_DESCRIBED,)
    corrected = np.empty(echoes.shape, np.complex64)
    for echo, phase in enumerate(concomitant_phases(waveforms, TE, geometry, B0)):
        np.multiply(echoes[echo], np.exp(-1j * phase), out=corrected[echo], casting="same_kind")
    return corrected, ()


def concomitant_phases(
    waveforms: Mapping[str, Waveform], TE: Sequence[float], geometry: Geometry, B0: float
) -> RealArray:
    r"""Compute the phase that concomitant fields leave in each echo.

    .. math:: \varphi = \frac{2 \pi \bar\gamma}{2 B_0} \left[ Q_{xx} z^2 + Q_{yy} z^2
              + Q_{zz} \frac{x^2 + y^2}{4} - Q_{xz} x z - Q_{yz} y z \right], \qquad
              Q_{ab} = \int_0^{TE} G_a G_b \, dt

    in the magnet's axes, z along B0, about the isocentre: what [1]_, equation 2, gathers on its way
    to an echo.

    Parameters
    ----------
    waveforms
        By direction: read, phase, slice.
    TE
        Echo times [s].
    geometry
        Where the volume lies. Patient positions are those from the isocentre, with S along B0.
    B0
        Field strength [T].

    Returns
    -------
    RealArray
        ``(echoes, z, y, x)`` [rad], >= 0 for a single gradient; it grows from echo to echo
        whatever the polarity.

    Notes
    -----
    Terms of higher order in G r / B0 are left out: 0.05 % of these at 8 mT/m, 20 cm and 3 T. So is
    what the field does during the readout, which moves a voxel by a hundredth of itself.

    References
    ----------
    .. [1] Bernstein MA, Zhou XJ, Polzin JA, et al. Concomitant gradient terms in phase contrast MR:
       analysis and correction. Magn Reson Med. 1998;39(2):300-308. doi:10.1002/mrm.1910390218
    """
    along = product_integrals(waveforms, _DIRECTIONS, TE)
    axes = np.array(geometry.axes)
    turns = GAMMA_BAR / (2 * B0) * np.einsum("eab,ai,bj->eij", along, axes, axes)
    x, y, z = geometry.voxel_positions() * _METRES
    shapes = {
        (0, 0): z**2,
        (1, 1): z**2,
        (2, 2): (x**2 + y**2) / 4,
        (0, 2): -x * z,
        (1, 2): -y * z,
    }
    phases = np.zeros((len(TE), *geometry.shape), np.float32)
    for (i, j), shape in shapes.items():
        for echo, turn in enumerate(turns):
            phases[echo] += (2 * np.pi * turn[i, j] * shape).astype(np.float32)
    return phases
