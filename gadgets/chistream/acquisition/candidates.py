"""Measurements of lines: what is offered, and a reserve of those that may count later."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from typing_extensions import Self

from chistream.acquisition.lines import Line, own_pages
from chistream.arrays import ComplexArray

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
    totals
        Sums of their positions [mm] and of their times [s].
    """

    rank: Rank
    is_steady: bool
    n: int
    totals: tuple[float, float]

    @classmethod
    def of(cls, offer: Offer, rank: Rank) -> Self:
        """Begin with one measurement."""
        return cls(rank, offer.is_steady, 1, (offer.position, offer.time))

    def add(self, offer: Offer) -> None:
        """Add another of the same bin."""
        position, time = self.totals
        self.n += 1
        self.totals = position + offer.position, time + offer.time

    @property
    def position(self) -> float:
        """Mean displacement of the diaphragm [mm]; the order of adding must not choose a window."""
        return round(self.totals[0] / self.n, 6)

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

    def add(self, line: Line, values: ComplexArray, offer: Offer, rank: Rank) -> bool:
        """Add a measurement ``(coils, x)`` to its bin; False if there is none yet."""
        held = self._held.get((line, rank))
        if held is None:
            return False
        pooled, slot = held
        self._place(slot)[...] += values
        pooled.add(offer)
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

    def recombine(self, apply: Callable[[ComplexArray], ComplexArray]) -> None:
        """Combine the coils of all that is kept; apply turns ``(n, coils, x)`` into others."""
        for number, block in enumerate(self._blocks):
            combined = apply(block)
            self._blocks[number] = own_pages(combined.shape)
            self._blocks[number][...] = combined

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
