"""How the patient breathes, and when the heart beats."""

from typing import Literal

from pydantic import Field

from chistream_simulator.options.section import Section


class PhysiologyOptions(Section):
    """Heartbeat, breathing, and how the heart follows the diaphragm."""

    rr_interval: float = Field(0.9, gt=0.2, description="[s]")
    rr_jitter: float = Field(0.05, ge=0, lt=0.3, description="Standard deviation, relative.")
    sinus_arrhythmia: float = Field(
        0.0, ge=0, le=0.3, description="Shortening of the interval by inspiration, relative."
    )
    ectopic_rate: float = Field(
        0.0, ge=0, le=0.5, description="Part of the heartbeats that come early, with a pause after."
    )
    missed_trigger_rate: float = Field(
        0.0, ge=0, le=0.5, description="Part of the R peaks that the trigger does not see."
    )
    breathing_amplitude: float = Field(10.0, ge=0, le=60, description="Of the diaphragm [mm].")
    breathing_period: float = Field(4.2, gt=0.5, description="[s]")
    breathing_dwell: float = Field(3.0, ge=0.5, le=10, description="More: longer at the end.")
    breathing_irregularity: float = Field(0.1, ge=0, lt=0.5, description="Relative, per breath.")
    breathing_end_jitter: float = Field(
        0.0, ge=0, le=10, description="Of the end-expiratory position, per breath [mm]."
    )
    breathing_drift: float = Field(
        0.0, ge=-20, le=20, description="Of the end-expiratory position, down [mm per minute]."
    )
    cough_rate: float = Field(0.0, ge=0, le=20, description="Coughs per minute.")
    cough_amplitude: float = Field(
        20.0, ge=0, le=60, description="Rise of the diaphragm in a cough, after a gasp [mm]."
    )
    tracking_factor: float = Field(0.6, ge=0, le=1.5, description="Heart per diaphragm, SI.")
    tracking_factor_ap: float = Field(0.2, ge=0, le=1, description="Heart per diaphragm, AP.")
    lung_inflation: float = Field(
        0.04,
        ge=0,
        le=0.2,
        description="Susceptibility that lungs gain per mm of descent, as they fill [ppm/mm].",
    )
    motion_states: int = Field(
        6, ge=1, le=40, description="Positions of the diaphragm that k-space is made for, at most."
    )
    heart_states: int = Field(
        2, ge=0, le=10, description="Further ones for lines outside diastasis, at most."
    )
    waveforms: bool = Field(default=False, description="ECG and RESP beside the readouts.")
    waveform_order: Literal["interleaved", "converter"] = Field(
        "interleaved",
        description="Between the readouts of their time; or apart from them, all together, as a "
        "converted file has them.",
    )
