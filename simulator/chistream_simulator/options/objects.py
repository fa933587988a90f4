"""Phantoms that are no chest."""

from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from chistream.arrays import Vector
from chistream_simulator.options.section import Section


class ObjectOptions(Section):
    """Sphere, ellipsoid, cylinder, vials, plaque, fibres, head."""

    object_radius: float = Field(12.0, gt=0, description="Sphere or cylinder [mm].")
    object_axes: Vector = Field(
        (22.0, 15.0, 10.0), description="Semi-axes of the ellipsoid (L, P, S) before its turn [mm]."
    )
    object_turn: Vector = Field(
        (0.0, 0.0, 0.0), description="Turns of the ellipsoid about L, then P, then S [degrees]."
    )
    object_chi: float = Field(
        1.0, description="Sphere, ellipsoid or cylinder, relative to the bath [ppm]."
    )
    cylinder_tilt: float = Field(
        0.0, ge=0, le=90, description="Cylinder, vials: from S towards P [degrees]."
    )
    bath_radius: float = Field(
        60.0, gt=0, description="Of the closed-form phantoms and of the fibres [mm]."
    )
    vial_radius: float = Field(8.0, gt=0, description="[mm]")
    vial_gadolinium: tuple[float, ...] = Field((0.5, 1.0, 2.0, 4.0), description="[mM]")
    vial_iron: tuple[float, ...] = Field((1.0, 2.0, 4.0), description="[mM]")
    vial_temperature: float = Field(293.15, gt=273, lt=373, description="[K]")
    plaque_size: float = Field(
        4.0, ge=1, le=8, description="Diameter of each component of the carotid plaque [mm]."
    )
    plaque_stenosis: float = Field(
        0.4, ge=0, le=0.9, description="Part of the lumen's diameter that the plaque takes."
    )
    fibre_pattern: Literal["helix", "uniform"] = Field(
        "helix",
        description="A wall like the left ventricle's, whose fibres turn from the inner to the "
        "outer surface; or a ball of object_radius, all of whose fibres run along fibre_axis.",
    )
    fibre_helix: float = Field(
        60.0,
        ge=-90,
        le=90,
        description="Helix angle at the inner surface, and minus that at the outer [degrees].",
    )
    fibre_axis: Vector = Field(
        (0.0, 0.0, 1.0), description="Of the fibres of the uniform pattern (L, P, S)."
    )
    fibre_chi_parallel: float = Field(0.01, description="Susceptibility along the fibres [ppm].")
    fibre_chi_perpendicular: float = Field(-0.01, description="And across them [ppm].")
    head_calcification: float = Field(
        8.0, ge=0, le=20, description="Diameter of a calcification in the head [mm]; 0: none."
    )
    head_microbleed: float = Field(
        4.0, ge=0, le=20, description="Diameter of a microbleed in the head [mm]; 0: none."
    )

    @model_validator(mode="after")
    def _objects_are_solid(self) -> Self:
        if not min(self.object_axes) > 0:
            raise ValueError(f"object_axes must be positive, got {self.object_axes} mm")
        if not any(self.fibre_axis):
            raise ValueError(f"fibre_axis must not be zero, got {self.fibre_axis}")
        return self
