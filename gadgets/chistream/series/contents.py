"""What a report shows: the numbers, the scan, the maps."""
# ruff: noqa: D102  (the numbers are described where they are measured)

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from chistream.arrays import Mask, RealArray
from chistream.series.volumes import Volume


class RegionNumbers(Protocol):
    """Statistics of one region [ppb], see `chistream.biomarkers.results.Chamber`."""

    @property
    def mean_ppb(self) -> float: ...
    @property
    def sd_ppb(self) -> float: ...
    @property
    def se_ppb(self) -> float: ...
    @property
    def n_voxels(self) -> int: ...
    @property
    def volume_ml(self) -> float: ...


class GatingNumbers(Protocol):
    """Outcome of the gating, see `chistream.biomarkers.results.Gating`."""

    @property
    def method(self) -> str: ...
    @property
    def efficiency(self) -> float: ...
    @property
    def window_mm(self) -> tuple[float, float]: ...
    @property
    def n_accepted(self) -> int: ...
    @property
    def n_rejected(self) -> int: ...


class QualityLight(Protocol):
    """Light and reasons, see `chistream.biomarkers.results.Quality`."""

    @property
    def light(self) -> str: ...
    @property
    def reasons(self) -> tuple[str, ...]: ...


class Results(Protocol):
    """The numbers of a scan, see `chistream.biomarkers.results.ChiStreamResults`."""

    @property
    def version(self) -> str: ...
    @property
    def chain(self) -> str: ...
    @property
    def reference(self) -> str | None: ...
    @property
    def delta_chi_ppb(self) -> float | None: ...
    @property
    def delta_chi_se_ppb(self) -> float | None: ...
    @property
    def hematocrit(self) -> float | None: ...
    @property
    def calibration(self) -> str | None: ...
    @property
    def calibration_source(self) -> str | None: ...
    @property
    def delta_sao2(self) -> float | None: ...
    @property
    def delta_sao2_se(self) -> float | None: ...
    @property
    def svo2(self) -> float | None: ...
    @property
    def svo2_se(self) -> float | None: ...
    @property
    def se_covers(self) -> tuple[str, ...]: ...
    @property
    def chambers(self) -> Mapping[str, RegionNumbers]: ...
    @property
    def gating(self) -> GatingNumbers | None: ...
    @property
    def quality(self) -> QualityLight: ...
    @property
    def null_reasons(self) -> Mapping[str, str]: ...


@dataclass(frozen=True, eq=False)
class ReportContent:
    """Everything that a report page or an HTML report shows.

    Parameters
    ----------
    results
        The numbers with their light.
    echo_times
        Echo times of the scan [s].
    field_strength
        B0 [T].
    protocol
        Name of the protocol; None if the header has none.
    qsm, magnitude
        The map and the picture to find one's way; None if they could not be made.
    no_map_reason
        Why there is no map.
    rois
        Regions that were measured, by name ``(z, y, x)``, on the grid of the map.
    displacements
        Displacement of each heartbeat from end-expiration ``(n_heartbeats,)`` [mm], NaN where
        unknown; None without a navigator.
    """

    results: Results
    echo_times: tuple[float, ...]
    field_strength: float
    protocol: str | None = None
    qsm: Volume | None = None
    magnitude: Volume | None = None
    no_map_reason: str = "It could not be computed."
    rois: Mapping[str, Mask] = field(default_factory=dict)
    displacements: RealArray | None = None
