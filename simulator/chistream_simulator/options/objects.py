"""Phantoms that are no chest."""

import math
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator
from typing_extensions import Self

from chistream.arrays import Vector
from chistream_simulator.options.section import Section

RING = 0.6
"""Distance of the vials from the middle, relative to the radius of the bath."""

Ladder: TypeAlias = tuple[Annotated[float, Field(ge=0, le=200)], ...]


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
    vial_gadolinium: Ladder = Field((0.5, 1.0, 2.0, 4.0), description="[mM]")
    vial_iron: Ladder = Field((1.0, 2.0, 4.0), description="[mM]")
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


def check_fit(phantom: str, options: ObjectOptions) -> None:
    """Check that what a phantom holds lies inside its bath, and apart from each other.

    Parameters
    ----------
    phantom
        Its name.
    options
        Sizes; a `Case` has them.

    Raises
    ------
    ValueError
        If it does not; with the sizes, and what to do.
    """
    bath = options.bath_radius
    sizes = {
        "sphere": ("object_radius", options.object_radius),
        "cylinder": ("object_radius", options.object_radius),
        "ellipsoid": ("object_axes: the longest,", max(options.object_axes)),
    }
    if phantom == "fibres" and options.fibre_pattern == "uniform":
        sizes["fibres"] = ("object_radius", options.object_radius)
    name, size = sizes.get(phantom, ("", 0.0))
    if size >= bath:
        raise ValueError(
            f"{name} {size:g} mm must be smaller than bath_radius {bath:g} mm: make the object "
            "smaller or the bath larger"
        )
    if phantom == "calibration-vials":
        _check_vials(options)


def _check_vials(options: ObjectOptions) -> None:
    bath, n_vials = options.bath_radius, len(options.vial_gadolinium) + len(options.vial_iron)
    beside = RING * bath * math.sin(math.pi / n_vials) if n_vials > 1 else math.inf
    room = min((1 - RING) * bath, beside)
    if options.vial_radius >= room:
        what = "touch each other" if beside <= options.vial_radius else "leave the bath"
        raise ValueError(
            f"vial_radius {options.vial_radius:g} mm: the vials {what}, {n_vials} in a ring of "
            f"{RING * bath:g} mm in a bath of bath_radius {bath:g} mm; make vial_radius smaller "
            f"than {room:.2f} mm, bath_radius larger, or list fewer vials"
        )
