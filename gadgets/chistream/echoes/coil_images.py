"""K-space to an image of every coil and echo."""

import numpy as np

from chistream.arrays import ComplexArray, Size, size_of
from chistream.physics.fourier import to_image, to_kspace

_AXES = (-3, -2, -1)


def reconstruct_coil_images(hybrid: ComplexArray) -> ComplexArray:
    """Transform hybrid k-space to coil images on the encoded grid.

    Parameters
    ----------
    hybrid
        ``(echoes, coils, kz, ky, x)``: k-space along z and y, centred at ``n // 2``; image along
        x.

    Returns
    -------
    ComplexArray
        Coil images ``(echoes, coils, z, y, x)`` complex64. Noise of unit variance in a complete
        k-space has unit variance in every voxel.

    Raises
    ------
    ValueError
        If ``hybrid`` has not five axes.
    """
    if hybrid.ndim != 5:
        raise ValueError(f"hybrid {hybrid.shape} needs axes (echoes, coils, kz, ky, x)")
    images = np.empty(hybrid.shape, np.complex64)
    for echo, kspace in enumerate(hybrid):  # one echo at a time bounds the memory
        images[echo] = to_image(kspace, axes=(-3, -2))
    return images


def to_recon_grid(
    images: ComplexArray, recon_size: Size, kept_size: Size | None = None
) -> ComplexArray:
    """Bring images from the encoded grid to the one that the scan asks for.

    Parameters
    ----------
    images
        ``(..., z, y, x)`` on the encoded grid.
    recon_size
        Size of the image ``(z, y, x)``.
    kept_size
        Voxels of the encoded grid that the image's field of view covers ``(z, y, x)``. None: an
        image axis shorter than the encoded one is a crop of it (oversampling), a longer one an
        interpolation of it.

    Returns
    -------
    ComplexArray
        ``(..., z, y, x)`` complex64; the origin stays at ``n // 2`` of each axis. Interpolation
        leaves values where they are.

    Raises
    ------
    ValueError
        If a size is not positive.

    Notes
    -----
    Cropping is done in the image and interpolation by zeros around k-space, both about the origin,
    so neither moves the object, whether sizes are odd or even.
    """
    if min(*recon_size, *(kept_size or (1,))) < 1:
        raise ValueError(f"the sizes {recon_size} and {kept_size} must be positive")
    if kept_size is None:
        z, y, x = map(min, size_of(images), recon_size)
        kept_size = z, y, x
    placed: ComplexArray = interpolate(resize(images, kept_size), recon_size)
    return placed.astype(np.complex64, copy=False)


def resize(volume: ComplexArray, size: Size) -> ComplexArray:
    """Crop a volume, or surround it by zeros, about its origin.

    Parameters
    ----------
    volume
        ``(..., z, y, x)``, image or k-space, its origin at ``n // 2`` of each axis.
    size
        Size to return ``(z, y, x)``.

    Returns
    -------
    ComplexArray
        ``(..., z, y, x)`` with the origin at ``n // 2`` again; the volume itself if the size is
        its own.

    Examples
    --------
    >>> resize(np.arange(5).astype(complex)[None, None], (1, 1, 2)).real.tolist()
    [[[1.0, 2.0]]]
    """
    if size_of(volume) == size:
        return volume
    resized = np.zeros((*volume.shape[:-3], *size), volume.dtype)
    (old_z, new_z), (old_y, new_y), (old_x, new_x) = (
        _common(n, m) for n, m in zip(size_of(volume), size, strict=True)
    )
    resized[..., new_z, new_y, new_x] = volume[..., old_z, old_y, old_x]
    return resized


def interpolate(image: ComplexArray, size: Size) -> ComplexArray:
    """Change the number of voxels in the same field of view.

    Parameters
    ----------
    image
        ``(..., z, y, x)``, its origin at ``n // 2`` of each axis.
    size
        Size to return ``(z, y, x)``; a smaller one loses resolution.

    Returns
    -------
    ComplexArray
        The same function at the new voxels (sinc interpolation), in the same unit.
    """
    old = size_of(image)
    axes = [axis for axis, n, m in zip(_AXES, old, size, strict=True) if n != m]
    if not axes:
        return image
    # A unitary transform spreads the same energy over more voxels: undone by the root of the ratio.
    scale = np.float32(np.sqrt(np.prod(size) / np.prod(old)))
    return to_image(resize(to_kspace(image, axes), size), axes) * scale


def coarse_along_x(images: ComplexArray, n: int) -> ComplexArray:
    """Interpolate ``(..., x)`` to fewer voxels n in the same field of view, as `interpolate` does.

    One matrix for all lines: for a few of many voxels that is faster than two transforms.
    """
    old = images.shape[-1]
    if n == old:
        return images
    k = np.arange(n) - n // 2
    to_k = np.exp(-2j * np.pi / old * np.outer(np.arange(old) - old // 2, k))
    to_x = np.exp(2j * np.pi / n * np.outer(k, np.arange(n) - n // 2))
    matrix = (to_k @ to_x / old).astype(np.complex64)
    coarse: ComplexArray = np.ascontiguousarray(images, np.complex64) @ matrix
    return coarse


def _common(n: int, m: int) -> tuple[slice, slice]:
    """Pair the ranges that two axes share when their origins ``n // 2`` coincide."""
    shift = m // 2 - n // 2
    first, last = max(0, -shift), min(n, m - shift)
    return slice(first, last), slice(first + shift, last + shift)
