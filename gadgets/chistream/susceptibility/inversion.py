"""What an inversion is given, and what it gives back."""

from dataclasses import dataclass

from chistream.arrays import Mask, RealArray, Vector
from chistream.physics.backend import converted, mean, namespace
from chistream.physics.volumes import (
    check_b0_direction,
    check_field,
    check_same_shape,
    check_weights,
)


@dataclass(frozen=True, slots=True)
class FieldData:
    """A field map with all that is known about it, in arrays of one library.

    Parameters
    ----------
    field
        Local or total field ``(z, y, x)`` [ppm].
    mask
        Voxels where the field is known ``(z, y, x)``.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm].
    b0_direction
        Direction of B0 ``(z, y, x)``.
    magnitude
        Image whose edges are the edges of susceptibility ``(z, y, x)`` [a.u.], or None.
    weights
        Reciprocal of the field's standard deviation ``(z, y, x)`` [1/ppm], or None.

    Raises
    ------
    ValueError
        If a volume has another shape than the field, the mask is empty, the field is not finite
        in the mask, or ``b0_direction`` is zero.
    """

    field: RealArray
    mask: Mask
    voxel_size: Vector
    b0_direction: Vector
    magnitude: RealArray | None = None
    weights: RealArray | None = None

    def __post_init__(self) -> None:
        check_field("field", self.field, self.mask, self.voxel_size)
        check_b0_direction(self.b0_direction)
        if self.weights is not None:
            check_weights(self.weights, self.field, self.mask)
        if self.magnitude is not None:
            check_same_shape("magnitude", self.magnitude, "field", self.field)


@dataclass(frozen=True, slots=True)
class Inversion:
    """A susceptibility map and how it was found.

    Parameters
    ----------
    chi
        Susceptibility ``(z, y, x)`` [ppm]; its mean over the mask is zero, and so is chi outside.
    n_iterations
        Iterations of the solver, all together; 0 for a closed form.
    converged
        Whether the map had stopped changing.
    residual
        What the map leaves unexplained of the field: its weighted norm, relative to the field's.
    strength
        The regularisation that was used.
    method
        Name of the method.
    narrower
        The map ``(z, y, x)`` [ppm] that half the widths of the priors give, if that was asked for:
        what differs, the priors decided and not the field.
    """

    chi: RealArray
    n_iterations: int
    converged: bool
    residual: float
    strength: float
    method: str
    narrower: RealArray | None = None


def referenced(chi: RealArray, mask: Mask) -> RealArray:
    """Give a map zero mean over the mask and zeros outside: the field knows no constant.

    Parameters
    ----------
    chi
        Susceptibility ``(z, y, x)`` [ppm].
    mask
        Voxels to report ``(z, y, x)``.

    Returns
    -------
    RealArray
        Susceptibility ``(z, y, x)`` [ppm], in the precision of chi.
    """
    return only_inside(chi - mean(chi[mask]), mask)


def only_inside(volume: RealArray, mask: Mask) -> RealArray:
    """Set a volume to zero outside a mask, whatever it holds there.

    Parameters
    ----------
    volume
        Any quantity ``(z, y, x)``, not a number or infinite outside the mask if need be.
    mask
        Voxels to keep ``(z, y, x)``.

    Returns
    -------
    RealArray
        The volume ``(z, y, x)``, in its own floating-point precision (integers become float64).
    """
    xp = namespace(volume, mask)
    if not xp.isdtype(volume.dtype, "real floating"):
        volume = converted(volume, "float64")
    kept: RealArray = xp.where(mask, volume, xp.zeros_like(volume))
    return kept
