"""Background removal by the Laplacian boundary value method (LBV)."""

import numpy as np
from scipy import ndimage

from chistream.arrays import Mask, RealArray, Vector
from chistream.background.local_field import LocalField
from chistream.background.multigrid import Poisson
from chistream.physics.volumes import check_field


def remove_background_lbv(
    total_field: RealArray,
    mask: Mask,
    voxel_size: Vector,
    *,
    peel: int = 0,
    tolerance: float = 1e-5,
    max_iterations: int = 100,
) -> LocalField:
    r"""Remove the harmonic field that agrees with the total field on the edge of the mask.

    .. math:: \nabla^2 f_{loc} = \nabla^2 f, \qquad f_{loc} = 0 \text{ on the edge of the mask}

    Parameters
    ----------
    total_field
        Field offset ``(z, y, x)`` relative to B0 [ppm]; only the mask is read. It must be
        unwrapped.
    mask
        Voxels where the field is known ``(z, y, x)``, of any form and number of pieces.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm], unequal ones welcome.
    peel
        Layers of voxels to take off the mask first, >= 0: the noisy ones at its edge would
        spread inwards.
    tolerance
        Stop when the residual of the linear system is below this part of its right-hand side
        (Euclidean norms). 1e-5 leaves the field right to about 1e-4 of its range.
    max_iterations
        Stop here in any case.

    Returns
    -------
    LocalField
        The local field ``(z, y, x)`` [ppm] and the mask where it is known: without the peeled
        layers and without the edge itself, where it is zero by assumption.

    Raises
    ------
    ValueError
        If the mask is empty or differs in shape, the field is not finite in it, ``peel`` is
        negative, or nothing of the mask lies inside its edge.

    Notes
    -----
    The Laplacian of the field of the sources outside is zero inside the mask, whatever the
    direction of B0, which therefore plays no role. The edge is every voxel of the mask with one
    of its six neighbours outside it or outside the volume. The local field is taken as zero
    there: that of a source next to the edge is bent accordingly.

    The system is solved by conjugate gradients, preconditioned with one multigrid cycle.

    References
    ----------
    .. [1] Zhou D, Liu T, Spincemaille P, Wang Y. Background field removal by solving the
       Laplacian boundary value problem. NMR Biomed. 2014;27(3):312-319. doi:10.1002/nbm.3064

    Examples
    --------
    >>> z, y, x = np.mgrid[:9, :10, :11].astype(float)
    >>> found = remove_background_lbv(x * y - z, np.ones(z.shape, dtype=bool), (1.0, 1.0, 1.0))
    >>> bool(abs(found.local_field).max() < 1e-3), int(found.mask.sum())
    (True, 504)
    """
    check_field("total_field", total_field, mask, voxel_size)
    if peel < 0:
        raise ValueError(f"peel must not be negative, got {peel} layers")
    peeled = ndimage.binary_erosion(mask, iterations=peel) if peel else mask
    interior = ndimage.binary_erosion(peeled)
    if not interior.any():
        raise ValueError(
            f"nothing of the mask ({mask.sum()} voxels) lies inside its edge after peeling {peel} "
            "layers"
        )
    # The harmonic continuation of the edge into the interior is the background.
    poisson = Poisson(interior, voxel_size)
    edge = np.where(peeled & ~interior, total_field, 0.0)
    start = np.where(interior, total_field, 0.0)
    solution = poisson.solve(
        poisson.pull_of(edge) - poisson.apply(start),
        tolerance=tolerance,
        max_iterations=max_iterations,
    )
    local = np.where(interior, -solution.values, 0.0).astype(np.float32)
    return LocalField(local, interior, solution.n_iterations, solution.residual, solution.converged)
