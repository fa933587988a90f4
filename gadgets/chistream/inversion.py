"""From field maps to susceptibility, by the method that chain and settings ask for."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from chistream.arrays import Mask, RealArray
from chistream.background.boundary import remove_background_lbv
from chistream.background.local_field import LocalField
from chistream.background.projection import remove_background_pdf
from chistream.field.total_field import FieldMaps
from chistream.job import Job
from chistream.physics.constants import hz_to_ppm
from chistream.susceptibility.direct import invert_tikhonov, invert_tkd
from chistream.susceptibility.inversion import Inversion
from chistream.susceptibility.medi import invert_medi
from chistream.susceptibility.total_field import invert_total_field

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class FieldSource:
    """The field to invert [ppm], where it is valid, its weights, what it is, what to mind."""

    field: RealArray
    mask: Mask
    weights: RealArray
    magnitude: RealArray
    removal: str
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, job: Job, maps: FieldMaps) -> "FieldSource":
        """Take the total field, or remove its background for an inversion that needs that."""
        total = hz_to_ppm(maps.frequency, job.header.h1_frequency)
        weights = _weights(hz_to_ppm(maps.frequency_sd, job.header.h1_frequency), maps.mask)
        if job.inversion == "total_field":
            return cls(total, maps.mask, weights, maps.structure, "none")
        local, removal = remove_background(job, total, maps.mask, weights)
        warnings = () if local.converged else (_unsettled("background removal", local),)
        return cls(local.local_field, local.mask, weights, maps.structure, removal, warnings)

    def invert(self, job: Job) -> "SusceptibilityMap":
        """Run the inversion that chain and settings ask for."""
        found = self._inverted(job)
        words = f"{found.method}, strength {found.strength:g}"
        if found.converged:
            return SusceptibilityMap(found.chi, words, self.warnings)
        return SusceptibilityMap(found.chi, words, (*self.warnings, _unsettled("inversion", found)))

    def _inverted(self, job: Job) -> Inversion:
        strength = job.settings.strength
        given: dict[str, object] = {} if strength is None else {"strength": strength}
        invert = _METHODS[job.inversion]
        if job.inversion not in {"tkd", "tikhonov"}:
            given |= {"magnitude": self.magnitude, "weights": self.weights}
        return invert(
            self.field,
            self.mask,
            job.geometry.voxel_size,
            b0_direction=job.geometry.b0_direction,
            **given,
        )


_METHODS: "dict[str, Callable[..., Inversion]]" = {
    "tkd": invert_tkd,
    "tikhonov": invert_tikhonov,
    "medi": invert_medi,
    "total_field": invert_total_field,
}


@dataclass(frozen=True, eq=False)
class SusceptibilityMap:
    """What an inversion gave: chi ``(z, y, x)`` [ppm] up to a constant, how, and what to mind."""

    chi: RealArray
    method: str
    warnings: tuple[str, ...] = ()


def _unsettled(step: str, outcome: LocalField | Inversion) -> str:
    return f"The {step} had not settled after {outcome.n_iterations} iterations."


def _weights(field_sd: RealArray, mask: Mask) -> RealArray:
    """Weigh voxels by the precision of their field [1/ppm]."""
    return np.divide(1, field_sd, out=np.zeros_like(field_sd), where=mask & (field_sd > 0))


def remove_background(
    job: Job, total: RealArray, mask: Mask, weights: RealArray
) -> tuple[LocalField, str]:
    """Remove the background by the method of the settings; return its name too."""
    geometry = job.geometry
    if job.settings.background == "lbv":
        return remove_background_lbv(total, mask, geometry.voxel_size), "lbv"
    local = remove_background_pdf(
        total, mask, geometry.voxel_size, b0_direction=geometry.b0_direction, weights=weights
    )
    return local, "pdf"
