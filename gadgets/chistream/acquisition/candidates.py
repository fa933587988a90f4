"""K-space while it is not decided yet which measurement of a line counts."""

import heapq
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from typing_extensions import override

from chistream.acquisition.kspace import KSpace
from chistream.acquisition.lines import Line, own_pages
from chistream.arrays import ComplexArray, IntArray, RealArray, Size

Rank: TypeAlias = tuple[float, float]

_SLOTS_PER_BLOCK = 64

_BIN = 0.5
"""Measurements of a line in the same bin of position [mm] are one: they are added up."""


class Offer(NamedTuple):
    """One measurement of a line.

    Parameters
    ----------
    distance
        How far from where it is wanted it was measured [mm]; less is better, inf if unknown.
    time
        When [s]; the earlier of two equals is better.
    position
        Displacement of the diaphragm [mm]; NaN if unknown.
    is_steady
        Whether a window elsewhere would take it.
    """

    distance: float
    time: float
    position: float
    is_steady: bool

    @property
    def rank(self) -> Rank:
        """Less is better, whether steady or not: nearer was better, measured on simulated scans."""
        return self.distance, self.time

    @property
    def bin_rank(self) -> Rank:
        """Less is better, and all in one bin of position are equal."""
        if not self.is_steady:
            return self.rank
        middle = (np.floor(self.position / _BIN) + 0.5) * _BIN
        return abs(middle), middle


@dataclass
class Pooled:
    """Measurements of a line in one bin of position, whose samples are added up.

    Parameters
    ----------
    rank
        Less is better.
    is_steady
        Whether a window may take it.
    n
        Number of measurements.
    total
        Sum of their positions [mm].
    """

    rank: Rank
    is_steady: bool
    n: int
    total: float

    @property
    def position(self) -> float:
        """Mean displacement of the diaphragm [mm]; the order of adding must not choose a window."""
        return round(self.total / self.n, 6)

    def lies_in(self, low: float, high: float) -> bool:
        """Tell whether a window [mm] takes it."""
        return self.is_steady and low <= self.position <= high


class Reserve:
    """Measurements that are not the best of their line now, and may be once the window is known.

    As many are kept as k-space has lines, those nearest to end-expiration. Their samples share
    blocks of memory, and a place that falls free is used again.

    Parameters
    ----------
    capacity
        Largest number of sums.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._blocks: list[ComplexArray] = []
        self._free: list[int] = []
        self._heap: list[tuple[float, float, Line]] = []
        self._held: dict[tuple[Line, Rank], tuple[Pooled, int]] = {}

    def add(self, line: Line, values: ComplexArray, position: float, rank: Rank) -> bool:
        """Add a measurement ``(coils, x)`` to its bin; False if there is none yet."""
        held = self._held.get((line, rank))
        if held is None:
            return False
        pooled, slot = held
        self._place(slot)[...] += values
        pooled.n += 1
        pooled.total += position
        return True

    def put(self, line: Line, values: ComplexArray, pooled: Pooled) -> None:
        """Keep a sum of measurements ``(coils, x)``, if it is among the nearest."""
        if not pooled.is_steady or not self.capacity:
            return
        entry = (-pooled.rank[0], -pooled.rank[1], line)
        if len(self._heap) >= self.capacity:
            farthest = heapq.heappushpop(self._heap, entry)
            if farthest == entry:
                return
            rank = (-farthest[0], -farthest[1])
            self._free.append(self._held.pop((farthest[2], rank))[1])
        else:
            heapq.heappush(self._heap, entry)
        slot = self._slot(values.shape)
        self._place(slot)[...] = values
        self._held[line, pooled.rank] = (pooled, slot)

    def by_line(self) -> dict[Line, list[tuple[Pooled, ComplexArray]]]:
        """Return what is kept, the best of each line first."""
        found: dict[Line, list[tuple[Pooled, ComplexArray]]] = {}
        for (line, _), (pooled, slot) in sorted(self._held.items(), key=lambda item: item[0]):
            found.setdefault(line, []).append((pooled, self._place(slot)))
        return found

    def _slot(self, shape: tuple[int, ...]) -> int:
        if not self._free:
            start = _SLOTS_PER_BLOCK * len(self._blocks)
            self._blocks.append(own_pages((_SLOTS_PER_BLOCK, *shape)))
            self._free = list(range(start + _SLOTS_PER_BLOCK - 1, start - 1, -1))
        return self._free.pop()

    def _place(self, slot: int) -> ComplexArray:
        block, index = divmod(slot, _SLOTS_PER_BLOCK)
        place: ComplexArray = self._blocks[block][index]
        return place


class GatedKSpace(KSpace):
    """K-space with weights, mean positions, and a reserve of other measurements.

    Parameters
    ----------
    n_echoes, n_coils, size
        As in `KSpace`.
    keeps_reserve
        Whether what is not the best of its line is kept.
    """

    def __init__(self, n_echoes: int, n_coils: int, size: Size, *, keeps_reserve: bool) -> None:
        super().__init__(n_echoes, n_coils, size)
        shape = (n_echoes, *size[:2])
        self._weights: RealArray = np.zeros(shape)
        self._moments: RealArray = np.zeros(shape)
        self._best: dict[Line, Pooled] = {}
        self._reserve = Reserve(int(np.prod(shape)) if keeps_reserve else 0)

    @property
    def n_accepted(self) -> int:
        """Number of lines that hold something accepted."""
        return int((self._counts > 0).sum())

    @property
    def positions(self) -> RealArray:
        """Weighted mean displacement at each line ``(echoes, z, y)`` [mm]; 0 if unknown."""
        has_weight = self._weights > 0
        means = self._moments / np.where(has_weight, self._weights, 1.0)
        return np.nan_to_num(np.where(has_weight, means, 0.0))

    def weigh(self, line: Line, values: ComplexArray, position: float, weight: float = 1.0) -> None:
        """Average a readout ``(coils, x)``, measured at a position [mm], into its line."""
        if not self._counts[line]:
            self._weights[line] = self._moments[line] = 0.0  # a stand-in's
        self.accept(line, values if weight == 1.0 else np.float32(weight) * values)
        self._weights[line] += weight
        self._moments[line] += weight * position

    def offer(self, line: Line, values: ComplexArray, offer: Offer) -> None:
        """Use a readout ``(coils, x)`` if its line has nothing better; keep the other."""
        if self._counts[line]:
            return
        rank = offer.bin_rank if self._reserve.capacity else offer.rank
        held = self._best.get(line)
        if held is not None and held.rank == rank:
            self._samples(line)[...] += values
            held.n += 1
            held.total += offer.position
            self._weights[line], self._moments[line] = held.n, held.total
        elif held is None or rank < held.rank:
            if held is not None:
                self._reserve.put(line, self._samples(line), held)
            self._hold(line, values, Pooled(rank, offer.is_steady, 1, offer.position))
        elif not self._reserve.add(line, values, offer.position, rank):
            self._reserve.put(line, values, Pooled(rank, offer.is_steady, 1, offer.position))

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
        chosen = [(p.position, line) for p, line in known if p.is_steady and not line.echo]
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

    @override
    def mean(self) -> ComplexArray:
        for echo, z, y in np.argwhere((self._weights > 0) & (self._weights != 1.0)):
            self._values[echo, :, z, y] *= np.float32(1 / self._weights[echo, z, y])
        self._moments /= np.where(self._weights > 0, self._weights, 1.0)
        self._weights = (self._weights > 0).astype(float)
        np.minimum(self._counts, 1, out=self._counts)
        return self._values

    def _samples(self, line: Line) -> ComplexArray:
        samples: ComplexArray = self._values[line.echo, :, line.step_2, line.step_1]
        return samples

    def _hold(self, line: Line, values: ComplexArray, pooled: Pooled) -> None:
        self._best[line] = pooled
        self._samples(line)[...] = values
        self._distance[line], self._time[line] = pooled.rank[0], 0.0
        self._weights[line], self._moments[line] = pooled.n, pooled.total

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
    total = sum(one.total for one, _ in pooled)
    return Pooled(pooled[0][0].rank, is_steady=True, n=n, total=total)
