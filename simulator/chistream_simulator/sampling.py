"""From a fine object to k-space: an exact Fourier sum over its points, at the samples of a scan."""

from dataclasses import dataclass, replace

import numpy as np
import scipy.fft
from scipy.signal import kaiser_beta

from chistream.arrays import ComplexArray, IntArray, RealArray, Size, Vector
from chistream.physics.fourier import good_size
from chistream.physics.geometry import Geometry
from chistream_simulator.phantoms.shapes import Point, point

POINTS = 1.5
"""Points along an axis on which coils are applied, for each encoded voxel."""

PASS_BAND = 1.2
"""Frequencies that those points hold unchanged, relative to the sampled ones.

Coil maps are smooth: what one carries from beyond this band into the samples, 2 cm from its wire
and with voxels of 1.4 mm, is about a part in ten thousand of what is there."""

ATTENUATION = 80.0
"""Of what would fold back into the pass band [dB]."""


@dataclass(frozen=True)
class Encoding:
    """The samples of k-space that a scan takes.

    Parameters
    ----------
    size
        Samples ``(kz, ky, kx)``, with readout oversampling; k = 0 sits at ``n // 2``.
    field_of_view
        Inverse of the distance between samples ``(z, y, x)`` [mm], with oversampling.
    first_sample
        Samples dropped at the start of each readout (asymmetric echo).
    """

    size: Size
    field_of_view: Vector
    first_sample: int = 0

    @property
    def n_samples(self) -> int:
        """Samples of one readout."""
        return self.size[2] - self.first_sample

    @property
    def centre_sample(self) -> int:
        """Index of k = 0 in a readout."""
        return self.size[2] // 2 - self.first_sample

    @property
    def sample_offsets(self) -> IntArray:
        """Samples ``(samples,)`` counted from k = 0."""
        offsets: IntArray = np.arange(self.n_samples) - self.centre_sample
        return offsets


class Band:
    """Fewer points along an axis, which hold the band of frequencies that matters.

    Parameters
    ----------
    n
        Points of the object along the axis.
    start, step
        Place of the first one, and their distance [mm].
    field_of_view, n_encoded
        Of the encoding along the axis.

    Notes
    -----
    A windowed sinc brings the object's points to the fewer ones: a finite impulse response with
    Kaiser's window, so that no box, and no continuation of the object, is involved.

    References
    ----------
    .. [1] Kaiser JF. Nonrecursive digital filter design using the I0-sinh window function. Proc
       IEEE Int Symp Circuits Syst. 1974:20-23.
    """

    def __init__(
        self, n: int, start: float, step: float, field_of_view: float, n_encoded: int
    ) -> None:
        self.per_view = good_size(int(np.ceil(POINTS * n_encoded)))
        self.step = field_of_view / self.per_view
        half_width = _half_width(self.per_view, n_encoded) * field_of_view
        first = int(np.floor((start - half_width) / self.step))
        last = int(np.ceil((start + (n - 1) * step + half_width) / self.step))
        self.places = np.arange(first, last + 1) * self.step
        self.matrix = self._filter(start + step * np.arange(n), half_width)

    def _filter(self, places: RealArray, half_width: float) -> RealArray:
        """Matrix ``(fewer, points)`` that brings points to the fewer ones; sums are kept."""
        away = self.places[:, None] - places
        # The pass band folds at the points' own Nyquist frequency, which therefore is the middle of
        # the transition: a sinc of the points' spacing.
        beta = kaiser_beta(ATTENUATION)
        inside = np.clip(1 - (away / half_width) ** 2, 0, None)
        window = np.i0(beta * np.sqrt(inside)) / np.i0(beta)
        kernel = np.sinc(away / self.step) * window
        return np.where(np.abs(away) <= half_width, kernel, 0).astype(np.float32)


def _half_width(per_view: int, n_encoded: int) -> float:
    """Half the length of the filter, relative to the field of view."""
    pass_band = 0.5 * PASS_BAND * n_encoded
    transition = per_view - 2 * pass_band  # cycles per field of view, from pass to stop band
    return (ATTENUATION - 7.95) / (2.285 * 2 * np.pi * transition) / 2


class FourierSum:
    r"""The k-space of an object made of points, seen by coils.

    .. math:: S_c(\mathbf k) = \frac{1}{\sqrt{N}} \sum_j c_j \, m_j \, \frac{v}{V} \,
              e^{-i 2 \pi \mathbf k \mathbf r_j}

    with N encoded samples, points of volume v and voxels of volume V: a unitary inverse transform
    of all N samples shows the object in its own unit, low-passed.

    Parameters
    ----------
    encoding
        The samples.
    geometry
        Grid of the points, along the encoding's axes.
    origin
        Patient position where all phases of the encoding are zero [mm].

    Notes
    -----
    What does not depend on the coil is done once: along y and x the object is brought to fewer
    points (`Band`), and only those are weighted with each coil's map and summed up. Along z the
    sum runs over the object's own points.
    """

    def __init__(self, encoding: Encoding, geometry: Geometry, origin: Point) -> None:
        offset = np.subtract(geometry.position, origin)
        starts = [
            float(offset @ np.asarray(axis)) - (n // 2) * step
            for n, step, axis in zip(
                geometry.shape, geometry.voxel_size, geometry.axes, strict=True
            )
        ]
        self._y, self._x = (
            Band(
                geometry.shape[i],
                starts[i],
                geometry.voxel_size[i],
                encoding.field_of_view[i],
                encoding.size[i],
            )
            for i in (1, 2)
        )
        z = starts[0] + geometry.voxel_size[0] * np.arange(geometry.shape[0])
        self._to_kz = _sum_matrix(encoding, 0, z, geometry.voxel_size[0])
        self._to_ky = _sum_matrix(encoding, 1, self._y.places, geometry.voxel_size[1])
        kx, fov = encoding.sample_offsets, encoding.field_of_view[2]
        self._kept = kx % self._x.per_view
        scale = np.sqrt(encoding.size[2]) * geometry.voxel_size[2] / fov
        ramp = scale * np.exp(-2j * np.pi * kx * self._x.places[0] / fov)
        self._ramp = ramp.astype(np.complex64)
        self.coil_geometry = self._coil_grid(geometry, origin, z)

    def _coil_grid(self, geometry: Geometry, origin: Point, z: RealArray) -> Geometry:
        """Grid of the fewer points, at which the coils are needed."""
        places = (z, self._y.places, self._x.places)
        position = np.asarray(origin, dtype=float)
        for axis, along in zip(geometry.axes, places, strict=True):
            position += along[len(along) // 2] * np.asarray(axis)
        nz, ny, nx = map(len, places)
        return replace(
            geometry,
            shape=(nz, ny, nx),
            voxel_size=(geometry.voxel_size[0], self._y.step, self._x.step),
            position=point(position),
        )

    def band_limited(self, signal: ComplexArray) -> ComplexArray:
        """Bring a signal ``(z, y, x)`` complex64 to the fewer points that coils are applied to."""
        # Real matrices on complex data: pairs of floats along x, then real and imaginary parts.
        flat = np.ascontiguousarray(signal).view(np.float32)
        fewer_y = np.matmul(self._y.matrix, flat).view(np.complex64)
        result = np.empty((*fewer_y.shape[:2], len(self._x.places)), np.complex64)
        for part in ("real", "imag"):
            values = np.ascontiguousarray(getattr(fewer_y, part))
            setattr(result, part, values @ self._x.matrix.T)
        return result

    def readouts(self, weighted: ComplexArray) -> ComplexArray:
        """Sum up a band-limited, coil-weighted signal along z and x, to ``(kz, y, samples)``."""
        nz = len(weighted)
        along_z = (self._to_kz @ weighted.reshape(nz, -1)).reshape(-1, *weighted.shape[1:])
        spectrum = scipy.fft.fft(_folded(along_z, self._x.per_view), axis=-1, overwrite_x=True)
        result: ComplexArray = np.take(spectrum, self._kept, axis=-1) * self._ramp
        return result

    def lines(self, readouts: ComplexArray) -> ComplexArray:
        """Sum up readouts ``(kz, y, samples)`` along y, to k-space ``(kz, ky, samples)``."""
        lines: ComplexArray = self._to_ky @ readouts
        return lines


def _sum_matrix(encoding: Encoding, axis: int, places: RealArray, step: float) -> ComplexArray:
    """Matrix ``(k, points)`` of the Fourier sum along an axis, of an object in such steps."""
    n, fov = encoding.size[axis], encoding.field_of_view[axis]
    k = np.arange(n) - n // 2
    scale = np.sqrt(n) * step / fov
    return np.asarray(scale * np.exp(-2j * np.pi * np.outer(k, places) / fov), np.complex64)


def _folded(values: ComplexArray, period: int) -> ComplexArray:
    """Bring the last axis to one period: zeros behind a shorter one, a longer one folded over."""
    n = values.shape[-1]
    n_periods = -(-n // period)
    padded = np.zeros((*values.shape[:-1], n_periods * period), values.dtype)
    padded[..., :n] = values
    folded: ComplexArray = padded.reshape(*values.shape[:-1], n_periods, period).sum(axis=-2)
    return folded
