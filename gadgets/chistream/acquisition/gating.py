"""What gating did, in figures for people: while the scan runs, and at its end."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from chistream.acquisition.beats import Heartbeats, Verdict
from chistream.acquisition.navigator import most_frequent
from chistream.arrays import IntArray, RealArray

BANDWIDTH = 1 / 8
"""Positions this part of the window apart count as one: wider would lean towards inspiration."""

_DRIFT_HEARTBEATS = 12
"""Fewer heartbeats say nothing about a drift of end-expiration."""

_BIN = 1.0
"""Width of the histogram's bins [mm]."""


@dataclass(frozen=True, eq=False)
class GatingReport:
    """What gating did.

    Parameters
    ----------
    method
        Where positions came from: ``navigator``, ``reported`` (by the scanner), ``respiration``
        (a belt), ``self-navigated`` (lines of k-space that come again and again), or ``ungated``.
    reason
        Why the scan was not gated; empty if it was.
    n_heartbeats, n_accepted
        Heartbeats with imaging readouts and a navigator before them, and those that count.
    efficiency
        Accepted part of the heartbeats, in [0, 1]; None without gating.
    window_mm
        Full width of the acceptance window [mm].
    displacements
        Displacement of each heartbeat ``(n_heartbeats,)`` from end-expiration, in time order [mm];
        NaN where its navigator could not be used.
    reference
        End-expiration relative to the first navigator [mm]; None without gating.
    drift_mm
        How far end-expiration moved from the first to the last third of the scan [mm]; None with
        fewer than 12 heartbeats.
    filled_from_rejected
        Lines that no accepted heartbeat measured and that the nearest rejected one provides.
    scheme
        How heartbeats were chosen; see `GatingOptions`.
    window_centre_mm
        Middle of the window, relative to end-expiration [mm]; with ``drift`` the last one.
    rejected
        Heartbeats that do not count, for each reason.
    histogram
        Heartbeats in each millimetre of displacement ``(bins,)``.
    histogram_start
        Lower end of the first of these bins [mm].
    navigator_snr
        Median quality of the navigators' profiles; None where there are none.
    completeness
        Part of the lines of k-space that accepted heartbeats have measured, in [0, 1].
    tracking_factor
        Displacement of the heart for that of the diaphragm, by which lines were shifted back; None
        if they were not.
    """

    method: str
    reason: str
    n_heartbeats: int
    n_accepted: int
    efficiency: float | None
    window_mm: float
    displacements: RealArray
    reference: float | None
    drift_mm: float | None
    filled_from_rejected: int
    scheme: str = "none"
    window_centre_mm: float = 0.0
    rejected: dict[str, int] = field(default_factory=dict)
    histogram: IntArray = field(default_factory=lambda: np.zeros(0, int))
    histogram_start: float = 0.0
    navigator_snr: float | None = None
    completeness: float | None = None
    tracking_factor: float | None = None


def report_gating(
    beats: Heartbeats,
    *,
    method: str,
    scheme: str,
    window: tuple[float, float],
    reference: float | None,
    filled_from_rejected: int = 0,
    navigator_snr: float | None = None,
    completeness: float | None = None,
) -> GatingReport:
    """Sum up a gated scan, or what there is of it.

    Parameters
    ----------
    beats
        All heartbeats, in time order.
    method, scheme, reference, filled_from_rejected, navigator_snr, completeness
        As in `GatingReport`.
    window
        Lowest and highest displacement that is accepted [mm].

    Returns
    -------
    GatingReport
        The figures for people and for the report page.
    """
    found = beats.displacement[beats.has_lines]
    verdicts = beats.verdict[beats.has_lines]
    known = found[np.isfinite(found)]
    n_accepted = int((verdicts == Verdict.ACCEPTED).sum())
    histogram, start = _histogram(known)
    return GatingReport(
        method=method,
        reason="",
        n_heartbeats=len(found),
        n_accepted=n_accepted,
        efficiency=n_accepted / len(found) if len(found) else None,
        window_mm=window[1] - window[0],
        displacements=found.astype(np.float32),
        reference=reference,
        drift_mm=_drift(known, BANDWIDTH * (window[1] - window[0])),
        filled_from_rejected=filled_from_rejected,
        scheme=scheme,
        window_centre_mm=(window[0] + window[1]) / 2,
        rejected=_rejected(verdicts),
        histogram=histogram,
        histogram_start=start,
        navigator_snr=navigator_snr,
        completeness=completeness,
    )


def report_ungated(reason: str, window: float, completeness: float | None = None) -> GatingReport:
    """Sum up a scan that was not gated, and say why.

    Parameters
    ----------
    reason
        Why not, in words a radiographer understands.
    window
        Full width of the window that would have been used [mm].
    completeness
        Part of the lines that have been measured, in [0, 1]; None if it is not known.

    Returns
    -------
    GatingReport
        Without other figures.
    """
    nothing = np.zeros(0, np.float32)
    report = GatingReport("ungated", reason, 0, 0, None, window, nothing, None, None, 0)
    return replace(report, completeness=completeness)


def gating_figures(report: GatingReport) -> dict[str, Any]:
    """Give what a monitor shows of a running scan as plain JSON values.

    Parameters
    ----------
    report
        What gating did so far.

    Returns
    -------
    dict
        Names as in the results; without the list of displacements, which would grow all the time.
    """
    half = report.window_mm / 2
    return {
        "method": report.method,
        "reason": report.reason,
        "scheme": report.scheme,
        "efficiency": report.efficiency,
        "window_mm": [report.window_centre_mm - half, report.window_centre_mm + half],
        "n_accepted": report.n_accepted,
        "n_rejected": report.n_heartbeats - report.n_accepted,
        "rejected": report.rejected,
        "drift_mm": report.drift_mm,
        "histogram": report.histogram.tolist(),
        "histogram_start_mm": report.histogram_start,
        "navigator_snr": report.navigator_snr,
        "completeness": report.completeness,
    }


def _rejected(verdicts: IntArray) -> dict[str, int]:
    counts = {one: int((verdicts == one).sum()) for one in Verdict if one != Verdict.ACCEPTED}
    return {one.words: n for one, n in counts.items() if n}


def _histogram(found: RealArray) -> tuple[IntArray, float]:
    if not found.size:
        return np.zeros(0, int), 0.0
    bins = np.floor(found / _BIN).astype(int)
    return np.bincount(bins - bins.min()), float(bins.min() * _BIN)


def _drift(found: RealArray, bandwidth: float) -> float | None:
    if len(found) < _DRIFT_HEARTBEATS:
        return None
    third = len(found) // 3
    return most_frequent(found[-third:], bandwidth) - most_frequent(found[:third], bandwidth)
