"""What no scanner is free of: shim, eddy currents, concomitant fields, drift, spikes."""

from typing import Literal

from pydantic import Field

from chistream.arrays import Vector
from chistream_simulator.options.section import Section


class ImperfectionOptions(Section):
    """Errors of phase and frequency that the scanner adds; vectors are ``(z, y, x)``."""

    phase_offset: float = Field(
        0.6, description="Transmit phase over half the field of view [rad]."
    )
    shim: Literal["none", "offset", "linear", "quadratic"] = Field(
        "linear", description="Centre frequency alone; and the gradients; and second order."
    )
    concomitant: bool = Field(default=False, description="Maxwell fields of the readout gradient.")
    gradients_in_header: bool = Field(
        default=True,
        description="With concomitant: the header describes the readout gradient "
        "(GradientWaveformRead).",
    )
    eddy_phase: float = Field(
        0.0, description="Phase between echoes of opposite polarity, or added by every echo [rad]."
    )
    eddy_slope: Vector = Field(
        (0.0, 0.0, 0.0), description="Its slope along (z, y, x) of the slab [rad/m]."
    )
    f0_drift: float = Field(0.0, description="Of the centre frequency [Hz per minute].")
    f0_breathing: float = Field(
        0.0, description="Change of the centre frequency per mm of diaphragm descent [Hz/mm]."
    )
    spike_rate: float = Field(0.0, ge=0, le=1, description="Part of the readouts with an RF spike.")
    spike_amplitude: float = Field(
        30.0, ge=0, description="Relative to the largest sample's root mean square over lines."
    )
    zipper_frequency: float | None = Field(
        None, description="Of an interfering carrier, from the centre [Hz]; None: no zipper."
    )
    zipper_snr: float = Field(5.0, ge=0, description="Carrier over noise in each sample.")
