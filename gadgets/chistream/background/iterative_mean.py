"""Background removal by repeated spherical means (iterative SMV)."""

from chistream.arrays import Mask, RealArray, Vector
from chistream.background.local_field import LocalField, only_inside
from chistream.background.spherical_mean import SphericalMean
from chistream.physics.backend import converted
from chistream.physics.dipole import ALONG_Z
from chistream.physics.solvers import conjugate_gradients
from chistream.physics.volumes import check_field


def remove_background_ismv(
    total_field: RealArray,
    mask: Mask,
    voxel_size: Vector,
    *,
    b0_direction: Vector = ALONG_Z,  # noqa: ARG001  (one signature for all methods)
    weights: RealArray | None = None,  # noqa: ARG001
    radius: float = 5.0,
    tolerance: float = 1e-5,
    max_iterations: int = 300,
) -> LocalField:
    r"""Remove the field that equals its own spherical mean everywhere inside the mask.

    .. math:: f_{bg} \leftarrow M S f_{bg} + (1 - M) f, \qquad f_{loc} = f - f_{bg}

    with S the mean over a sphere and M the voxels whose sphere lies within the mask.

    Parameters
    ----------
    total_field
        Unwrapped field offset ``(z, y, x)`` relative to B0 [ppm], of any array library; only the
        mask is read.
    mask
        Voxels where the field is known ``(z, y, x)``.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm], unequal ones welcome.
    b0_direction, weights
        Play no role: every background is harmonic.
    radius
        Radius of the sphere [mm], or the longest voxel edge where that is more.
    tolerance
        Stop when the residual of the linear system is below this part of its right-hand side.
    max_iterations
        Stop here in any case.

    Returns
    -------
    LocalField
        The local field ``(z, y, x)`` [ppm], float32, and the mask less one radius at every edge,
        that of the volume included.

    Raises
    ------
    ValueError
        If the mask is empty or differs in shape, the field is not finite in it, or no sphere fits
        into the mask.

    Notes
    -----
    In the outer shell of the mask, one radius thick, all of the field is taken as background, as
    LBV does in one layer of voxels: what a source near the shell adds to it is continued inwards
    and lost: it suits the brain better than a heart between two lungs. The published iteration
    converges as slowly as heat spreads; its fixed point is the solution of a symmetric linear
    system, which conjugate gradients find in some 30 steps.

    References
    ----------
    .. [1] Wen Y, Zhou D, Liu T, Spincemaille P, Wang Y. An iterative spherical mean value method
       for background field removal in MRI. Magn Reson Med. 2014;72(4):1065-1071.
       doi:10.1002/mrm.24998
    """
    check_field("total_field", total_field, mask, voxel_size)
    sphere = SphericalMean(mask, voxel_size, max(radius, *voxel_size))
    valid = sphere.valid(mask)
    interior = sphere.padding.pad(valid)
    field = sphere.padding.pad(only_inside(total_field, mask))

    def departure(inner: RealArray) -> RealArray:
        """Tell by how much a field, zero in the shell, departs from its own mean."""
        return inner - interior * sphere(inner)

    # The unknown is the local field: what departs from its mean as the total field does.
    solution = conjugate_gradients(
        departure,
        interior * (field - sphere(field)),
        tolerance=tolerance,
        max_iterations=max_iterations,
    )
    local = converted(only_inside(sphere.padding.crop(solution.values), valid), "float32")
    return LocalField(local, valid, solution.n_iterations, solution.residual, solution.converged)
