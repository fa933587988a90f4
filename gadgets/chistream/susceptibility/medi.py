"""Morphology-enabled dipole inversion (MEDI): from the local field to susceptibility."""

from chistream.arrays import Mask, RealArray, Vector, size_of
from chistream.physics.dipole import ALONG_Z
from chistream.physics.padding import default_margin
from chistream.susceptibility.edge_preserving import Effort, invert_edge_preserving
from chistream.susceptibility.inversion import FieldData, Inversion
from chistream.susceptibility.objective import Prior


def invert_medi(
    local_field: RealArray,
    mask: Mask,
    voxel_size: Vector,
    *,
    b0_direction: Vector = ALONG_Z,
    magnitude: RealArray | None = None,
    weights: RealArray | None = None,
    strength: float = 2.0,
    width: float = 1.0,
    edge_fraction: float = 0.3,
    model_error: float = 0.01,
    phase_per_ppm: float | None = None,
    merit: bool = False,
    margin: Vector | None = None,
    tolerance: float = 1e-3,
    max_sweeps: int = 10,
    sweep_iterations: int = 60,
) -> Inversion:
    r"""Estimate susceptibility with sharp edges where the magnitude has them.

    .. math:: \min_{\chi, c} \tfrac12 \| W (f - c - D \chi) \|_2^2
              + \lambda \| M_G \nabla \chi \|_1 + \tfrac12 \| \chi / p \|_2^2

    Parameters
    ----------
    local_field
        Background-free field ``(z, y, x)`` relative to B0 [ppm]; only the mask is read.
    mask
        Voxels where the field is known, and reported ``(z, y, x)``.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm], unequal ones welcome.
    b0_direction
        Direction of B0 ``(z, y, x)``.
    magnitude
        Image whose edges are the edges of chi ``(z, y, x)`` [a.u.]. By default none is known, and
        the penalty is a plain total variation.
    weights
        Reciprocal of the field's standard deviation ``(z, y, x)`` [1/ppm], >= 0; by default
        uniform.
    strength
        Lambda, what a slope costs away from edges [mm/ppm], >= 0. The data term counts standard
        deviations, so the same strength serves any signal-to-noise ratio. The default keeps the
        veins and the cortex of a measured brain at 0.5 mm; 30 flattens all but the veins.
    width
        p, the standard deviation of chi, in the mask and (for what background removal left
        behind) around it [ppm], > 0.
    edge_fraction
        Part of the mask taken as edges of the magnitude, in [0, 1) (Liu 2012: 0.3).
    model_error
        Standard deviation of what the voxel grid cannot model, added to the noise [ppm], > 0.
    phase_per_ppm
        ``2 pi 1e-6 f0 TE``, the phase that 1 ppm makes at a typical echo time [rad/ppm]; given,
        the data term compares phases on the circle (Liu 2013), blind to wraps that unwrapping
        left behind. By default it is linear.
    merit
        Whether voxels that miss by more than six standard deviations lose weight from sweep to
        sweep (model error reduction through iterative tuning, Liu 2013).
    margin
        Room around the volume on each side ``(z, y, x)`` [mm], >= 0. By default 20 mm, or half of
        the volume's extent where that is less.
    tolerance
        Stop when half of the voxels of the mask change by less than this in a sweep [ppm].
    max_sweeps
        Most re-linearisations at each of the (one to three) resolutions.
    sweep_iterations
        Most iterations of conjugate gradients in a sweep.

    Returns
    -------
    Inversion
        Susceptibility ``(z, y, x)`` [ppm] with zero mean over the mask, and how it was found.

    Raises
    ------
    ValueError
        If a volume differs in shape, the mask is empty, the field is not finite in it,
        ``b0_direction`` is zero, or an option is out of range.

    Notes
    -----
    The L1 norm is taken of the length of the gradient, and by lagged diffusivity with conjugate
    gradients inside, as in the papers. Where we depart from them: the weak Gaussian prior p makes
    the answer unique, so that it does not depend on when the iteration ends; the first guess is
    the answer on a coarser grid.

    References
    ----------
    .. [1] Liu J, Liu T, de Rochefort L, et al. Morphology enabled dipole inversion for
       quantitative susceptibility mapping using structural consistency between the magnitude
       image and the susceptibility map. NeuroImage. 2012;59(3):2560-2568.
       doi:10.1016/j.neuroimage.2011.08.082
    .. [2] Liu T, Wisnieff C, Lou M, et al. Nonlinear formulation of the magnetic field to source
       relationship for robust quantitative susceptibility mapping. Magn Reson Med.
       2013;69(2):467-476. doi:10.1002/mrm.24272

    Examples
    --------
    >>> import numpy as np
    >>> from chistream.physics.dipole import field_of
    >>> chi = np.zeros((16, 18, 20))
    >>> chi[6:10, 7:11, 8:12] = 0.2
    >>> field = field_of(chi, (2.0, 2.0, 2.0))
    >>> found = invert_medi(field, np.ones(chi.shape, dtype=bool), (2.0, 2.0, 2.0)).chi
    >>> contrast = found[chi > 0].mean() - found[chi == 0].mean()
    >>> bool(0.15 < contrast < 0.21)
    True
    """
    data = FieldData(local_field, mask, voxel_size, b0_direction, magnitude, weights)
    prior = Prior(strength, strength, width, width, edge_fraction, model_error)
    if margin is None:
        margin = default_margin(size_of(mask), voxel_size, (20.0, 20.0, 20.0))
    effort = Effort(margin, tolerance, max_sweeps, sweep_iterations, "medi", phase_per_ppm, merit)
    return invert_edge_preserving(data, prior, effort)
