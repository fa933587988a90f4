"""What is simulated: one flat schema for presets, files and ``--set``."""

import importlib.resources
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self

from chistream.arrays import Size, Vector
from chistream.errors import SettingsError
from chistream.physics.constants import field_strength
from chistream_simulator.blood import deoxygenation
from chistream_simulator.overrides import apply_overrides, checked
from chistream_simulator.tissues import tissue_table
from chistream_simulator.toml import toml_loads

Phantom = Literal["sphere", "cylinder", "calibration-vials", "heart"]


class Case(BaseModel):
    """A phantom, a scanner and a patient who breathes. Anything per axis is ``(z, y, x)``."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    phantom: Phantom = "heart"
    seed: int = Field(20250101, ge=0, description="Same seed, same file.")

    # Geometry
    matrix: Size = Field((20, 72, 96), description="Reconstructed voxels.")
    fov: Vector = Field((100.0, 237.6, 316.8), description="Field of view [mm].")
    position: Vector = Field((0.0, 0.0, 0.0), description="Centre of the slab (L, P, S) [mm].")
    rotation: Vector = Field(
        (0.0, 0.0, 0.0), description="Turns of the slab about L, then P, then S [degrees]."
    )
    readout_oversampling: int = Field(2, ge=1, le=4)
    object_oversampling: Size = Field((2, 2, 2), description="Object points in each voxel.")

    # Sequence
    TE: tuple[float, ...] = Field((1.7e-3, 4.0e-3, 6.3e-3, 8.6e-3, 10.9e-3), description="[s]")
    TR: float = Field(15e-3, gt=0, lt=1, description="[s]")
    flip_angle: float = Field(15.0, gt=0, le=90, description="[degrees]")
    dwell_time: float = Field(5e-6, gt=0, description="Between oversampled samples [s].")
    asymmetric_echo: float = Field(1.0, gt=0.5, le=1, description="Part of the readout kept.")
    line_order: Literal["linear", "random"] = "linear"
    missing_lines: tuple[tuple[int, int], ...] = Field((), description="(kz, ky) left out.")

    # Scanner
    h1_frequency: float = Field(123.2e6, gt=1e7, lt=5e8, description="[Hz]")
    n_coils: int = Field(8, ge=1, le=128)
    noise_correlation: float = Field(0.3, ge=0, lt=1, description="Between neighbouring coils.")
    snr: float = Field(
        30.0,
        gt=0,
        allow_inf_nan=True,
        description="Combined first echo, its median; inf: no noise.",
    )
    noise_readouts: int = Field(32, ge=0, description="0: no noise scan.")
    noise_samples: int = Field(256, ge=1)
    noise_dwell_time: float = Field(7.8e-6, gt=0, description="[s]")
    noise_bandwidth_ratio: float = Field(0.793, gt=2 / 3, le=1)
    phase_offset: float = Field(
        0.6, description="Transmit phase over half the field of view [rad]."
    )
    shim: Literal["none", "offset", "linear"] = "linear"

    # Heartbeat and breathing of the patient
    views_per_beat: int = Field(10, ge=1)
    rr_interval: float = Field(0.9, gt=0.2, description="[s]")
    rr_jitter: float = Field(0.05, ge=0, lt=0.3, description="Standard deviation, relative.")
    trigger_delay: float = Field(0.5, ge=0, description="R peak to first navigator or line [s].")
    breathing_amplitude: float = Field(10.0, ge=0, le=60, description="Of the diaphragm [mm].")
    breathing_period: float = Field(4.2, gt=0.5, description="[s]")
    breathing_dwell: float = Field(3.0, ge=0.5, le=10, description="More: longer at the end.")
    breathing_irregularity: float = Field(0.1, ge=0, lt=0.5, description="Relative, per breath.")
    tracking_factor: float = Field(0.6, ge=0, le=1.5, description="Heart per diaphragm, SI.")
    tracking_factor_ap: float = Field(0.2, ge=0, le=1, description="Heart per diaphragm, AP.")
    motion_states: int = Field(4, ge=1, le=20, description="Positions that k-space is made for.")
    gating_window: float = Field(5.0, gt=0, description="Full width around end-expiration [mm].")
    navigators: Literal["none", "before", "both"] = "both"
    navigator_fov: float = Field(256.0, gt=0, description="Length of the profile [mm].")
    navigator_samples: int = Field(256, ge=16, description="Without oversampling.")
    navigator_duration: float = Field(0.02, gt=0, description="[s]")
    navigator_snr: float = Field(20.0, gt=0, description="Of the liver in the combined profile.")
    waveforms: bool = Field(default=False, description="ECG and RESP beside the readouts.")

    # Contents
    rv_lv_difference: float = Field(250.0, ge=0, le=500, description="[ppb]")
    hematocrit: float = Field(0.42, gt=0.1, lt=0.7)
    arterial_saturation: float = Field(0.97, gt=0.5, le=1)
    inflow: float = Field(0.15, ge=0, le=1, description="Part of the blood that comes fresh.")
    tissues: dict[str, dict[str, Any]] = Field(default_factory=dict)
    object_radius: float = Field(12.0, gt=0, description="Sphere or cylinder [mm].")
    object_chi: float = Field(1.0, description="Sphere or cylinder, relative to the bath [ppm].")
    cylinder_tilt: float = Field(0.0, ge=0, le=90, description="Cylinder, vials to B0 [degrees].")
    bath_radius: float = Field(60.0, gt=0, description="Of the closed-form phantoms [mm].")
    vial_radius: float = Field(8.0, gt=0, description="[mm]")
    vial_gadolinium: tuple[float, ...] = Field((0.5, 1.0, 2.0, 4.0), description="[mM]")
    vial_iron: tuple[float, ...] = Field((1.0, 2.0, 4.0), description="[mM]")
    vial_temperature: float = Field(293.15, gt=273, lt=373, description="[K]")

    @property
    def B0(self) -> float:
        """Field strength [T], from the proton frequency."""
        return field_strength(self.h1_frequency)

    @property
    def voxel_size(self) -> Vector:
        """Voxel edge lengths ``(z, y, x)`` [mm]."""
        z, y, x = (extent / n for extent, n in zip(self.fov, self.matrix, strict=True))
        return z, y, x

    @property
    def delta_saturation(self) -> float:
        """Drop of saturation from LV to RV that the susceptibility difference means."""
        return deoxygenation(self.rv_lv_difference, self.hematocrit)

    @property
    def navigated(self) -> bool:
        """Whether heartbeats carry navigators."""
        return self.navigators != "none"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for check in (_check_grid, _check_sequence, _check_patient):
            check(self)
        tissue_table(self.tissues)
        return self


def _check_grid(case: Case) -> None:
    if min(case.matrix) < 1 or max(case.matrix) > 1024 or not min(case.fov) > 0:
        raise ValueError(f"matrix {case.matrix} must be 1..1024 and fov {case.fov} mm > 0")
    if min(case.object_oversampling) < 2:
        raise ValueError(
            f"object_oversampling {case.object_oversampling} must be >= 2 in every axis: with one "
            "point a voxel the object would be made of the voxels it is imaged with"
        )
    nz, ny, _ = case.matrix
    wrong = [line for line in case.missing_lines if not (0 <= line[0] < nz and 0 <= line[1] < ny)]
    if wrong:
        raise ValueError(f"missing_lines {wrong} lie outside (kz, ky) < {(nz, ny)}")


def _check_sequence(case: Case) -> None:
    if not case.TE or min(case.TE) <= 0 or list(case.TE) != sorted(set(case.TE)):
        raise ValueError(f"TE must be positive and ascending [s], got {case.TE}")
    if case.TE[-1] >= case.TR:
        raise ValueError(f"TR {case.TR} s must be longer than the last TE {case.TE[-1]} s")


def _check_patient(case: Case) -> None:
    n_navigators = {"none": 0, "before": 1, "both": 2}[case.navigators]
    busy = case.views_per_beat * case.TR + n_navigators * case.navigator_duration
    shortest = case.rr_interval * (1 - 3 * case.rr_jitter)
    if case.trigger_delay + busy > shortest:
        raise ValueError(
            f"trigger_delay {case.trigger_delay} s and {busy:.3f} s of navigators and "
            f"{case.views_per_beat} views do not fit into a short heartbeat of {shortest:.3f} s"
        )
    if case.delta_saturation > case.arterial_saturation:
        raise ValueError(
            f"rv_lv_difference {case.rv_lv_difference} ppb at haematocrit {case.hematocrit} needs "
            f"a saturation {case.delta_saturation:.2f} lower than arterial_saturation "
            f"{case.arterial_saturation}"
        )
    if case.navigated and case.phantom != "heart":
        raise ValueError(f"navigators {case.navigators!r}: a {case.phantom} has no diaphragm")


def preset_names() -> list[str]:
    """Return the names of the presets that come with the simulator, sorted."""
    folder = importlib.resources.files(__package__).joinpath("presets")
    return sorted(f.name[: -len(".toml")] for f in folder.iterdir() if f.name.endswith(".toml"))


def preset_text(name: str) -> str:
    """Return the TOML text of a preset.

    Parameters
    ----------
    name
        One of `preset_names`.

    Returns
    -------
    str
        With its comments.

    Raises
    ------
    SettingsError
        If there is no such preset.
    """
    if name not in preset_names():
        raise SettingsError(f"no preset {name!r}; there are: {', '.join(preset_names())}")
    file = importlib.resources.files(__package__) / "presets" / f"{name}.toml"
    return file.read_text("utf-8")


def load_preset(
    name: str, *, seed: int | None = None, overrides: Mapping[str, str] | None = None
) -> Case:
    """Load a preset and change some of its values.

    Parameters
    ----------
    name
        One of `preset_names`.
    seed
        Replaces the preset's seed.
    overrides
        New values as text, by name: ``{"snr": "50", "TE": "[0.002, 0.004]",
        "tissues.liver.chi": "0.34"}``, see `apply_overrides`.

    Returns
    -------
    Case
        The checked case.

    Raises
    ------
    SettingsError
        If there is no such preset or value, or values contradict each other.

    Examples
    --------
    >>> load_preset("tiny", overrides={"snr": "50"}).snr
    50.0
    """
    values = toml_loads(preset_text(name))
    if seed is not None:
        values["seed"] = seed
    return checked(Case, apply_overrides(values, overrides or {}))
