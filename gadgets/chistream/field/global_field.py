"""A field map without water-fat swaps, from the whole image at once, coarse to fine.

Each voxel alone leaves several fields possible: water at one, fat at another, and the same again a
period of the echo spacing away. The costs of all of them and the smoothness of the field are
minimised together, over the whole range of fields on a coarse grid, and then in ever narrower
windows about what was found.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from chistream.arrays import ComplexArray, IntArray, Mask, RealArray, Size, Vector, size_of
from chistream.field.echo_train import lags
from chistream.field.message_passing import Lattice, cheapest_labels
from chistream.field.separability import EchoProducts, FieldCost, FieldStart, products_in_blocks
from chistream.field.swaps import settle_parts
from chistream.physics.constants import ppm_to_hz
from chistream.physics.grouping import block_for, block_sums, refine

FULL_ENERGY = 0.3
"""Energy, relative to the median, from which on a voxel counts fully."""

LARGEST_JUMP = 0.25
"""Steps of the field beyond this part of one over the echo spacing divide the body into parts."""

_TINY = float(np.finfo(np.float32).tiny)
_CENTRING = 1e-3
"""Cost of the outermost field: evenly spaced echoes leave a period open, and small is likely."""


@dataclass(frozen=True)
class Level:
    """One grid of the pyramid.

    Parameters
    ----------
    edge
        Length of a block's edge [mm]; 0 is one voxel.
    step_part
        Frequency between labels, in units of the finest.
    n_labels
        Labels tried about what the grid before has found; None is the whole range.
    n_sweeps
        Sweeps of message passing.
    """

    edge: float
    step_part: int
    n_labels: int | None
    n_sweeps: int


LEVELS = (Level(5.0, 2, None, 12), Level(0.0, 1, 17, 2))


def find_global_field(
    echoes: ComplexArray,
    cost: FieldCost,
    mask: Mask,
    voxel_size: Vector,
    h1_frequency: float,
    *,
    smoothness: float = 3e-3,
    field_range: float = 5.0,
    levels: tuple[Level, ...] = LEVELS,
) -> FieldStart:
    r"""Find the field that explains the echoes of all voxels and is smooth.

    .. math:: \min_f \int D(f) + \mu |\nabla f|

    Parameters
    ----------
    echoes
        Complex echoes ``(echoes, z, y, x)``.
    cost
        What a field costs a voxel.
    mask
        Voxels wanted ``(z, y, x)``.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm].
    h1_frequency
        The scanner's proton frequency [Hz].
    smoothness
        mu, cost of a slope of the field [mm/Hz], > 0.
    field_range
        Largest field tried, on either side of 0 [ppm].
    levels
        The grids, coarse to fine; the first one tries the whole range.

    Returns
    -------
    FieldStart
        The map.

    Notes
    -----
    The costs of a voxel count in full from 0.3 of the median energy on. On the first grid, parts
    of the body that jumps of the field divide are then moved as a whole (`settle_parts`). Regions
    of the mask that do not touch are found apart: their periods are for the caller to settle.

    References
    ----------
    .. [1] Stelter J, et al. Hierarchical multi-resolution graph-cuts for water-fat-silicone
       separation in breast MRI. IEEE Trans Med Imaging. 2022;41(11):3253-3265.
       doi:10.1109/TMI.2022.3180302
    .. [2] Hernando D, Kellman P, Haldar JP, Liang ZP. Robust water/fat separation in the presence
       of large field inhomogeneities using a graph cut algorithm. Magn Reson Med.
       2010;63(1):79-90. doi:10.1002/mrm.22177
    .. [3] Kolmogorov V. Convergent tree-reweighted message passing for energy minimization. IEEE
       Trans Pattern Anal Mach Intell. 2006;28(10):1568-1583. doi:10.1109/TPAMI.2006.200
    """
    step = 1 / (8 * float(cost.TE[-1] - cost.TE[0]))
    reach = ppm_to_hz(field_range, h1_frequency)
    used = np.where(mask, echoes, 0)
    frequency: RealArray = np.zeros(mask.shape)
    r2star = frequency
    for level in levels:
        block, spacing = block_for(voxel_size, level.edge), step * level.step_part
        grid = _Grid.of(used, mask, block)
        first, n_labels = _window(grid.means(frequency), level, spacing, reach)
        costs = cost.of(grid.moments, first, n_labels, spacing) * grid.confidence[:, None]
        tried = (first[:, None] + np.arange(n_labels)) * (spacing / reach)
        costs += (_CENTRING * tried**2).astype(np.float32)
        slopes = smoothness * spacing / (np.asarray(voxel_size) * block)
        labels = cheapest_labels(grid.lattice, costs, first, slopes, level.n_sweeps)
        if level.n_labels is None:
            largest_step = LARGEST_JUMP / (lags(cost.TE)[0].spacing * spacing)
            labels = settle_parts(grid.lattice, labels, costs, int(first[0]), slopes, largest_step)
        frequency = grid.refined(labels * spacing)
        r2star = grid.refined(cost.best_decay(grid.moments, labels, spacing))
    return FieldStart(frequency, r2star)


@dataclass(frozen=True)
class _Grid:
    """Blocks of voxels as nodes: their echo products, and how much each of them counts."""

    mask: Mask
    block: Size
    lattice: Lattice
    moments: EchoProducts
    confidence: RealArray
    counts: RealArray

    @classmethod
    def of(cls, echoes: ComplexArray, mask: Mask, block: Size) -> "_Grid":
        powers, products = products_in_blocks(echoes, block)
        counts = block_sums(mask.astype(np.float32), block)
        nodes = counts > 0
        moments = EchoProducts(
            np.ascontiguousarray(powers[:, nodes].T), np.ascontiguousarray(products[:, nodes].T)
        )
        typical = np.median(moments.energy / counts[nodes])
        energy = moments.energy / (FULL_ENERGY * max(typical, _TINY) * np.prod(block))
        return cls(mask, block, Lattice.of(nodes), moments, np.minimum(energy, 1), counts)

    def means(self, volume: RealArray) -> RealArray:
        """Average a volume that is 0 outside the mask over the voxels of each node."""
        nodes = self.lattice.mask
        mean: RealArray = block_sums(volume, self.block)[nodes] / self.counts[nodes]
        return mean

    def refined(self, values: RealArray) -> RealArray:
        """Interpolate the values of nodes at the voxels, 0 outside the mask."""
        volume = self.lattice.volume(values)
        if self.block != (1, 1, 1):
            # Blocks without tissue take the value of the nearest that has some.
            nearest = ndimage.distance_transform_edt(
                ~self.lattice.mask, return_distances=False, return_indices=True
            )
            volume = refine(volume[tuple(nearest)], self.block, size_of(self.mask))
        return np.where(self.mask, volume, 0)


def _window(centre: RealArray, level: Level, spacing: float, reach: float) -> tuple[IntArray, int]:
    """Choose the first label of each node, and their number."""
    if level.n_labels is None:
        half = int(np.ceil(reach / spacing))
        return np.full(len(centre), -half, dtype=np.int64), 2 * half + 1
    first = np.rint(centre / spacing).astype(np.int64) - level.n_labels // 2
    return first, level.n_labels
