"""How far one map is from another, in the figures that the QSM challenges use."""

from dataclasses import dataclass

import numpy as np

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
