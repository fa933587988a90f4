"""Faults of what is sent: too often, not at all, out of turn, of a wrong size, or nonsense."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import Field

from chistream.stream.messages import ACQUISITION_HEAD, Acquisitions
from chistream_simulator.replaying.faults.base import Fault, MessageFault, singled_out, wire_bytes
from chistream_simulator.replaying.items import Damage, Item

_ID_BYTES = 2
_LARGEST_SIZE = 2**16 - 1


class _ReadoutsFault(Fault):
    """A fault of several readouts."""

    count: int | None = Field(
        default=None,
        ge=1,
        description="how many readouts; by default 1 in 100, or with at=... that one",
    )

    def n_hit(self, n_readouts: int) -> int:
        """Return how many of so many readouts it hits."""
        return self.count or (1 if self.at else max(1, n_readouts // 100))


class Duplicate(_ReadoutsFault):
    """Some readouts are sent twice."""

    kind = "duplicate"

    def n_after(self, n_readouts: int) -> int:
        """Return how many of so many readouts are readouts after it."""
        return n_readouts + self.n_hit(n_readouts)

    def strike(
        self, items: Iterator[Item], rng: np.random.Generator, n_readouts: int, number: int
    ) -> Iterator[Item]:
        """Damage a stream: see `Fault.strike`."""
        for item, hit, readout in self.hits(items, rng, n_readouts):
            yield item
            if hit is not None:
                yield Damage(number, readout, "sent again")
                yield hit


class Drop(_ReadoutsFault):
    """Some readouts are left out."""

    kind = "drop"

    def n_after(self, n_readouts: int) -> int:
        """Return how many of so many readouts are readouts after it."""
        return n_readouts - self.n_hit(n_readouts)

    def strike(
        self, items: Iterator[Item], rng: np.random.Generator, n_readouts: int, number: int
    ) -> Iterator[Item]:
        """Damage a stream: see `Fault.strike`."""
        for item, hit, readout in self.hits(items, rng, n_readouts):
            yield item if hit is None else Damage(number, readout, "left out")


class Reorder(_ReadoutsFault):
    """Some readouts come later than their turn."""

    kind = "reorder"
    n_behind = 1
    window: int = Field(default=8, ge=1, le=4096, description="readouts that may overtake one")

    def strike(
        self, items: Iterator[Item], rng: np.random.Generator, n_readouts: int, number: int
    ) -> Iterator[Item]:
        """Damage a stream: see `Fault.strike`."""
        targets = self.targets(rng, n_readouts)
        late = {target: self._place(target, targets, rng, n_readouts) for target in targets}
        held: list[tuple[int, Item]] = []
        for item, readout in singled_out(items, {*late, *late.values()}):
            if readout in late:
                held.append((late[readout], item))
                yield Damage(number, readout, f"sent after readout {late[readout]}")
            else:
                yield item
            if readout is not None:
                yield from (waiting for place, waiting in held if place <= readout)
                held = [(place, waiting) for place, waiting in held if place > readout]

    def _place(
        self, target: int, targets: list[int], rng: np.random.Generator, n_readouts: int
    ) -> int:
        """Choose the readout that one comes after; not one that is late itself."""
        place = target + int(rng.integers(1, self.window + 1))
        while place in targets:
            place += 1
        return min(place, n_readouts)


class Garbage(MessageFault):
    """Random bytes in the place of a message, or flipped bits in it."""

    kind = "garbage"
    how: Literal["replace", "flip"] = Field(
        default="replace",
        description="replace: as many random bytes; flip: flipped bits in its head or its text",
    )
    bits: int = Field(default=8, ge=1, le=1024, description="bits to flip")

    def n_after(self, n_readouts: int) -> int:
        """Return how many of so many readouts are readouts after it."""
        return n_readouts - self.n_hit(n_readouts)

    def strike(
        self, items: Iterator[Item], rng: np.random.Generator, n_readouts: int, number: int
    ) -> Iterator[Item]:
        """Damage a stream: see `Fault.strike`."""
        for item, hit, readout in self.hits(items, rng, n_readouts):
            if hit is None:
                yield item
            elif self.how == "flip":
                yield Damage(number, readout, f"{self.name}: {_counted(self.bits)} flipped")
                yield self._flipped(wire_bytes(hit), rng)
            else:
                n_bytes = len(wire_bytes(hit))
                yield Damage(number, readout, f"{self.name}: {n_bytes} random bytes instead")
                yield rng.bytes(n_bytes)

    def _flipped(self, data: bytes, rng: np.random.Generator) -> bytes:
        flipped = np.frombuffer(data, np.uint8).copy()
        # CLOSE has no more than its id.
        head = flipped[_ID_BYTES:] if len(data) > _ID_BYTES else flipped
        if self.message == "readout":
            head = head[: ACQUISITION_HEAD.itemsize]
        places = rng.permutation(8 * len(head))[: self.bits]
        np.bitwise_xor.at(head, places // 8, (1 << (places % 8)).astype(np.uint8))
        return flipped.tobytes()


class WrongSize(Fault):
    """A readout of another size than the others, or with a head that lies about its size."""

    kind = "wrong-size"
    how: Literal["samples", "channels", "head"] = Field(
        default="samples",
        description="samples, channels: a readout with more or fewer of them; "
        "head: only its head says so",
    )

    def n_after(self, n_readouts: int) -> int:
        """Return how many of so many readouts are readouts after it."""
        return n_readouts - (self.how == "head")

    def strike(
        self, items: Iterator[Item], rng: np.random.Generator, n_readouts: int, number: int
    ) -> Iterator[Item]:
        """Damage a stream: see `Fault.strike`."""
        for item, hit, readout in self.hits(items, rng, n_readouts):
            if isinstance(hit, Acquisitions):
                yield from self._resized(hit, rng, number, readout)
            else:
                yield item

    def _resized(
        self, run: Acquisitions, rng: np.random.Generator, number: int, readout: int | None
    ) -> Iterator[Item]:
        axis, name = (1, "channels") if self.how == "channels" else (2, "samples")
        before = run.samples.shape[axis]
        after = _other_size(before, rng)
        heads = run.heads.copy()
        heads["active_channels" if axis == 1 else "number_of_samples"] = after
        if self.how == "head":
            data = wire_bytes(run)
            yield Damage(number, readout, f"{after} {name} in its head, {before} behind it")
            yield data[:_ID_BYTES] + heads.tobytes() + data[_ID_BYTES + heads.nbytes :]
            return
        yield Damage(number, readout, f"{after} {name} instead of {before}")
        repeated = np.arange(after) % before
        trajectories = run.trajectories[:, repeated] if axis == 2 else run.trajectories
        yield Acquisitions(heads, np.take(run.samples, repeated, axis), trajectories)


def _other_size(size: int, rng: np.random.Generator) -> int:
    """Choose a size between 1 and twice the right one, but not that."""
    others = [n for n in range(1, min(2 * size, _LARGEST_SIZE) + 1) if n != size]
    return int(rng.choice(others))


def _counted(bits: int) -> str:
    return "1 bit" if bits == 1 else f"{bits} bits"
