"""What a person may choose about echoes; loads nothing heavy."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

ParallelImaging: TypeAlias = Literal["auto", "sense", "none"]
PartialFourier: TypeAlias = Literal["pocs", "zero"]


@dataclass(frozen=True)
class EchoOptions:
    """What a person may choose about the way from k-space to echoes.

    Parameters
    ----------
    parallel_imaging
        How lines are filled that were left out within the region: ``sense``, or ``none`` for zeros;
        ``auto`` is ``sense``.
    partial_fourier
        What stands outside the region: what the smoothness of phase says (``pocs``), or ``zero``.
    """

    parallel_imaging: ParallelImaging = "auto"
    partial_fourier: PartialFourier = "zero"
