"""Partial Fourier: the part of k-space that a scan did not cover, from the smoothness of phase."""

import numpy as np

from chistream.arrays import ComplexArray, Mask, RealArray
from chistream.physics.fourier import to_image, to_kspace


def complete_kspace(
    echoes: ComplexArray,
    support: Mask,
    *,
    tolerance: float = 1e-3,
    max_iterations: int = 20,
) -> ComplexArray:
    r"""Fill the part of k-space that was not covered, by projection onto convex sets (POCS).

    .. math:: \rho_{n+1} = F^{-1} \left[ M\,F\rho_0
              + (1 - M)\,F\left( |\rho_n|\, e^{i \varphi} \right) \right]

    with :math:`\varphi` the phase of the image that the covered centre of k-space gives.

    Parameters
    ----------
    echoes
        Complex echoes ``(echoes, z, y, x)`` whose k-space is zero where it was not covered.
    support
        What was covered ``(z, y, x)``, centred at ``n // 2``: M.
    tolerance
        Iteration ends when an echo changes by less than this part of its norm.
    max_iterations
        Iterations at most.

    Returns
    -------
    ComplexArray
        Echoes ``(echoes, z, y, x)`` complex64 that keep all that was measured: neither their phase
        nor their magnitude is replaced by a smooth one.

    Raises
    ------
    ValueError
        If shapes do not fit, or the centre of k-space was not covered.

    Notes
    -----
    Where neither a sample nor its mirror image was covered (the corners that partial Fourier in
    two directions leaves) k-space stays close to zero. Where the phase changes too fast for the
    covered centre, the filled part is wrong.

    In the chest it is wrong, so that zeros are the default. Error of the field in the heart against
    full sampling [Hz RMS], without noise (24 x 96 x 96, 16 coils, five echoes, 6/8 of the lines):

    ======================================  ====  ====  =======
    filled with                             y     z     z and y
    ======================================  ====  ====  =======
    zeros                                   1.3   3.0   3.3
    this function                           2.3   3.8   5.0
    the true phase, 30 iterations           0.03  0.06  0.40
    water and fat of the zero-filled image  1.1   2.4   2.8
    water and fat at half the resolution    1.0   3.1   3.3
    water and fat of the full scan          0.5   0.9   0.9
    ======================================  ====  ====  =======

    Conjugate symmetry itself is enough for less than 1 Hz, and the corners matter little; a phase
    of half the resolution is not: beside fat and lungs it changes within two voxels. The last
    three rows take the phase from real water and fat with a common phase [2]_, a field and a decay
    in each voxel, fitted to five echoes, best of ten iterations. That model itself is wrong by
    0.56 Hz (4 % of the signal of the median voxel, more beside fat): voxels that fields and
    ringing of fat cross are no such sum. Where its field comes from what was covered it leaves
    2.8 Hz. Along y, at SNR 30, it leaves 1.4 instead of 1.5 Hz, and refining the field from one
    iteration to the next makes it worse: too little for a second method. `extrapolate_kspace`,
    which knows coils as well and assumes nothing about phase, leaves 2.2 Hz.

    References
    ----------
    .. [1] Haacke EM, Lindskog ED, Lin W. A fast, iterative, partial-Fourier technique capable of
       local phase recovery. J Magn Reson. 1991;92(1):126-145. doi:10.1016/0022-2364(91)90253-P
    .. [2] Bydder M, Yokoo T, Yu H, Carl M, Reeder SB, Sirlin CB. Constraining the initial phase in
       water-fat separation. Magn Reson Imaging. 2011;29(2):216-221. doi:10.1016/j.mri.2010.08.011
    """
    if echoes.ndim != 4 or echoes.shape[1:] != support.shape:
        raise ValueError(
            f"echoes {echoes.shape} must be (echoes, z, y, x) of the support's {support.shape}"
        )
    if not support[tuple(n // 2 for n in support.shape)]:
        raise ValueError("the centre of k-space was not covered")
    axes = [axis for axis in (-3, -2, -1) if not _is_whole(support, axis)]
    completed = np.array(echoes, np.complex64)
    if not axes:
        return completed
    window = symmetric_window(support, axes).astype(np.float32)
    for image in completed:
        _complete(image, support, window, axes, tolerance, max_iterations)
    return completed


def symmetric_window(support: Mask, axes: list[int]) -> RealArray:
    """Weight k-space ``(z, y, x)`` such that only what was covered on both sides counts.

    A Hann window along each of the axes, as wide as the coverage on the shorter side; 1 along the
    others.
    """
    window = np.ones(support.shape)
    for axis in axes:
        others = tuple(i for i in range(-3, 0) if i != axis)
        covered = np.flatnonzero(support.any(axis=others))
        n = support.shape[axis]
        reach = min(n // 2 - covered[0], covered[-1] - n // 2) + 1
        k = np.abs(np.arange(n) - n // 2)
        hann = np.where(k < reach, np.cos(np.pi / 2 * k / reach) ** 2, 0.0)
        window = window * np.expand_dims(hann, others)
    return window


def _complete(
    image: ComplexArray,
    support: Mask,
    window: RealArray,
    axes: list[int],
    tolerance: float,
    max_iterations: int,
) -> None:
    """Iterate one echo ``(z, y, x)`` in place."""
    measured = to_kspace(image, axes)
    smooth = to_image(measured * window, axes)
    magnitude = np.abs(smooth)
    phase = np.divide(smooth, magnitude, out=np.zeros_like(smooth), where=magnitude > 0)
    for _ in range(max_iterations):
        kspace = to_kspace(np.abs(image) * phase, axes)
        kspace[support] = measured[support]
        following = to_image(kspace, axes)
        change = np.linalg.norm(following - image)
        image[...] = following
        if change <= tolerance * np.linalg.norm(following):
            break


def _is_whole(support: Mask, axis: int) -> bool:
    others = tuple(i for i in range(-3, 0) if i != axis)
    return bool(support.any(axis=others).all())
