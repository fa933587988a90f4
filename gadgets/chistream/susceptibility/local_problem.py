"""A local field on its padded grid: what all inversions of local fields share."""

from dataclasses import dataclass

from chistream.arrays import Mask, RealArray, Vector, size_of
from chistream.physics.backend import (
    converted,
    dot,
    matched,
    namespace,
    norm,
    quantile,
)
from chistream.physics.dipole import half_dipole_kernel
from chistream.physics.fourier import plan_transform
from chistream.physics.gradients import roughness
from chistream.physics.padding import Padding, default_margin
from chistream.susceptibility.inversion import FieldData, Inversion, only_inside, referenced

MOST_MARGIN: Vector = (20.0, 20.0, 20.0)
"""Room around a volume the size of a body [mm]."""

LARGEST_WEIGHTS = 0.99
"""Part of the mask below the weight that counts as 1: larger ones count no more."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long to go on.

    Parameters
    ----------
    tolerance
        Stop when a map changes by less than this part of itself in an iteration, >= 0.
    max_iterations
        Most iterations, >= 1.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    tolerance: float
    max_iterations: int

    def __post_init__(self) -> None:
        if not (self.tolerance >= 0 and self.max_iterations >= 1):
            raise ValueError(
                f"tolerance {self.tolerance} must not be negative and "
                f"max_iterations {self.max_iterations} must be 1 or more"
            )


class LocalProblem:
    """The operators of one inversion on its padded grid, in single precision.

    Parameters
    ----------
    data
        The local field and what is known about it.
    margin
        Room around the volume on each side ``(z, y, x)`` [mm]; by default `MOST_MARGIN`, or half
        of the volume's extent where that is less. An axis with 0 is taken as periodic.

    Attributes
    ----------
    field
        Local field on the padded grid ``(z, y, x)`` [ppm], zero outside the mask.
    weights
        Trust ``(z, y, x)`` in [0, 1], zero outside the mask: weights over the largest of them.
    inside
        1 in the mask and 0 outside ``(z, y, x)``.
    kernel
        The dipole kernel, a half spectrum.
    """

    def __init__(self, data: FieldData, margin: Vector | None = None) -> None:
        if margin is None:
            margin = default_margin(size_of(data.field), data.voxel_size, MOST_MARGIN)
        self.data = data
        self.padding = Padding.of_margin(size_of(data.field), data.voxel_size, margin)
        self.field = self.padding.pad(only_inside(data.field, data.mask))
        self.inside = self.padding.pad(data.mask)
        self.weights = self.padding.pad(_relative_weights(data))
        self.transform = plan_transform(self.field)
        kernel = half_dipole_kernel(self.padding.outer, data.voxel_size, data.b0_direction)
        self.kernel = matched(kernel, self.field, "float32")
        self.xp = namespace(self.field)

    def roughness(self) -> RealArray:
        """Sample the half spectrum of minus the Laplacian [1/mm^2]."""
        spectrum: RealArray = matched(
            roughness(self.padding.outer, self.data.voxel_size), self.field, "float32"
        )
        return spectrum

    def field_of(self, chi: RealArray) -> RealArray:
        """Model the field of a map on the padded grid."""
        return self.transform.convolve(chi, self.kernel)

    def misfit(self, chi: RealArray) -> float:
        """Tell the weighted norm of what a map leaves unexplained, relative to the field's."""
        left = self.weights * (self.field - self.field_of(chi))
        return norm(left) / max(norm(self.weights * self.field), 1e-30)

    def has_settled(self, chi: RealArray, before: RealArray, tolerance: float) -> bool:
        """Tell whether a map has changed by less than a part of itself, inside the mask."""
        change = self.inside * (chi - before)
        size = self.inside * chi
        return dot(change, change) <= tolerance**2 * dot(size, size)

    def solved(
        self, chi: RealArray, *, n_iterations: int, converged: bool, strength: float, method: str
    ) -> Inversion:
        """Report a map on the padded grid."""
        found = referenced(self.padding.crop(chi), self.data.mask)
        return Inversion(found, n_iterations, converged, self.misfit(chi), strength, method)


def free_faces(inside: RealArray, edges: Mask | None = None) -> RealArray:
    """Say across which faces a slope costs: 0 at edges and at the border of the mask, else 1.

    Parameters
    ----------
    inside
        1 in the mask and 0 outside ``(z, y, x)``.
    edges
        Voxels whose slopes to their next neighbours cost nothing ``(z, y, x)``.

    Returns
    -------
    RealArray
        0 or 1 for the face to the next neighbour along each axis ``(3, z, y, x)``.
    """
    xp = namespace(inside)
    free = xp.zeros_like(inside) if edges is None else converted(edges, "float32")
    faces: RealArray = xp.stack(
        [
            (1 - free) * converted(inside == xp.roll(inside, -1, axis=axis), "float32")
            for axis in range(3)
        ]
    )
    return faces


def _relative_weights(data: FieldData) -> RealArray:
    if data.weights is None:
        return converted(data.mask, "float32")
    used = only_inside(data.weights, data.mask)
    most = quantile(used[data.mask], LARGEST_WEIGHTS)
    relative = used / (most if most > 0 else float(namespace(used).max(used)))
    clipped: RealArray = namespace(used).clip(relative, 0.0, 1.0)
    return clipped
