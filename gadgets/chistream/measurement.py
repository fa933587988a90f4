"""From a susceptibility map to its numbers: reference, blood pools, oximetry, and their light."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

import chistream
from chistream.acquisition.gating import GatingReport
from chistream.arrays import Mask, RealArray
from chistream.biomarkers.oximetry import Oximetry, saturation_difference
from chistream.biomarkers.pools import (
    Pool,
    measure_pool,
    pool_difference,
    reference_to,
    sphere_mask,
)
from chistream.biomarkers.results import ChiStreamResults, Gating, Quality, collect_results
from chistream.config import Settings
from chistream.errors import ReconstructionError
from chistream.physics.geometry import Geometry

SMALLEST_POOL_ML = 3.0
"""A region with less blood than this says little about its chamber."""

THINNEST_SLAB_MM, COARSEST_VOXEL_MM = 90.0, 4.0
"""Beyond these a simulated chest lost 50 (60 mm slab) to 208 ppb (and 6.6 mm voxels) of 250."""

LARGEST_ERROR_PPB = 30.0
"""Beyond this systematic error, 2 % of oxygen saturation, a difference is not green."""

ERROR_PER_CHANGE = 2.0
"""Error of the blood pools' difference for its change with half the widths of the priors: 0.5 to 3
in simulated chests. With 2 the errors of 27, 39, 42 and 50 ppb among them are amber, one of 37 is
not and one of 9 is: what errors of the measured field do to the map, this does not see."""

NO_ROI = "No {name} region was given: set {setting} to its centre L, P, S and radius [mm]."


@dataclass(frozen=True, eq=False)
class Measurement:
    """A referenced map and its numbers.

    Parameters
    ----------
    chi
        Susceptibility ``(z, y, x)`` [ppm] relative to the reference.
    reference
        Which region is zero, for people.
    chambers
        Voxels of each region measured, by name ``(z, y, x)``.
    results
        The numbers, with their light.
    """

    chi: RealArray
    reference: str
    chambers: Mapping[str, Mask]
    results: ChiStreamResults


def measure_scan(
    chain: str,
    settings: Settings,
    geometry: Geometry,
    gating: GatingReport,
    chi: RealArray,
    mask: Mask,
    *,
    warnings: tuple[str, ...] = (),
    timing: Mapping[str, float] | None = None,
    frequency_drift: float | None = None,
    narrower: RealArray | None = None,
) -> Measurement:
    """Measure what the settings ask for in a susceptibility map, relative to its reference.

    Parameters
    ----------
    chain
        Name of the chain that ran.
    settings
        The user's settings: regions, haematocrit, calibration.
    geometry
        Where the map lies.
    gating
        What gating did.
    chi
        Susceptibility ``(z, y, x)`` [ppm], up to a constant.
    mask
        Voxels with a value ``(z, y, x)``.
    warnings
        What the stages found that a person must know; each turns the light amber.
    timing
        Durations by stage [s].
    frequency_drift
        How far the centre frequency drifted, before it was taken out [Hz]; None if it did not.
    narrower
        The map ``(z, y, x)`` [ppm] of the same inversion with narrower priors, if there is one: a
        difference of the blood pools that the priors decide is amber.

    Returns
    -------
    Measurement
        The map relative to the LV blood if its region was given, else to the mean of the mask.

    Notes
    -----
    A region that cannot be measured loses its numbers, not the map: they are null with the reason,
    and the light is amber.
    """
    chambers = chamber_masks(settings, geometry, mask)
    pools, unusable = _measure_pools(chi, chambers, geometry)
    chi, reference = _referenced(chi, pools, mask)
    pools, _ = _measure_pools(chi, chambers, geometry)
    doubts = _doubts(pools, geometry)
    if narrower is not None and len(pools) > 1:
        doubts += _prior_doubts(pools, _measure_pools(narrower, chambers, geometry)[0])
    oximetry, missing = _oximetry(settings, pools, unusable)
    results = collect_results(
        version=chistream.__version__,
        chain=chain,
        quality=_judge(chi, (*warnings, *unusable.values(), *doubts)),
        oximetry=oximetry,
        pools=pools.values(),
        reference=reference,
        gating=_gating(gating),
        frequency_drift_hz=round(frequency_drift or 0.0, 3),
        timing=timing,
        null_reasons=missing | {"gating": gating.reason or "The scan was not gated."},
    )
    return Measurement(chi, reference, chambers, results)


def chamber_masks(settings: Settings, geometry: Geometry, mask: Mask) -> dict[str, Mask]:
    """Draw the regions of the settings.

    Parameters
    ----------
    settings
        The user's settings.
    geometry
        Where the map lies.
    mask
        Voxels with a value ``(z, y, x)``.

    Returns
    -------
    dict[str, Mask]
        Voxels ``(z, y, x)`` of RV and LV, of those that were given.
    """
    rois = {"RV": settings.rv_roi, "LV": settings.lv_roi}
    return {
        name: sphere_mask(geometry, roi[:3], roi[3], signal=mask)
        for name, roi in rois.items()
        if roi is not None
    }


def _measure_pools(
    chi: RealArray, chambers: Mapping[str, Mask], geometry: Geometry
) -> tuple[dict[str, Pool], dict[str, str]]:
    """Measure the regions that can be; return the reasons why the others cannot."""
    if len(chambers) > 1 and np.logical_and.reduce(list(chambers.values())).any():
        return {}, dict.fromkeys(chambers, "The RV and LV regions overlap: move one.")
    outcomes = {
        name: _measured_or_reason(name, chi, region, geometry) for name, region in chambers.items()
    }
    pools = {name: found for name, found in outcomes.items() if isinstance(found, Pool)}
    return pools, {name: found for name, found in outcomes.items() if isinstance(found, str)}


def _measured_or_reason(name: str, chi: RealArray, region: Mask, geometry: Geometry) -> Pool | str:
    try:
        return measure_pool(name, chi, region, geometry.voxel_size)
    except ReconstructionError as error:
        return f"The {error.reason}."


def _referenced(chi: RealArray, pools: Mapping[str, Pool], mask: Mask) -> tuple[RealArray, str]:
    if "LV" not in pools:
        return np.where(mask, chi, chi.dtype.type(0)), "mean of the mask"
    return reference_to(chi, pools["LV"], mask), "mean LV blood"


def _oximetry(
    settings: Settings, pools: Mapping[str, Pool], unusable: Mapping[str, str]
) -> tuple[Oximetry, dict[str, str]]:
    absent = [
        unusable.get(name, NO_ROI.format(name=name, setting=f"{name.lower()}_roi"))
        for name in ("RV", "LV")
        if name not in pools
    ]
    difference = None if absent else pool_difference(pools["RV"], pools["LV"])
    oximetry = saturation_difference(
        None if difference is None else difference.delta_chi_ppb,
        settings.hematocrit,
        settings.calibration,
        delta_chi_se_ppb=None if difference is None else difference.delta_chi_se_ppb,
        hematocrit_se=settings.hematocrit_se,
        arterial_saturation=settings.arterial_saturation,
    )
    reason = " ".join(dict.fromkeys(absent))
    names = ("delta_chi_ppb", "delta_chi_se_ppb", "delta_sao2", "delta_sao2_se") if absent else ()
    return oximetry, dict.fromkeys(names, reason)


def _doubts(pools: Mapping[str, Pool], geometry: Geometry) -> list[str]:
    """Say what makes a difference of blood pools doubtful though every stage did its work."""
    if not {"RV", "LV"} <= pools.keys():
        return []
    doubts = [
        f"The {name} region holds {pool.volume_ml:.1f} ml of blood, less than "
        f"{SMALLEST_POOL_ML:g} ml."
        for name, pool in pools.items()
        if pool.volume_ml < SMALLEST_POOL_ML
    ]
    slab = geometry.shape[0] * geometry.voxel_size[0]
    if slab < THINNEST_SLAB_MM:
        doubts.append(
            f"The slab is {slab:.0f} mm thick; below {THINNEST_SLAB_MM:g} mm the difference of "
            "the blood pools comes out too small."
        )
    voxel = max(geometry.voxel_size[1:])
    if voxel > COARSEST_VOXEL_MM:
        doubts.append(
            f"The voxels are {voxel:.1f} mm wide; above {COARSEST_VOXEL_MM:g} mm the difference "
            "of the blood pools comes out too small."
        )
    return doubts


def _prior_doubts(pools: Mapping[str, Pool], narrower: Mapping[str, Pool]) -> list[str]:
    """Say so if the priors of the inversion, and not the field, decide on the difference."""
    here, there = (
        pool_difference(found["RV"], found["LV"]).delta_chi_ppb for found in (pools, narrower)
    )
    uncertainty = ERROR_PER_CHANGE * abs(here - there)
    if uncertainty <= LARGEST_ERROR_PPB:
        return []
    return [
        "Background and heart are hard to tell apart in this scan: the difference of the blood "
        f"pools may be off by {uncertainty:.0f} ppb."
    ]


def _gating(report: GatingReport) -> Gating | None:
    if report.efficiency is None:
        return None
    displacements = np.round(report.displacements.astype(float), 1).tolist()
    return Gating(
        method=report.method,
        efficiency=report.efficiency,
        window_mm=(
            report.window_centre_mm - report.window_mm / 2,
            report.window_centre_mm + report.window_mm / 2,
        ),
        n_accepted=report.n_accepted,
        n_rejected=report.n_heartbeats - report.n_accepted,
        drift_mm=report.drift_mm,
        filled_from_rejected=report.filled_from_rejected,
        displacements_mm=tuple(None if math.isnan(mm) else mm for mm in displacements),
        scheme=report.scheme,
        rejected=report.rejected,
        histogram=tuple(report.histogram.tolist()),
        histogram_start_mm=report.histogram_start,
        navigator_snr=_rounded(report.navigator_snr),
        completeness=_rounded(report.completeness),
        tracking_factor=_rounded(report.tracking_factor),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _judge(chi: RealArray, warnings: tuple[str, ...]) -> Quality:
    lights = [Quality(light="amber", reasons=(warning,)) for warning in warnings]
    if not np.all(np.isfinite(chi)):
        lights.append(Quality(light="red", reasons=("The map holds values that are not finite.",)))
    return Quality.worst(lights)
