"""Phantoms that are no chest."""

from pydantic import Field

from chistream_simulator.options.section import Section


class ObjectOptions(Section):
    """Sphere, ellipsoid, cylinder, vials, plaque, fibres."""

    object_radius: float = Field(12.0, gt=0, description="Sphere or cylinder [mm].")
    object_chi: float = Field(1.0, description="Sphere or cylinder, relative to the bath [ppm].")
    cylinder_tilt: float = Field(0.0, ge=0, le=90, description="Cylinder, vials to B0 [degrees].")
    bath_radius: float = Field(60.0, gt=0, description="Of the closed-form phantoms [mm].")
    vial_radius: float = Field(8.0, gt=0, description="[mm]")
    vial_gadolinium: tuple[float, ...] = Field((0.5, 1.0, 2.0, 4.0), description="[mM]")
    vial_iron: tuple[float, ...] = Field((1.0, 2.0, 4.0), description="[mM]")
    vial_temperature: float = Field(293.15, gt=273, lt=373, description="[K]")
