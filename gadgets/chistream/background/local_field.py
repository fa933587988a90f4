"""What every background removal gives back."""

from dataclasses import dataclass

from chistream.arrays import Mask, RealArray


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
