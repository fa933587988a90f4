"""Where susceptibility may have edges, by what other images show."""

from chistream.arrays import Mask, RealArray, Vector
from chistream.physics.backend import namespace, quantile
from chistream.physics.gradients import forward_differences, squared_length
from chistream.susceptibility.local_problem import LocalProblem


def magnitude_edges(problem: LocalProblem, fraction: float) -> Mask | None:
    """Find where the magnitude of a problem is steepest.

    Parameters
    ----------
    problem
        The local field with its magnitude, if any is known.
    fraction
        Part of the mask to take as edges, in [0, 1).

    Returns
    -------
    Mask or None
        Edges ``(z, y, x)`` on the padded grid; None without a magnitude.

    Raises
    ------
    ValueError
        If the fraction is out of range.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"edge_fraction must lie in [0, 1), got {fraction}")
    if problem.data.magnitude is None:
        return None
    magnitude = problem.padding.pad(problem.data.magnitude) * problem.inside
    return steepest(magnitude, problem.inside, problem.data.voxel_size, fraction)


def steepest(image: RealArray, inside: RealArray, voxel_size: Vector, fraction: float) -> Mask:
    """Find the part of a mask where an image is steepest.

    Parameters
    ----------
    image
        Any quantity ``(z, y, x)``, of any array library.
    inside
        1 in the mask and 0 outside ``(z, y, x)``; slopes across its border do not count.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm].
    fraction
        Part of the mask to take, in [0, 1).

    Returns
    -------
    Mask
        The steepest voxels ``(z, y, x)``.
    """
    xp = namespace(image)
    slopes = forward_differences(image, voxel_size)
    for axis in range(3):
        slopes[axis, ...] = slopes[axis, ...] * inside * xp.roll(inside, -1, axis=axis)
    steepness = squared_length(slopes)
    edges: Mask = steepness > quantile(steepness[inside > 0], 1.0 - fraction)
    return edges
