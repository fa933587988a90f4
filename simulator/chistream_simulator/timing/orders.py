"""In which order lines are taken, and in which groups: one group for each heartbeat."""

import numpy as np

from chistream.arrays import IntArray, Mask, RealArray
from chistream.errors import SettingsError
from chistream_simulator.case import Case
from chistream_simulator.timing.lines import LinePlan, Purpose

DENSITY_CORE = 0.1
"""Radius, relative to the edge of k-space, within which a random order is densest."""


def group_lines(plan: LinePlan, case: Case, rng: np.random.Generator) -> list[IntArray]:
    """Divide the lines of a scan into those of single heartbeats.

    Parameters
    ----------
    plan
        The lines.
    case
        ``line_order``, ``views_per_beat`` and ``self_navigation``.
    rng
        Where the chance of a random order comes from.

    Returns
    -------
    list of IntArray
        For each heartbeat the indices ``(views,)`` of its lines in the plan, in the order of their
        acquisition. Calibration that is separate comes first, in heartbeats of its own. All others
        start with the centre of k-space if the scan navigates itself.

    Raises
    ------
    SettingsError
        If a scan that navigates itself leaves out the centre of k-space.
    """
    calibration = np.zeros(len(plan.lines), bool)
    if case.calibration == "separate":
        calibration = plan.purposes == Purpose.CALIBRATION
    groups: list[IntArray] = []
    for part in (np.flatnonzero(calibration), np.flatnonzero(~calibration)):
        ranked = part[line_order(plan.lines[part] - plan.centre, plan.size, case.line_order, rng)]
        cuts = range(case.views_per_beat, len(ranked), case.views_per_beat)
        groups += [group for group in np.split(ranked, list(cuts)) if len(group)]
    if case.line_order == "random":
        # Within a heartbeat, small steps: eddy currents follow large ones.
        groups = [group[np.lexsort(plan.lines[group].T)] for group in groups]
    if case.self_navigation:
        centre = _centre_of(plan, calibration)
        groups = [g if calibration[g[0]] else np.concatenate([centre, g]) for g in groups]
    return groups


def _centre_of(plan: LinePlan, calibration: Mask) -> IntArray:
    """Find the centre of k-space ``(1,)`` among the lines that are not for calibration alone."""
    at_centre = (plan.lines == np.asarray(plan.centre)).all(axis=1) & ~calibration
    if not at_centre.any():
        raise SettingsError("self_navigation takes the centre of k-space, which is left out")
    return np.flatnonzero(at_centre)[:1]


def line_order(
    offsets: IntArray, size: tuple[int, int], order: str, rng: np.random.Generator
) -> IntArray:
    """Put lines in order.

    Parameters
    ----------
    offsets
        Distance of each line ``(n, 2)`` (kz, ky) from the centre of k-space, in steps.
    size
        Grid ``(z, y)``.
    order
        ``linear``: along ky, then kz. ``centric``: ky by ky from the centre outwards, and each
        along kz from the centre outwards, so that the first heartbeats take the whole centre.
        ``spiral``: ring by ring outwards in the (ky, kz) plane, along each ring by its angle.
        ``random``: at random, denser towards the centre in the early part of the scan.
    rng
        Where the chance of a random order comes from.

    Returns
    -------
    IntArray
        Permutation ``(n,)`` of the lines.

    References
    ----------
    .. [1] Wilman AH, Riederer SJ. Performance of an elliptical centric view order for signal
       enhancement and motion artifact suppression in breath-hold three-dimensional gradient echo
       imaging. Magn Reson Med. 1997;38(5):793-802. doi:10.1002/mrm.1910380516
    .. [2] Efraimidis PS, Spirakis PG. Weighted random sampling with a reservoir. Inf Process Lett.
       2006;97(5):181-185. doi:10.1016/j.ipl.2005.11.003
    """
    dz, dy = offsets.T
    if order == "linear":
        return np.lexsort((dy, dz))
    if order == "centric":
        return np.lexsort((dz < 0, np.abs(dz), dy < 0, np.abs(dy)))
    radius = relative_radius(offsets, size)
    if order == "spiral":
        ring = np.ceil(radius * max(size) / 2 - 1e-9)
        return np.lexsort((np.arctan2(dz / size[0], dy / size[1]), ring))
    # Sorted by the logarithm of u^(1/density), every prefix is a weighted sample.
    density = 1 / (DENSITY_CORE + radius) ** 2
    return np.argsort(np.log(1 - rng.random(len(offsets))) / -density, kind="stable")


def relative_radius(offsets: IntArray, size: tuple[int, int]) -> RealArray:
    """Distance ``(n,)`` of lines from the centre of k-space; 1 on the ellipse in its edges."""
    scaled = offsets / (0.5 * np.asarray(size))
    radius: RealArray = np.hypot(scaled[:, 0], scaled[:, 1])
    return radius
