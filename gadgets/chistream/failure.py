"""What a scan still returns when one of its stages could not do its work."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import chistream
from chistream.biomarkers.results import ChiStreamResults, Quality, collect_results
from chistream.errors import ChiStreamError, ReconstructionError
from chistream.job import Job, Messages
from chistream.measurement import Measurement
from chistream.series.contents import ReportContent
from chistream.series.report import render_report, report_volume
from chistream.series.volumes import Volume

_LOG = logging.getLogger(__name__)


def _nothing() -> Iterable[Volume]:
    return ()


@dataclass
class Partial:
    """What has been made of a scan so far.

    Parameters
    ----------
    magnitude
        The picture to find one's way; None before there are echoes.
    qsm, measured
        The map and its numbers; None before there is a map.
    unsent
        Makes the volumes that exist but would only be sent later.
    """

    magnitude: Volume | None = None
    qsm: Volume | None = None
    measured: Measurement | None = None
    unsent: Callable[[], Iterable[Volume]] = field(default=_nothing)


def report_failure(job: Job, made: Partial, error: Exception) -> Messages:
    """Return what there is, and a report with a red light that says what there is not, and why.

    Parameters
    ----------
    job
        The scan.
    made
        What has been made of it.
    error
        What ended it.

    Yields
    ------
    Message
        Images; none if not a single imaging readout came, for nobody knows where to place them.

    Notes
    -----
    Whatever fails here as well is logged and left out: the first error is the one to be told.
    """
    try:
        _ = job.head
    except ReconstructionError:
        return
    yield from _as_far_as_possible(lambda: job.images(*made.unsent()))
    yield from _as_far_as_possible(lambda: _report(job, made, _words(error)))


def _as_far_as_possible(make: Callable[[], Messages]) -> Messages:
    try:
        yield from make()
    except Exception:  # noqa: BLE001  (the error before this one is the one to tell)
        _LOG.exception("nor could what was made before be returned in full")


def _words(error: Exception) -> str:
    if isinstance(error, ChiStreamError):
        return f"Stopped. {str(error).rstrip('.')}."
    if isinstance(error, MemoryError):
        return "Stopped. The scan needs more memory than there is for it."
    return "Stopped by a fault of the reconstruction itself, not of the scan; its log has it."


def _report(job: Job, made: Partial, reason: str) -> Messages:
    results = _failed_results(job, made, reason)
    content = ReportContent(
        results=results,
        echo_times=job.header.echo_times,
        field_strength=job.header.field_strength,
        protocol=job.header.protocol_name,
        qsm=made.qsm,
        magnitude=made.magnitude,
        no_map_reason=reason,
        rois={} if made.measured is None else made.measured.chambers,
    )
    yield from job.images(report_volume(render_report(content), job.geometry), results=results)


def _failed_results(job: Job, made: Partial, reason: str) -> ChiStreamResults:
    red = Quality(light="red", reasons=(reason,))
    if made.measured is not None:
        quality = Quality.worst([red, made.measured.results.quality])
        return made.measured.results.model_copy(update={"quality": quality})
    amber = [Quality(light="amber", reasons=(warning,)) for warning in _warnings(job)]
    return collect_results(
        version=chistream.__version__,
        chain=job.chain.name,
        quality=Quality.worst([red, *amber]),
        timing=job.seconds,
        null_reasons=dict.fromkeys(("delta_chi_ppb", "reference", "gating"), reason),
    )


def _warnings(job: Job) -> tuple[str, ...]:
    try:
        return job.warnings
    except ReconstructionError:
        return job.header.warnings  # the readouts were not brought to an end
