"""The schema of the settings, stage by stage."""

import math
import re
from typing import Annotated, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)
from typing_extensions import Self

from chistream.arrays import Vector

Roi: TypeAlias = tuple[float, float, float, float]
"""A sphere in patient coordinates: centre L, P, S and radius [mm]."""

_HEAD_FIELD = r"(user_int|user_float|idx_user)\[[0-7]\]|flag\[([1-9]|[1-5]\d|6[0-4])\]"
"""A number in the head of a readout."""


def _split(value: object) -> object:
    """Take ``"a, b c"`` for a list; consoles have no list type."""
    if isinstance(value, str):
        return [part for part in re.split(r"[,;\s]+", value.strip()) if part]
    return value


def _none_if_empty(value: object) -> object:
    """Take an empty text field for a value that is not given."""
    return None if isinstance(value, str) and value.strip().lower() in {"", "none"} else value


def _split_or_none(value: object) -> object:
    return _split(_none_if_empty(value))


def _sphere(value: Roi | None) -> Roi | None:
    """Refuse a sphere that is nowhere or has no inside."""
    if value is not None and not (all(map(math.isfinite, value)) and value[3] > 0):
        raise ValueError("a sphere needs a finite centre and a radius > 0")
    return value


def _three_or_none(value: object) -> object:
    """Take one edge length for all three."""
    parts = _split_or_none(value)
    parts = [parts] if isinstance(parts, int | float) else parts
    return list(parts) * 3 if isinstance(parts, list | tuple) and len(parts) == 1 else parts


def _edges(value: Vector | None) -> Vector | None:
    """Refuse voxels that are none."""
    if value is not None and not all(math.isfinite(edge) and edge > 0 for edge in value):
        raise ValueError("a voxel's edges must be > 0")
    return value


def _upper(value: object) -> object:
    parts = _split(value)
    return [str(part).upper() for part in parts] if isinstance(parts, list | tuple) else parts


def _integer(value: object) -> object:
    """Take ``"-1"`` for -1, ``"3"`` for 3; a Literal does not convert by itself."""
    return int(value) if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d\s*", value) else value


Sign: TypeAlias = Annotated[Literal[1, -1], BeforeValidator(_integer)]
MotionBins: TypeAlias = Annotated[Literal[0, 3, 4], BeforeValidator(_integer)]
OptionalFloat: TypeAlias = Annotated[float | None, BeforeValidator(_none_if_empty)]
OptionalRoi: TypeAlias = Annotated[
    Roi | None, BeforeValidator(_split_or_none), AfterValidator(_sphere)
]
OptionalVoxel: TypeAlias = Annotated[
    Vector | None, BeforeValidator(_three_or_none), AfterValidator(_edges)
]
Gating: TypeAlias = Literal[
    "auto", "navigator", "none", "window", "drift", "smallest", "two_bin", "soft"
]
Inversion: TypeAlias = Literal[
    "auto",
    "total_field",
    "medi",
    "wtv",
    "nltv",
    "tv",
    "ndi",
    "rts",
    "ilsqr",
    "heidi",
    "tikhonov",
    "tkd",
    "tsvd",
]
ExtraSeries: TypeAlias = Literal["PHASE", "LOCAL_FIELD", "FIELD", "MASK", "FLOW_QC", "NOISE"]


class AcquisitionSettings(BaseModel):
    """From readouts to k-space."""

    phase_sign: Sign = Field(
        1, description="1: phase grows with the field; -1: the scanner does the opposite."
    )
    centre_source: Literal["auto", "user", "header"] = Field(
        "auto", description="Where the k-space centre is read: idx.user[5]/[6], header limits."
    )
    gating: Gating = Field(
        "auto",
        description="Which heartbeats count: none (all), window, drift (following), smallest "
        "complete window, two_bin, soft weights; navigator: the best of them; auto: the chain's "
        "own (cardiac_qsm gates).",
    )
    navigator_window: float = Field(
        5.0, gt=0, le=100, description="Accepted range of diaphragm positions [mm]."
    )
    navigator_fov: float = Field(
        256.0, gt=0, le=2000, description="Length of the navigator column [mm]."
    )
    navigator_estimator: Literal["correlation", "template", "edge"] = Field(
        "correlation", description="How navigator profiles are compared."
    )
    navigator_source: str = Field(
        "auto",
        pattern=rf"^(auto|profile|respiration|self|{_HEAD_FIELD})$",
        description="Where positions come from: profile, respiration, self (a line of k-space "
        "measured in every heartbeat), user_int[0], user_float[0], idx_user[0], flag[57]; auto: "
        "profiles, else the belt, else such lines.",
    )
    navigator_unit: float = Field(
        0.1,
        ge=-100,
        le=100,
        description="Displacement towards the head for each unit of a reported position [mm].",
    )
    accept_source: str = Field(
        "none",
        pattern=rf"^(none|{_HEAD_FIELD})$",
        description="Where the scanner's verdict is, if it gated: user_int[1], flag[57], ...",
    )
    rr_tolerance: float = Field(
        0.25, ge=0, lt=0.5, description="Largest deviation of RR intervals, relative; 0: any."
    )
    tracking: Literal["off", "fixed", "estimate"] = Field(
        "estimate",
        description="Shift lines back by the heart's displacement; estimate: its factor.",
    )
    tracking_factor: float = Field(
        0.6, ge=-2, le=2, description="Displacement of the heart for that of the diaphragm."
    )
    prospective_tracking: float = Field(
        0.0, ge=-2, le=2, description="Part of it by which the sequence already moved the slab."
    )
    motion_bins: MotionBins = Field(
        0,
        description="Bins of diaphragm position, with the window's, that are reconstructed, "
        "registered, aligned in field and only then combined; 0: the window alone.",
    )
    motion_registration: Literal["none", "rigid", "smooth"] = Field(
        "smooth",
        description="How bins are registered beside the shift of their lines: not at all, by one "
        "displacement of the heart, or by a smooth one.",
    )
    max_missing: float = Field(
        0.1, ge=0, le=1, description="Largest part of k-space that may be missing."
    )
    spikes: Literal["auto", "off"] = Field(
        "auto", description="Sparks in raw readouts; auto: found and taken out."
    )
    f0_drift: Literal["auto", "off"] = Field(
        "auto",
        description="Drift of the centre frequency from heartbeat to heartbeat; auto: found in the "
        "lines, told from breathing, and taken out.",
    )
    coil_compression: Literal["gcc", "svd", "off"] = Field(
        "gcc",
        description="Virtual coils: others at each x (gcc), the same all over (svd), or all coils.",
    )
    coil_energy: OptionalFloat = Field(
        None,
        gt=0,
        le=1,
        description="Part of the signal's energy that virtual coils keep; empty: 0.999, or 0.9999 "
        "for accelerated scans.",
    )


class EchoSettings(BaseModel):
    """From k-space to complex echoes."""

    parallel_imaging: Literal["auto", "grappa", "sense", "low_rank", "wavelet", "none"] = Field(
        "auto",
        description="Lines left out: grappa (auto, if accelerated), sense (auto, if lost), with "
        "what echoes have in common (low_rank, wavelet: about a minute), none: zeros.",
    )
    sensitivities: Literal["adaptive", "espirit", "mcpc3ds", "aspire"] = Field(
        "adaptive",
        description="How coils are learnt: voxel by voxel (Walsh), by ESPIRiT, or from their "
        "phase offsets (MCPC-3D-S, ASPIRE).",
    )
    partial_fourier: Literal["pocs", "predict", "zero"] = Field(
        "zero",
        description="Beyond the k-space covered: from smooth phase (POCS), predicted from all "
        "coils and echoes (more accurate; takes minutes), or zeros.",
    )
    bipolar: Literal["auto", "none"] = Field(
        "auto", description="Phase between echoes of opposite readout; auto: found and removed."
    )
    eddy_currents: Literal["off", "estimate"] = Field(
        "off", description="Linear phases of single echoes; estimate: found and removed."
    )
    concomitant: Literal["auto", "off"] = Field(
        "auto",
        description="Phase of concomitant fields; auto: removed if the header has the gradients.",
    )
    gradient_coefficients: str = Field(
        "",
        pattern=r"^[A-Za-z0-9_-]{0,64}$",
        description="Gradient nonlinearity: name of a coefficient file (NAME.grad or NAME.coef) in "
        "the folder CHISTREAM_GRADIENTS of the machine that reconstructs; empty: no unwarping.",
    )
    gibbs_filter: Literal["none", "tukey", "hann", "gaussian", "subvoxel"] = Field(
        "none", description="Against ringing: a taper of k-space, or subvoxel shifts."
    )
    gibbs_width: OptionalFloat = Field(
        None,
        gt=0,
        le=4,
        description="Width of the taper, in parts of k-space: tukey up to 1, hann from 1 on; "
        "empty: the filter's own.",
    )
    voxel_size: OptionalVoxel = Field(
        None,
        description="Voxels to interpolate to: one number, or z, y, x [mm]; empty: as planned.",
    )

    @model_validator(mode="after")
    def _check_taper(self) -> Self:
        width = self.gibbs_width
        limits = {"tukey": (0.0, 1.0), "hann": (1.0, 4.0), "gaussian": (0.0, 4.0)}
        if width is None or self.gibbs_filter in {"none", "subvoxel"}:
            return self
        low, high = limits[self.gibbs_filter]
        if not low <= width <= high:
            raise ValueError(
                f"gibbs_width {width} does not fit {self.gibbs_filter}: {low:g} to {high:g}"
            )
        return self


class FieldSettings(BaseModel):
    """From echoes to the field, with water and fat."""

    field: Literal["auto", "water_fat", "water"] = Field(
        "auto",
        description="What the echoes hold: water_fat separates fat, water alone; auto: water_fat "
        "in cardiac_qsm from 3 echoes on, else water.",
    )
    fat_spectrum: Literal["hamilton6", "hamilton9", "ren9", "single"] = Field(
        "hamilton6", description="Peaks of fat, by their publication; single: -3.4 ppm alone."
    )
    temperature: float = Field(
        37.0, ge=0, le=60, description="Of the object [degrees Celsius]; moves water against fat."
    )
    water_fat_start: Literal["global", "in_phase"] = Field(
        "global",
        description="Start of the separation: all fields in the whole image; in_phase: faster, "
        "unwraps echoes between which fat turns by whole cycles.",
    )
    fat_shift: Literal["fixed", "fitted"] = Field(
        "fixed", description="Distance of fat from water: as published, or fitted to the echoes."
    )


class SusceptibilitySettings(BaseModel):
    """From the field to susceptibility."""

    background: Literal["auto", "pdf", "lbv", "sharp", "vsharp", "resharp", "ismv"] = Field(
        "auto", description="Background removal before a local-field inversion; auto: pdf."
    )
    background_radius: OptionalFloat = Field(
        None,
        gt=0,
        le=100,
        description="Radius of the sphere (sharp, resharp, ismv) or the largest one (vsharp) [mm]; "
        "empty: the method's default.",
    )
    inversion: Inversion = Field(
        "auto",
        description="Dipole inversion: total_field (auto in cardiac_qsm), medi (auto in qsm), wtv, "
        "nltv (FANSI), tv, ndi, rts, ilsqr, heidi, tikhonov, tkd, tsvd.",
    )
    strength: OptionalFloat = Field(
        None, gt=0, description="Regularisation of the inversion; empty: the method's default."
    )


class BiomarkerSettings(BaseModel):
    """From susceptibility to numbers."""

    lv_roi: OptionalRoi = Field(
        None, description="Left-ventricular blood: sphere L, P, S, radius [mm]."
    )
    rv_roi: OptionalRoi = Field(
        None, description="Right-ventricular blood: sphere L, P, S, radius [mm]."
    )
    hematocrit: OptionalFloat = Field(
        None, gt=0, le=1, description="Haematocrit as a fraction, e.g. 0.42."
    )
    hematocrit_se: float = Field(0.02, ge=0, le=0.5, description="Its standard error.")
    arterial_saturation: OptionalFloat = Field(
        None, gt=0, le=1, description="Arterial oxygen saturation as a fraction, e.g. 0.97."
    )
    calibration: Literal["wen2018", "spees2001", "jain2012"] = Field(
        "wen2018", description="Susceptibility of deoxygenated blood, by its publication."
    )


class SeriesSettings(BaseModel):
    """What comes back."""

    profile: Literal["scanner", "research"] = Field(
        "scanner", description="scanner: 12-bit slices; research: float32 volumes."
    )
    series: Annotated[tuple[ExtraSeries, ...], BeforeValidator(_upper)] = Field(
        (), description="Further series to return: PHASE, FIELD, LOCAL_FIELD, MASK, FLOW_QC, NOISE."
    )


class Settings(
    SeriesSettings,  # the last first: this is how their fields come in the order of the stages
    BiomarkerSettings,
    SusceptibilitySettings,
    FieldSettings,
    EchoSettings,
    AcquisitionSettings,
):
    """What a user can choose, with the defaults the product stands for."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
