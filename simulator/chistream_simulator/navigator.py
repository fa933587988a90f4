"""The pencil-beam navigator: a column along S through the dome of the liver."""

import numpy as np

from chistream.arrays import ComplexArray, RealArray
from chistream.physics.geometry import Geometry
from chistream_simulator.case import Case
from chistream_simulator.coils import Loop, coil_profiles
from chistream_simulator.phantoms.phantom import Phantom, signal_at
from chistream_simulator.phantoms.pose import Pose
from chistream_simulator.phantoms.shapes import Point

NAVIGATOR_TE = 2e-3
"""Echo time of the navigator [s]."""

NAVIGATOR_DWELL = 20e-6
"""Time between its samples [s]."""

STEP = 0.5
"""Profiles are computed for descents this far apart, and mixed in between [mm]."""

_FINE = 2
_ACROSS = 5


class Navigator:
    """Signal of the pencil beam for any position of the diaphragm.

    Parameters
    ----------
    case
        Length of the column and number of samples.
    phantom
        One that has a diaphragm.
    loops, reference
        Receive coils and where their sensitivities are scaled.
    """

    def __init__(
        self,
        case: Case,
        phantom: Phantom,
        loops: list[Loop],
        reference: Point,
    ) -> None:
        beam = phantom.beam
        n, fov = case.navigator_samples, case.navigator_fov
        width = 2 * beam.radius / _ACROSS
        self._grid = Geometry(
            (_FINE * n, _ACROSS, _ACROSS), (fov / (_FINE * n), width, width), beam.centre
        )
        self._phantom = phantom
        places = (np.arange(_FINE * n) - n) * fov / (_FINE * n)
        left, posterior, superior = beam.centre
        line = (np.full(len(places), left), np.full(len(places), posterior), superior + places)
        # What lies beyond the column is neither excited nor let through by the receiver.
        ends = np.clip((0.5 * fov - np.abs(places)) / (0.1 * fov), 0, 1)
        self._window = (np.sin(0.5 * np.pi * ends) ** 2).astype(np.float32)
        self.csm = coil_profiles(loops, line, reference, case.b0_direction)
        self._disc = _cross_section()
        self._known: dict[int, RealArray] = {}

    def samples(self, descent: float) -> ComplexArray:
        """Noiseless readout ``(coils, samples)`` with the diaphragm at a descent [mm]."""
        fine = self.csm * (self.profile(descent) * self._window)
        spectrum = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(fine, -1)), -1)
        n = fine.shape[-1] // _FINE
        start = fine.shape[-1] // 2 - n // 2
        kept = spectrum[:, start : start + n] / (_FINE * np.sqrt(n))
        return np.asarray(kept, np.complex64)

    def profile(self, descent: float) -> RealArray:
        """Magnitude along the column, from feet to head, averaged over its cross-section."""
        step = int(descent // STEP)
        part = descent / STEP - step
        mixed: RealArray = (1 - part) * self._at(step) + part * self._at(step + 1)
        return mixed

    def _at(self, step: int) -> RealArray:
        if step not in self._known:
            self._known[step] = self._profile(step * STEP)
        return self._known[step]

    def _profile(self, descent: float) -> RealArray:
        maps = self._phantom.scene(self._grid, Pose(descent)).quantities
        profile: RealArray = np.einsum("zyx,yx->z", signal_at(maps, NAVIGATOR_TE), self._disc)
        return profile


def _cross_section() -> RealArray:
    across = np.arange(_ACROSS) - _ACROSS // 2
    radius_squared = across[:, None] ** 2 + across**2
    disc: RealArray = (radius_squared <= (_ACROSS / 2) ** 2).astype(np.float32)
    disc /= disc.sum()
    return disc
