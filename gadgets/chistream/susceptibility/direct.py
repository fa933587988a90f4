"""Susceptibility in one division: truncated spectra and Tikhonov regularisation."""

from typing import Literal, TypeAlias

import numpy as np

from chistream.arrays import Mask, RealArray, Vector, size_of
from chistream.physics.backend import matched, norm
from chistream.physics.dipole import ALONG_Z, half_dipole_kernel
from chistream.physics.fourier import plan_transform
from chistream.physics.gradients import roughness
from chistream.physics.padding import Padding
from chistream.susceptibility.inversion import FieldData, Inversion, only_inside, referenced

MARGIN: Vector = (20.0, 20.0, 20.0)
"""Room that keeps the opposite faces of the periodic grid apart [mm]."""

Regulariser: TypeAlias = Literal["identity", "gradient", "laplacian"]


def invert_tkd(
    local_field: RealArray,
    mask: Mask,
    voxel_size: Vector,
    *,
    b0_direction: Vector = ALONG_Z,
    strength: float = 0.15,
    corrected: bool = True,
    margin: Vector = MARGIN,
) -> Inversion:
    r"""Estimate susceptibility by truncated k-space division.

    .. math:: \hat\chi = \frac1c F^{-1} \frac{\operatorname{sign} D}{\max(|D|, t)} F f, \qquad
              c = \operatorname{mean}_{\mathbf k} \frac{|D|}{\max(|D|, t)}

    Parameters
    ----------
    local_field
        Background-free field ``(z, y, x)`` relative to B0 [ppm], of any array library; only the
        mask is read.
    mask
        Voxels where the field is known, and reported ``(z, y, x)``.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm], unequal ones welcome.
    b0_direction
        Direction of B0 ``(z, y, x)``.
    strength
        t, the smallest kernel magnitude that is still divided by, in (0, 2/3): larger ones have
        fewer streaks and lose more of chi.
    corrected
        Whether to divide by c, the peak of the point spread that the truncation makes (Schweser
        2013, eq. 6); without it chi comes out too small.
    margin
        Room around the volume on each side ``(z, y, x)`` [mm], >= 0; an axis with 0 is taken as
        periodic.

    Returns
    -------
    Inversion
        Susceptibility ``(z, y, x)`` [ppm], float64, with zero mean over the mask and zero outside:
        the field does not know the constant.

    Raises
    ------
    ValueError
        If the mask is empty or differs in shape, the field is not finite in it, ``b0_direction``
        is zero or the strength out of range.

    Notes
    -----
    Without the correction chi is underestimated by the part of the spectrum below the threshold
    (a sphere of 12 voxels, at 0.15: by 6 to 17 %, most with a tilted B0).

    References
    ----------
    .. [1] Shmueli K, et al. Magnetic susceptibility mapping of brain tissue in vivo using MRI
       phase data. Magn Reson Med. 2009;62(6):1510-1522. doi:10.1002/mrm.22135
    .. [2] Schweser F, Deistung A, Sommer K, Reichenbach JR. Toward online reconstruction of
       quantitative susceptibility maps: superfast dipole inversion. Magn Reson Med.
       2013;69(6):1582-1594. doi:10.1002/mrm.24405

    Examples
    --------
    >>> field = np.zeros((6, 7, 8))
    >>> field[3, 3, 4] = 0.1
    >>> chi = invert_tkd(field, np.ones(field.shape, dtype=bool), (2.0, 1.0, 1.0)).chi
    >>> bool(abs(chi.mean()) < 1e-12)
    True
    """
    _check_threshold(strength)
    grid = _Grid(FieldData(local_field, mask, voxel_size, b0_direction), margin)
    inverse = np.sign(grid.kernel) / np.maximum(np.abs(grid.kernel), strength)
    if corrected:
        inverse /= grid.mean_over_spectrum(inverse * grid.kernel)
    return grid.filtered(inverse, strength, "tkd")


def invert_tsvd(
    local_field: RealArray,
    mask: Mask,
    voxel_size: Vector,
    *,
    b0_direction: Vector = ALONG_Z,
    strength: float = 0.15,
    corrected: bool = True,
    margin: Vector = MARGIN,
) -> Inversion:
    r"""Estimate susceptibility by truncated singular values: what is small is left out.

    .. math:: \hat\chi = \frac1c F^{-1} \frac{[|D| > t]}{D} F f, \qquad
              c = \operatorname{mean}_{\mathbf k} [|D| > t]

    Parameters
    ----------
    local_field
        Background-free field ``(z, y, x)`` relative to B0 [ppm], of any array library; only the
        mask is read.
    mask
        Voxels where the field is known, and reported ``(z, y, x)``.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm], unequal ones welcome.
    b0_direction
        Direction of B0 ``(z, y, x)``.
    strength
        t, the smallest kernel magnitude that is used, in (0, 2/3).
    corrected
        Whether to divide by c, the peak of the point spread (Schweser 2013).
    margin
        Room around the volume on each side ``(z, y, x)`` [mm], >= 0; an axis with 0 is taken as
        periodic.

    Returns
    -------
    Inversion
        Susceptibility ``(z, y, x)`` [ppm], float64, with zero mean over the mask and zero outside.

    Raises
    ------
    ValueError
        If the mask is empty or differs in shape, the field is not finite in it, ``b0_direction``
        is zero or the strength out of range.

    References
    ----------
    .. [1] Wharton S, Schaefer A, Bowtell R. Susceptibility mapping in the human brain using
       threshold-based k-space division. Magn Reson Med. 2010;63(5):1292-1304.
       doi:10.1002/mrm.22334

    Examples
    --------
    >>> field = np.zeros((6, 7, 8))
    >>> field[3, 3, 4] = 0.1
    >>> found = invert_tsvd(field, np.ones(field.shape, dtype=bool), (2.0, 1.0, 1.0))
    >>> found.method, found.strength
    ('tsvd', 0.15)
    """
    _check_threshold(strength)
    grid = _Grid(FieldData(local_field, mask, voxel_size, b0_direction), margin)
    kept = np.abs(grid.kernel) > strength
    inverse = kept / np.where(kept, grid.kernel, 1.0)
    if corrected:
        inverse /= grid.mean_over_spectrum(kept)
    return grid.filtered(inverse, strength, "tsvd")


def invert_tikhonov(
    local_field: RealArray,
    mask: Mask,
    voxel_size: Vector,
    *,
    b0_direction: Vector = ALONG_Z,
    strength: float = 0.01,
    regulariser: Regulariser = "identity",
    margin: Vector = MARGIN,
) -> Inversion:
    r"""Estimate susceptibility by Tikhonov regularisation, in closed form.

    .. math:: \hat\chi = F^{-1} \frac{D}{D^2 + \lambda R} F f, \qquad
              \hat\chi = \arg\min_\chi \| f - D \chi \|_2^2 + \lambda \| \Gamma \chi \|_2^2

    Parameters
    ----------
    local_field
        Background-free field ``(z, y, x)`` relative to B0 [ppm], of any array library; only the
        mask is read.
    mask
        Voxels where the field is known, and reported ``(z, y, x)``.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm], unequal ones welcome.
    b0_direction
        Direction of B0 ``(z, y, x)``.
    strength
        Lambda, > 0: what a large or rough chi costs.
    regulariser
        Gamma: ``"identity"`` (R = 1), ``"gradient"`` (R is the spectrum of minus the Laplacian,
        in units of the shortest voxel edge) or ``"laplacian"`` (R is the square of that).
    margin
        Room around the volume on each side ``(z, y, x)`` [mm], >= 0; an axis with 0 is taken as
        periodic.

    Returns
    -------
    Inversion
        Susceptibility ``(z, y, x)`` [ppm], float64, with zero mean over the mask and zero outside:
        the field does not know the constant.

    Raises
    ------
    ValueError
        If the mask is empty or differs in shape, the field is not finite in it, ``b0_direction``
        is zero, the strength not positive or the regulariser unknown.

    References
    ----------
    .. [1] Kressler B, de Rochefort L, Liu T, et al. Nonlinear regularization for per voxel
       estimation of magnetic susceptibility distributions from MRI field maps. IEEE Trans Med
       Imaging. 2010;29(2):273-281. doi:10.1109/TMI.2009.2023787
    .. [2] Bilgic B, Chatnuntawech I, Fan AP, et al. Fast image reconstruction with
       L2-regularization. J Magn Reson Imaging. 2014;40(1):181-191. doi:10.1002/jmri.24365

    Examples
    --------
    >>> field = np.zeros((6, 7, 8))
    >>> field[3, 3, 4] = 0.1
    >>> mask = np.ones(field.shape, dtype=bool)
    >>> weak = invert_tikhonov(field, mask, (2.0, 1.0, 1.0), strength=0.001)
    >>> strong = invert_tikhonov(field, mask, (2.0, 1.0, 1.0), strength=0.1)
    >>> bool(np.ptp(strong.chi) < np.ptp(weak.chi))
    True
    """
    if not strength > 0:
        raise ValueError(f"strength must be positive, got {strength}")
    powers = {"identity": 0, "gradient": 1, "laplacian": 2}
    if regulariser not in powers:
        raise ValueError(f"regulariser must be one of {sorted(powers)}, got {regulariser!r}")
    grid = _Grid(FieldData(local_field, mask, voxel_size, b0_direction), margin)
    cost = np.ones_like(grid.kernel)
    cost *= (roughness(grid.padding.outer, voxel_size) * min(voxel_size) ** 2) ** powers[
        regulariser
    ]
    # At k = 0 the kernel knows nothing and the gradient costs nothing: the mean is free.
    cost[0, 0, 0] = 1.0
    return grid.filtered(grid.kernel / (grid.kernel**2 + strength * cost), strength, "tikhonov")


class _Grid:
    """A local field on its padded grid, and the kernel there."""

    def __init__(self, data: FieldData, margin: Vector) -> None:
        self._data = data
        self.padding = Padding.of_margin(size_of(data.field), data.voxel_size, margin)
        self.kernel = half_dipole_kernel(self.padding.outer, data.voxel_size, data.b0_direction)

    def mean_over_spectrum(self, values: RealArray | Mask) -> float:
        """Average over all frequencies what is given for half of them."""
        n = self.padding.outer[2]
        times = np.full(values.shape[2], 2.0)
        times[0] = 1.0
        if n % 2 == 0:
            times[-1] = 1.0  # the Nyquist plane has no mirror image
        return float(np.mean(values * times) * values.shape[2] / n)

    def filtered(self, inverse: RealArray, strength: float, method: str) -> Inversion:
        """Multiply the spectrum of the field with an inverse of the kernel."""
        data = self._data
        field = self.padding.pad(only_inside(data.field, data.mask), "float64")
        transform = plan_transform(field)
        chi = transform.convolve(field, matched(inverse, field))
        inside = self.padding.pad(data.mask, "float64")
        left = (field - transform.convolve(chi, matched(self.kernel, field))) * inside
        return Inversion(
            referenced(self.padding.crop(chi), data.mask),
            n_iterations=0,
            converged=True,
            residual=norm(left) / max(norm(field), 1e-30),
            strength=strength,
            method=method,
        )


def _check_threshold(strength: float) -> None:
    if not 0 < strength < 2 / 3:
        raise ValueError(f"strength must lie in (0, 2/3), got {strength}")
