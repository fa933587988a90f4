"""The magnet and the receivers."""

from typing import Literal

from pydantic import Field

from chistream.physics.constants import field_strength
from chistream_simulator.options.section import Section


class ReceiverOptions(Section):
    """Field strength, coils and noise."""

    h1_frequency: float = Field(123.2e6, gt=1e7, lt=5e8, description="Of protons [Hz].")
    n_coils: int = Field(8, ge=1, le=128, description="Loops; one alone is a body coil.")
    noise_model: Literal["loops", "exponential"] = Field(
        "loops",
        description="Correlation of coils: by the currents that their loops share in the body; or "
        "falling off with their distance in the list, whatever their place.",
    )
    noise_correlation: float = Field(
        0.3, ge=0, lt=1, description="Of neighbours in the list, with noise_model exponential."
    )
    snr: float = Field(
        30.0,
        gt=1e-3,
        allow_inf_nan=True,
        description="Combined first echo, its median, more than 0.001; inf: no noise.",
    )
    noise_readouts: int = Field(32, ge=0, description="0: no noise scan.")
    noise_samples: int = Field(256, ge=1, description="Of each noise readout.")
    noise_dwell_time: float = Field(7.8e-6, gt=0, description="[s]")
    noise_bandwidth_ratio: float = Field(
        0.793, gt=2 / 3, le=1, description="Of the receiver's filter to the sampled bandwidth."
    )

    @property
    def B0(self) -> float:
        """Field strength [T], from the proton frequency."""
        return field_strength(self.h1_frequency)
