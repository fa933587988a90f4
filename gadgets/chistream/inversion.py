"""From field maps to susceptibility, by the method that chain and settings ask for."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from chistream.arrays import Mask, RealArray
from chistream.background.boundary import remove_background_lbv
from chistream.background.iterative_mean import remove_background_ismv
from chistream.background.local_field import LocalField
from chistream.background.projection import remove_background_pdf
from chistream.background.regularised_sharp import remove_background_resharp
from chistream.background.sharp import remove_background_sharp, remove_background_vsharp
from chistream.errors import ReconstructionError
from chistream.field.total_field import FieldMaps
from chistream.job import Job
from chistream.physics.constants import hz_to_ppm
from chistream.susceptibility.cones import invert_heidi, invert_rts
from chistream.susceptibility.descent import invert_ndi
from chistream.susceptibility.direct import invert_tikhonov, invert_tkd, invert_tsvd
from chistream.susceptibility.inversion import Inversion
from chistream.susceptibility.medi import invert_medi
from chistream.susceptibility.streaking import invert_ilsqr
from chistream.susceptibility.total_field import invert_total_field
from chistream.susceptibility.total_variation import invert_fansi, invert_tv

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


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
        doubts = () if found.converged else (_unsettled("inversion", found),)
        return SusceptibilityMap(found.chi, words, (*self.warnings, *doubts), found.narrower)

    def _inverted(self, job: Job) -> Inversion:
        strength = job.settings.strength
        given: dict[str, object] = {} if strength is None else {"strength": strength}
        method = _METHODS[job.inversion]
        known = {
            "magnitude": self.magnitude,
            "weights": self.weights,
            "phase_per_ppm": _phase_per_ppm(job),
        }
        given |= {name: known[name] for name in method.takes} | dict(method.options)
        return method.invert(
            self.field,
            self.mask,
            job.geometry.voxel_size,
            b0_direction=job.geometry.b0_direction,
            **given,
        )


class _Method(NamedTuple):
    """An inversion, what it takes beside the field, and what is asked of it."""

    invert: "Callable[..., Inversion]"
    takes: tuple[str, ...] = ()
    options: "Mapping[str, object]" = MappingProxyType({})


_METHODS = {
    "tkd": _Method(invert_tkd),
    "tsvd": _Method(invert_tsvd),
    "tikhonov": _Method(invert_tikhonov),
    "tv": _Method(invert_tv, ("magnitude",)),
    "wtv": _Method(invert_fansi, ("magnitude", "weights")),
    "nltv": _Method(invert_fansi, ("magnitude", "weights", "phase_per_ppm")),
    "ndi": _Method(invert_ndi, ("weights", "phase_per_ppm")),
    "rts": _Method(invert_rts, ("weights",)),
    "ilsqr": _Method(invert_ilsqr, ("weights",)),
    "heidi": _Method(invert_heidi, ("magnitude", "weights")),
    "medi": _Method(invert_medi, ("magnitude", "weights")),
    "total_field": _Method(invert_total_field, ("magnitude", "weights"), {"narrower": True}),
}


@dataclass(frozen=True, eq=False)
class SusceptibilityMap:
    """What an inversion gave: chi ``(z, y, x)`` [ppm] up to a constant, how, and what to mind.

    The map of narrower priors, where there is one, tells what the field did not decide.
    """

    chi: RealArray
    method: str
    warnings: tuple[str, ...] = ()
    narrower: RealArray | None = None


def _unsettled(step: str, outcome: LocalField | Inversion) -> str:
    return f"The {step} had not settled after {outcome.n_iterations} iterations."


def _weights(field_sd: RealArray, mask: Mask) -> RealArray:
    """Weigh voxels by the precision of their field [1/ppm]."""
    return np.divide(1, field_sd, out=np.zeros_like(field_sd), where=mask & (field_sd > 0))


def remove_background(
    job: Job, total: RealArray, mask: Mask, weights: RealArray
) -> tuple[LocalField, str]:
    """Remove the background by the method of the settings; return its name too."""
    geometry, radius = job.geometry, job.settings.background_radius
    name = "pdf" if job.settings.background == "auto" else job.settings.background
    if name == "lbv":
        return remove_background_lbv(total, mask, geometry.voxel_size), name
    given: dict[str, object] = {}
    if radius is not None and name in _SPHERES:
        given = {"radius": radius}
    elif radius is not None and name == "vsharp":
        coarsest = max(geometry.voxel_size)
        radii = np.arange(radius, coarsest, -_RADIUS_STEP).tolist()
        given = {"radii": tuple(radii) or (radius,)}
    try:
        local = _REMOVALS[name](
            total,
            mask,
            geometry.voxel_size,
            b0_direction=geometry.b0_direction,
            weights=weights,
            **given,
        )
    except ValueError as error:  # a sphere that does not fit voxels or volume
        raise ReconstructionError("background", f"{name}: {error}; set background_radius") from None
    return local, name


def _phase_per_ppm(job: Job) -> float:
    """Phase that a field of 1 ppm makes until the middle echo [rad]."""
    return float(2e-6 * np.pi * job.header.h1_frequency * np.mean(job.echo_times))


_SPHERES = {"sharp", "resharp", "ismv"}

_RADIUS_STEP = 2.0
"""From one sphere of V-SHARP to the next [mm]."""

_REMOVALS: "dict[str, Callable[..., LocalField]]" = {
    "pdf": remove_background_pdf,
    "sharp": remove_background_sharp,
    "vsharp": remove_background_vsharp,
    "resharp": remove_background_resharp,
    "ismv": remove_background_ismv,
}
