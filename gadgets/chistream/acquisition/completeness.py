"""Which lines a scan should have measured, and which of them never came."""

from dataclasses import dataclass
from itertools import product

import numpy as np

from chistream.acquisition.lines import Line
from chistream.acquisition.plan import EncodingPlan
from chistream.arrays import Mask
from chistream.errors import ReconstructionError

_SMALLEST_ELLIPSE = 4
"""Below this many lines from centre to edge, an ellipse cannot be told from missing corners."""


@dataclass(frozen=True, eq=False)
class Missing:
    """Lines that were expected and did not come, and where lines were expected at all.

    Parameters
    ----------
    lines
        Their addresses, in the scan's counters.
    fraction
        Their part of the expected lines, in [0, 1].
    warnings
        What a person should know.
    region
        Part of k-space that the scan covers ``(z, y)``, in the scan's counters: within its limits,
        and within the ellipse if it is an elliptical one.
    lattice
        Places ``(z, y)`` that its undersampling takes, all over k-space; everything without.
    """

    lines: tuple[Line, ...]
    fraction: float
    warnings: tuple[str, ...]
    region: Mask
    lattice: Mask


def find_missing(
    is_sampled: Mask, plan: EncodingPlan, centre: tuple[int, int], max_fraction: float
) -> Missing:
    """Compare the lines that came with those that should have.

    Parameters
    ----------
    is_sampled
        Lines with data ``(echoes, z, y)``, in the scan's counters.
    plan
        Encoded size and limits.
    centre
        Counters ``(z, y)`` of the centre.
    max_fraction
        Largest acceptable part of missing lines, in [0, 1].

    Returns
    -------
    Missing
        What is missing.

    Raises
    ------
    ReconstructionError
        If more than ``max_fraction`` of the expected lines are missing.

    Notes
    -----
    A scan that measured nothing outside the ellipse between its limits is taken for an elliptical
    one: its corners are not missing. An accelerated one must have measured a lattice, moved from
    one of its rows to the next or not (CAIPIRINHA [1]_); what it measured besides, for calibration,
    is not missed.

    References
    ----------
    .. [1] Breuer FA, et al. Controlled aliasing in volumetric parallel imaging (2D CAIPIRINHA).
       Magn Reson Med. 2006;55(3):549-556. doi:10.1002/mrm.20787
    """
    region = _expected(plan, centre)
    ellipse, near_ellipse = _ellipses(plan, centre)
    is_elliptical = not (is_sampled.any(axis=0) & ~near_ellipse).any()
    has_corners = bool((region & ~near_ellipse).any())
    if is_elliptical:
        region &= ellipse
    lattice = _find_lattice(is_sampled, region, plan.acceleration)
    expected = region & lattice
    is_missing = expected & ~is_sampled
    lines = tuple(Line(*map(int, index)) for index in np.argwhere(is_missing))
    n_expected = len(is_sampled) * int(expected.sum())
    fraction = len(lines) / n_expected
    stated = f"{len(lines)} of {n_expected} lines ({fraction:.1%})"
    if fraction > max_fraction:
        raise ReconstructionError(
            "acquisition",
            f"{stated} are missing, at most {max_fraction:.0%} may be; was the scan stopped early, "
            f"or accelerated by another factor than the header's {plan.acceleration} along (z, y)?",
        )
    warnings = [f"{stated} are missing."] if lines else []
    if is_elliptical and has_corners:
        warnings.append("The corners of k-space were not measured (elliptical scan).")
    return Missing(lines, fraction, tuple(warnings), region, lattice)


def _expected(plan: EncodingPlan, centre: tuple[int, int]) -> Mask:
    expected = np.zeros(plan.encoded_size[:2], bool)
    (first_z, last_z), (first_y, last_y) = _limits(plan, centre)
    expected[first_z : last_z + 1, first_y : last_y + 1] = True
    return expected


def _find_lattice(is_sampled: Mask, region: Mask, steps: tuple[int, int]) -> Mask:
    """Find the lattice ``(z, y)`` of which the scan took the largest part."""
    z, y = np.indices(region.shape)
    taken = is_sampled.mean(axis=0)
    step_z, step_y = steps
    shifts = [(0, shift) for shift in range(step_y)] + [(shift, 0) for shift in range(1, step_z)]
    best, best_part = np.ones(region.shape, bool), -1.0
    for origin_z, origin_y, (shift_z, shift_y) in product(range(step_z), range(step_y), shifts):
        from_z, from_y = z - origin_z, y - origin_y
        on_z = (from_z - shift_z * (from_y // step_y)) % step_z == 0
        on_y = (from_y - shift_y * (from_z // step_z)) % step_y == 0
        lattice = on_z & on_y
        part = float(taken[lattice & region].mean()) if (lattice & region).any() else 0.0
        if part > best_part:
            best, best_part = lattice, part
    return best


def _limits(plan: EncodingPlan, centre: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    if plan.limits is not None:
        return plan.limits
    (z, y) = (
        (max(0, c - n // 2), min(n, n + c - n // 2) - 1)
        for n, c in zip(plan.encoded_size, centre, strict=False)
    )
    return z, y


def _ellipses(plan: EncodingPlan, centre: tuple[int, int]) -> tuple[Mask, Mask]:
    """Return the ellipse between the limits, and one that is a line larger all around."""
    distances, reaches = [], []
    for n, c, (first, last) in zip(plan.encoded_size, centre, _limits(plan, centre), strict=False):
        distances.append(np.abs(np.arange(n) - c))
        reaches.append(max(c - first, last - c))
    if min(reaches) < _SMALLEST_ELLIPSE:
        everywhere = np.ones(plan.encoded_size[:2], bool)
        return everywhere, everywhere
    z, y = distances[0][:, None], distances[1]
    tight, wide = (
        (z / (reaches[0] + more)) ** 2 + (y / (reaches[1] + more)) ** 2 <= 1 for more in (0, 1)
    )
    return tight, wide
