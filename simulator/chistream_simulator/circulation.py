"""How much oxygen the blood of each chamber and vessel carries, and how it flows."""

import math
from types import MappingProxyType

from chistream.physics.constants import PPB_PER_PPM
from chistream_simulator.blood import deoxygenated_chi, deoxygenation
from chistream_simulator.options.patient import PatientOptions
from chistream_simulator.phantoms.shapes import Point

ARTERIAL = ("LA", "LV", "aorta")
"""Labels of arterial blood."""

VENOUS = ("SVC", "IVC", "RA", "RV", "PA")
"""Labels of venous blood, in the order of its way."""

SHUNTED = MappingProxyType(
    {
        "none": (),
        "atrial": ("RA", "RV", "PA"),
        "ventricular": ("RV", "PA"),
        "ductal": ("PA",),
    }
)
"""Labels behind each left-to-right shunt."""

EXTRACTION = MappingProxyType({"SVC": 1.2, "IVC": 0.9})
"""Oxygen that head and arms, and the rest of the body, take from the blood, relative to the mean.

With a third of the blood coming back through the superior vena cava this is the mean again. Healthy
subjects: 76.8 % in the superior and 83.0 % in the inferior vena cava where the right ventricle has
78.5 %. Barratt-Boyes BG, Wood EH. J Lab Clin Med. 1957;50(1):93-106. The kidneys' blood, which
makes for the high inferior one, is not to be had everywhere along it: the numbers are nearer to the
mean than those, and assumed."""

_SPEEDS = MappingProxyType({"LA": 0.08, "LV": 0.05, "RA": 0.06, "RV": 0.04})
"""Of the blood in the chambers, towards the apex [m/s]."""


def chamber_saturations(patient: PatientOptions) -> dict[str, float]:
    """Find the oxygen saturation of the blood in each chamber and vessel.

    Parameters
    ----------
    patient
        Blood and shunt; a `Case` is one.

    Returns
    -------
    dict
        Saturation as a fraction, by label; none exceeds the arterial one.

    Raises
    ------
    ValueError
        If the shunt's step would lift the saturation behind it above the arterial one.

    Examples
    --------
    >>> found = chamber_saturations(PatientOptions(shunt="ventricular", shunt_step=0.08))
    >>> [round(found[label], 3) for label in ("SVC", "IVC", "RA", "RV", "LV")]
    [0.746, 0.802, 0.783, 0.863, 0.97]
    """
    arterial = patient.arterial_saturation
    drop = deoxygenation(patient.rv_lv_difference, patient.hematocrit, patient.blood_calibration)
    saturations = dict.fromkeys(ARTERIAL, arterial)
    for label in VENOUS:
        room = EXTRACTION.get(label, 1.0) * drop
        step = _step(patient, label)
        if step > room:
            raise ValueError(
                f"shunt_step {step} would lift the saturation of {label} from "
                f"{arterial - room:.3f} above arterial_saturation {arterial}: set it to "
                f"{math.floor(1e4 * room) / 1e4} or less, or raise rv_lv_difference"
            )
        saturations[label] = max(arterial - room + step, 0.0)
    return saturations


def ventricular_difference(patient: PatientOptions) -> tuple[float, float]:
    """Find by how much the blood of the ventricles differs, with the patient's shunt.

    Parameters
    ----------
    patient
        Blood and shunt; a `Case` is one.

    Returns
    -------
    tuple[float, float]
        Susceptibility of the right ventricle's blood less that of the left's [ppb], and the drop of
        saturation from left to right, as a fraction.

    Examples
    --------
    >>> ventricular_difference(PatientOptions(rv_lv_difference=250.0))[0]
    250.0
    >>> found = ventricular_difference(PatientOptions(shunt="ventricular", shunt_step=0.08))
    >>> [round(number, 3) for number in found]
    [142.9, 0.107]
    """
    hematocrit, calibration = patient.hematocrit, patient.blood_calibration
    drop = deoxygenation(patient.rv_lv_difference, hematocrit, calibration)
    step = _step(patient, "RV")
    # The gain is taken off, so that nothing is rounded where there is none.
    gain = PPB_PER_PPM * deoxygenated_chi(hematocrit, 1 - step, calibration)
    return patient.rv_lv_difference - gain, drop - step


def _step(patient: PatientOptions, label: str) -> float:
    return patient.shunt_step if label in SHUNTED[patient.shunt] else 0.0


def chamber_velocities(patient: PatientOptions, to_apex: Point) -> dict[str, Point]:
    """Find how fast the blood of each chamber and vessel flows late in diastole.

    Parameters
    ----------
    patient
        ``blood_velocity`` scales all of it.
    to_apex
        Unit vector (L, P, S) from the base of the heart to its apex.

    Returns
    -------
    dict
        Mean velocity (L, P, S) [m/s] by label: one for the whole of each.

    Notes
    -----
    Directions are those of the filling heart; sizes are assumed, of the order of 5 to 10 cm/s.
    """
    away = (-to_apex[0], -to_apex[1], -to_apex[2])
    flows = {
        **{label: (speed, to_apex) for label, speed in _SPEEDS.items()},
        "aorta": (0.05, (0.0, 0.0, -1.0)),
        "PA": (0.03, away),
        "SVC": (0.12, (0.0, 0.0, -1.0)),
        "IVC": (0.12, (0.0, 0.0, 1.0)),
    }
    scale = patient.blood_velocity
    return {
        label: (scale * speed * left, scale * speed * posterior, scale * speed * superior)
        for label, (speed, (left, posterior, superior)) in flows.items()
    }
