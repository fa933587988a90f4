"""The objective that MEDI and total-field inversion share, on one padded grid."""

import math
from dataclasses import dataclass, replace

from chistream.arrays import Mask, RealArray, Vector, size_of
from chistream.physics.backend import (
    converted,
    deviation,
    dot,
    matched,
    mean,
    namespace,
    quantile,
    total,
)
from chistream.physics.dipole import half_dipole_kernel
from chistream.physics.fourier import plan_transform
from chistream.physics.gradients import diffuse, forward_differences, squared_length
from chistream.physics.padding import Padding
from chistream.physics.solvers import Solution, conjugate_gradients
from chistream.susceptibility.inversion import FieldData, only_inside

# Slopes below these count as flat [ppm/mm]: what makes the L1 norm differentiable. Outside the
# mask nobody reads the map, and the ten times larger value converges sooner.
FLAT_INSIDE, FLAT_OUTSIDE = 1e-3, 1e-2

SWEEP_TOLERANCE = 1e-5
"""Residual of the linear system at which a sweep ends early, relative to its right-hand side."""


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed of susceptibility before the field is seen.

    Parameters
    ----------
    strength
        Cost of a slope inside the mask away from edges [mm/ppm], >= 0.
    strength_outside
        Cost of a slope outside the mask [mm/ppm], >= 0.
    width_inside, width_outside
        Standard deviation of susceptibility in and outside the mask [ppm], > 0.
    edge_fraction
        Part of the mask taken as edges of the magnitude, in [0, 1).
    model_error
        Standard deviation of what the voxel grid cannot model, added to the noise [ppm], > 0.
    edge_share
        Cost of a slope at an edge, as a part of that away from edges, in [0, 1].
    steepest
        Slope a inside the mask from which on the cost of more slope levels off, from ``|g|`` to
        ``a log(1 + |g| / a)`` [ppm/mm], > 0; infinite for no levelling.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    strength: float
    strength_outside: float
    width_inside: float
    width_outside: float
    edge_fraction: float
    model_error: float
    edge_share: float = 0.0
    steepest: float = math.inf

    def __post_init__(self) -> None:
        if not min(self.strength, self.strength_outside) >= 0:
            raise ValueError(
                f"strength must not be negative, got {self.strength} inside and "
                f"{self.strength_outside} outside the mask"
            )
        if not min(self.width_inside, self.width_outside, self.model_error) > 0:
            raise ValueError(
                f"width_inside {self.width_inside}, width_outside {self.width_outside} and "
                f"model_error {self.model_error} must be positive"
            )
        if not 0 <= self.edge_fraction < 1:
            raise ValueError(f"edge_fraction must lie in [0, 1), got {self.edge_fraction}")
        if not 0 <= self.edge_share <= 1:
            raise ValueError(f"edge_share must lie in [0, 1], got {self.edge_share}")
        if not self.steepest > 0:
            raise ValueError(f"steepest must be positive, got {self.steepest}")


@dataclass(frozen=True, slots=True)
class Grid:
    """A field map on a padded grid, at one resolution.

    Parameters
    ----------
    field
        Field ``(z, y, x)`` [ppm], zero outside the mask.
    trust
        Inverse variance of the field ``(z, y, x)`` [1/ppm^2], zero outside the mask.
    inside
        The mask ``(z, y, x)``.
    magnitude
        Image with the edges of susceptibility ``(z, y, x)``, or None.
    voxel_size
        Voxel edge lengths ``(z, y, x)`` [mm].
    """

    field: RealArray
    trust: RealArray
    inside: Mask
    magnitude: RealArray | None
    voxel_size: Vector

    @classmethod
    def of(cls, data: FieldData, padding: Padding, model_error: float) -> "Grid":
        """Place a field map into its padded grid."""
        magnitude = None
        if data.magnitude is not None:
            magnitude = padding.pad(only_inside(data.magnitude, data.mask))
        return cls(
            padding.pad(only_inside(data.field, data.mask)),
            padding.pad(_inverse_variance(data, model_error)),
            padding.pad(data.mask) > 0,
            magnitude,
            data.voxel_size,
        )

    def coarser(self, factors: tuple[int, int, int]) -> "Grid":
        """Average blocks of voxels; a block belongs to the mask if half of it does."""
        xp = namespace(self.field)
        trust = _block_mean(self.trust, factors)
        share = _block_mean(converted(self.inside, "float32"), factors)
        inside: Mask = share >= 0.5
        field = _block_mean(self.trust * self.field, factors) / xp.where(trust > 0, trust, 1.0)
        magnitude = self.magnitude
        if magnitude is not None:
            magnitude = _block_mean(magnitude, factors) / xp.where(inside, share, 0.5)
        z, y, x = (edge * f for edge, f in zip(self.voxel_size, factors, strict=True))
        kept = converted(inside, "float32")
        return replace(
            self,
            field=field * kept,
            trust=trust * kept,
            inside=inside,
            magnitude=magnitude,
            voxel_size=(z, y, x),
        )


class Objective:
    """The operators of one inversion on its padded grid."""

    def __init__(self, grid: Grid, b0_direction: Vector, prior: Prior) -> None:
        shape = size_of(grid.field)
        self._grid = grid
        self._trust = grid.trust
        self._trust_sum = total(grid.trust)
        self._transform = plan_transform(grid.field)
        kernel = half_dipole_kernel(shape, grid.voxel_size, b0_direction)
        self._kernel = matched(kernel, grid.field, "float32")
        self._width = _chosen(grid.inside, prior.width_inside, prior.width_outside)
        self._flat = _chosen(grid.inside, FLAT_INSIDE, FLAT_OUTSIDE)
        self._face_cost = face_costs(grid, prior)
        self._open = converted(self._face_cost > 0, "float32")
        self._levelling = _chosen(grid.inside, 1 / prior.steepest, 0.0)
        self._levels_off = False

    def level_off(self) -> None:
        """From now on let the cost of steep slopes level off: no longer convex, nor a bias."""
        self._levels_off = True

    def sweep(
        self, chi: RealArray, *, phase_per_ppm: float | None, max_iterations: int
    ) -> Solution:
        """Minimise the quadratic function that touches the objective at a map.

        Parameters
        ----------
        chi
            The map ``(z, y, x)`` [ppm].
        phase_per_ppm
            Phase that a field of 1 ppm makes [rad/ppm], to compare phases, or None.
        max_iterations
            Most iterations of conjugate gradients.

        Returns
        -------
        Solution
            The next map ``(z, y, x)`` [ppm] and how it was found.
        """
        coupling = self._couplings(chi)
        field = self._grid.field
        if phase_per_ppm is not None:
            field = self._linearised_field(chi, phase_per_ppm)
        right = self._width * self._field_of(self._weighted(field))

        def normal(scaled: RealArray) -> RealArray:
            source = self._width * scaled
            image = self._field_of(self._weighted(self._field_of(source)))
            image += diffuse(source, coupling)
            image *= self._width
            image += scaled
            return image

        solution = conjugate_gradients(
            normal,
            right,
            start=chi / self._width,
            tolerance=SWEEP_TOLERANCE,
            max_iterations=max_iterations,
        )
        return replace(solution, values=self._width * solution.values)

    def change(self, before: RealArray, after: RealArray) -> float:
        """Tell how far the middle voxel of the mask has moved [ppm]."""
        # Not the norm: a few voxels at the lung carry more of it than all of the heart.
        moved = (after - before)[self._grid.inside]
        return quantile(abs(moved - mean(moved)), 0.5)

    def misfit(self, chi: RealArray) -> float:
        """Tell the weighted norm of what a map leaves unexplained, relative to the field's."""
        left = self._grid.field - self._field_of(chi)
        return math.sqrt(self._energy(left) / max(self._energy(self._grid.field), 1e-30))

    def _energy(self, field: RealArray) -> float:
        return dot(field, self._weighted(field))

    def _weighted(self, field: RealArray) -> RealArray:
        """Apply W^2, blind to a constant: the centre frequency of the scan is arbitrary."""
        weighted = self._trust * field
        weighted -= self._trust * (total(weighted) / self._trust_sum)
        return weighted

    def _field_of(self, chi: RealArray) -> RealArray:
        return self._transform.convolve(chi, self._kernel)

    def _linearised_field(self, chi: RealArray, phase_per_ppm: float) -> RealArray:
        """Give the field that the linear problem must explain.

        The gradient of ``|exp(i s f) - exp(i s D chi)|^2 / 2 s^2`` holds the sine of the phase
        left over: wraps drop out of it, and noise beyond pi cannot pull further.
        """
        xp = namespace(chi)
        modelled = self._field_of(chi)
        left = self._grid.field - modelled
        offset = total(self._trust * left) / self._trust_sum
        field: RealArray = modelled + xp.sin(phase_per_ppm * (left - offset)) / phase_per_ppm
        return field

    def distrust_outliers(self, chi: RealArray) -> None:
        """Divide the weight of voxels beyond six standard deviations by their excess squared."""
        xp = namespace(chi)
        left = xp.sqrt(self._trust) * (self._grid.field - self._field_of(chi))
        used = left[self._trust > 0]
        excess = abs(left - mean(used)) / (6.0 * deviation(used))
        self._trust = self._trust / xp.where(excess > 1, excess, 1.0) ** 4  # W^2
        self._trust_sum = total(self._trust)

    def bound_outliers(self, chi: RealArray, limit: float) -> None:
        r"""Weigh voxels anew by what a map leaves of their field: none can pull beyond a limit.

        The weights of :math:`\tfrac12 z^2 / (1 + z^2 / l^2)` (Geman-McClure) at the misfit z in
        standard deviations; voxels that lie off by a period of the echoes, or with another
        substance in them, drop out.

        Parameters
        ----------
        chi
            The map ``(z, y, x)`` [ppm].
        limit
            l, the misfit at which a voxel's weight is a quarter [standard deviations], > 0.
        """
        left = self._grid.field - self._field_of(chi)
        left = left - quantile(left[self._grid.trust > 0], 0.5)
        excess = self._grid.trust * left**2 / limit**2
        self._trust = self._grid.trust / (1 + excess) ** 2
        self._trust_sum = total(self._trust)

    def _couplings(self, chi: RealArray) -> RealArray:
        xp = namespace(chi)
        slopes = forward_differences(chi, self._grid.voxel_size)
        slopes *= self._open
        length = xp.sqrt(squared_length(slopes) + self._flat**2)
        couplings: RealArray = self._face_cost / length
        return couplings / (1 + self._levelling * length) if self._levels_off else couplings


def face_costs(grid: Grid, prior: Prior) -> RealArray:
    """Price a slope across each face.

    Parameters
    ----------
    grid
        The field on its padded grid.
    prior
        What slopes cost, and how much of the mask is edges.

    Returns
    -------
    RealArray
        Cost over the squared voxel edge, for the face to the next neighbour along each axis
        ``(3, z, y, x)`` [1/(mm ppm)]; zero across the border of the mask.
    """
    xp = namespace(grid.inside)
    share = matched(prior.edge_share, grid.inside, "float32")
    within = xp.where(_edges(grid, prior.edge_fraction), share, xp.ones_like(share))
    within = prior.strength * within * converted(grid.inside, "float32")
    costs: list[RealArray] = []
    for axis, step in enumerate(grid.voxel_size):
        beyond = xp.roll(grid.inside, -1, axis=axis)
        cost = within * converted(beyond, "float32")
        cost += prior.strength_outside * converted(~(grid.inside | beyond), "float32")
        costs.append(cost / step**2)
    stacked: RealArray = xp.stack(costs)
    return stacked


def _edges(grid: Grid, fraction: float) -> Mask:
    """Voxels of the mask where the magnitude is steepest ``(z, y, x)``."""
    xp = namespace(grid.inside)
    if grid.magnitude is None:
        nowhere: Mask = xp.zeros_like(grid.inside)
        return nowhere
    slopes = forward_differences(grid.magnitude, grid.voxel_size)
    for axis in range(3):
        within = grid.inside & xp.roll(grid.inside, -1, axis=axis)
        slopes[axis, ...] = slopes[axis, ...] * converted(within, "float32")
    steepness = xp.sqrt(squared_length(slopes))
    edges: Mask = steepness > quantile(steepness[grid.inside], 1.0 - fraction)
    return edges


def _chosen(inside: Mask, value_inside: float, value_outside: float) -> RealArray:
    xp = namespace(inside)
    chosen: RealArray = xp.where(
        inside, matched(value_inside, inside, "float32"), matched(value_outside, inside, "float32")
    )
    return chosen


def _inverse_variance(data: FieldData, model_error: float) -> RealArray:
    if data.weights is None:
        return converted(data.mask, "float64") * model_error**-2
    precision = only_inside(data.weights, data.mask) ** 2
    # 1 / (1 / w^2 + e^2), also where the weight is zero.
    trust: RealArray = precision / (1.0 + precision * model_error**2)
    return trust


def _block_mean(volume: RealArray, factors: tuple[int, int, int]) -> RealArray:
    xp = namespace(volume)
    shape = [n for size, f in zip(volume.shape, factors, strict=True) for n in (size // f, f)]
    mean_of_blocks: RealArray = xp.mean(xp.reshape(volume, tuple(shape)), axis=(1, 3, 5))
    return mean_of_blocks
