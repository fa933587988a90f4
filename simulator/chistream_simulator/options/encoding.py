"""Which lines of k-space are taken, and in which order."""

from typing import Literal

from pydantic import Field

from chistream_simulator.options.section import Section


class EncodingOptions(Section):
    """The sampled part of k-space. Anything per encode step is ``(z, y)``."""

    line_order: Literal["linear", "centric", "spiral", "random"] = Field(
        "linear",
        description="Along ky, then kz; centre first; spiralling out in the (ky, kz) plane; "
        "random, denser towards the centre early in the scan.",
    )
    asymmetric_echo: float = Field(1.0, gt=0.5, le=1, description="Part of the readout kept.")
    partial_fourier: tuple[float, float] = Field(
        (1.0, 1.0), description="Part of the lines kept along (z, y), each in (0.5, 1]."
    )
    elliptical: bool = Field(default=False, description="Leave out the corners of (ky, kz).")
    acceleration: tuple[int, int] = Field((1, 1), description="Along (z, y), 1 to 3 each.")
    caipirinha_shift: int = Field(
        0, ge=0, le=2, description="Lines that the pattern shifts along y from one kz to the next."
    )
    calibration: Literal["none", "integrated", "separate"] = Field(
        "integrated", description="Fully sampled centre: part of the scan, or before it."
    )
    calibration_lines: tuple[int, int] = Field(
        (24, 24), description="Lines of the fully sampled centre along (z, y), at most."
    )
    missing_lines: tuple[tuple[int, int], ...] = Field((), description="(kz, ky) left out.")
