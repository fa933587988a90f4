"""How badly water and fat explain the echoes, as a function of the field: the cost of a field.

Field and R2* are not fitted but tried out. Sums of echo products over blocks of voxels give the
cost of a whole block, so that coarse grids lose nothing to phases that cancel.
"""

from dataclasses import dataclass

import numpy as np

from chistream.arrays import ComplexArray, IntArray, Mask, RealArray, Size
from chistream.field.echo_train import lags
from chistream.physics.compiled import compiled
from chistream.physics.grouping import block_sums

DECAYS = (40.0, 150.0, 500.0)
"""R2* that are tried [1/s]."""


@dataclass(frozen=True)
class FieldStart:
    """Where a voxel-wise fit starts; both ``(z, y, x)``, 0 outside the mask.

    Parameters
    ----------
    frequency
        Field [Hz], in the basin of the minimum that is wanted.
    r2star
        The best of the rates tried [1/s].
    """

    frequency: RealArray
    r2star: RealArray


@dataclass(frozen=True)
class EchoProducts:
    """Second moments of the echoes, per node: one voxel, or a block of them.

    Parameters
    ----------
    powers
        Sums of squared magnitudes ``(nodes, echoes)``.
    products
        Sums of later times conjugate earlier echo ``(nodes, pairs)``, pairs in the order of
        ``numpy.triu_indices(echoes, 1)``.
    """

    powers: RealArray
    products: ComplexArray

    @property
    def energy(self) -> RealArray:
        """Sum of all squared magnitudes ``(nodes,)``."""
        total: RealArray = self.powers.sum(axis=1)
        return total


def products_in_blocks(echoes: ComplexArray, block: Size) -> tuple[RealArray, ComplexArray]:
    """Sum the products of echoes over blocks.

    Parameters
    ----------
    echoes
        Complex echoes ``(echoes, z, y, x)``, 0 outside the mask.
    block
        Voxels in a block ``(z, y, x)``; the last one of an axis may be smaller.

    Returns
    -------
    powers, products
        ``(echoes, Z, Y, X)`` float32 and ``(pairs, Z, Y, X)`` complex64.
    """
    earlier, later = np.triu_indices(len(echoes), 1)
    powers = [block_sums(np.abs(echo) ** 2, block) for echo in echoes]
    products = [
        block_sums(echoes[n] * echoes[m].conj(), block) for m, n in zip(earlier, later, strict=True)
    ]
    return np.stack(powers), np.stack(products)


def distinctness(TE: RealArray, precession: ComplexArray) -> float:
    """Measure how well echo times tell a little fat from water and a change of its field.

    Parameters
    ----------
    TE
        True echo times ``(echoes,)`` [s].
    precession
        What has become of fat's signal at each echo ``(echoes,)``.

    Returns
    -------
    float
        Part of fat's energy that water with a field of its own cannot imitate, in [0, 1]: one over
        the number by which separating them multiplies the variance of fat.

    Examples
    --------
    >>> TE = np.array([1.7, 4.0, 6.3]) * 1e-3
    >>> [round(distinctness(TE, np.exp(-2j * np.pi * f * TE)), 2) for f in (217.0, 434.0)]
    [0.89, 0.0]
    """
    water = np.stack([np.ones(len(TE)), TE], axis=1).astype(complex)
    basis, _ = np.linalg.qr(water)
    rest = precession - basis @ (basis.conj().T @ precession)
    return float(np.sum(np.abs(rest) ** 2) / np.sum(np.abs(precession) ** 2))


def moments_of_voxels(echoes: ComplexArray, mask: Mask) -> EchoProducts:
    """Multiply the echoes of every voxel of a mask.

    Parameters
    ----------
    echoes
        Complex echoes ``(echoes, z, y, x)``.
    mask
        The voxels ``(z, y, x)``.

    Returns
    -------
    EchoProducts
        One node for each voxel.
    """
    signals = np.ascontiguousarray(echoes[:, mask].T)
    earlier, later = np.triu_indices(len(echoes), 1)
    products = signals[:, later] * signals[:, earlier].conj()
    return EchoProducts(np.abs(signals) ** 2, products)


@dataclass(frozen=True)
class FieldCost:
    """The cost of a field for given echo times and spectrum.

    Parameters
    ----------
    TE
        True echo times ``(echoes,)`` [s].
    precession
        What has become of fat's signal at each echo ``(echoes,)``.
    decays
        R2* to try [1/s]; the best one counts.
    """

    TE: RealArray
    precession: ComplexArray
    decays: tuple[float, ...] = DECAYS

    def of(self, moments: EchoProducts, first: IntArray, n_labels: int, step: float) -> RealArray:
        r"""Compute the part of the energy that the model leaves unexplained.

        .. math:: D(f) = 1 - \max_{R_2^*} \frac{s^H P(f, R_2^*) s}{s^H s}

        Parameters
        ----------
        moments
            Products of the echoes.
        first
            First label of every node ``(nodes,)``; label n means n * step.
        n_labels
            Labels tried from there on.
        step
            Frequency between two labels [Hz].

        Returns
        -------
        RealArray
            Cost ``(nodes, n_labels)`` float32, in [0, 1]; 0 for a node without signal.
        """
        groups = lags(self.TE)
        lag_of = np.zeros((len(self.TE), len(self.TE)), dtype=np.int64)
        for number, lag in enumerate(groups):
            lag_of[lag.pairs[:, 0], lag.pairs[:, 1]] = number
        pairs = np.triu_indices(len(self.TE), 1)
        projectors = np.stack([self._projector(decay) for decay in self.decays])
        lowest = int(first.min(initial=0))
        labels = np.arange(lowest, int(first.max(initial=0)) + n_labels)
        spacings = np.array([lag.spacing for lag in groups])
        turns = np.exp(-2j * np.pi * step * np.multiply.outer(labels, spacings))
        return unexplained(
            moments.powers,
            moments.products,
            np.ascontiguousarray(np.diagonal(projectors, axis1=1, axis2=2).real),
            2 * projectors[:, pairs[0], pairs[1]],
            lag_of[pairs],
            turns.astype(np.complex64),
            (first - lowest).astype(np.int64),
            n_labels,
        )

    def best_decay(self, moments: EchoProducts, labels: IntArray, step: float) -> RealArray:
        """Find the best of the decays [1/s] at one label ``(nodes,)`` of each node."""
        costs = [
            FieldCost(self.TE, self.precession, (decay,)).of(moments, labels, 1, step)[:, 0]
            for decay in self.decays
        ]
        best: RealArray = np.asarray(self.decays)[np.argmin(costs, axis=0)]
        return best

    def _projector(self, decay: float) -> ComplexArray:
        """Project onto water and fat at frequency 0 ``(echoes, echoes)``."""
        damping = np.exp(-decay * self.TE)
        basis, _ = np.linalg.qr(np.stack([damping, damping * self.precession], axis=1))
        projector: ComplexArray = basis @ basis.conj().T
        return projector


@compiled
def unexplained(
    powers: RealArray,
    products: ComplexArray,
    diagonals: RealArray,
    pair_weights: ComplexArray,
    lag_of: IntArray,
    turns: ComplexArray,
    first: IntArray,
    n_labels: int,
) -> RealArray:
    """Evaluate the cost of every label; ``turns`` ``(labels, lags)`` from the lowest label on."""
    costs = np.zeros((len(powers), n_labels), np.float32)
    series = np.empty(turns.shape[1], np.complex64)
    for node in range(len(powers)):
        energy = powers[node].sum()
        if not energy > 0.0:
            continue
        costs[node] = 1.0
        for decay in range(len(diagonals)):
            share = (diagonals[decay] * powers[node]).sum() / energy
            series[:] = 0
            for pair in range(len(lag_of)):
                series[lag_of[pair]] += pair_weights[decay, pair] * products[node, pair] / energy
            lower(costs[node], share, series, turns[first[node] : first[node] + n_labels])
    return costs


@compiled
def lower(costs: RealArray, share: float, series: ComplexArray, turns: ComplexArray) -> None:
    """Lower costs to what a Fourier series over the lags leaves unexplained, where that is less."""
    for label in range(len(costs)):
        explained = share
        for lag in range(len(series)):
            turn = turns[label, lag]
            explained += series[lag].real * turn.real - series[lag].imag * turn.imag
        costs[label] = min(costs[label], max(1.0 - explained, 0.0))
