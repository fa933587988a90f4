"""The noiseless lines of a scan: each is a mixture of the k-spaces of states of motion."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from typing import TypeAlias

import numpy as np
from threadpoolctl import ThreadpoolController

from chistream.arrays import ComplexArray, IntArray, RealArray
from chistream.physics.constants import ppm_to_hz
from chistream_simulator.fat import fat_precession
from chistream_simulator.imaging import Imaging, ObjectMaps
from chistream_simulator.phantoms.pose import Pose
from chistream_simulator.phantoms.scene import block_points
from chistream_simulator.precession import precess
from chistream_simulator.sampling import FourierSum

Progress: TypeAlias = Callable[[str, float], None]
"""Told what is being done and how much of it is done, in [0, 1]."""

_N_THREADS = 2
_BLAS = ThreadpoolController()


class Rendering:
    """K-space of an object in a scanner, in any pose.

    Parameters
    ----------
    imaging
        Object, coils and encoding.
    """

    def __init__(self, imaging: Imaging) -> None:
        self._imaging = imaging
        self._case = imaging.case
        geometry = imaging.object_geometry
        self._points = block_points(geometry)
        self._sum = FourierSum(imaging.encoding, geometry, imaging.geometry.position)

    def kspace(self, pose: Pose) -> ComplexArray:
        """Noiseless k-space ``(echoes, coils, kz, ky, samples)`` complex64 in a pose."""
        case, encoding = self._case, self._imaging.encoding
        shape = (len(case.TE), case.n_coils, *encoding.size[:2], encoding.n_samples)
        kspace = np.empty(shape, np.complex64)
        for echo, coil, samples in self.coil_kspaces(pose):
            kspace[echo, coil] = samples
        return kspace

    def lines(
        self,
        counters: IntArray,
        poses: Sequence[Pose],
        states: IntArray,
        weights: RealArray,
        progress: Progress,
    ) -> ComplexArray:
        """Compute the lines of a scan.

        Parameters
        ----------
        counters
            (kz, ky) of each line ``(lines, 2)``.
        poses
            States of motion.
        states, weights
            Which of them each line mixes, and in which parts ``(lines, n)``.
        progress
            Told how far it is.

        Returns
        -------
        ComplexArray
            Samples ``(lines, echoes, coils, samples)`` complex64 in the order of time.
        """
        case = self._case
        shape = (len(counters), len(case.TE), case.n_coils, self._imaging.encoding.n_samples)
        lines = np.zeros(shape, np.complex64)
        n_jobs = len(case.TE) * case.n_coils
        for state, pose in enumerate(poses):
            parts = np.asarray(np.sum(weights * (states == state), axis=1), np.float32)
            where = np.flatnonzero(parts)
            kz, ky = counters[where].T
            if not len(where):
                continue
            for i, (echo, coil, samples) in enumerate(self.coil_kspaces(pose)):
                progress("computing k-space", (state + i / n_jobs) / len(poses))
                lines[where, echo, coil] += parts[where, None] * samples[kz, ky]
        progress("computing k-space", 1.0)
        return lines

    def coil_kspaces(self, pose: Pose) -> Iterator[tuple[int, int, ComplexArray]]:
        """Yield echo, coil, and what it receives ``(kz, ky, samples)``, in the order of time."""
        maps = self._imaging.maps(self._imaging.object_geometry, pose)
        has_fat = bool(maps.scene.quantities["fat"].any())
        # One coil a thread: the threads of a linear algebra library would only wait for each other.
        with _BLAS.limit(limits=1, user_api="blas"), ThreadPoolExecutor(_N_THREADS) as threads:
            for echo, is_reversed in enumerate(self._imaging.phases.train.reversed):
                seen = self._seen(maps, echo)[: 1 + has_fat]
                signals = list(threads.map(self._sum.band_limited, seen))
                received = partial(self._received, signals, self._fat_spectrum(echo))
                for coil, lines in enumerate(threads.map(received, self._csm)):
                    yield echo, coil, lines[..., ::-1] if is_reversed else lines

    def _received(
        self, signals: Sequence[ComplexArray], spectrum: ComplexArray, csm: ComplexArray
    ) -> ComplexArray:
        """Sum up what a coil receives of water and, with its spectrum, of fat."""
        water, *fats = (self._sum.readouts(signal * csm) for signal in signals)
        for fat in fats:
            water += spectrum * fat
        return self._sum.lines(water)

    @cached_property
    def _csm(self) -> ComplexArray:
        return self._imaging.coil_maps(self._sum.coil_geometry)

    def _seen(self, maps: ObjectMaps, echo: int) -> ComplexArray:
        """Signals ``(2, z, y, x)`` of water and fat at an echo, where its readout shows them."""
        case, values = self._case, maps.scene.quantities
        frequency = np.asarray(ppm_to_hz(maps.field, case.h1_frequency), np.float32)
        phase = np.broadcast_to(maps.phase_of(echo), frequency.shape)
        seen = np.zeros((2, *frequency.shape), np.complex64)
        shift = self._shift_per_hz(echo)

        def work(z: int) -> None:
            precess(
                values["water"][z],
                values["fat"][z],
                values["r2star"][z],
                frequency[z],
                phase[z],
                case.TE[echo],
                shift,
                seen[:, z],
            )

        with ThreadPoolExecutor(_N_THREADS) as threads:
            list(threads.map(work, range(len(frequency))))
        return seen

    def _polarity(self, echo: int) -> int:
        return -1 if self._imaging.phases.train.reversed[echo] else 1

    def _shift_per_hz(self, echo: int) -> float:
        # Time runs with k: exp(i 2 pi f t) with t = k dwell FOV is a step back in x.
        encoding, case = self._imaging.encoding, self._case
        step = self._imaging.object_geometry.voxel_size[2]
        return -self._polarity(echo) * case.dwell_time * encoding.field_of_view[2] / step

    def _fat_spectrum(self, echo: int) -> ComplexArray:
        """Fat's precession relative to water ``(samples,)``, at the time of each sample."""
        case = self._case
        offsets = self._polarity(echo) * case.dwell_time * self._imaging.encoding.sample_offsets
        return fat_precession(case.fat_spectrum, case.TE[echo] + offsets, case.h1_frequency)
