"""What a person may choose about echoes; loads nothing heavy."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

ParallelImaging: TypeAlias = Literal["auto", "grappa", "sense", "low_rank", "wavelet", "none"]
Sensitivities: TypeAlias = Literal["adaptive", "espirit", "mcpc3ds", "aspire"]
GibbsFilter: TypeAlias = Literal["none", "tukey", "hann", "gaussian", "subvoxel"]
PartialFourier: TypeAlias = Literal["pocs", "predict", "zero"]


@dataclass(frozen=True)
class EchoOptions:
    """What a person may choose about the way from k-space to echoes.

    Parameters
    ----------
    parallel_imaging
        How lines are filled that were left out within the region: ``grappa`` for those of a
        lattice, ``sense`` for any, ``low_rank`` and ``wavelet`` for any and with what echoes have
        in common (a minute at full size), ``none`` for zeros. ``auto``: ``grappa`` for a lattice,
        ``sense`` where single lines are missing.
    sensitivities
        How the coils are learnt: from how they covary around each voxel (``adaptive``), from how
        their lines predict each other (``espirit``), or from their phase offsets (``mcpc3ds``,
        ``aspire``), which parallel imaging by sensitivities cannot use as well.
    partial_fourier
        What stands outside the region: what the smoothness of phase says (``pocs``), what the
        lines of all coils and echoes predict (``predict``, minutes at full size), or ``zero``.
    gibbs_filter, gibbs_width
        What is done against ringing, and the width of the taper; None: its own.
    noise_map
        Whether the noise of the combined echoes is wanted.
    """

    parallel_imaging: ParallelImaging = "auto"
    sensitivities: Sensitivities = "adaptive"
    partial_fourier: PartialFourier = "zero"
    gibbs_filter: GibbsFilter = "none"
    gibbs_width: float | None = None
    noise_map: bool = False
