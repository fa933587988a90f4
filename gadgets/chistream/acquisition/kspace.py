"""K-space as it fills: what was accepted, and stand-ins where nothing was."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from chistream.acquisition.candidates import Offer, Pooled, Reserve
from chistream.acquisition.lines import Line
from chistream.arrays import ComplexArray, IntArray, Mask, RealArray, Size

Array = TypeVar("Array", ComplexArray, IntArray, Mask, RealArray)


class KSpace:
    """One volume of every echo and coil; holds one value for each sample.

    A line is either the weighted sum of all that was accepted for it, or, as long as nothing was
    accepted, the best of what was offered. The order of arrival does not matter.

    Parameters
    ----------
    n_echoes, n_coils
        Numbers of echoes and coils.
    size
        Size ``(z, y, x)``; z and y in the scan's own counters. A line of an echo beyond makes room
        for as many echoes again: those of a further repetition.
    keeps_reserve
        Whether what is not the best of its line is kept, until a window is chosen.
    """

    def __init__(self, n_echoes: int, n_coils: int, size: Size, *, keeps_reserve: bool) -> None:
        shape = (n_echoes, *size[:2])
        self.n_echoes = n_echoes
        self._values: ComplexArray = np.zeros((n_echoes, n_coils, *size), np.complex64)
        self._counts: IntArray = np.zeros(shape, np.int32)
        self._is_held: Mask = np.zeros(shape, dtype=bool)
        self._weights: RealArray = np.zeros(shape)
        # Weighted sums of positions and of times.
        self._moments: RealArray = np.zeros((*shape, 2))
        self._best: dict[Line, Pooled] = {}
        self._reserve = Reserve(int(np.prod(shape)) if keeps_reserve else 0)

    @property
    def n_repetitions(self) -> int:
        """Number of repetitions of which there is a line."""
        return len(self._counts) // self.n_echoes

    @property
    def is_filled_from_rejected(self) -> Mask:
        """Lines that hold a stand-in ``(echoes, z, y)``."""
        is_stand_in: Mask = (self._counts == 0) & self._is_held
        return is_stand_in

    @property
    def is_sampled(self) -> Mask:
        """Lines that hold anything ``(echoes, z, y)``."""
        is_sampled: Mask = (self._counts > 0) | self._is_held
        return is_sampled

    @property
    def counts(self) -> IntArray:
        """Number of measurements that were accepted for each line ``(echoes, z, y)``."""
        return self._counts

    @property
    def accepted_weights(self) -> RealArray:
        """Weight of what was accepted for each line ``(echoes, z, y)``; 0 where nothing was."""
        weights: RealArray = np.where(self._counts > 0, self._weights, 0.0)
        return weights

    @property
    def n_accepted(self) -> int:
        """Number of lines that hold something accepted, in any repetition."""
        accepted = (self._counts > 0).reshape(-1, self.n_echoes, *self._counts.shape[1:])
        return int(accepted.any(axis=0).sum())

    @property
    def positions(self) -> RealArray:
        """Weighted mean displacement at each line ``(echoes, z, y)`` [mm]; 0 if unknown."""
        return self._means(0)

    @property
    def times(self) -> RealArray:
        """Weighted mean time of each line ``(echoes, z, y)`` [s]; 0 where there is none."""
        return self._means(1)

    def weigh(
        self,
        line: Line,
        values: ComplexArray,
        position: float,
        weight: float = 1.0,
        *,
        time: float = 0.0,
    ) -> None:
        """Average a readout into its line.

        Parameters
        ----------
        line
            Where it belongs.
        values
            Samples ``(coils, x)``.
        position
            Displacement of the diaphragm [mm].
        weight
            How much it counts, > 0.
        time
            When it was measured [s].
        """
        self._make_room(line)
        if not self._counts[line]:
            self._weights[line] = self._moments[line] = 0.0  # a stand-in's
        weighted = values if weight == 1.0 else np.float32(weight) * values
        if self._counts[line]:
            self._samples(line)[...] += weighted
        else:
            self._samples(line)[...] = weighted
        self._counts[line] += 1
        self._weights[line] += weight
        self._moments[line] += (weight * position, weight * time)

    def offer(self, line: Line, values: ComplexArray, offer: Offer) -> None:
        """Use a readout ``(coils, x)`` if its line has nothing better; keep the other."""
        self._make_room(line)
        if self._counts[line]:
            return
        rank = offer.bin_rank if self._reserve.capacity else offer.rank
        held = self._best.get(line)
        if held is not None and held.rank == rank:
            self._samples(line)[...] += values
            held.add(offer)
            self._weights[line], self._moments[line] = held.n, held.totals
        elif held is None or rank < held.rank:
            if held is not None:
                self._reserve.put(line, self._samples(line), held)
            self._hold(line, values, Pooled.of(offer, rank))
        elif not self._reserve.add(line, values, offer, rank):
            self._reserve.put(line, values, Pooled.of(offer, rank))

    def candidates(self) -> tuple[RealArray, IntArray]:
        """Return what a window may choose from in the first echo.

        Returns
        -------
        positions : RealArray
            Displacements ``(n,)`` [mm].
        lines : IntArray
            Number of the line of each ``(n,)``.
        """
        known = [(pooled, line) for line, pooled in self._best.items()]
        known += [(one, line) for line, kept in self._reserve.by_line().items() for one, _ in kept]
        chosen = [
            (p.position, line) for p, line in known if p.is_steady and not line.echo % self.n_echoes
        ]
        n_y = self._counts.shape[2]
        positions = np.array([position for position, _ in chosen])
        return positions, np.array([line.step_2 * n_y + line.step_1 for _, line in chosen], int)

    def decide(self, low: float, high: float) -> None:
        """Accept what was measured between two positions [mm]; lines without keep the nearest.

        Parameters
        ----------
        low, high
            Ends of the window [mm].
        """
        others = self._reserve.by_line()
        for line, held in self._best.items():
            inside = [one for one in others.get(line, []) if one[0].lies_in(low, high)]
            if held.lies_in(low, high):
                inside.append((held, self._samples(line)))
                if len(inside) == 1:
                    self._counts[line] = 1  # its samples are in place
                    continue
            elif not inside:
                self._settle_for(line, held, others.get(line, []), (low + high) / 2)
                continue
            self._hold(line, np.sum([values for _, values in inside], axis=0), _sum_of(inside))
            self._counts[line] = 1

    def recombine(self, apply: Callable[[ComplexArray], ComplexArray]) -> None:
        """Combine the coils of all that is held to others.

        Parameters
        ----------
        apply
            Turns lines ``(n, coils, x)`` into ``(n, other coils, x)``.
        """
        n_echoes, n_coils, nz, ny, nx = self._values.shape
        n_virtual = apply(np.zeros((1, n_coils, nx), np.complex64)).shape[1]
        combined = self._values  # as many coils need no second k-space
        if n_virtual != n_coils:
            combined = np.zeros((n_echoes, n_virtual, nz, ny, nx), np.complex64)
        is_sampled = self.is_sampled
        for echo, z in np.argwhere(is_sampled.any(axis=2)):
            y = np.flatnonzero(is_sampled[echo, z])
            lines = apply(self._values[echo, :, z, y])
            combined[echo, :, z, y] = lines
        self._values = combined
        self._reserve.recombine(apply)

    def fold(self) -> None:
        """Add further repetitions to the first, without stand-ins where one has something better.

        Repetitions of one echo must have one phase, see `align_repetitions`.
        """
        n = self.n_echoes
        accepted = self._counts > 0
        by_echo = accepted.reshape(-1, n, *accepted.shape[1:]).any(axis=0)
        used = np.where(np.tile(by_echo, (len(accepted) // n, 1, 1)), accepted, self._is_held)
        for i, is_used in enumerate(used):
            self._values[i] *= is_used[None, :, :, None]
            self._weights[i] *= is_used
            self._moments[i] = np.where(is_used[..., None], self._moments[i], 0.0)
            if i >= n:
                self._values[i % n] += self._values[i]
                self._weights[i % n] += self._weights[i]
                self._moments[i % n] += self._moments[i]
                self._counts[i % n] += self._counts[i]
                self._is_held[i % n] |= self._is_held[i]
        self._values, self._is_held = self._values[:n], self._is_held[:n]
        self._weights, self._moments = self._weights[:n], self._moments[:n]
        self._counts = self._counts[:n]

    def sums(self) -> tuple[ComplexArray, RealArray]:
        """Return weighted sums ``(echoes, coils, z, y, x)`` and their weights ``(echoes, z, y)``.

        Not copied. Echoes of further repetitions follow those of the first.
        """
        return self._values, self._weights

    def mean(self, factors: RealArray | None = None) -> ComplexArray:
        """Turn sums into means, in place.

        Parameters
        ----------
        factors
            What to multiply each echo with ``(echoes,)``, besides.

        Returns
        -------
        ComplexArray
            K-space ``(echoes, coils, z, y, x)`` complex64; the weights are 1 from here on.
        """
        safe = np.where(self._weights > 0, self._weights, 1.0)
        wanted = np.ones(self.n_echoes) if factors is None else factors
        for echo, factors_of_lines in enumerate(wanted[:, None, None] / safe):
            if (factors_of_lines != 1).any():
                self._values[echo] *= factors_of_lines.astype(np.float32)[None, :, :, None]
        self._moments /= safe[..., None]
        self._weights = (self._weights > 0).astype(float)
        np.minimum(self._counts, 1, out=self._counts)
        return self._values

    def _means(self, which: int) -> RealArray:
        has_weight = self._weights > 0
        means = self._moments[..., which] / np.where(has_weight, self._weights, 1.0)
        return np.nan_to_num(np.where(has_weight, means, 0.0))

    def _make_room(self, line: Line) -> None:
        """Add the echoes of a further repetition."""
        n_more = line.echo // self.n_echoes * self.n_echoes + self.n_echoes - len(self._counts)
        if n_more > 0:
            self._values = _longer(self._values, n_more)
            self._counts = _longer(self._counts, n_more)
            self._is_held = _longer(self._is_held, n_more)
            self._weights = _longer(self._weights, n_more)
            self._moments = _longer(self._moments, n_more)

    def _samples(self, line: Line) -> ComplexArray:
        samples: ComplexArray = self._values[line.echo, :, line.step_2, line.step_1]
        return samples

    def _hold(self, line: Line, values: ComplexArray, pooled: Pooled) -> None:
        self._best[line] = pooled
        self._samples(line)[...] = values
        self._is_held[line] = True
        self._weights[line], self._moments[line] = pooled.n, pooled.totals

    def _settle_for(
        self, line: Line, held: Pooled, others: list[tuple[Pooled, ComplexArray]], middle: float
    ) -> None:
        """Let the measurement nearest to the window stand in, if one is nearer than what does."""
        nearest = min(others, key=lambda one: abs(one[0].position - middle), default=None)
        # A position that is not known is no nearer than any.
        if nearest is not None and not (
            abs(held.position - middle) <= abs(nearest[0].position - middle)
        ):
            self._hold(line, nearest[1], nearest[0])


def _sum_of(pooled: list[tuple[Pooled, ComplexArray]]) -> Pooled:
    n = sum(one.n for one, _ in pooled)
    position, time = (sum(one.totals[i] for one, _ in pooled) for i in (0, 1))
    return Pooled(pooled[0][0].rank, is_steady=True, n=n, totals=(position, time))


def _longer(array: Array, n_more: int) -> Array:
    """Append zeros to the first axis; those that nobody writes to take no memory."""
    longer = np.zeros((len(array) + n_more, *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer
