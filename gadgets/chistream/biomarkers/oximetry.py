"""From a susceptibility difference between two blood pools to a difference in oxygen saturation."""

import math
from dataclasses import dataclass
from typing import Literal

RED_CELL_HEMOGLOBIN = 0.34
"""Mass of haemoglobin in a volume of packed red cells, rho [g/ml]."""

HEMOGLOBIN_MOLAR_MASS = 64450e-6
"""Mass of the haemoglobin tetramer, M_Hb [g/umol]."""

DEOXYHEME_SUSCEPTIBILITY = 151.054
"""Molar susceptibility of one deoxygenated haem against an oxygenated one, SI [ppb ml/umol]."""

HEMES_PER_HEMOGLOBIN = 4

_CGS_TO_SI = 4 * math.pi
_PPB_PER_PPM = 1000.0

_NOT_GIVEN = {
    "delta_chi_se_ppb": "No standard error of the susceptibility difference was measured.",
    "hematocrit": "No haematocrit was given; none is assumed.",
    "arterial_saturation": "No arterial saturation was given.",
}

_NEEDS = {
    "delta_sao2": ("delta_chi_ppb", "hematocrit"),
    "delta_sao2_se": ("delta_chi_ppb", "hematocrit", "delta_chi_se_ppb"),
    "svo2": ("delta_chi_ppb", "hematocrit", "arterial_saturation"),
    "svo2_se": ("delta_chi_ppb", "hematocrit", "arterial_saturation", "delta_chi_se_ppb"),
}

CalibrationName = Literal["wen2018", "spees2001", "jain2012"]


def hemoglobin_concentration(hematocrit: float) -> float:
    """Convert the haematocrit to the haemoglobin of blood, H = Hct rho / M_Hb.

    Parameters
    ----------
    hematocrit
        Volume fraction of red cells, in (0, 1].

    Returns
    -------
    float
        Haemoglobin tetramers in whole blood [umol/ml].

    Examples
    --------
    >>> round(hemoglobin_concentration(0.42), 4)
    2.2157
    """
    return hematocrit * RED_CELL_HEMOGLOBIN / HEMOGLOBIN_MOLAR_MASS


@dataclass(frozen=True)
class Calibration:
    """How much susceptibility red cells gain when they lose all their oxygen.

    Parameters
    ----------
    name
        As the settings spell it.
    red_cell_ppb
        Susceptibility of fully deoxygenated less that of fully oxygenated red cells, SI [ppb];
        times the haematocrit it is that of blood.
    relative_se
        Published standard error of that number, relative to it; None if none was published.
    source
        Where it was published.
    """

    name: CalibrationName
    red_cell_ppb: float
    relative_se: float | None
    source: str


CALIBRATIONS: dict[CalibrationName, Calibration] = {
    calibration.name: calibration
    for calibration in (
        Calibration(
            "wen2018",
            HEMES_PER_HEMOGLOBIN * hemoglobin_concentration(1.0) * DEOXYHEME_SUSCEPTIBILITY,
            None,
            "Wen Y, et al. Magn Reson Med 2018;79:1545-1552. doi:10.1002/mrm.26808",
        ),
        Calibration(
            "spees2001",
            0.27 * _CGS_TO_SI * _PPB_PER_PPM,
            None,
            "Spees WM, et al. Magn Reson Med 2001;45:533-542. doi:10.1002/mrm.1072",
        ),
        Calibration(
            "jain2012",
            0.273 * _CGS_TO_SI * _PPB_PER_PPM,
            0.006 / 0.273,
            "Jain V, et al. Magn Reson Med 2012;68:863-867. doi:10.1002/mrm.23282",
        ),
    )
}
"""The calibrations in use, by name. The two cgs values are stated in ppm and multiplied by 4 pi."""


@dataclass(frozen=True)
class Oximetry:
    """A difference in oxygen saturation, or the reasons why there is none.

    Parameters
    ----------
    delta_chi_ppb, delta_chi_se_ppb
        Susceptibility of the venous less that of the arterial pool, and its standard error [ppb].
    hematocrit
        Volume fraction of red cells that was used.
    calibration
        The calibration that was used.
    delta_sao2, delta_sao2_se
        Saturation of the arterial less that of the venous pool, and its standard error, as
        fractions; never clipped.
    svo2, svo2_se
        Saturation of the venous pool and its standard error, as fractions.
    se_covers
        What the standard errors account for. They never hold the systematic error of the map.
    flags
        What a person must look at before believing the numbers, one sentence each.
    null_reasons
        Why a quantity is None, by its name.
    """

    delta_chi_ppb: float | None
    delta_chi_se_ppb: float | None
    hematocrit: float | None
    calibration: Calibration
    delta_sao2: float | None
    delta_sao2_se: float | None
    svo2: float | None
    svo2_se: float | None
    se_covers: tuple[str, ...]
    flags: tuple[str, ...]
    null_reasons: dict[str, str]


def saturation_difference(
    delta_chi_ppb: float | None,
    hematocrit: float | None,
    calibration: CalibrationName = "wen2018",
    *,
    delta_chi_se_ppb: float | None = None,
    hematocrit_se: float | None = None,
    arterial_saturation: float | None = None,
    arterial_saturation_se: float | None = None,
    no_difference_reason: str = "No susceptibility difference between blood pools was measured.",
) -> Oximetry:
    r"""Convert a susceptibility difference between blood pools to an oxygen saturation difference.

    .. math:: \Delta SaO_2 = \frac{\Delta\chi}{4 H \Delta\chi_{deoxyheme}}, \qquad
              H = \frac{Hct\,\rho}{M_{Hb}}

    Parameters
    ----------
    delta_chi_ppb
        Susceptibility of the venous (right ventricular) pool less that of the arterial (left
        ventricular) pool, SI [ppb]; None if it could not be measured.
    hematocrit
        Volume fraction of red cells, in (0, 1]; None if unknown: it is never assumed.
    calibration
        Name in ``CALIBRATIONS``.
    delta_chi_se_ppb
        Standard error of ``delta_chi_ppb`` [ppb], >= 0.
    hematocrit_se
        Standard error of the haematocrit, a fraction, >= 0; None takes the haematocrit as exact.
    arterial_saturation
        Saturation of the arterial pool, from an oximeter, as a fraction in (0, 1].
    arterial_saturation_se
        Its standard error, a fraction, >= 0; None takes it as exact.
    no_difference_reason
        Why ``delta_chi_ppb`` is None.

    Returns
    -------
    Oximetry
        The saturation difference, unclipped, with its error and flags. Implausible numbers stay
        as they are and are flagged.

    Raises
    ------
    ValueError
        If a number is not finite, an error is negative, the calibration is unknown, or a
        fraction is not one (percent given, zero or less).

    Notes
    -----
    Errors are propagated to first order as independent. The three calibrations differ by up to
    7 %, more than the published error of any one of them.

    References
    ----------
    .. [1] Aimo A, et al. Quantitative susceptibility mapping (QSM) of the cardiovascular system:
       challenges and perspectives. J Cardiovasc Magn Reson. 2022;24:48.
       doi:10.1186/s12968-022-00883-z
    .. [2] Wen Y, et al. Cardiac quantitative susceptibility mapping (QSM) for heart chamber
       oxygenation. Magn Reson Med. 2018;79:1545-1552. doi:10.1002/mrm.26808

    Examples
    --------
    >>> result = saturation_difference(90.0, 0.42)
    >>> round(100 * result.delta_sao2, 2)
    6.72
    """
    if calibration not in CALIBRATIONS:
        raise ValueError(f"calibration {calibration!r} is none of {', '.join(CALIBRATIONS)}")
    _require_finite("delta_chi_ppb", delta_chi_ppb)
    _require_fraction("hematocrit", hematocrit, "0.42")
    _require_fraction("arterial_saturation", arterial_saturation, "0.98")
    errors = {
        "delta_chi_se_ppb": delta_chi_se_ppb,
        "hematocrit_se": hematocrit_se,
        "arterial_saturation_se": arterial_saturation_se,
    }
    for name, value in errors.items():
        _require_error(name, value)

    chosen = CALIBRATIONS[calibration]
    delta = _saturation(delta_chi_ppb, hematocrit, chosen)
    delta_se = _saturation_se(delta, delta_chi_se_ppb, hematocrit, hematocrit_se, chosen)
    venous = None if delta is None or arterial_saturation is None else arterial_saturation - delta
    venous_se = (
        None
        if venous is None or delta_se is None
        else math.hypot(delta_se, arterial_saturation_se or 0.0)
    )
    return Oximetry(
        delta_chi_ppb=delta_chi_ppb,
        delta_chi_se_ppb=delta_chi_se_ppb,
        hematocrit=hematocrit,
        calibration=chosen,
        delta_sao2=delta,
        delta_sao2_se=delta_se,
        svo2=venous,
        svo2_se=venous_se,
        se_covers=_covered(delta_se, hematocrit_se, chosen, arterial_saturation_se),
        flags=(*_hematocrit_flags(hematocrit), *_saturation_flags(delta, venous)),
        null_reasons=_null_reasons(
            {
                "delta_chi_ppb": delta_chi_ppb,
                "delta_chi_se_ppb": delta_chi_se_ppb,
                "hematocrit": hematocrit,
                "arterial_saturation": arterial_saturation,
            },
            no_difference_reason,
        ),
    )


def _require_finite(name: str, value: float | None) -> None:
    if value is not None and not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number or None, got {value}")


def _require_fraction(name: str, value: float | None, example: str) -> None:
    if value is not None and not 0 < value <= 1:
        raise ValueError(f"{name} {value} is out of (0, 1]: give it as a fraction, {example}")


def _require_error(name: str, value: float | None) -> None:
    _require_finite(name, value)
    if value is not None and value < 0:
        raise ValueError(f"{name} is a standard error and must be >= 0, got {value}")


def _saturation(
    delta_chi_ppb: float | None, hematocrit: float | None, calibration: Calibration
) -> float | None:
    if delta_chi_ppb is None or hematocrit is None:
        return None
    return delta_chi_ppb / (calibration.red_cell_ppb * hematocrit)


def _saturation_se(
    delta: float | None,
    delta_chi_se_ppb: float | None,
    hematocrit: float | None,
    hematocrit_se: float | None,
    calibration: Calibration,
) -> float | None:
    if delta is None or delta_chi_se_ppb is None or hematocrit is None:
        return None
    return math.hypot(
        delta_chi_se_ppb / (calibration.red_cell_ppb * hematocrit),
        delta * (hematocrit_se or 0.0) / hematocrit,
        delta * (calibration.relative_se or 0.0),
    )


def _covered(
    delta_se: float | None,
    hematocrit_se: float | None,
    calibration: Calibration,
    arterial_saturation_se: float | None,
) -> tuple[str, ...]:
    if delta_se is None:
        return ()
    parts = {
        "haematocrit": hematocrit_se,
        "calibration": calibration.relative_se,
        "arterial saturation": arterial_saturation_se,
    }
    return ("noise of the map", *(name for name, error in parts.items() if error is not None))


def _hematocrit_flags(hematocrit: float | None) -> tuple[str, ...]:
    if hematocrit is None or 0.15 <= hematocrit <= 0.65:
        return ()
    return (f"Haematocrit {hematocrit:g} lies outside 0.15-0.65: check it.",)


def _saturation_flags(delta: float | None, venous: float | None) -> tuple[str, ...]:
    flags = []
    if delta is not None and delta < 0:
        flags.append(
            f"Saturation difference {100 * delta:.1f} % is negative, the venous pool is not more "
            "paramagnetic: check the ROI labels, the phase sign and for a shunt."
        )
    if delta is not None and delta > 0.6:
        flags.append(f"Saturation difference {100 * delta:.1f} % exceeds 60 %: implausible.")
    if venous is not None and venous < 0.2:
        flags.append(f"Venous saturation {100 * venous:.1f} % is below 20 %: implausible.")
    if venous is not None and venous > 1:
        flags.append(f"Venous saturation {100 * venous:.1f} % exceeds 100 %: implausible.")
    return tuple(flags)


def _null_reasons(given: dict[str, float | None], no_difference_reason: str) -> dict[str, str]:
    texts = {"delta_chi_ppb": no_difference_reason, **_NOT_GIVEN}
    missing = {name: texts[name] for name, value in given.items() if value is None}
    derived = {
        name: " ".join(missing[need] for need in needs if need in missing)
        for name, needs in _NEEDS.items()
    }
    missing.pop("arterial_saturation", None)  # an input only, no field of the result
    return missing | {name: reason for name, reason in derived.items() if reason}
