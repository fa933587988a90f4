"""Finite differences on the voxel grid, and the diffusion operator made of them."""

import numpy as np

from chistream.arrays import RealArray, Vector
from chistream.physics.compiled import compiled


def forward_differences(volume: RealArray, voxel_size: Vector) -> RealArray:
    """Take the slope from each voxel to its next neighbour along every axis, periodically.

    Parameters
    ----------
    volume
        Any quantity ``(z, y, x)``.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm].

    Returns
    -------
    RealArray
        Slopes ``(3, z, y, x)`` along z, y and x [unit of the volume per mm]; those of the last
        plane of an axis lead to its first.

    Examples
    --------
    >>> ramp = np.arange(24.0).reshape(2, 3, 4)
    >>> forward_differences(ramp, (1.0, 1.0, 2.0))[:, 0, 0, 0]
    array([12. ,  4. ,  0.5])
    """
    slopes = np.empty((3, *volume.shape), volume.dtype)
    for axis, step in enumerate(voxel_size):
        np.subtract(np.roll(volume, -1, axis), volume, out=slopes[axis])
        slopes[axis] /= step
    return slopes


@compiled
def diffuse(volume: RealArray, coupling: RealArray, out: RealArray) -> None:
    r"""Apply the symmetric operator :math:`\nabla^T c \nabla` of couplings between neighbours.

    .. math:: out_i = \sum_{j \in N(i)} c_{ij} (v_i - v_j)

    Parameters
    ----------
    volume
        Any quantity ``(z, y, x)``.
    coupling
        Coupling of each voxel with its next neighbour along z, y and x ``(3, z, y, x)``, >= 0;
        that of the last plane of an axis leads to its first, 0 cuts the two.
    out
        Result ``(z, y, x)``, overwritten.
    """
    nz, ny, nx = volume.shape
    for k in range(nz):
        above = (k + 1) % nz
        for j in range(ny):
            behind = (j + 1) % ny
            for i in range(nx):
                beside = i + 1 if i + 1 < nx else 0
                v = volume[k, j, i]
                # Index -1 is the last plane: the grid is periodic.
                out[k, j, i] = (
                    coupling[0, k, j, i] * (v - volume[above, j, i])
                    + coupling[0, k - 1, j, i] * (v - volume[k - 1, j, i])
                    + coupling[1, k, j, i] * (v - volume[k, behind, i])
                    + coupling[1, k, j - 1, i] * (v - volume[k, j - 1, i])
                    + coupling[2, k, j, i] * (v - volume[k, j, beside])
                    + coupling[2, k, j, i - 1] * (v - volume[k, j, i - 1])
                )
