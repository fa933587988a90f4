"""Blood: how saturation and haematocrit set its susceptibility and its R2*."""

from types import MappingProxyType

from chistream.physics.constants import PPB_PER_PPM

HEME_SUSCEPTIBILITY = 151.054
"""Susceptibility of deoxygenated haem at body temperature [ppb ml / umol, SI]."""

HEMES_PER_HEMATOCRIT = 4 * 0.34 / 64450e-6
"""Haem in blood of haematocrit 1: 0.34 g/ml in red cells, 64450 g/mol, four each [umol/ml]."""

CALIBRATIONS = MappingProxyType(
    {
        "wen2018": HEMES_PER_HEMATOCRIT * HEME_SUSCEPTIBILITY,
        "spees2001": 3393.0,
        "jain2012": 3431.0,
    }
)
"""Susceptibility of deoxygenated less that of oxygenated red cells [ppb, SI], by whose number.

Computed from the magnetic moment of haem, as used by Wen Y, et al. Magn Reson Med.
2018;79(3):1545-1552, doi:10.1002/mrm.26808; measured, 0.270 ppm cgs, by Spees WM, et al. Magn Reson
Med. 2001;45(4):533-542, doi:10.1002/mrm.1072; measured, 0.273 ppm cgs, by Jain V, et al. Magn Reson
Med. 2012;68(3):863-867, doi:10.1002/mrm.23282."""

TABLE_HEMATOCRIT = 0.42
"""Haematocrit that the table of tissues gives the susceptibility of oxygenated blood for."""


def oxygenated_chi(table_chi: float, hematocrit: float) -> float:
    """Susceptibility of fully oxygenated blood, in proportion to its red cells.

    Parameters
    ----------
    table_chi
        At a haematocrit of `TABLE_HEMATOCRIT`, relative to water [ppm].
    hematocrit
        Volume fraction of red cells.

    Returns
    -------
    float
        Relative to water [ppm]. Red cells have -0.10 ppm, -0.008 ppm cgs [1]_; plasma counts as
        water.

    References
    ----------
    .. [1] Jain V, et al. Magn Reson Med. 2012;68(3):863-867. doi:10.1002/mrm.23282

    Examples
    --------
    >>> round(oxygenated_chi(-0.042, 0.30), 4)
    -0.03
    """
    return table_chi * hematocrit / TABLE_HEMATOCRIT


def deoxygenated_chi(hematocrit: float, saturation: float, calibration: str = "wen2018") -> float:
    """Susceptibility that blood gains by giving off oxygen.

    Parameters
    ----------
    hematocrit
        Volume fraction of red cells.
    saturation
        Oxygen saturation, as a fraction.
    calibration
        One of `CALIBRATIONS`.

    Returns
    -------
    float
        Above that of fully oxygenated blood [ppm].

    Examples
    --------
    >>> round(deoxygenated_chi(0.42, 0.0), 4)
    1.3387
    """
    return CALIBRATIONS[calibration] * hematocrit * (1 - saturation) / PPB_PER_PPM


def deoxygenation(delta_chi: float, hematocrit: float, calibration: str = "wen2018") -> float:
    """Find the drop of saturation that makes blood more paramagnetic by this much.

    Parameters
    ----------
    delta_chi
        Difference of susceptibility [ppb].
    hematocrit
        Volume fraction of red cells, in (0, 1).
    calibration
        One of `CALIBRATIONS`.

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
    return delta_chi / (CALIBRATIONS[calibration] * hematocrit)


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
