"""Triggering and gating: when lines are taken, and which the scanner keeps."""

from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from chistream_simulator.options.section import Section


class GatingOptions(Section):
    """What the scanner does with heartbeat and breathing."""

    views_per_beat: int = Field(10, ge=1, description="Lines in a heartbeat.")
    trigger_delay: float = Field(
        0.57,
        ge=0,
        description="R peak to first navigator or line [s]; at an RR interval of 0.9 s diastasis "
        "lies at 0.60 to 0.81 s.",
    )
    gating: Literal["window", "paws", "none"] = Field(
        "window",
        description="window: a line is repeated until its heartbeat lies in the window around "
        "end-expiration; paws: bins of position fill k-space, each in its own order, until "
        "neighbours have all lines; none: every line is taken `passes` times, whatever the "
        "patient does. Without navigators a window rejects nothing.",
    )
    gating_window: float = Field(
        5.0, gt=0, description="Full width, around end-expiration or of all PAWS bins [mm]."
    )
    gating_follows: bool = Field(
        default=False, description="The window follows the end-expiratory position as it drifts."
    )
    paws_bins: int = Field(2, ge=1, le=4, description="Neighbouring bins that make the window.")
    max_navigator_change: float = Field(
        2.0, gt=0, description="Between the navigators before and after a heartbeat [mm]."
    )
    rr_tolerance: float = Field(
        0.0,
        ge=0,
        le=1,
        description="RR intervals between triggers farther from rr_interval than this part of it "
        "are rejected; 0: none.",
    )
    passes: int = Field(1, ge=1, le=20, description="With gating none: times each line is taken.")
    prospective_tracking: float = Field(
        0.0,
        ge=0,
        le=1.5,
        description="The slab follows the navigator before the lines, by this factor.",
    )
    navigators: Literal["none", "before", "both"] = Field(
        "both", description="Pencil beams before, or before and after, the lines of a heartbeat."
    )
    self_navigation: bool = Field(
        default=False,
        description="Every heartbeat starts with one more line: the centre of k-space.",
    )
    navigator_fov: float = Field(256.0, gt=0, description="Length of the profile [mm].")
    navigator_samples: int = Field(256, ge=16, description="Without oversampling.")
    navigator_duration: float = Field(0.02, gt=0, description="[s]")
    navigator_snr: float = Field(20.0, gt=0, description="Of the liver in the combined profile.")

    @property
    def navigated(self) -> bool:
        """Whether heartbeats carry navigators."""
        return self.navigators != "none"

    @property
    def n_navigators(self) -> int:
        """Navigators of each heartbeat."""
        return {"none": 0, "before": 1, "both": 2}[self.navigators]

    @model_validator(mode="after")
    def _paws_can_see(self) -> Self:
        if self.gating == "paws" and not self.navigated:
            raise ValueError("gating 'paws' sorts by navigators, and navigators is 'none'")
        if self.prospective_tracking and not self.navigated:
            raise ValueError(
                f"prospective_tracking {self.prospective_tracking} follows the navigators, and "
                "navigators is 'none'"
            )
        return self
