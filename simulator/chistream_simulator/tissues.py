"""The table of tissues, and the signal that a spoiled gradient echo gets from each."""

import importlib.resources
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from chistream_simulator.toml import toml_loads

TABLE_FIELDS = (1.5, 3.0)
"""Field strengths of the table's relaxation times [T]."""

FROM_SATURATION = "from saturation"
"""T2* of blood, unless it is given in numbers."""

Seconds: TypeAlias = Annotated[float, Field(ge=1e-6, le=1e4)]

Times: TypeAlias = tuple[Seconds, Seconds]


def _kind(times: object) -> str:
    return "text" if isinstance(times, str) else "times"


class Tissue(BaseModel):
    """One tissue: see ``tissues.toml`` for meaning, units and sources."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    chi: float = Field(ge=-100, le=100)
    T1: Times
    T2: Times | None = None
    # The kind is told by hand: of a plain union each half would add its own complaint.
    T2star: Annotated[
        Annotated[Times, Tag("times")] | Annotated[Literal["from saturation"], Tag("text")],
        Discriminator(_kind),
    ]
    proton_density: float = Field(ge=0)
    fat_fraction: float = Field(0.0, ge=0, le=1)
    source: str = "set by the user"

    def r2star(self, B0: float) -> float:
        """Relaxation rate R2* [1/s] at a field strength [T]; not for blood, which has its own."""
        if isinstance(self.T2star, str):
            raise TypeError("R2* of this tissue depends on its saturation, not on the table")
        return _rate(self.T2star, B0)

    def amplitudes(
        self, B0: float, TR: float, flip_angle: float, fat: "Tissue | None" = None
    ) -> tuple[float, float]:
        """Steady-state signal of a spoiled gradient echo at TE = 0, of water and of fat.

        Parameters
        ----------
        B0
            Field strength [T].
        TR
            Repetition time [s].
        flip_angle
            Excitation angle [degrees].
        fat
            The tissue whose T1 fat has in all tissues; None: it has that of this tissue.

        Returns
        -------
        tuple[float, float]
            Water's and fat's signal, relative to fully relaxed water.

        Notes
        -----
        The steady state is that of an uninterrupted train: the pauses of triggering and the
        inflow of fresh blood are left out.
        """
        water = (1 - self.fat_fraction) * _steady_state(TR * _rate(self.T1, B0), flip_angle)
        lipid = self.fat_fraction * _steady_state(TR * _rate((fat or self).T1, B0), flip_angle)
        return self.proton_density * water, self.proton_density * lipid


@lru_cache(maxsize=1)
def _file() -> dict[str, dict[str, Any]]:
    text = importlib.resources.files(__package__).joinpath("tissues.toml").read_text("utf-8")
    return toml_loads(text)


def tissue_table(overrides: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Tissue]:
    """Read the table of tissues.

    Parameters
    ----------
    overrides
        Values to replace, by tissue and name; a new tissue must be complete.

    Returns
    -------
    dict
        Tissues by name.

    Raises
    ------
    ValueError
        If a value is out of range, a new tissue incomplete, or a tissue other than blood to have
        its T2* from saturation; one line for each fault, with tissue, field and value.

    Examples
    --------
    >>> tissue_table({"liver": {"chi": 0.34}})["liver"].chi
    0.34
    """
    entries = {name: dict(values) for name, values in _file().items()}
    for name, values in (overrides or {}).items():
        entries.setdefault(name, {}).update(values)
    return {name: _tissue(name, values) for name, values in entries.items()}


def _tissue(name: str, values: Mapping[str, Any]) -> Tissue:
    try:
        tissue = Tissue.model_validate(values)
    except ValidationError as refusal:
        raise ValueError("\n".join(_sentence(name, e) for e in refusal.errors())) from refusal
    if tissue.T2star == FROM_SATURATION and name != "blood":
        raise ValueError(
            f"tissues.{name}.T2star: only blood has it {FROM_SATURATION!r}; give it in seconds at "
            "1.5 T and at 3 T, such as [0.03, 0.02]"
        )
    return tissue


def _sentence(name: str, error: Any) -> str:  # noqa: ANN401
    field, *inner = (part for part in error["loc"] if part not in ("times", "text"))
    if error["type"] == "missing" and not inner:
        return f"tissues.{name}: {field} is missing"
    if error["type"] == "extra_forbidden":
        return f"tissues.{name}: there is no {field}, only {', '.join(Tissue.model_fields)}"
    if error["type"] in {"missing", "too_long", "tuple_type"}:
        reason = "give two times, at 1.5 T and at 3 T, in seconds"
        return f"tissues.{name}.{field}: {reason}, got {error['input']!r}"
    place = ".".join(map(str, (field, *inner)))
    return f"tissues.{name}.{place}: {error['msg']}, got {error['input']!r}"


def _steady_state(relaxations: float, flip_angle: float) -> float:
    """Signal of unit density after many pulses with TR / T1 relaxations between them."""
    e1, angle = math.exp(-relaxations), math.radians(flip_angle)
    return math.sin(angle) * (1 - e1) / (1 - math.cos(angle) * e1)


def _rate(times: tuple[float, float], B0: float) -> float:
    # Linear in B0 through the two tabulated rates, never below half of the smaller one.
    low, high = 1 / times[0], 1 / times[1]
    rate = low + (high - low) * (B0 - TABLE_FIELDS[0]) / (TABLE_FIELDS[1] - TABLE_FIELDS[0])
    return max(rate, 0.5 * min(low, high))
