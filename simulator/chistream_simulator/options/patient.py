"""The patient: blood, fat, tissues, disease."""

from typing import Any, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from chistream_simulator.options.section import Section
from chistream_simulator.tissues import tissue_table


class PatientOptions(Section):
    """What the chest contains."""

    rv_lv_difference: float = Field(
        250.0, ge=0, le=500, description="Mixed venous less arterial blood, without shunt [ppb]."
    )
    hematocrit: float = Field(0.42, gt=0.1, lt=0.7, description="Volume of red cells.")
    arterial_saturation: float = Field(
        0.97, gt=0.5, le=1, description="Oxygen saturation of arterial blood."
    )
    blood_calibration: Literal["wen2018", "spees2001", "jain2012"] = Field(
        "wen2018", description="Susceptibility of deoxygenated blood."
    )
    shunt: Literal["none", "atrial", "ventricular", "ductal"] = Field(
        "none", description="Left-to-right: saturation steps up from this level on."
    )
    shunt_step: float = Field(0.10, ge=0, le=0.4, description="Rise of saturation at the shunt.")
    inflow: float = Field(0.15, ge=0, le=1, description="Part of the blood that comes fresh.")
    blood_velocity: float = Field(
        1.0,
        ge=0,
        le=5,
        description="Of each chamber's usual velocity at the trigger delay; 0: rest.",
    )
    jet_velocity: float = Field(
        0.0,
        ge=0,
        le=6,
        description="Peak speed of a jet from a narrow mitral valve into the left ventricle "
        "[m/s]; 0: none.",
    )
    jet_width: float = Field(14.0, gt=0, le=30, description="Width of the jet [mm].")
    subcutaneous_fat: float = Field(15.0, ge=0, le=40, description="Thickness [mm]; 0: none.")
    epicardial_fat: float = Field(
        6.0,
        ge=0,
        le=8,
        description="Thickness on the right ventricle [mm], more in the grooves; 0: no fat inside "
        "the chest.",
    )
    fat_spectrum: Literal["hamilton6", "single"] = Field(
        "hamilton6", description="Six peaks, or the main one alone at -3.4 ppm."
    )
    stomach_air: bool = Field(default=True, description="Gas under the left dome.")
    ribs: bool = Field(default=True, description="Bone with marrow around the lungs.")
    tissues: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Values of the tissue table, such as tissues.liver.chi."
    )
    infarct_size: float = Field(
        0.0, ge=0, le=40, description="Its width in the wall [mm]; 0: none."
    )
    infarct_segment: int = Field(8, ge=1, le=17, description="AHA segment.")
    infarct_extent: float = Field(
        0.75, gt=0, le=1, description="Part of the wall's thickness, from the inner surface on."
    )
    infarct_chi: float = Field(
        0.15, ge=-1, le=3, description="Above myocardium [ppm]: 0.15 (1 mM iron) to 1."
    )
    infarct_t2star: float = Field(
        0.012,
        gt=0,
        lt=0.2,
        description="[s] at the scan's field; shorter, or in oedema longer, than myocardium's.",
    )
    liver_iron: float = Field(
        0.0, ge=0, le=5, description="Susceptibility that iron adds to the liver [ppm]; R2* rises."
    )
    heart_iron: float = Field(
        0.0, ge=0, le=3, description="Susceptibility that iron adds to the heart [ppm]; R2* rises."
    )
    liver_fat: float = Field(0.0, ge=0, le=0.5, description="Fat fraction of the liver.")

    @model_validator(mode="after")
    def _tissues_are_right(self) -> Self:
        tissue_table(self.tissues)
        return self
