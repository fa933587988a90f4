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
            return cls(total, maps.mask, weights, maps.amplitude, "none")
        local, removal = remove_background(job, total, maps.mask, weights)
        warnings = () if local.converged else (_unsettled("background removal", local),)
        return cls(local.local_field, local.mask, weights, maps.amplitude, removal, warnings)

    def invert(self, job: Job) -> "SusceptibilityMap":
        """Run the inversion that chain and settings ask for."""
        method = job.inversion
        if method in {"tkd", "tikhonov"}:
            return SusceptibilityMap(self._invert_directly(job), method, self.warnings)
        found = self._invert_iteratively(job)
        words = f"{method}, strength {found.strength:g}"
        if found.converged:
            return SusceptibilityMap(found.chi, words, self.warnings)
        return SusceptibilityMap(found.chi, words, (*self.warnings, _unsettled("inversion", found)))

    def _invert_directly(self, job: Job) -> RealArray:
        strength = job.settings.strength
        invert: Callable[..., RealArray] = invert_tkd
        given = {} if strength is None else {"threshold": strength}
        if job.inversion == "tikhonov":
            invert, given = invert_tikhonov, {} if strength is None else {"strength": strength}
        return invert(
            self.field,
            self.mask,
            job.geometry.voxel_size,
            b0_direction=job.geometry.b0_direction,
            **given,
        )

    def _invert_iteratively(self, job: Job) -> Inversion:
        strength = job.settings.strength
        invert: Callable[..., Inversion] = (
            invert_total_field if job.inversion == "total_field" else invert_medi
        )
        return invert(
            self.field,
            self.mask,
            job.geometry.voxel_size,
            b0_direction=job.geometry.b0_direction,
            magnitude=self.magnitude,
            weights=self.weights,
            **({} if strength is None else {"strength": strength}),
        )


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
