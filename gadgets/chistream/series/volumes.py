"""What is sent back: the table of series, and a volume of one of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from chistream.arrays import Mask, RealArray
from chistream.physics.geometry import Geometry
from chistream.series.attributes import AttributeValue

Window = tuple[float, float]
"""Centre and width of the display, in the unit of the series."""


class Kind(Enum):
    """How the values of a series are stored as integers."""

    SIGNED = "physical values about zero, which is stored in the middle; stored 0 is padding"
    ARBITRARY = "values from zero in arbitrary units, scaled to the full range"
    LABEL = "whole numbers, stored as they are"
    RGB = "a picture of 0-255 in three channels"


@dataclass(frozen=True)
class Series:
    """One line of the table of returned series.

    Parameters
    ----------
    token
        Name, as ``ImageType`` carries it; at most 16 characters.
    index
        Series index of the images.
    unit
        Unit of the physical values.
    kind
        How they are stored.
    step
        Smallest step of a stored 12-bit value, in ``unit``; doubled until nothing clips.
    window
        Display window, in ``unit``; None is taken from the values.
    component
        Part of the complex image it counts as, for viewers that ask: magnitude or phase.
    """

    token: str
    index: int
    unit: str
    kind: Kind
    step: float = 1.0
    window: Window | None = None
    component: Literal["M", "P"] = "M"


SERIES: dict[str, Series] = {
    series.token: series
    for series in (
        Series("MAGNITUDE", 1, "a.u.", Kind.ARBITRARY),
        Series("PHASE", 2, "rad", Kind.SIGNED, math.pi / 2047, (0, 7), "P"),
        Series("QSM", 10, "ppb", Kind.SIGNED, 1.0, (100, 800)),
        Series("LOCAL_FIELD", 11, "ppb", Kind.SIGNED, 1.0, (0, 600)),
        Series("FIELD", 12, "Hz", Kind.SIGNED, 0.25, (0, 400)),
        Series("R2STAR", 13, "1/s", Kind.SIGNED, 0.25, (50, 100)),
        Series("FATFRACTION", 14, "%", Kind.SIGNED, 0.125, (50, 100)),
        Series("WATER", 15, "a.u.", Kind.ARBITRARY),
        Series("FAT", 16, "a.u.", Kind.ARBITRARY),
        Series("MASK", 17, "label", Kind.LABEL),
        Series("CHAMBERS", 17, "label", Kind.LABEL),
        Series("NOISE", 18, "a.u.", Kind.SIGNED, 2**-8, (2, 4)),
        Series("FLOW_QC", 19, "rad", Kind.SIGNED, 2**-10, (0.25, 0.5)),
        Series("REPORT", 90, "RGB", Kind.RGB),
    )
}
"""The returned series, by token; the steps but that of PHASE are powers of two, so exact."""


@dataclass(frozen=True, eq=False)
class Volume:
    """One volume (or one page) to return, in physical units.

    Parameters
    ----------
    token
        Line of ``SERIES``.
    values
        Physical values ``(z, y, x)`` in the unit of the series, or a picture ``(3, y, x)`` of
        uint8.
    geometry
        Where it lies; of a picture, ``(1, y, x)``.
    mask
        Voxels that hold a value ``(z, y, x)``; None is all. A voxel whose value is not finite
        holds none either.
    echo, echo_time
        Index of the echo, and its time [s]; None for what is made of all echoes.
    comments
        A sentence for the reader: reference, algorithm, what to mind.
    window
        Display window instead of the series' own, in its unit.
    full_scale
        Arbitrary units only: the value stored as the largest number, so that several echoes share
        one scale; None takes the largest of the volume. A larger value raises it.
    meta
        Further meta attributes.

    Raises
    ------
    ValueError
        If the token is unknown, shapes disagree, or the values cannot be of that series.
    """

    token: str
    values: npt.NDArray[Any] = field(repr=False)
    geometry: Geometry
    mask: Mask | None = field(default=None, repr=False)
    echo: int = 0
    echo_time: float | None = None
    comments: str = ""
    window: Window | None = None
    full_scale: float | None = None
    meta: Mapping[str, AttributeValue] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.token not in SERIES:
            raise ValueError(f"series {self.token!r} is none of {', '.join(SERIES)}")
        shape = self.geometry.shape
        expected = (3, *shape[1:]) if self.series.kind is Kind.RGB else shape
        if self.values.shape != expected or (self.series.kind is Kind.RGB and shape[0] != 1):
            raise ValueError(
                f"{self.token} values {self.values.shape} do not fit the geometry {shape}"
            )
        if self.mask is not None and self.mask.shape != self.values.shape:
            raise ValueError(
                f"{self.token} mask {self.mask.shape} and values {self.values.shape} differ"
            )
        self._check_values()

    def _check_values(self) -> None:
        kind = self.series.kind
        if kind is Kind.ARBITRARY and np.any(self.values[self.valid] < 0):
            raise ValueError(f"{self.token} must not be negative")
        if kind is Kind.LABEL and not _are_labels(self.values):
            raise ValueError(f"{self.token} must hold whole numbers from 0 to 4095")
        if kind is Kind.RGB and self.values.dtype != np.uint8:
            raise ValueError(f"{self.token} must be uint8, got {self.values.dtype}")

    @property
    def series(self) -> Series:
        """The line of the table."""
        return SERIES[self.token]

    @property
    def valid(self) -> Mask:
        """Voxels that hold a value: inside the mask, and finite."""
        finite: Mask = np.isfinite(self.values)
        return finite if self.mask is None else finite & self.mask

    @property
    def filled(self) -> RealArray:
        """Physical values, float32, with zero where there is none."""
        filled: RealArray = np.where(self.valid, self.values, 0).astype(np.float32)
        return filled

    @property
    def display_range(self) -> tuple[float, float]:
        """Lowest and highest value to show: the window, or what the values span."""
        window = self.window or self.series.window
        if window is not None:
            centre, width = window
            return centre - width / 2, centre + width / 2
        shown = self.filled[self.valid & (self.values != 0)]
        if self.series.kind is Kind.LABEL:
            return 0.0, float(shown.max(initial=1))
        return (0.0, float(np.percentile(shown, 99))) if shown.size else (0.0, 1.0)


def _are_labels(values: npt.NDArray[Any]) -> bool:
    return bool(
        np.all(np.isfinite(values))
        and np.all((values >= 0) & (values <= 4095))
        and np.all(values == np.rint(values))
    )
