"""From a fine object to k-space: an exact Fourier sum, of which a scan keeps the centre."""

from dataclasses import dataclass

import numpy as np
import scipy.fft

from chistream.arrays import ComplexArray, Size, Vector
from chistream.physics.geometry import Geometry
from chistream_simulator.phantoms.shapes import Point


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


class FourierSum:
    r"""The k-space of an object made of points.

    .. math:: S(\mathbf k) = \frac{1}{\sqrt{N}} \sum_j m_j \, \frac{v}{V} \,
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

    Raises
    ------
    ValueError
        If the points' spacing does not divide the field of view.

    Notes
    -----
    The sum is a Fourier transform of the points, continued by zeros to the whole field of view,
    of which the scan keeps the central frequencies; a linear phase puts them in their place.
    """

    def __init__(self, encoding: Encoding, geometry: Geometry, origin: Point) -> None:
        offset = np.subtract(geometry.position, origin)
        axes = (geometry.slice_dir, geometry.phase_dir, geometry.read_dir)
        self._plans = []
        for i, axis in enumerate(axes):
            n, step, fov = encoding.size[i], geometry.voxel_size[i], encoding.field_of_view[i]
            length = round(fov / step)
            if not np.isclose(length * step, fov):
                raise ValueError(f"points {step} mm apart do not divide the field of view {fov} mm")
            k = np.arange(encoding.first_sample if i == 2 else 0, n) - n // 2
            start = -(geometry.shape[i] // 2) * step + offset @ np.asarray(axis)
            ramp = np.exp(-2j * np.pi * k * start / fov) * (np.sqrt(n) * step / fov)
            self._plans.append((length, k % length, ramp.astype(np.complex64)))

    def __call__(self, signal: ComplexArray) -> ComplexArray:
        """Sum up a signal ``(..., z, y, x)`` complex64 to k-space ``(..., kz, ky, kx)``."""
        kspace = signal
        for axis, (length, kept, ramp) in zip((-3, -2, -1), self._plans, strict=True):
            # Zeros up to the field of view; then of the many frequencies only those sampled.
            spectrum = scipy.fft.fft(kspace, length, axis=axis, workers=-1)
            shape = [1] * spectrum.ndim
            shape[axis] = len(ramp)
            kspace = np.take(spectrum, kept, axis=axis)
            kspace *= ramp.reshape(shape)
        return kspace
