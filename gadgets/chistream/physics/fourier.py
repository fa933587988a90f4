"""The Fourier transforms of this package: centred and unitary, or real for convolutions.

FFTW plans are made once for each shape and kept. The sign is ``exp(-i k r)`` from image to
k-space; the origin of every centred grid is index ``n // 2``, odd or even.
"""

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
import pyfftw

from chistream.arrays import ComplexArray, RealArray, Size
from chistream.physics import wisdom
from chistream.physics.backend import is_numpy, namespace

N_THREADS = len(os.sched_getaffinity(0))


def to_image(kspace: ComplexArray, axes: Sequence[int]) -> ComplexArray:
    """Transform centred k-space to a centred image, with no change of energy.

    Parameters
    ----------
    kspace
        Samples of any shape; k = 0 sits at ``n // 2`` of each transformed axis.
    axes
        Axes to transform, negative by custom: ``(-3, -2, -1)`` for ``(..., z, y, x)``.

    Returns
    -------
    ComplexArray
        Image of the same shape, precision and unit; the origin sits at ``n // 2``.
    """
    return _transform(kspace, axes, "FFTW_BACKWARD")


def to_kspace(image: ComplexArray, axes: Sequence[int]) -> ComplexArray:
    """Transform a centred image to centred k-space; the inverse and the adjoint of to_image.

    Parameters
    ----------
    image
        Image of any shape; the origin sits at ``n // 2`` of each transformed axis.
    axes
        Axes to transform.

    Returns
    -------
    ComplexArray
        Samples of the same shape, precision and unit.
    """
    return _transform(image, axes, "FFTW_FORWARD")


class VolumeTransform(Protocol):
    """What a convolution needs of a Fourier transform; see `RealTransform` and `ArrayTransform`."""

    def forward(self, volume: RealArray) -> ComplexArray:
        """Transform a volume ``(z, y, x)`` to its half spectrum ``(z, y, x // 2 + 1)``."""

    def inverse(self, spectrum: ComplexArray) -> RealArray:
        """Transform a half spectrum back to its real volume."""

    def convolve(self, volume: RealArray, kernel: RealArray | ComplexArray) -> RealArray:
        """Convolve circularly with a kernel given as a half spectrum."""


def plan_transform(like: RealArray, shape: Size | None = None) -> VolumeTransform:
    """Choose the transform of an array's library: FFTW for numpy, else the library's own.

    Parameters
    ----------
    like
        Real array ``(z, y, x)`` of any library, of the precision wanted: float32 or float64.
    shape
        Grid size ``(z, y, x)``; that of the array by default.

    Returns
    -------
    VolumeTransform
        The transform of volumes of that size and kind.

    Examples
    --------
    >>> transform = plan_transform(np.zeros((4, 5, 6)))
    >>> transform.forward(np.ones((4, 5, 6)))[0, 0, 0].real.item()
    120.0
    """
    if shape is None:
        shape = (like.shape[0], like.shape[1], like.shape[2])
    if is_numpy(like):
        return RealTransform(shape, str(like.dtype))
    return ArrayTransform(shape, like)


class RealTransform:
    """Real volumes to half spectra and back, planned once: what a convolution needs.

    Not centred: index 0 is the origin on both sides, as in ``numpy.fft.rfftn``.

    Parameters
    ----------
    shape
        Grid size ``(z, y, x)``; any size works, `good_size` gives fast ones.
    dtype
        ``float32`` or ``float64``.
    n_threads
        Threads for each transform, >= 1. One by default: an iteration makes thousands of short
        transforms, and threads that wait for each other cost ten times the work as soon as
        another process (a second scan) takes one of the cores.

    Raises
    ------
    ValueError
        If the dtype is neither.

    Examples
    --------
    >>> transform = RealTransform((4, 5, 6))
    >>> volume = np.arange(120.0).reshape(4, 5, 6)
    >>> bool(np.allclose(transform.inverse(transform.forward(volume)), volume))
    True
    """

    def __init__(self, shape: Size, dtype: str = "float64", n_threads: int = 1) -> None:
        if dtype not in {"float32", "float64"}:
            raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
        self.shape = shape
        self.half_shape: Size = (shape[0], shape[1], shape[2] // 2 + 1)
        spectrum = "complex64" if dtype == "float32" else "complex128"
        self._real = pyfftw.empty_aligned(shape, dtype)
        self._half = pyfftw.empty_aligned(self.half_shape, spectrum)
        wisdom.recall()
        try:
            self._plan(n_threads, "FFTW_WISDOM_ONLY")
        except RuntimeError:
            self._plan(n_threads)
            wisdom.remember()

    def _plan(self, n_threads: int, *flags: str) -> None:
        axes, options = (0, 1, 2), {"threads": n_threads, "flags": ("FFTW_MEASURE", *flags)}
        self._forward = pyfftw.FFTW(self._real, self._half, axes, **options)
        self._inverse = pyfftw.FFTW(
            self._half, self._real, axes, direction="FFTW_BACKWARD", **options
        )

    def forward(self, volume: RealArray) -> ComplexArray:
        """Transform a volume ``(z, y, x)`` to its half spectrum ``(z, y, x // 2 + 1)``."""
        self._real[...] = volume
        spectrum: ComplexArray = self._forward().copy()
        return spectrum

    def inverse(self, spectrum: ComplexArray) -> RealArray:
        """Transform a half spectrum back to its real volume."""
        self._half[...] = spectrum
        volume: RealArray = self._inverse(normalise_idft=True).copy()
        return volume

    def convolve(self, volume: RealArray, kernel: RealArray | ComplexArray) -> RealArray:
        """Convolve circularly with a kernel given as a half spectrum ``(z, y, x // 2 + 1)``.

        Parameters
        ----------
        volume
            Real volume ``(z, y, x)``.
        kernel
            Half spectrum of the kernel, in unshifted FFT order.

        Returns
        -------
        RealArray
            Volume ``(z, y, x)``, in the unit of volume times kernel.
        """
        self._real[...] = volume
        self._forward()
        self._half *= kernel
        # An unnormalised inverse and one multiplication: half the passes of a normalised one.
        self._inverse(normalise_idft=False)
        product: RealArray = self._real * self._real.dtype.type(1 / np.prod(self.shape))
        return product


class ArrayTransform:
    """Real volumes to half spectra and back, by the Fourier transform of their own library.

    Not centred: index 0 is the origin on both sides, as in `RealTransform`.

    Parameters
    ----------
    shape
        Grid size ``(z, y, x)``.
    like
        Array of the library to compute in.
    """

    def __init__(self, shape: Size, like: RealArray) -> None:
        self.shape = shape
        self._fft = namespace(like).fft

    def forward(self, volume: RealArray) -> ComplexArray:
        """Transform a volume ``(z, y, x)`` to its half spectrum ``(z, y, x // 2 + 1)``."""
        spectrum: ComplexArray = self._fft.rfftn(volume, axes=(0, 1, 2))
        return spectrum

    def inverse(self, spectrum: ComplexArray) -> RealArray:
        """Transform a half spectrum back to its real volume."""
        volume: RealArray = self._fft.irfftn(spectrum, s=self.shape, axes=(0, 1, 2))
        return volume

    def convolve(self, volume: RealArray, kernel: RealArray | ComplexArray) -> RealArray:
        """Convolve circularly with a kernel given as a half spectrum ``(z, y, x // 2 + 1)``."""
        return self.inverse(self.forward(volume) * kernel)


def good_size(n: int) -> int:
    """Find the next size that FFTW transforms fast.

    Parameters
    ----------
    n
        Smallest acceptable size, >= 1.

    Returns
    -------
    int
        Smallest even product of small primes that is >= n (n itself if it is 1).

    Examples
    --------
    >>> [good_size(n) for n in (1, 7, 17, 96, 97)]
    [1, 8, 18, 96, 98]
    """
    if n <= 1:
        return 1
    half: int = pyfftw.next_fast_len((n + 1) // 2)
    return 2 * half


def _transform(array: ComplexArray, axes: Sequence[int], direction: str) -> ComplexArray:
    dtype = "complex64" if array.dtype == np.complex64 else "complex128"
    axes = tuple(axes)
    plan = _plan(array.shape, axes, dtype, direction)
    start = pyfftw.byte_align(np.fft.ifftshift(array, axes), dtype=dtype)
    target = pyfftw.empty_aligned(array.shape, dtype)
    plan(start, target, ortho=True, normalise_idft=False)
    result: ComplexArray = np.fft.fftshift(target, axes)
    return result


@lru_cache(maxsize=32)
def _plan(shape: tuple[int, ...], axes: tuple[int, ...], dtype: str, direction: str) -> pyfftw.FFTW:
    # The arrays of a plan are only examples: every call brings its own. FFTW_ESTIMATE, because
    # measuring takes longer than the few transforms of one scan save.
    source = pyfftw.empty_aligned(shape, dtype)
    target = pyfftw.empty_aligned(shape, dtype)
    flags = ("FFTW_ESTIMATE", "FFTW_DESTROY_INPUT")
    return pyfftw.FFTW(source, target, axes, direction, flags, N_THREADS)
