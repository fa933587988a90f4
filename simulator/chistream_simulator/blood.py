"""Blood: how saturation and haematocrit set its susceptibility and its R2*."""

HEME_SUSCEPTIBILITY = 151.054
"""Susceptibility of deoxygenated haem [ppb ml / umol, SI]."""

HEMES_PER_HEMATOCRIT = 4 * 0.34 / 64450e-6
"""Haem in blood of haematocrit 1: 0.34 g/ml in red cells, 64450 g/mol, four each [umol/ml]."""


def deoxygenation(delta_chi: float, hematocrit: float) -> float:
    """Find the drop of saturation that makes blood more paramagnetic by this much.

    Parameters
    ----------
    delta_chi
        Difference of susceptibility [ppb].
    hematocrit
        Volume fraction of red cells, in (0, 1).

    Returns
    -------
    float
        Drop of oxygen saturation, as a fraction.

    References
    ----------
    .. [1] Wen Y, et al. Free breathing three-dimensional cardiac quantitative susceptibility
       mapping for differential cardiac chamber blood oxygenation. J Cardiovasc Magn Reson.
       2019;21:70. doi:10.1186/s12968-019-0579-7

    Examples
    --------
    >>> round(deoxygenation(90.0, 0.42), 4)
    0.0672
    """
    return delta_chi / (HEMES_PER_HEMATOCRIT * HEME_SUSCEPTIBILITY * hematocrit)


def blood_r2star(hematocrit: float, saturation: float, B0: float) -> float:
    """Relaxation rate R2* of blood.

    Parameters
    ----------
    hematocrit
        Volume fraction of red cells.
    saturation
        Oxygen saturation, as a fraction.
    B0
        Field strength [T].

    Returns
    -------
    float
        R2* [1/s].

    Notes
    -----
    Measured at 3 T [1]_. For other fields the oxygenated part is scaled with B0 and the
    deoxygenated part with its square, which is an assumption.

    References
    ----------
    .. [1] Zhao JM, et al. Oxygenation and hematocrit dependence of transverse relaxation rates of
       blood at 3T. Magn Reson Med. 2007;58(3):592-597. doi:10.1002/mrm.21342
    """
    scale = B0 / 3
    oxygenated = 14.9 * hematocrit + 14.7
    deoxygenated = (302.0 * hematocrit + 42.0) * (1 - saturation) ** 2
    return oxygenated * scale + deoxygenated * scale**2
