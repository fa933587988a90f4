"""What iron, fat and haemorrhage make of the tissues they are in."""

from collections.abc import Mapping

from chistream_simulator.options.patient import PatientOptions
from chistream_simulator.tissues import Tissue

CHI_PER_IRON = 0.11
"""Susceptibility per iron in dry tissue [ppm per mg/g]: 0.102 to 0.123 over four centres.

Liver quantitative susceptibility mapping in patients with iron overload, multicentre. Magn Reson
Med. 2025;93(1):330-340. doi:10.1002/mrm.30251"""

R2STAR_PER_IRON = (1 / 2.603e-2, 1 / 1.349e-2)
"""R2* per iron in dry tissue at 1.5 T and at 3 T [1/s per mg/g].

Hernando D, et al. Multicenter reproducibility of liver iron quantification with 1.5-T and 3.0-T
MRI. Radiology. 2023;306(2). doi:10.1148/radiol.213256"""


def iron_r2star(chi: float) -> tuple[float, float]:
    """Find the rise of R2* that goes with the iron of a susceptibility.

    Parameters
    ----------
    chi
        Added by iron [ppm].

    Returns
    -------
    tuple[float, float]
        Added to R2* at 1.5 T and at 3 T [1/s].

    Notes
    -----
    The calibration is the liver's. It is taken for the heart as well, in which R2* was found to
    rise alike per dry weight [1]_.

    References
    ----------
    .. [1] Wood JC, et al. Cardiac iron determines cardiac T2*, T2, and T1 in the gerbil model of
       iron cardiomyopathy. Circulation. 2005;112(4):535-543.
       doi:10.1161/CIRCULATIONAHA.104.504415

    Examples
    --------
    >>> [round(rate) for rate in iron_r2star(0.34)]
    [119, 229]
    """
    low, high = (rate * chi / CHI_PER_IRON for rate in R2STAR_PER_IRON)
    return low, high


def diseased(table: Mapping[str, Tissue], patient: PatientOptions) -> dict[str, Tissue]:
    """Put a patient's diseases into the table of tissues.

    Parameters
    ----------
    table
        Tissues by name.
    patient
        Iron and fat of the liver, iron of the heart, infarct.

    Returns
    -------
    dict
        The tissues, of which liver, myocardium and infarct are changed.
    """
    heart = with_iron(table["myocardium"], patient.heart_iron)
    liver = with_fat(with_iron(table["liver"], patient.liver_iron), patient.liver_fat, table["fat"])
    infarct = {
        "chi": heart.chi + table["infarct"].chi + patient.infarct_chi,
        "T2star": (patient.infarct_t2star,) * 2,
    }
    changed = {"infarct": table["infarct"].model_copy(update=infarct)}
    return {**table, **changed, "myocardium": heart, "liver": liver}


def with_iron(tissue: Tissue, chi: float) -> Tissue:
    """Load a tissue with iron of a susceptibility [ppm]: its R2* rises with it."""
    times = (
        1 / (tissue.r2star(B0) + rate)
        for B0, rate in zip((1.5, 3.0), iron_r2star(chi), strict=True)
    )
    return tissue.model_copy(update={"chi": tissue.chi + chi, "T2star": tuple(times)})


def with_fat(tissue: Tissue, fraction: float, fat: Tissue) -> Tissue:
    """Replace a part of a tissue by fat; susceptibilities mix by volume."""
    if fraction == 0:
        return tissue
    chi = (1 - fraction) * tissue.chi + fraction * fat.chi
    return tissue.model_copy(update={"chi": chi, "fat_fraction": fraction})
