"""The table of tissues, and the signal that a spoiled gradient echo gets from each."""

import importlib.resources
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from chistream_simulator.toml import toml_loads

TABLE_FIELDS = (1.5, 3.0)
"""Field strengths of the table's relaxation times [T]."""


class Tissue(BaseModel):
    """One tissue: see ``tissues.toml`` for meaning, units and sources."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chi: float = Field(ge=-100, le=100)
    T1: tuple[float, float]
    T2: tuple[float, float] | None = None
    T2star: tuple[float, float] | Literal["from saturation"]
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
        If a value is out of range or a new tissue incomplete (pydantic's ValidationError).

    Examples
    --------
    >>> tissue_table({"liver": {"chi": 0.34}})["liver"].chi
    0.34
    """
    entries = {name: dict(values) for name, values in _file().items()}
    for name, values in (overrides or {}).items():
        entries.setdefault(name, {}).update(values)
    return {name: Tissue.model_validate(values) for name, values in entries.items()}


def _steady_state(relaxations: float, flip_angle: float) -> float:
    """Signal of unit density after many pulses with TR / T1 relaxations between them."""
    e1, angle = math.exp(-relaxations), math.radians(flip_angle)
    return math.sin(angle) * (1 - e1) / (1 - math.cos(angle) * e1)


def _rate(times: tuple[float, float], B0: float) -> float:
    # Linear in B0 through the two tabulated rates, never below half of the smaller one.
    low, high = 1 / times[0], 1 / times[1]
    rate = low + (high - low) * (B0 - TABLE_FIELDS[0]) / (TABLE_FIELDS[1] - TABLE_FIELDS[0])
    return max(rate, 0.5 * min(low, high))
