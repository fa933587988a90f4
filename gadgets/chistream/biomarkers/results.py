"""The numbers of a scan as they travel: JSON in the meta attribute ``ChiStreamResults``."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self

from chistream.biomarkers.oximetry import CalibrationName, Oximetry
from chistream.biomarkers.pools import Pool

Light = Literal["green", "amber", "red"]
"""Whether the numbers may be believed: yes, after reading the reasons, no."""

_WORSE: tuple[Light, ...] = ("green", "amber", "red")

_NULLABLE = (
    "reference",
    "delta_chi_ppb",
    "delta_chi_se_ppb",
    "hematocrit",
    "calibration",
    "delta_sao2",
    "delta_sao2_se",
    "svo2",
    "svo2_se",
    "gating",
)


class _Model(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, ser_json_inf_nan="null"
    )


class Quality(_Model):
    """The light that every number is sent with, and the reasons for it."""

    light: Light
    reasons: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _a_warning_says_why(self) -> Self:
        if self.light != "green" and not self.reasons:
            raise ValueError(f"a quality light that is {self.light} needs a reason")
        return self

    @classmethod
    def worst(cls, qualities: Iterable["Quality"]) -> "Quality":
        """Combine lights: the worst colour, and every reason once.

        Parameters
        ----------
        qualities
            Lights of the parts; none at all is green.

        Returns
        -------
        Quality
            The light of the whole.

        Examples
        --------
        >>> Quality.worst([Quality(light="green"), Quality(light="red", reasons=("No map.",))])
        Quality(light='red', reasons=('No map.',))
        """
        parts = tuple(qualities)
        light = max((part.light for part in parts), key=_WORSE.index, default="green")
        reasons = dict.fromkeys(reason for part in parts for reason in part.reasons)
        return cls(light=light, reasons=tuple(reasons))


class Chamber(_Model):
    """Susceptibility of one region; the fields of `chistream.biomarkers.pools.Pool`."""

    mean_ppb: float
    sd_ppb: Annotated[float, Field(ge=0)]
    se_ppb: Annotated[float, Field(ge=0)]
    n_voxels: Annotated[int, Field(ge=1)]
    n_effective: Annotated[float, Field(ge=1)]
    volume_ml: Annotated[float, Field(gt=0)]

    @classmethod
    def of(cls, pool: Pool) -> "Chamber":
        """Take the numbers of a measured pool."""
        return cls(
            mean_ppb=pool.mean_ppb,
            sd_ppb=pool.sd_ppb,
            se_ppb=pool.se_ppb,
            n_voxels=pool.n_voxels,
            n_effective=pool.n_effective,
            volume_ml=pool.volume_ml,
        )


class Gating(_Model):
    """How the breathing was gated.

    Parameters
    ----------
    method
        Where positions came from: navigator, reported (by the scanner), respiration (a belt).
    efficiency
        Accepted part of the heartbeats, in [0, 1].
    window_mm
        Lowest and highest displacement from end-expiration that is accepted [mm].
    n_accepted, n_rejected
        Heartbeats kept and thrown away.
    drift_mm
        How far end-expiration moved during the scan [mm]; None if too short to tell.
    filled_from_rejected
        Lines that only rejected heartbeats measured.
    displacements_mm
        Displacement of each heartbeat from end-expiration, in time order [mm]; None where its
        navigator could not be used.
    scheme
        How heartbeats were chosen: window, drift, smallest, two_bin or soft.
    rejected
        Heartbeats thrown away, for each reason.
    histogram
        Heartbeats in each millimetre of displacement.
    histogram_start_mm
        Lower end of the first of these bins [mm].
    navigator_snr
        Median quality of the navigators' profiles; None without navigators.
    completeness
        Part of the lines that were to be measured that kept heartbeats have, in [0, 1].
    tracking_factor
        Displacement of the heart for that of the diaphragm, by which lines were shifted back; None
        if they were not.
    """

    method: str
    efficiency: Annotated[float, Field(ge=0, le=1)]
    window_mm: tuple[float, float]
    n_accepted: Annotated[int, Field(ge=0)]
    n_rejected: Annotated[int, Field(ge=0)]
    drift_mm: float | None = None
    filled_from_rejected: Annotated[int, Field(ge=0)] = 0
    displacements_mm: tuple[float | None, ...] = ()
    scheme: str = "window"
    rejected: dict[str, int] = Field(default_factory=dict)
    histogram: tuple[int, ...] = ()
    histogram_start_mm: float = 0.0
    navigator_snr: float | None = None
    completeness: float | None = None
    tracking_factor: float | None = None


class ChiStreamResults(_Model):
    """Everything measured in one scan.

    Saturations and the haematocrit are fractions, times are seconds. A field that could not be
    measured is None, and ``null_reasons`` says why, under the field's name.
    """

    version: str
    chain: str
    reference: str | None
    delta_chi_ppb: float | None
    delta_chi_se_ppb: Annotated[float, Field(ge=0)] | None
    hematocrit: Annotated[float, Field(gt=0, le=1)] | None
    calibration: CalibrationName | None
    calibration_source: str | None = None
    delta_sao2: float | None
    delta_sao2_se: Annotated[float, Field(ge=0)] | None
    svo2: float | None
    svo2_se: Annotated[float, Field(ge=0)] | None
    se_covers: tuple[str, ...] = ()
    chambers: dict[str, Chamber]
    gating: Gating | None
    frequency_drift_hz: Annotated[float, Field(ge=0)] = 0.0
    quality: Quality
    timing: dict[str, float]
    null_reasons: dict[str, str]

    @model_validator(mode="after")
    def _what_is_missing_says_why(self) -> Self:
        missing = {name for name in _NULLABLE if getattr(self, name) is None}
        silent = sorted(missing - self.null_reasons.keys())
        if silent:
            raise ValueError(f"null without a reason: {', '.join(silent)}")
        contradicted = sorted(self.null_reasons.keys() - missing)
        if contradicted:
            raise ValueError(f"a reason for what is not null: {', '.join(contradicted)}")
        return self

    def to_json(self) -> str:
        """Write the results as one line of JSON, with nulls and without NaN."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str) -> "ChiStreamResults":
        """Read what to_json wrote.

        Parameters
        ----------
        text
            The JSON.

        Returns
        -------
        ChiStreamResults
            The results.

        Raises
        ------
        ValueError
            If it is no JSON or breaks the schema (`pydantic.ValidationError`).
        """
        return cls.model_validate_json(text)


def collect_results(
    *,
    version: str,
    chain: str,
    quality: Quality,
    oximetry: Oximetry | None = None,
    pools: Iterable[Pool] = (),
    reference: str | None = None,
    gating: Gating | None = None,
    frequency_drift_hz: float = 0.0,
    timing: Mapping[str, float] | None = None,
    null_reasons: Mapping[str, str] | None = None,
) -> ChiStreamResults:
    """Put together what the stages measured.

    Parameters
    ----------
    version, chain
        Of the software, and the name of what ran.
    quality
        The light so far; flags of the oximetry turn green into amber.
    oximetry
        Its outcome; None if the chain measures no blood pools.
    pools
        The regions measured.
    reference
        Which region is zero in the map.
    gating
        How the breathing was gated.
    frequency_drift_hz
        How far the centre frequency drifted while lines were measured, which was taken out; 0 if
        that was not found.
    timing
        Durations by name [s].
    null_reasons
        Why something is missing, by field; these go before the general words used otherwise.

    Returns
    -------
    ChiStreamResults
        Complete: every field that is None has its reason.
    """
    fields: dict[str, Any] = {
        "version": version,
        "chain": chain,
        "reference": reference,
        "chambers": {pool.name: Chamber.of(pool) for pool in pools},
        "gating": gating,
        "frequency_drift_hz": frequency_drift_hz,
        "timing": dict(timing or {}),
        **_oximetry_fields(oximetry),
    }
    flags = () if oximetry is None else oximetry.flags
    if flags:
        quality = Quality.worst([quality, Quality(light="amber", reasons=flags)])
    known = {
        "reference": "The map is not referenced to a region.",
        "gating": "The scan has no navigator.",
        **(oximetry.null_reasons if oximetry else {}),
        **(null_reasons or {}),
    }
    general = known.get("delta_chi_ppb", f"The chain {chain} measured no blood pools.")
    reasons = {name: known.get(name, general) for name in _NULLABLE if fields[name] is None}
    return ChiStreamResults(**fields, quality=quality, null_reasons=reasons)


def _oximetry_fields(oximetry: Oximetry | None) -> dict[str, Any]:
    numbers = (
        "delta_chi_ppb",
        "delta_chi_se_ppb",
        "hematocrit",
        "delta_sao2",
        "delta_sao2_se",
        "svo2",
        "svo2_se",
    )
    if oximetry is None:
        return {**dict.fromkeys(numbers), "calibration": None}
    return {
        **{name: getattr(oximetry, name) for name in numbers},
        "calibration": oximetry.calibration.name,
        "calibration_source": oximetry.calibration.source,
        "se_covers": oximetry.se_covers,
    }
