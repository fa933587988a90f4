"""The volumes that a chain returns, with their words."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from chistream.arrays import ComplexArray, RealArray
from chistream.echoes.flow_quality import measure_phase_linearity
from chistream.field.total_field import FieldMaps
from chistream.field.water_fat import WaterFatMaps
from chistream.field_maps import fat_spectrum
from chistream.inversion import FieldSource, SusceptibilityMap, remove_background
from chistream.job import Job
from chistream.measurement import Measurement
from chistream.physics.constants import PPB_PER_PPM
from chistream.series.contents import ReportContent
from chistream.series.report import render_report, report_volume
from chistream.series.volumes import Volume, Window


def magnitude_volumes(job: Job, echoes: ComplexArray) -> list[Volume]:
    """Make the magnitude of every echo of ``(echoes, z, y, x)``, on one scale [a.u.]."""
    largest = float(np.abs(echoes).max())
    return [
        replace(
            job.volume("MAGNITUDE", magnitude, None, index),
            full_scale=largest,
            window=_window_of(magnitude),
        )
        for index, magnitude in enumerate(np.abs(echoes))
    ]


def _window_of(magnitude: RealArray) -> Window | None:
    """Choose the display by the middle of the volume: fat near the coils would leave it dark."""
    middle = tuple(slice(n // 4, max(n // 4 + 1, n - n // 4)) for n in magnitude.shape)
    white = float(np.percentile(magnitude[middle], 99))
    return (white / 2, white) if white > 0 else None


def phase_volumes(job: Job, echoes: ComplexArray) -> list[Volume]:
    """Make the phase of every echo of ``(echoes, z, y, x)`` [rad]."""
    return [job.volume("PHASE", np.angle(echo), None, index) for index, echo in enumerate(echoes)]


def qsm_volume(
    job: Job, source: FieldSource, found: SusceptibilityMap, measured: Measurement
) -> Volume:
    """Make the susceptibility map [ppb], saying what its zero is and how it came about."""
    comments = (
        f"Relative to the {measured.reference}. Background removal {source.removal}, inversion "
        f"{found.method}. {'. '.join(note.rstrip('.') for note in job.notes)}"
    )
    chi = measured.chi * np.float32(PPB_PER_PPM)
    return replace(job.volume("QSM", chi, source.mask), comments=comments)


def requested_volumes(
    job: Job, echoes: ComplexArray, maps: FieldMaps, source: FieldSource
) -> Iterator[Volume]:
    """Make water and fat where they were separated, and the series that the settings ask for."""
    if "PHASE" in job.settings.series:
        yield from phase_volumes(job, echoes)
    yield from local_field_volumes(job, source)
    yield from field_volumes(job, echoes, maps)


def local_field_volumes(job: Job, source: FieldSource) -> Iterator[Volume]:
    """Make the local field, if the settings ask for it."""
    if "LOCAL_FIELD" in job.settings.series:
        yield _local_field(job, source)


def field_volumes(job: Job, echoes: ComplexArray, maps: FieldMaps) -> Iterator[Volume]:
    """Make water and fat where they were separated, and what else echoes and field tell."""
    wanted = job.settings.series
    if isinstance(maps, WaterFatMaps):
        yield from _water_fat_volumes(job, maps)
    if "FIELD" in wanted:
        yield job.volume("FIELD", maps.frequency, maps.mask)
    if "NOISE" in wanted and job.noise is not None:
        yield job.volume("NOISE", job.noise, maps.mask)
    if "FLOW_QC" in wanted:
        yield from _phase_linearity(job, echoes, maps)
    if "MASK" in wanted:
        yield job.volume("MASK", maps.mask.astype(np.float32), None)


def _water_fat_volumes(job: Job, maps: WaterFatMaps) -> Iterator[Volume]:
    """Make the fat fraction [%], and water and fat on one scale [a.u.]."""
    yield job.volume("FATFRACTION", 100 * maps.fat_fraction, maps.mask)
    parts = {"WATER": np.abs(maps.water), "FAT": np.abs(maps.fat)}
    largest = max(float(part.max()) for part in parts.values())
    for token, part in parts.items():
        yield replace(job.volume(token, part, maps.mask), full_scale=largest)


def _phase_linearity(job: Job, echoes: ComplexArray, maps: FieldMaps) -> Iterator[Volume]:
    """Make the map of what the phase of the echoes is off a line [rad], where that can be told."""
    fat = None
    if isinstance(maps, WaterFatMaps):
        fat = fat_spectrum(job.settings).precession(job.echo_times, job.header.h1_frequency)
    found = measure_phase_linearity(echoes, job.echo_times, 1.0, fat=fat)
    if found is not None:
        part = found.suspect[maps.mask].mean() if maps.mask.any() else 0.0
        volume = job.volume("FLOW_QC", found.residual, maps.mask)
        yield replace(volume, comments=f"{part:.1%} of the voxels beyond what noise does")


def _local_field(job: Job, source: FieldSource) -> Volume:
    local, mask, removal = source.field, source.mask, source.removal
    if removal == "none":  # a total-field inversion makes no local field of its own
        found, removal = remove_background(job, local, mask, source.weights)
        local, mask = found.local_field, found.mask
    volume = job.volume("LOCAL_FIELD", local * np.float32(PPB_PER_PPM), mask)
    return replace(volume, comments=f"Background removal {removal}")


def report_page(job: Job, magnitude: Volume | None, qsm: Volume, measured: Measurement) -> Volume:
    """Draw the page that a person reads."""
    content = ReportContent(
        results=measured.results,
        echo_times=job.echo_times,
        field_strength=job.header.field_strength,
        protocol=job.header.protocol_name,
        qsm=qsm,
        magnitude=magnitude,
        rois=measured.chambers,
        displacements=None if measured.results.gating is None else job.gating.displacements,
    )
    return report_volume(render_report(content), job.geometry)
