"""Blood pools and other regions of a susceptibility map: means, their errors, differences."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.fft import irfftn, next_fast_len, rfftn

from chistream.arrays import Mask, RealArray, Vector
from chistream.errors import ReconstructionError
from chistream.physics.constants import PPB_PER_PPM
from chistream.physics.geometry import Geometry

MINIMUM_VOXELS = 10
"""Fewest voxels whose scatter still says something about the error of their mean."""

_MM3_PER_ML = 1000.0


@dataclass(frozen=True)
class Pool:
    """Statistics of a susceptibility map in one region.

    Parameters
    ----------
    name
        What the region is, as the report prints it.
    mean_ppb, sd_ppb
        Mean and standard deviation over the voxels [ppb].
    se_ppb
        Standard error of the mean, ``sd / sqrt(n_effective)`` [ppb].
    n_voxels
        Voxels measured.
    n_effective
        Number of independent voxels with the same error of the mean, in [1, n_voxels].
    volume_ml
        Volume of the voxels measured [ml].
    """

    name: str
    mean_ppb: float
    sd_ppb: float
    se_ppb: float
    n_voxels: int
    n_effective: float
    volume_ml: float


@dataclass(frozen=True)
class PoolDifference:
    """Mean of one pool less that of another, and its standard error [ppb]."""

    delta_chi_ppb: float
    delta_chi_se_ppb: float


def sphere_mask(
    geometry: Geometry, centre: Vector, radius: float, *, signal: Mask | None = None
) -> Mask:
    """Draw a ball around a point of the patient.

    Parameters
    ----------
    geometry
        Where the volume lies.
    centre
        Patient position (L, P, S) [mm].
    radius
        Radius of the ball [mm], > 0.
    signal
        Voxels with signal ``(z, y, x)``; the ball is restricted to them. None takes all.

    Returns
    -------
    Mask
        Voxels ``(z, y, x)`` whose centres lie in the ball; empty if it misses the volume.

    Raises
    ------
    ValueError
        If the radius is not positive or ``signal`` has another shape than the volume.

    Examples
    --------
    >>> grid = Geometry((5, 5, 5), (2.0, 2.0, 2.0))
    >>> int(sphere_mask(grid, (0.0, 0.0, 0.0), 2.0).sum())
    7
    """
    if not radius > 0:
        raise ValueError(f"radius must be positive, got {radius} mm")
    if signal is not None and signal.shape != geometry.shape:
        raise ValueError(f"signal {signal.shape} and geometry {geometry.shape} differ in shape")
    offset = geometry.voxel_positions() - np.reshape(centre, (3, 1, 1, 1))
    # The touch of slack keeps voxels that lie on the surface in, whatever the rounding.
    ball: Mask = np.einsum("izyx,izyx->zyx", offset, offset) <= (radius * (1 + 1e-9)) ** 2
    return ball if signal is None else ball & signal


def measure_pool(
    name: str,
    chi: RealArray,
    mask: Mask,
    voxel_size: Vector,
    *,
    minimum_voxels: int = MINIMUM_VOXELS,
) -> Pool:
    """Measure the susceptibility of a region.

    Parameters
    ----------
    name
        What the region is, for people: RV, LV, aorta.
    chi
        Susceptibility ``(z, y, x)`` [ppm]; voxels that are not finite are left out.
    mask
        Voxels of the region ``(z, y, x)``.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm].
    minimum_voxels
        Fewest voxels that may be called a measurement, >= 2.

    Returns
    -------
    Pool
        The statistics, in ppb.

    Raises
    ------
    ValueError
        If the shapes differ or ``minimum_voxels`` is below 2.
    ReconstructionError
        If too few voxels are left.

    Notes
    -----
    Neighbouring voxels of a susceptibility map share their noise. The number of independent ones
    is ``n**2 / sum_ij rho(i - j)``, with the autocorrelation ``rho`` taken as the product of one
    along each axis, measured in the region up to its first value that is not positive. A trend
    across the region counts as correlation and widens the error. Errors that move the whole region
    (background, geometry, flow) do not show in its scatter and are not in ``se_ppb``.

    References
    ----------
    .. [1] Bayley GV, Hammersley JM. The "effective" number of independent observations in an
       autocorrelated time series. Suppl J R Stat Soc. 1946;8(2):184-197. doi:10.2307/2983560
    """
    if not chi.shape == mask.shape:
        raise ValueError(f"mask {mask.shape} and chi {chi.shape} differ in shape")
    if minimum_voxels < 2:
        raise ValueError(f"minimum_voxels must be >= 2, got {minimum_voxels}")
    measured = mask & np.isfinite(chi)
    n_voxels = int(np.count_nonzero(measured))
    if n_voxels < minimum_voxels:
        raise ReconstructionError(
            "biomarkers",
            f"ROI {name!r} holds {n_voxels} voxels with signal and needs {minimum_voxels}: "
            "move or enlarge it",
        )
    values = chi[measured].astype(np.float64) * PPB_PER_PPM
    sd = float(values.std(ddof=1))
    n_effective = _independent_voxels(chi, measured)
    return Pool(
        name=name,
        mean_ppb=float(values.mean()),
        sd_ppb=sd,
        se_ppb=sd / math.sqrt(n_effective),
        n_voxels=n_voxels,
        n_effective=n_effective,
        volume_ml=n_voxels * math.prod(voxel_size) / _MM3_PER_ML,
    )


def pool_difference(venous: Pool, arterial: Pool) -> PoolDifference:
    """Subtract the mean of the arterial (left) pool from that of the venous (right) pool.

    Parameters
    ----------
    venous, arterial
        The two pools, of the same map.

    Returns
    -------
    PoolDifference
        The difference [ppb]; its standard error takes the noise of the two as independent.

    Examples
    --------
    >>> right = Pool("RV", 240.0, 20.0, 3.0, 90, 44.4, 9.0)
    >>> left = Pool("LV", -10.0, 20.0, 4.0, 50, 25.0, 5.0)
    >>> pool_difference(right, left)
    PoolDifference(delta_chi_ppb=250.0, delta_chi_se_ppb=5.0)
    """
    return PoolDifference(
        venous.mean_ppb - arterial.mean_ppb, math.hypot(venous.se_ppb, arterial.se_ppb)
    )


def reference_to(chi: RealArray, reference: Pool, mask: Mask) -> RealArray:
    """Shift a susceptibility map so that the mean of a pool becomes zero.

    Parameters
    ----------
    chi
        Susceptibility ``(z, y, x)`` [ppm], defined up to a constant.
    reference
        The pool that is to be zero.
    mask
        Voxels that hold a value ``(z, y, x)``; the others become zero.

    Returns
    -------
    RealArray
        Susceptibility ``(z, y, x)`` [ppm] relative to the pool.
    """
    shifted = chi - chi.dtype.type(reference.mean_ppb / PPB_PER_PPM)
    referenced: RealArray = np.where(mask, shifted, chi.dtype.type(0))
    return referenced


def _independent_voxels(chi: RealArray, mask: Mask) -> float:
    box = _bounding_box(mask)
    inside = mask[box].astype(np.float64)
    residual = np.zeros(inside.shape)
    residual[mask[box]] = chi[box][mask[box]] - chi[mask].mean(dtype=np.float64)
    pairs = np.rint(_autocorrelation(inside))  # counts, so whole numbers but for the FFT
    products = _autocorrelation(residual)
    if not products[0, 0, 0] > 0:
        return float(pairs[0, 0, 0])  # a constant pool: its mean has no error, however counted
    rho = np.ones(())
    for axis in range(3):
        along = tuple(slice(None) if a == axis else 0 for a in range(3))
        rho = np.multiply.outer(rho, _positive_run(products[along], pairs[along]))
    n_voxels = pairs[0, 0, 0]
    return float(np.clip(n_voxels**2 / np.sum(pairs * rho), 1.0, n_voxels))


def _bounding_box(mask: Mask) -> tuple[slice, ...]:
    return tuple(slice(axis.min(), axis.max() + 1) for axis in np.nonzero(mask))


def _autocorrelation(box: RealArray) -> RealArray:
    """Sum ``box[i] * box[i + lag]`` for every lag, 0 to n - 1 and then the negative ones."""
    padded = tuple(next_fast_len(2 * n - 1, real=True) for n in box.shape)
    spectrum = rfftn(box, padded)
    sums: RealArray = irfftn(spectrum * spectrum.conj(), padded)
    return sums


def _positive_run(products: RealArray, pairs: RealArray) -> RealArray:
    """Return the autocorrelation along one axis, zero from where it first is not positive."""
    counted = np.where(pairs > 0, pairs, np.inf)
    rho = np.minimum(products / counted / (products[0] / pairs[0]), 1.0)
    lags = len(rho) // 2 + 1
    ends = np.flatnonzero(rho[:lags] <= 0)
    run = np.where(np.arange(lags) < (ends[0] if ends.size else lags), rho[:lags], 0.0)
    both: RealArray = np.zeros_like(rho)
    both[:lags] = run
    both[len(rho) - lags + 1 :] = run[:0:-1]
    return both
