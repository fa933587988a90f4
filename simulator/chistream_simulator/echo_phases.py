"""What the phase of an echo holds besides B0 and chemical shift: eddies, Maxwell, flow."""

import numpy as np

from chistream.arrays import RealArray, Vector
from chistream.physics.constants import GAMMA_BAR
from chistream.physics.geometry import Geometry
from chistream_simulator.case import Case
from chistream_simulator.gradients import echo_train
from chistream_simulator.phantoms.shapes import Points

_METRES = 1e-3


def concomitant_field(direction: Vector, points: Points) -> RealArray:
    r"""Find the shape of a gradient's concomitant (Maxwell) field.

    .. math:: B_c = \frac{1}{2 B_0} \left[ \left( G_x z - \tfrac12 G_z x \right)^2
              + \left( G_y z - \tfrac12 G_z y \right)^2 \right]

    with z along B0. It is no harmonic function: no shim and no source can make it.

    Parameters
    ----------
    direction
        Of the gradient, unit vector (L, P, S) of the magnet.
    points
        Positions (L, P, S) in the magnet from its isocentre [mm].

    Returns
    -------
    RealArray
        :math:`2 B_0 B_c / G^2` [m^2], >= 0; multiply by :math:`G^2 / (2 B_0)` to get tesla.

    References
    ----------
    .. [1] Bernstein MA, et al. Concomitant gradient terms in phase contrast MR: analysis and
       correction. Magn Reson Med. 1998;39(2):300-308. doi:10.1002/mrm.1910390218
    """
    x, y, z = (np.asarray(p, np.float32) * np.float32(_METRES) for p in points)
    gx, gy, gz = (np.float32(g) for g in direction)
    across = np.square(gx * z - gz * x / 2) + np.square(gy * z - gz * y / 2)
    return np.asarray(across, np.float32)


class EchoPhases:
    r"""Phase that an echo carries at a point of the patient, besides B0 and chemical shift.

    *Eddy currents.* Those of a bipolar train change sign with the readout: echoes of even index
    carry :math:`+\varphi/2`, those of odd index :math:`-\varphi/2`. Each period of a fly-back train
    leaves the same phase behind, so echo e carries :math:`(e + 1) \varphi`: a false frequency, as
    far as echoes are equally spaced. :math:`\varphi` is ``eddy_phase`` plus ``eddy_slope`` times
    the distance from the isocentre, where the fields of gradient coils vanish.

    *Concomitant fields* of the readout gradient, of which each echo has gathered what the lobes
    before it brought; those of other gradients are the same in all echoes, and left out.

    *Flow* is told apart, since it needs a velocity. All gradients run against ``read_dir``: the
    samples of MRD images are :math:`\sum m \, e^{-i 2 \pi k x}`, while phase grows with the field.

    The isocentre is the origin of the patient's coordinates; ``case.orientation`` turns patient
    and slab about it.

    Parameters
    ----------
    case
        Sequence and imperfections.
    geometry
        Where the slab lies in the patient.

    Raises
    ------
    ValueError
        If the readout gradient does not fit between the echoes.
    """

    def __init__(self, case: Case, geometry: Geometry) -> None:
        self.train = echo_train(case)
        self._case = case
        self._geometry = geometry

    def phase(self, echo: int, points: Points) -> RealArray:
        """Find the phase of an echo at its echo time.

        Parameters
        ----------
        echo
            Its index.
        points
            Patient positions [mm].

        Returns
        -------
        RealArray
            Phase [rad] float32, which broadcasts to the shape of the points.
        """
        return np.asarray(self._eddies(echo, points) + self._concomitant(echo, points), np.float32)

    def velocity_phase(self, echo: int) -> Vector:
        """Phase of an echo for each component (L, P, S) of a velocity in the patient [rad s/m]."""
        phase = -float(self.train.velocity_phase[echo])
        left, posterior, superior = (phase * d for d in self._geometry.read_dir)
        return left, posterior, superior

    def _eddies(self, echo: int, points: Points) -> RealArray:
        case, geometry = self._case, self._geometry
        weight = (0.5, -0.5)[echo % 2] if self.train.bipolar else echo + 1.0
        axes = geometry.axes
        slope = weight * _METRES * (np.asarray(case.eddy_slope) @ np.asarray(axes))
        return _linear(weight * case.eddy_phase, slope, points)

    def _concomitant(self, echo: int, points: Points) -> RealArray:
        if not self._case.concomitant:
            return np.zeros(1, np.float32)
        turn = self._case.turn
        left, posterior, superior = (turn @ self._geometry.read_dir).tolist()
        x, y, z = (_linear(0.0, row, points) for row in turn)
        turns = GAMMA_BAR * float(self.train.squared_integral[echo]) / (2 * self._case.B0)
        shape = concomitant_field((left, posterior, superior), (x, y, z))
        return shape * np.float32(2 * np.pi * turns)


def _linear(offset: float, slope: RealArray, points: Points) -> RealArray:
    """Evaluate a linear function of position; axes along which it is flat cost nothing."""
    terms = (p * np.float32(s) for p, s in zip(points, slope, strict=True) if s)
    return np.asarray(np.float32(offset) + sum(terms, np.float32(0)), np.float32)
