"""Several orientations of one object: COSMOS, and the susceptibility tensor."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from chistream.arrays import Mask, RealArray, Size, Vector, size_of
from chistream.physics.backend import dot, matched, namespace, total
from chistream.physics.dipole import half_dipole_kernel, tensor_kernels
from chistream.physics.fourier import plan_transform
from chistream.physics.padding import Padding, default_margin
from chistream.physics.solvers import Solution, conjugate_gradients
from chistream.physics.volumes import check_b0_direction, check_field, check_weights
from chistream.susceptibility.inversion import Inversion, only_inside, referenced

MOST_MARGIN: Vector = (20.0, 20.0, 20.0)
"""Room around a volume the size of a body [mm]."""


@dataclass(frozen=True, slots=True, eq=False)
class TensorInversion:
    """A susceptibility tensor and how it was found.

    Parameters
    ----------
    tensor
        Components zz, zy, zx, yy, yx, xx ``(6, z, y, x)`` [ppm], zero outside the mask.
    mask
        Voxels that all orientations show ``(z, y, x)``.
    n_iterations
        Iterations of conjugate gradients.
    converged
        Whether they came below the tolerance.
    residual
        What the tensor leaves unexplained of the fields: its weighted norm, relative to theirs.
    """

    tensor: RealArray
    mask: Mask
    n_iterations: int
    converged: bool
    residual: float


def invert_cosmos(
    local_fields: Sequence[RealArray],
    masks: Sequence[Mask],
    voxel_size: Vector,
    *,
    b0_directions: Sequence[Vector],
    weights: Sequence[RealArray] | None = None,
    margin: Vector | None = None,
    tolerance: float = 1e-4,
    max_iterations: int = 200,
) -> Inversion:
    r"""Find the susceptibility that explains the fields of three orientations or more (COSMOS).

    .. math:: \min_{\chi, c} \sum_i \| W_i (f_i - c_i - D_i \chi) \|_2^2

    Parameters
    ----------
    local_fields
        Background-free field of each orientation ``(z, y, x)`` [ppm], registered on the object,
        in arrays of one library.
    masks
        Voxels where each is known ``(z, y, x)``; what all show is used and reported.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm], unequal ones welcome.
    b0_directions
        Direction of B0 in the object's axes ``(z, y, x)``, one for each orientation.
    weights
        Reciprocal of each field's standard deviation ``(z, y, x)`` [1/ppm], >= 0; by default
        uniform.
    margin
        Room around the volume on each side ``(z, y, x)`` [mm], >= 0. By default 20 mm, or half of
        the volume's extent where that is less.
    tolerance
        Stop when the residual of the normal equations is below this part of their right-hand side.
    max_iterations
        Most iterations of conjugate gradients.

    Returns
    -------
    Inversion
        Susceptibility ``(z, y, x)`` [ppm], float64, with zero mean over the common mask.

    Raises
    ------
    ValueError
        If there are fewer than three orientations or not one mask and direction for each, the
        masks have no voxel in common, or one of the fields is not usable.

    Notes
    -----
    All sources of a local field lie in the mask; the solution has none elsewhere.

    References
    ----------
    .. [1] Liu T, Spincemaille P, de Rochefort L, Kressler B, Wang Y. Calculation of susceptibility
       through multiple orientation sampling (COSMOS). Magn Reson Med. 2009;61(1):196-204.
       doi:10.1002/mrm.21828, eq. 5

    Examples
    --------
    >>> import numpy as np
    >>> from chistream.physics.dipole import field_of
    >>> chi = np.zeros((12, 13, 14))
    >>> chi[4:8, 5:9, 6:10] = 0.2
    >>> directions = [(1.0, 0.0, 0.0), (0.5, 0.87, 0.0), (-0.5, 0.87, 0.0)]
    >>> fields = [field_of(chi, (2.0, 2.0, 2.0), b) for b in directions]
    >>> masks = [np.ones(chi.shape, dtype=bool)] * 3
    >>> periodic = (0.0, 0.0, 0.0)
    >>> found = invert_cosmos(
    ...     fields, masks, (2.0, 2.0, 2.0), b0_directions=directions, margin=periodic
    ... )
    >>> bool(np.abs(found.chi - (chi - chi.mean())).max() < 1e-3)
    True
    """
    scans = _Scans(local_fields, masks, voxel_size, b0_directions, weights, least=3)
    grid = scans.padding(margin).outer
    kernels = [half_dipole_kernel(grid, voxel_size, b)[None] for b in b0_directions]
    solution, residual = _solve(scans, kernels, margin, tolerance, max_iterations)
    chi = referenced(solution.values[0, ...], scans.mask)
    return Inversion(chi, solution.n_iterations, solution.converged, residual, 0.0, "cosmos")


def invert_tensor(
    local_fields: Sequence[RealArray],
    masks: Sequence[Mask],
    voxel_size: Vector,
    *,
    b0_directions: Sequence[Vector],
    weights: Sequence[RealArray] | None = None,
    margin: Vector | None = None,
    tolerance: float = 1e-3,
    max_iterations: int = 200,
) -> TensorInversion:
    r"""Find the symmetric susceptibility tensor behind six orientations or more.

    .. math:: \min_{\chi, c} \sum_i \| W_i (f_i - c_i - \tfrac13 b_i^T \chi b_i
              + F^{-1} \frac{(k \cdot b_i) \, k^T F \chi \, b_i}{k^2}) \|_2^2

    Parameters
    ----------
    local_fields
        Background-free field of each orientation ``(z, y, x)`` [ppm], registered on the object,
        in arrays of one library.
    masks
        Voxels where each is known ``(z, y, x)``; what all show is used and reported.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm], unequal ones welcome.
    b0_directions
        Direction of B0 in the object's axes ``(z, y, x)``, one for each orientation.
    weights
        Reciprocal of each field's standard deviation ``(z, y, x)`` [1/ppm], >= 0; by default
        uniform.
    margin
        Room around the volume on each side ``(z, y, x)`` [mm], >= 0. By default 20 mm, or half of
        the volume's extent where that is less.
    tolerance
        Stop when the residual of the normal equations is below this part of their right-hand
        side; an early end keeps noise out of what the orientations hardly show.
    max_iterations
        Most iterations of conjugate gradients.

    Returns
    -------
    TensorInversion
        The tensor, whose isotropic part is known up to a constant.

    Raises
    ------
    ValueError
        If there are fewer than six orientations or not one mask and direction for each, the
        masks have no voxel in common, or one of the fields is not usable.

    References
    ----------
    .. [1] Liu C. Susceptibility tensor imaging. Magn Reson Med. 2010;63(6):1471-1477.
       doi:10.1002/mrm.22482, eqs. 6 and 7
    """
    scans = _Scans(local_fields, masks, voxel_size, b0_directions, weights, least=6)
    grid = scans.padding(margin).outer
    kernels = [tensor_kernels(grid, voxel_size, b) for b in b0_directions]
    solution, residual = _solve(scans, kernels, margin, tolerance, max_iterations)
    return TensorInversion(
        solution.values, scans.mask, solution.n_iterations, solution.converged, residual
    )


class _Scans:
    """The fields of several orientations, checked, and what they have in common."""

    def __init__(
        self,
        fields: Sequence[RealArray],
        masks: Sequence[Mask],
        voxel_size: Vector,
        b0_directions: Sequence[Vector],
        weights: Sequence[RealArray] | None,
        *,
        least: int,
    ) -> None:
        if len(fields) < least:
            raise ValueError(f"needs {least} orientations or more, got {len(fields)}")
        counts = {len(fields), len(masks), len(b0_directions), len(weights or fields)}
        if len(counts) > 1:
            raise ValueError(
                f"{len(fields)} fields, {len(masks)} masks, {len(b0_directions)} directions of B0 "
                f"and {len(weights or fields)} weights: needs one of each for each orientation"
            )
        self.voxel_size = voxel_size
        self.mask = masks[0]
        for mask in masks[1:]:
            self.mask = self.mask & mask
        for field, b in zip(fields, b0_directions, strict=True):
            check_field("local_field", field, self.mask, voxel_size)
            check_b0_direction(b)
        self.fields = [only_inside(field, self.mask) for field in fields]
        self.trusts = [matched(self.mask, self.fields[0], "float64")] * len(fields)
        if weights is not None:
            for weight in weights:
                check_weights(weight, fields[0], self.mask)
            self.trusts = [only_inside(weight, self.mask) ** 2 for weight in weights]

    def padding(self, margin: Vector | None) -> Padding:
        """Choose the padded grid."""
        size: Size = size_of(self.mask)
        if margin is None:
            margin = default_margin(size, self.voxel_size, MOST_MARGIN)
        return Padding.of_margin(size, self.voxel_size, margin)


def _solve(
    scans: _Scans,
    kernels: Sequence[RealArray],
    margin: Vector | None,
    tolerance: float,
    max_iterations: int,
) -> tuple[Solution, float]:
    """Solve for components ``(components, z, y, x)`` whose kernels are given by orientation."""
    padding = scans.padding(margin)
    example = padding.pad(scans.mask, "float64")
    xp, transform = namespace(example), plan_transform(example)
    inside = matched(scans.mask, example, "float64")
    spectra = [matched(kernel, example) for kernel in kernels]
    sums = [total(trust) for trust in scans.trusts]

    def weighted(i: int, field: RealArray) -> RealArray:
        # Blind to a constant: the centre frequency of each scan is arbitrary.
        product: RealArray = scans.trusts[i] * field
        product -= scans.trusts[i] * (total(product) / sums[i])
        return product

    def fields_of(chi: RealArray) -> list[RealArray]:
        parts = [
            transform.forward(padding.pad(inside * chi[j, ...], "float64"))
            for j in range(chi.shape[0])
        ]
        return [
            padding.crop(transform.inverse(sum(k[j, ...] * part for j, part in enumerate(parts))))
            for k in spectra
        ]

    def adjoint(fields: Sequence[RealArray]) -> RealArray:
        parts = [transform.forward(padding.pad(field, "float64")) for field in fields]
        n_components = spectra[0].shape[0]
        sources = [
            transform.inverse(sum(k[j, ...] * p for k, p in zip(spectra, parts, strict=True)))
            for j in range(n_components)
        ]
        stacked: RealArray = xp.stack([inside * padding.crop(source) for source in sources])
        return stacked

    def normal(chi: RealArray) -> RealArray:
        return adjoint([weighted(i, field) for i, field in enumerate(fields_of(chi))])

    given = [weighted(i, field) for i, field in enumerate(scans.fields)]
    solution = conjugate_gradients(
        normal, adjoint(given), tolerance=tolerance, max_iterations=max_iterations
    )
    modelled = fields_of(solution.values)
    left = sum(
        dot(field - model, weighted(i, field - model))
        for i, (field, model) in enumerate(zip(scans.fields, modelled, strict=True))
    )
    whole = sum(dot(field, image) for field, image in zip(scans.fields, given, strict=True))
    return solution, math.sqrt(max(left, 0.0) / max(whole, 1e-300))
