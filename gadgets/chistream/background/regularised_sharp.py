"""Background removal by the mean value theorem with Tikhonov regularisation (RESHARP)."""

from chistream.arrays import Mask, RealArray, Vector
from chistream.background.local_field import LocalField, only_inside
from chistream.background.spherical_mean import SphericalMean
from chistream.physics.backend import converted, mean, namespace
from chistream.physics.dipole import ALONG_Z
from chistream.physics.solvers import conjugate_gradients
from chistream.physics.volumes import check_field, check_weights


def remove_background_resharp(
    total_field: RealArray,
    mask: Mask,
    voxel_size: Vector,
    *,
    b0_direction: Vector = ALONG_Z,  # noqa: ARG001  (one signature for all methods)
    weights: RealArray | None = None,
    radius: float = 6.0,
    strength: float = 1e-3,
    tolerance: float = 1e-3,
    max_iterations: int = 200,
) -> LocalField:
    r"""Find the smallest local field that has the non-harmonic part of the total field.

    .. math:: \min_{f_{loc}} \| M W C (f - f_{loc}) \|_2^2 + \lambda \| f_{loc} \|_2^2,
              \qquad C = 1 - S

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
    b0_direction
        Plays no role: every background is harmonic.
    weights
        W, trust in each voxel ``(z, y, x)`` in any unit, >= 0: their mean square over M is made 1.
        By default uniform, as published.
    radius
        Radius of the sphere [mm], not less than the longest voxel edge.
    strength
        Lambda, > 0. More of it takes more of the slow part of the local field with the background.
    tolerance
        Stop when the residual of the normal equations is below this part of their right-hand
        side.
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
        If the mask is empty or differs in shape, the field is not finite in it, the weights are
        negative or all zero, the radius is too small, no sphere fits into the mask, or the
        strength is not positive.

    Notes
    -----
    Conjugate gradients, preconditioned with the system of an endless mask,
    :math:`(C^2 + \lambda)^{-1}`, which is diagonal in k-space.

    References
    ----------
    .. [1] Sun H, Wilman AH. Background field removal using spherical mean value filtering and
       Tikhonov regularization. Magn Reson Med. 2014;71(3):1151-1157. doi:10.1002/mrm.24765
    """
    check_field("total_field", total_field, mask, voxel_size)
    if not strength > 0:
        raise ValueError(f"strength must be positive, got {strength}")
    sphere = SphericalMean(mask, voxel_size, radius)
    valid = sphere.valid(mask)
    trust = _trust(total_field, valid, weights, sphere)
    filtered = 1.0 - sphere.spectrum

    def normal(local: RealArray) -> RealArray:
        return high_passed(trust * high_passed(local)) + strength * local

    def high_passed(field: RealArray) -> RealArray:
        return sphere.transform.convolve(field, filtered)

    field = sphere.padding.pad(only_inside(total_field, mask))
    inverse = 1.0 / (filtered**2 + strength)
    solution = conjugate_gradients(
        normal,
        high_passed(trust * high_passed(field)),
        tolerance=tolerance,
        max_iterations=max_iterations,
        preconditioner=lambda residual: sphere.transform.convolve(residual, inverse),
    )
    local = only_inside(sphere.padding.crop(solution.values), valid)
    return LocalField(local, valid, solution.n_iterations, solution.residual, solution.converged)


def _trust(
    field: RealArray, valid: Mask, weights: RealArray | None, sphere: SphericalMean
) -> RealArray:
    """M W^2 on the padded grid, with mean 1 over M."""
    xp = namespace(field)
    trust = converted(valid, "float32")
    if weights is not None:
        check_weights(weights, field, valid)
        trust = only_inside(weights, valid) ** 2
        trust = trust / mean(xp.where(valid, trust, 0.0)) * mean(converted(valid, "float32"))
    return sphere.padding.pad(trust)
