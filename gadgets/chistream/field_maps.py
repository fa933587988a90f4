"""From echoes to field maps, by the way that chain and settings ask for."""

import numpy as np

from chistream.arrays import ComplexArray
from chistream.config import Settings
from chistream.field.separability import distinctness
from chistream.field.total_field import FieldMaps, estimate_field
from chistream.field.water_fat import MIN_ECHOES, estimate_water_fat
from chistream.job import Job
from chistream.physics.fat import FAT_SPECTRA, FatSpectrum

LEAST_DISTINCT = 0.2
"""With less, five times the variance and more, separating water and fat does harm."""


def estimate_maps(job: Job, echoes: ComplexArray) -> tuple[FieldMaps, tuple[str, ...]]:
    """Estimate the field, with or without fat.

    Parameters
    ----------
    job
        The scan.
    echoes
        Its complex echoes ``(echoes, z, y, x)``.

    Returns
    -------
    maps, warnings
        The maps, `WaterFatMaps` where water and fat were separated, and what a person should know.

    Raises
    ------
    ReconstructionError
        If the echoes do not allow what the settings ask for.
    """
    settings = job.settings
    spectrum = fat_spectrum(settings)
    obstacle = _obstacle(job, spectrum)
    asked = settings.field == "water_fat"
    if asked or (settings.field == "auto" and job.chain.has_fat and not obstacle):
        regions = np.ones(echoes.shape[1:], dtype=np.int64)
        maps = estimate_water_fat(
            echoes,
            job.echo_times,
            job.header.h1_frequency,
            job.geometry.voxel_size,
            spectrum=spectrum,
            initialisation=settings.water_fat_start,
            bandwidth=_bandwidth(job),
            shift_regions=regions if settings.fat_shift == "fitted" else None,
        )
        return maps, (obstacle,) if obstacle else ()
    warned = obstacle and settings.field == "auto" and job.chain.has_fat
    return estimate_field(echoes, job.echo_times), (obstacle,) if warned else ()


def fat_spectrum(settings: Settings) -> FatSpectrum:
    """Return the spectrum of fat that the settings ask for, at the temperature they state."""
    return FAT_SPECTRA[settings.fat_spectrum].at_temperature(settings.temperature)


def _bandwidth(job: Job) -> float | None:
    """Tell the readout's bandwidth per voxel [Hz], below 0 backwards; None if echoes alternate."""
    backwards = job.reversed_echoes
    if job.bandwidth is None or (any(backwards) and not all(backwards)):
        return None
    return -job.bandwidth if any(backwards) else job.bandwidth


def _obstacle(job: Job, spectrum: FatSpectrum) -> str:
    """Say what keeps the echoes from telling water and fat apart; nothing if they can."""
    TE = np.asarray(job.echo_times)
    if len(TE) < MIN_ECHOES:
        return f"Fat is not separated: that needs {MIN_ECHOES} echoes, there are {len(TE)}."
    if distinctness(TE, spectrum.precession(TE, job.header.h1_frequency)) < LEAST_DISTINCT:
        spacing = 1e3 * float(np.diff(TE).min())
        return (
            f"At echoes {spacing:.2f} ms apart fat looks like water with another field: any fat "
            "shifts the map."
        )
    return ""
