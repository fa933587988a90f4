"""What the journal says of a scan: its sizes and times, nothing that names a patient."""

import math
from typing import Any

from chistream.errors import HeaderError
from chistream.service.limits import SessionLimits
from chistream.stream.header import ScanHeader

_SAMPLE_BYTES = 8


def summarise_header(scan: ScanHeader) -> dict[str, Any]:
    """Say what a scan is.

    Parameters
    ----------
    scan
        Its header.

    Returns
    -------
    dict
        Plain JSON values: matrices ``(z, y, x)``, field of view ``(z, y, x)`` [mm], echo times
        [ms], field strength [T], channels, acceleration ``(z, y)``, trajectory.
    """
    first = scan.encodings[0]
    return {
        "encoded": list(first.encoded.size),
        "matrix": list(first.recon.size),
        "fov_mm": [round(length, 2) for length in first.recon.field_of_view],
        "echo_times_ms": [round(1e3 * time, 3) for time in scan.echo_times],
        "field_strength_t": round(scan.field_strength, 3),
        "channels": scan.n_channels,
        "acceleration": list(first.acceleration),
        "trajectory": first.trajectory,
    }


def check_header(scan: ScanHeader, limits: SessionLimits) -> None:
    """Refuse a scan that is too large, before any memory is taken for it.

    Parameters
    ----------
    scan
        Its header.
    limits
        What is accepted.

    Raises
    ------
    HeaderError
        If an axis of the matrix, or k-space as a whole, is larger. Says by how much.
    """
    for encoding in scan.encodings:
        size = encoding.encoded.size
        if max(size) > limits.matrix:
            raise HeaderError(
                f"the encoded matrix (z, y, x) is {size}; at most {limits.matrix} along an axis "
                "are accepted here"
            )
        n_bytes = math.prod(size) * len(scan.echo_times) * (scan.n_channels or 1) * _SAMPLE_BYTES
        if n_bytes > limits.kspace_bytes:
            raise HeaderError(
                f"k-space would take {n_bytes / 1e9:.1f} GB (matrix (z, y, x) {size}, "
                f"{len(scan.echo_times)} echoes, {scan.n_channels or 1} channels); at most "
                f"{limits.kspace_bytes / 1e9:.1f} GB are accepted here"
            )
