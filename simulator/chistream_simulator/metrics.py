"""How far one map is from another, in the figures that the QSM challenges use."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from chistream.arrays import Mask, RealArray


@dataclass(frozen=True)
class MapErrors:
    """Errors of a map inside a mask, both maps taken without their means.

    Parameters
    ----------
    nrmse
        Norm of the difference over the norm of the truth [%].
    detrended_nrmse
        The same after a straight line (gain and offset) is fitted and taken out [%].
    slope
        Gain of the result over the truth [1].
    correlation
        Pearson's coefficient [1].
    rmse
        Root of the mean squared difference, in the unit of the maps.
    n_voxels
        Voxels compared.
    """

    nrmse: float
    detrended_nrmse: float
    slope: float
    correlation: float
    rmse: float
    n_voxels: int


def compare_maps(result: RealArray, truth: RealArray, mask: Mask) -> MapErrors:
    r"""Measure the errors of a map against the truth.

    .. math:: \mathrm{NRMSE} = 100\,\frac{\lVert (x-\bar x) - (t-\bar t)\rVert}
              {\lVert t-\bar t\rVert}

    Parameters
    ----------
    result, truth
        Maps ``(z, y, x)`` of one unit.
    mask
        Voxels to compare ``(z, y, x)``.

    Returns
    -------
    MapErrors
        The figures; susceptibility is known up to a constant, so the means play no part.

    Raises
    ------
    ValueError
        If the shapes differ, or the truth is constant in the mask.

    References
    ----------
    .. [1] QSM Challenge 2.0 Organization Committee. QSM reconstruction challenge 2.0: design and
       report of results. Magn Reson Med. 2021;86(3):1241-1255. doi:10.1002/mrm.28754

    Examples
    --------
    >>> truth = np.arange(8.0).reshape(2, 2, 2)
    >>> errors = compare_maps(2 * truth + 5, truth, truth >= 0)
    >>> round(errors.nrmse), round(errors.detrended_nrmse), errors.slope
    (100, 0, 2.0)
    """
    if not result.shape == truth.shape == mask.shape:
        raise ValueError(
            f"result {result.shape}, truth {truth.shape} and mask {mask.shape} differ in shape"
        )
    t = truth[mask].astype(float)
    x = result[mask].astype(float)
    t, x = t - t.mean(), x - x.mean()
    if not t.any():
        raise ValueError(f"the truth is constant in the {t.size} voxels of the mask")
    slope = float(t @ x / (t @ t))
    difference = x - t
    # A flat result has no slope to take out; its detrended error is that of a zero map.
    detrended = x / slope - t if slope else t
    return MapErrors(
        nrmse=_percent(difference, t),
        detrended_nrmse=_percent(detrended, t),
        slope=slope,
        correlation=float(t @ x / (np.linalg.norm(t) * np.linalg.norm(x))) if x.any() else 0.0,
        rmse=float(np.sqrt(np.mean(difference**2))),
        n_voxels=int(mask.sum()),
    )


def _percent(difference: RealArray, truth: RealArray) -> float:
    return float(100 * np.linalg.norm(difference) / np.linalg.norm(truth))


def structural_similarity(result: RealArray, truth: RealArray, mask: Mask) -> float:
    r"""Measure how alike the structures of two susceptibility maps are (XSIM).

    .. math:: \mathrm{XSIM} = \frac{(2 \mu_x \mu_t + c_1)(2 \sigma_{xt} + c_2)}
              {(\mu_x^2 + \mu_t^2 + c_1)(\sigma_x^2 + \sigma_t^2 + c_2)}

    Parameters
    ----------
    result, truth
        Susceptibility ``(z, y, x)`` [ppm].
    mask
        Voxels to compare ``(z, y, x)``; both maps are taken without their means there.

    Returns
    -------
    float
        Mean over the mask, 1 for equal maps.

    Notes
    -----
    Boxes of 5 voxels on an edge, c1 = 1e-4 ppm^2 and c2 = 1e-6 ppm^2, in the maps' own ppm. Where
    the truth is flat any noise costs all of the index: on phantoms of constant parts it is low.

    References
    ----------
    .. [1] Milovic C, Tejos C, Silva J, Shmueli K, Irarrazaval P. XSIM: a structural similarity
       index measure optimized for MRI QSM. Magn Reson Med. 2025;93(1):411-421.
       doi:10.1002/mrm.30271

    Examples
    --------
    >>> truth = np.random.default_rng(1).standard_normal((6, 7, 8))
    >>> structural_similarity(truth, truth, truth < 9)
    1.0
    """
    x, t = _centred(result, truth, mask)
    mean_x, mean_t = _box_mean(x), _box_mean(t)
    variance_x = _box_mean(x * x) - mean_x**2
    variance_t = _box_mean(t * t) - mean_t**2
    covariance = _box_mean(x * t) - mean_x * mean_t
    means = (2 * mean_x * mean_t + 1e-4) / (mean_x**2 + mean_t**2 + 1e-4)
    structures = (2 * covariance + 1e-6) / (variance_x + variance_t + 1e-6)
    return float(np.mean((means * structures)[mask]))


def high_frequency_error(result: RealArray, truth: RealArray, mask: Mask) -> float:
    r"""Measure the error of edges and details (HFEN).

    .. math:: \mathrm{HFEN} = 100\,\frac{\lVert L (x - t)\rVert}{\lVert L t\rVert}

    Parameters
    ----------
    result, truth
        Maps ``(z, y, x)`` of one unit.
    mask
        Voxels to compare ``(z, y, x)``; both maps are taken without their means there.

    Returns
    -------
    float
        Norm of the difference over the norm of the truth [%], after L, the Laplacian of a Gaussian
        of 1.5 voxels.

    References
    ----------
    .. [1] Ravishankar S, Bresler Y. MR image reconstruction from highly undersampled k-space data
       by dictionary learning. IEEE Trans Med Imaging. 2011;30(5):1028-1041.
       doi:10.1109/TMI.2010.2090538

    Examples
    --------
    >>> truth = np.random.default_rng(1).standard_normal((6, 7, 8))
    >>> round(high_frequency_error(0.9 * truth, truth, truth < 9), 6)
    10.0
    """
    x, t = (
        ndimage.gaussian_laplace(values, 1.5, truncate=5.0)[mask]
        for values in _centred(result, truth, mask)
    )
    return _percent(x - t, t)


def _centred(result: RealArray, truth: RealArray, mask: Mask) -> tuple[RealArray, RealArray]:
    x, t = (np.where(mask, values - values[mask].mean(), 0.0) for values in (result, truth))
    return x, t


def _box_mean(values: RealArray) -> RealArray:
    mean: RealArray = ndimage.uniform_filter(values, 5)
    return mean
