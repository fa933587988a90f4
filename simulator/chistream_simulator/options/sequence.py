"""The multi-echo gradient-echo sequence."""

from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from chistream_simulator.options.section import Section


class SequenceOptions(Section):
    """Times, excitation and readout."""

    TE: tuple[float, ...] = Field(
        (1.7e-3, 4.0e-3, 6.3e-3, 8.6e-3, 10.9e-3), description="Echo times [s]."
    )
    TR: float = Field(15e-3, gt=0, lt=1, description="Repetition time [s].")
    flip_angle: float = Field(15.0, gt=0, le=90, description="Excitation [degrees].")
    dwell_time: float = Field(5e-6, gt=0, description="Between oversampled samples [s].")
    readout_oversampling: int = Field(
        2, ge=1, le=4, description="Encoded over reconstructed field of view."
    )
    readout: Literal["flyback", "bipolar"] = Field(
        "flyback", description="Echoes all of one polarity, or of alternating ones."
    )
    flow_compensated: bool = Field(
        default=False, description="Whether velocity along the readout leaves no phase."
    )
    vendor_gating: bool = Field(
        default=False,
        description="With profile converter: heads carry the diaphragm's position [0.1 mm] in "
        "user_int[0], and in user_int[1] whether the scanner keeps the heartbeat.",
    )
    max_gradient: float = Field(40e-3, gt=0, description="Of the readout axis [T/m].")
    max_slew: float = Field(150.0, gt=0, description="Of the readout axis [T/m/s].")

    @model_validator(mode="after")
    def _echoes_fit(self) -> Self:
        if not self.TE or min(self.TE) <= 0 or list(self.TE) != sorted(set(self.TE)):
            raise ValueError(f"TE must be positive and ascending [s], got {self.TE}")
        if self.TE[-1] >= self.TR:
            raise ValueError(f"TR {self.TR} s must be longer than the last TE {self.TE[-1]} s")
        return self
