"""What every background removal gives back."""

from dataclasses import dataclass

from chistream.arrays import Mask, RealArray
from chistream.physics.backend import converted, namespace


@dataclass(frozen=True, slots=True)
class LocalField:
    """The field of the sources inside a mask.

    Parameters
    ----------
    local_field
        Field offset ``(z, y, x)`` relative to B0 [ppm]; zero outside the mask.
    mask
        Voxels where it is valid ``(z, y, x)``, within the mask of the total field.
    n_iterations
        Iterations made.
    residual
        Relative residual at the end of the iteration.
    converged
        Whether that met the tolerance.
    """

    local_field: RealArray
    mask: Mask
    n_iterations: int
    residual: float
    converged: bool


def only_inside(volume: RealArray, mask: Mask) -> RealArray:
    """Set a volume to zero outside a mask, whatever it holds there, in single precision.

    Parameters
    ----------
    volume
        Any quantity ``(z, y, x)``, of any array library.
    mask
        Voxels to keep ``(z, y, x)``.

    Returns
    -------
    RealArray
        The volume ``(z, y, x)``, float32.
    """
    xp = namespace(volume, mask)
    single = converted(volume, "float32")
    kept: RealArray = xp.where(mask, single, xp.zeros_like(single))
    return kept
