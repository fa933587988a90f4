"""What is simulated: one flat schema for presets, files and ``--set``, made of its sections."""

import importlib.resources
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from chistream.errors import SettingsError
from chistream_simulator.blood import deoxygenation
from chistream_simulator.circulation import chamber_saturations
from chistream_simulator.gradients import echo_train
from chistream_simulator.options.encoding import EncodingOptions
from chistream_simulator.options.gating import GatingOptions
from chistream_simulator.options.imperfections import ImperfectionOptions
from chistream_simulator.options.objects import ObjectOptions, check_fit
from chistream_simulator.options.patient import PatientOptions
from chistream_simulator.options.physiology import PhysiologyOptions
from chistream_simulator.options.receiver import ReceiverOptions
from chistream_simulator.options.sequence import SequenceOptions
from chistream_simulator.options.slab import SlabOptions
from chistream_simulator.overrides import apply_overrides, checked
from chistream_simulator.toml import TomlError, as_toml, toml_loads

Phantom = Literal[
    "sphere", "cylinder", "ellipsoid", "calibration-vials", "chest", "plaque", "fibres", "head"
]


class Case(
    ObjectOptions,
    PatientOptions,
    GatingOptions,
    PhysiologyOptions,
    ImperfectionOptions,
    ReceiverOptions,
    EncodingOptions,
    SequenceOptions,
    SlabOptions,
):
    """A phantom, a scanner and a patient who breathes. Anything per axis is ``(z, y, x)``."""

    phantom: Phantom = Field("chest", description="What lies in the scanner.")
    seed: int = Field(20250101, ge=0, description="Same seed, same file.")
    profile: Literal["converter", "plain"] = Field(
        "converter",
        description="Heads and header as siemens_to_ismrmrd fills them, or as a plain writer does.",
    )

    @property
    def n_readout(self) -> int:
        """Samples of a whole readout, with oversampling."""
        return self.matrix[2] * self.readout_oversampling

    @property
    def n_dropped(self) -> int:
        """Samples that an asymmetric echo leaves out before k = 0."""
        return min(round((1 - self.asymmetric_echo) * self.n_readout), self.n_readout // 2)

    @property
    def delta_saturation(self) -> float:
        """Drop of saturation from LV to RV that the susceptibility difference means."""
        return deoxygenation(self.rv_lv_difference, self.hematocrit, self.blood_calibration)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for check in (_check_lines, _check_heartbeat, _check_blood, _check_diaphragm):
            check(self)
        check_fit(self.phantom, self)
        echo_train(self)
        return self


_BELONGS_TO: dict[str, tuple[str, ...]] = {
    "infarct_": ("chest",),
    "jet_": ("chest",),
    "liver_": ("chest",),
    "heart_iron": ("chest",),
    "shunt": ("chest",),
    "subcutaneous_fat": ("chest",),
    "epicardial_fat": ("chest",),
    "stomach_air": ("chest",),
    "ribs": ("chest",),
    "object_radius": ("sphere", "cylinder"),
    "object_axes": ("ellipsoid",),
    "object_turn": ("ellipsoid",),
    "object_chi": ("sphere", "cylinder", "ellipsoid"),
    "vial_": ("calibration-vials",),
    "plaque_": ("plaque",),
    "fibre_": ("fibres",),
    "head_": ("head",),
}
"""Phantoms that settings, or settings whose names begin so, act on."""


def _check_use(case: Case, asked: Iterable[str]) -> None:
    """Refuse values that somebody has asked for in vain; those of a preset may stay behind."""
    for name in sorted(asked):
        for prefix, phantoms in _BELONGS_TO.items():
            if name.startswith(prefix) and case.phantom not in phantoms:
                raise SettingsError(
                    f"{name} does nothing to the phantom {case.phantom!r}: it belongs to "
                    f"{' and '.join(phantoms)}"
                )


def _check_lines(case: Case) -> None:
    nz, ny, _ = case.matrix
    wrong = [line for line in case.missing_lines if not (0 <= line[0] < nz and 0 <= line[1] < ny)]
    if wrong:
        raise ValueError(f"missing_lines {wrong} lie outside (kz, ky) < {(nz, ny)}")


def _check_heartbeat(case: Case) -> None:
    views = case.views_per_beat + case.self_navigation
    busy = views * case.TR + case.n_navigators * case.navigator_duration
    shortest = case.rr_interval * (1 - 3 * case.rr_jitter)
    if case.trigger_delay + busy > shortest:
        raise ValueError(
            f"trigger_delay {case.trigger_delay} s and {busy:.3f} s of navigators and "
            f"{views} views do not fit into a short heartbeat of {shortest:.3f} s"
        )


def _check_blood(case: Case) -> None:
    if case.delta_saturation > case.arterial_saturation:
        raise ValueError(
            f"rv_lv_difference {case.rv_lv_difference} ppb at haematocrit {case.hematocrit} needs "
            f"a saturation {case.delta_saturation:.2f} lower than arterial_saturation "
            f"{case.arterial_saturation}"
        )
    chamber_saturations(case)  # refuses a shunt that would lift venous blood above arterial


def _check_diaphragm(case: Case) -> None:
    if case.navigated and case.phantom != "chest":
        raise ValueError(f"navigators {case.navigators!r}: a {case.phantom} has no diaphragm")


def describe_case() -> list[tuple[str, str, str]]:
    """Describe everything that can be set.

    Returns
    -------
    list of tuple
        Name, default as TOML would have it, and what it means, section by section.
    """
    return [
        (name, as_toml(field.get_default(call_default_factory=True)), field.description or "")
        for name, field in Case.model_fields.items()
    ]


def preset_names() -> list[str]:
    """Return the names of the presets that come with the simulator, sorted."""
    folder = importlib.resources.files(__package__).joinpath("presets")
    return sorted(f.name[: -len(".toml")] for f in folder.iterdir() if f.name.endswith(".toml"))


def preset_text(name: str) -> str:
    """Return the TOML text of a preset.

    Parameters
    ----------
    name
        One of `preset_names`, or the path of a file that ends in ``.toml``.

    Returns
    -------
    str
        With its comments.

    Raises
    ------
    SettingsError
        If there is no such preset or file.
    """
    if name.endswith(".toml"):
        try:
            return Path(name).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"the preset {name} cannot be read: {error}") from error
    if name not in preset_names():
        raise SettingsError(
            f"no preset {name!r}; there are: {', '.join(preset_names())}, or name a file that ends "
            "in .toml"
        )
    file = importlib.resources.files(__package__) / "presets" / f"{name}.toml"
    return file.read_text("utf-8")


def load_preset(
    name: str, *, seed: int | None = None, overrides: Mapping[str, str] | None = None
) -> Case:
    """Load a preset and change some of its values.

    Parameters
    ----------
    name
        One of `preset_names`, or the path of a file that ends in ``.toml``.
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
        If there is no such preset or value, values contradict each other, or one does nothing to
        the phantom.

    Examples
    --------
    >>> load_preset("tiny", overrides={"snr": "50"}).snr
    50.0
    """
    try:
        values = toml_loads(preset_text(name))
    except TomlError as error:
        raise SettingsError(f"the preset {name} is no TOML: {error}") from error
    if seed is not None:
        values["seed"] = seed
    case = checked(Case, apply_overrides(values, overrides or {}))
    _check_use(case, overrides or ())
    return case
