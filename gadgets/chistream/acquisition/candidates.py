"""K-space while it is not decided yet which measurement of a line counts."""

import heapq
from typing import NamedTuple

import numpy as np
from typing_extensions import override

from chistream.acquisition.kspace import KSpace
from chistream.acquisition.lines import Line, own_pages
from chistream.arrays import ComplexArray, RealArray, Size

_SLOTS_PER_BLOCK = 64


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


class Reserve:
    """Measurements that are not the best of their line now, and may be once the window is known.

    As many are kept as k-space has lines, those nearest to end-expiration. Their samples share
    blocks of memory, and a place that falls free is used again.

    Parameters
    ----------
    capacity
        Largest number of measurements.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._blocks: list[ComplexArray] = []
        self._free: list[int] = []
        self._heap: list[tuple[float, float, Line]] = []
        self._held: dict[tuple[Line, float], tuple[Offer, int]] = {}

    def put(self, line: Line, values: ComplexArray, offer: Offer) -> None:
        """Keep a measurement ``(coils, x)``, if it is among the nearest."""
        if not offer.is_steady or not self._capacity or (line, offer.time) in self._held:
            return
        entry = (-offer.distance, -offer.time, line)
        if len(self._heap) >= self._capacity:
            farthest = heapq.heappushpop(self._heap, entry)
            if farthest == entry:
                return
            self._free.append(self._held.pop((farthest[2], -farthest[1]))[1])
        else:
            heapq.heappush(self._heap, entry)
        slot = self._slot(values.shape)
        self._place(slot)[...] = values
        self._held[line, offer.time] = (offer, slot)

    def by_line(self) -> dict[Line, list[tuple[Offer, ComplexArray]]]:
        """Return what is kept, the earliest of each line first."""
        found: dict[Line, list[tuple[Offer, ComplexArray]]] = {}
        for (line, _), (offer, slot) in sorted(self._held.items()):
            found.setdefault(line, []).append((offer, self._place(slot)))
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
        self._best: dict[Line, Offer] = {}
        self.reserve = Reserve(int(np.prod(shape)) if keeps_reserve else 0)

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
        held = self._best.get(line)
        if self._counts[line] or (held is not None and held[:2] <= offer[:2]):
            self.reserve.put(line, values, offer)
            return
        if held is not None:
            self.reserve.put(line, self._values[line.echo, :, line.step_2, line.step_1], held)
        self._best[line] = offer
        self.stand_in(line, values, offer.distance, offer.time)
        self._weights[line], self._moments[line] = 1.0, offer.position

    def decide(self, low: float, high: float) -> None:
        """Accept what was measured between two positions [mm]; lines without keep the nearest.

        Parameters
        ----------
        low, high
            Ends of the window [mm].
        """
        others = self.reserve.by_line()
        middle = (low + high) / 2
        for line, offer in self._best.items():
            inside = [one for one in others.get(line, []) if _is_inside(one[0], low, high)]
            if _is_inside(offer, low, high):
                self._counts[line] = 1  # its samples are in place
            elif not inside:
                self._settle_for(line, offer, others.get(line, []), middle)
            for one, values in inside:
                self.weigh(line, values, one.position)

    @override
    def mean(self) -> ComplexArray:
        for echo, z, y in np.argwhere((self._counts > 0) & (self._weights != self._counts)):
            self._values[echo, :, z, y] *= np.float32(
                self._counts[echo, z, y] / self._weights[echo, z, y]
            )
        return super().mean()

    def _settle_for(
        self, line: Line, held: Offer, others: list[tuple[Offer, ComplexArray]], middle: float
    ) -> None:
        """Let the measurement nearest to the window stand in, if one is nearer than what does."""
        nearest = min(others, key=lambda one: abs(one[0].position - middle), default=None)
        if nearest is None:
            return
        offer, values = nearest
        if not held.is_steady or abs(offer.position - middle) < abs(held.position - middle):
            self._values[line.echo, :, line.step_2, line.step_1] = values
            self._moments[line] = offer.position


def _is_inside(offer: Offer, low: float, high: float) -> bool:
    return offer.is_steady and low <= offer.position <= high
