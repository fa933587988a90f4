"""From field maps to a susceptibility map and its numbers."""

from chistream.field.total_field import FieldMaps
from chistream.inversion import FieldSource
from chistream.job import Job
from chistream.measurement import Measurement, measure_scan
from chistream.outputs import qsm_volume
from chistream.series.volumes import Volume


def map_susceptibility(
    job: Job, maps: FieldMaps, doubts: tuple[str, ...]
) -> tuple[FieldSource, Measurement, Volume]:
    """Invert the field as chain and settings ask for, and measure the map.

    Parameters
    ----------
    job
        The scan.
    maps
        Its field.
    doubts
        What a person should know of them.

    Returns
    -------
    source, measured, qsm
        What was inverted, the numbers, and the map to return.

    Raises
    ------
    ReconstructionError
        If background removal or inversion cannot do its work.
    """
    with job.timed("susceptibility"):
        source = FieldSource.of(job, maps)
        found = source.invert(job)
    measured = measure_scan(
        job.chain.name,
        job.settings,
        job.geometry,
        job.gating,
        found.chi,
        source.mask,
        warnings=(*job.warnings, *doubts, *found.warnings),
        timing=job.seconds,
        frequency_drift=job.frequency_drift,
        narrower=found.narrower,
    )
    return source, measured, qsm_volume(job, source, found, measured)
