"""What sorting must know beforehand, in plain numbers."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from chistream.acquisition.compression import CompressionOptions
from chistream.acquisition.gating_options import GatingOptions
from chistream.arrays import Size, Vector

CentreSource: TypeAlias = Literal["auto", "user", "header"]

_MAX_ACCELERATION = 16
"""Along one axis; nobody scans faster, and the search for the lattice takes its square."""


@dataclass(frozen=True)
class EncodingPlan:
    """How the scan encodes its one volume.

    Parameters
    ----------
    encoded_size
        Size of k-space ``(z, y, x)``, with readout, phase and slice oversampling.
    recon_size
        Size of the image ``(z, y, x)``, without.
    n_echoes
        Number of contrasts, >= 1.
    encoded_fov, recon_fov
        Fields of view of the two ``(z, y, x)`` [mm]. They tell an image that is cropped from one
        that is interpolated; without them a smaller image is a crop and a larger one is
        interpolated.
    centre_header
        Counters ``(z, y)`` of the centre partition and line as the scan's header states them;
        None takes the middle of the encoded size.
    limits
        First and last counter that the scan measures, ``((z, z), (y, y))``; None expects all of
        the encoded size.
    acceleration
        Undersampling along ``(z, y)`` as the header states it, >= 1; where the lattice lies is
        found from the readouts.
    has_embedded_calibration
        Whether readouts that are for calibration only are lines of k-space like all others;
        otherwise they are a scan of their own, with another contrast perhaps.
    echo_times
        TE of each echo [s], which a drift of the centre frequency is told by; empty: unknown.
    noise_bandwidth_ratio
        Equivalent noise bandwidth of the noise scan relative to its nominal one
        (relativeReceiverNoiseBandwidth, 0.793 on many scanners), > 0; 1 if the header has none.

    Raises
    ------
    ValueError
        If a size, a field of view, the number of echoes, the acceleration or the ratio is not
        positive, the acceleration exceeds 16 along an axis, or limits
        or centre lie outside the encoded size.

    Examples
    --------
    >>> EncodingPlan((24, 72, 192), (20, 72, 96), n_echoes=5).kept_size
    (20, 72, 96)
    """

    encoded_size: Size
    recon_size: Size
    n_echoes: int
    encoded_fov: Vector | None = None
    recon_fov: Vector | None = None
    centre_header: tuple[int, int] | None = None
    limits: tuple[tuple[int, int], tuple[int, int]] | None = None
    acceleration: tuple[int, int] = (1, 1)
    has_embedded_calibration: bool = False
    noise_bandwidth_ratio: float = 1.0
    echo_times: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        sizes = (*self.encoded_size, *self.recon_size, self.n_echoes, *self.acceleration)
        numbers = (*sizes, self.noise_bandwidth_ratio)
        fields = (*(self.encoded_fov or ()), *(self.recon_fov or ()))
        if not all(number > 0 for number in (*numbers, *fields)):
            raise ValueError(f"sizes, fields of view, echoes and ratios must be positive: {self}")
        if max(self.acceleration) > _MAX_ACCELERATION:
            raise ValueError(f"acceleration {self.acceleration} exceeds {_MAX_ACCELERATION}")
        for (first, last), n in zip(self.limits or (), self.encoded_size[:2], strict=False):
            if not 0 <= first <= last < n:
                raise ValueError(f"limits {first}..{last} do not fit {n} encoded lines")
        for centre, n in zip(self.centre_header or (), self.encoded_size, strict=False):
            if not 0 <= centre < n:
                raise ValueError(f"centre {centre} does not fit {n} encoded lines")

    @property
    def kept_size(self) -> Size:
        """Voxels of the encoded grid that the image's field of view covers ``(z, y, x)``."""
        if self.encoded_fov is None or self.recon_fov is None:
            z, y, x = map(min, self.encoded_size, self.recon_size)
        else:
            ratios = (b / a for a, b in zip(self.encoded_fov, self.recon_fov, strict=True))
            z, y, x = (max(1, round(n * r)) for n, r in zip(self.encoded_size, ratios, strict=True))
        return z, y, x

    @property
    def voxel_size(self) -> Vector | None:
        """Of the encoded grid ``(z, y, x)`` [mm]; None without a field of view."""
        if self.encoded_fov is None:
            return None
        z, y, x = (f / n for f, n in zip(self.encoded_fov, self.encoded_size, strict=True))
        return z, y, x

    @property
    def centre(self) -> tuple[int, int]:
        """Counters of the centre partition and line, as far as the plan knows them."""
        return self.centre_header or (self.encoded_size[0] // 2, self.encoded_size[1] // 2)


@dataclass(frozen=True)
class AcquisitionOptions:
    """What a person may choose about the way from readouts to k-space.

    Parameters
    ----------
    phase_sign
        +1: the signal of a positive frequency turns as ``exp(+i 2 pi f TE)``. -1: it turns the
        other way; all samples are conjugated as they come in. A conjugated k-space is also that
        of the mirrored image, as it must be where the whole receiver turns the other way, the
        encoding included.
    centre_source
        Where the centre line and partition come from: ``user`` reads the readouts' own
        ``user[5]`` and ``user[6]``, ``header`` the plan, ``auto`` prefers the readouts where they
        agree on a value that is not zero.
    max_missing_fraction
        Largest part of the expected lines that may be missing, in [0, 1]; they are zero-filled.
    gating
        How breathing is measured, and what follows from it.
    compression
        How many virtual coils k-space holds.
    removes_spikes
        Whether sparks are taken out of raw readouts.
    removes_drift
        Whether a drift of the centre frequency is looked for in the lines, and taken out.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    phase_sign: int = 1
    centre_source: CentreSource = "auto"
    max_missing_fraction: float = 0.1
    gating: GatingOptions = field(default_factory=GatingOptions)
    compression: CompressionOptions = field(default_factory=CompressionOptions)
    removes_spikes: bool = True
    removes_drift: bool = False

    def __post_init__(self) -> None:
        if self.phase_sign not in {-1, 1}:
            raise ValueError(f"phase_sign must be +1 or -1, got {self.phase_sign}")
        if self.centre_source not in {"auto", "user", "header"}:
            raise ValueError(f"centre_source must be auto, user or header: {self.centre_source!r}")
        if not 0 <= self.max_missing_fraction <= 1:
            raise ValueError(f"max_missing_fraction {self.max_missing_fraction} is not in [0, 1]")
