"""Triggering and gating: when lines are taken, and which the scanner keeps."""

from typing import Literal

from pydantic import Field

from chistream_simulator.options.section import Section


class GatingOptions(Section):
    """What the scanner does with heartbeat and breathing."""

    views_per_beat: int = Field(10, ge=1, description="Lines in a heartbeat.")
    trigger_delay: float = Field(0.5, ge=0, description="R peak to first navigator or line [s].")
    gating: Literal["window", "paws", "none"] = Field(
        "window",
        description="A line is repeated until its heartbeat lies in the window around "
        "end-expiration; phase-ordered windows, the first complete pair of which ends the scan; "
        "every line is taken `passes` times, whatever the patient does.",
    )
    gating_window: float = Field(5.0, gt=0, description="Full width around end-expiration [mm].")
    max_navigator_change: float = Field(
        2.0, gt=0, description="Between the navigators before and after a heartbeat [mm]."
    )
    passes: int = Field(1, ge=1, le=20, description="With gating none: times each line is taken.")
    prospective_tracking: float = Field(
        0.0, ge=0, le=1.5, description="The slab follows the diaphragm by this factor."
    )
    navigators: Literal["none", "before", "both"] = "both"
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
