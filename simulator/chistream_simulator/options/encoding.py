"""Which lines of k-space are taken, and in which order."""

from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from chistream_simulator.options.section import Section


class EncodingOptions(Section):
    """The sampled part of k-space. Anything per encode step is ``(z, y)``."""

    line_order: Literal["linear", "centric", "spiral", "random"] = Field(
        "linear",
        description="Along ky, then kz; ky and kz from the centre outwards; spiralling out in the "
        "(ky, kz) plane; random, denser towards the centre early in the scan.",
    )
    asymmetric_echo: float = Field(1.0, gt=0.5, le=1, description="Part of the readout kept.")
    partial_fourier: tuple[float, float] = Field(
        (1.0, 1.0),
        description="Part of the lines kept along (z, y), each in (0.5, 1]; the first are dropped.",
    )
    elliptical: bool = Field(default=False, description="Leave out the corners of (ky, kz).")
    acceleration: tuple[int, int] = Field((1, 1), description="Along (z, y), 1 to 3 each.")
    caipirinha_shift: int = Field(
        0,
        ge=0,
        le=2,
        description="Lines that the pattern moves along y from one of its partitions to the next.",
    )
    calibration: Literal["none", "integrated", "separate"] = Field(
        "integrated",
        description="With acceleration, a fully sampled centre: part of the scan, or before it.",
    )
    calibration_lines: tuple[int, int] = Field(
        (24, 24), description="Lines of the fully sampled centre along (z, y), at most."
    )
    missing_lines: tuple[tuple[int, int], ...] = Field((), description="(kz, ky) left out.")

    @model_validator(mode="after")
    def _lines_can_be_taken(self) -> Self:
        if not all(0.5 < part <= 1 for part in self.partial_fourier):
            raise ValueError(f"partial_fourier {self.partial_fourier} must be in (0.5, 1]")
        if not all(1 <= step <= 3 for step in self.acceleration):
            raise ValueError(f"acceleration {self.acceleration} must be 1, 2 or 3 along (z, y)")
        if self.caipirinha_shift and self.caipirinha_shift >= self.acceleration[1]:
            raise ValueError(
                f"caipirinha_shift {self.caipirinha_shift} must be less than the acceleration "
                f"{self.acceleration[1]} along y: such a shift is none"
            )
        if min(self.calibration_lines) < 1:
            raise ValueError(f"calibration_lines {self.calibration_lines} must be 1 or more")
        return self
