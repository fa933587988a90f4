"""Faults of the connection: it ends, or nothing comes through it."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import Field

from chistream_simulator.replaying.faults.base import Fault, MessageFault, wire_bytes
from chistream_simulator.replaying.items import Damage, HangUp, Item, Pause

_ENDINGS = {
    "close": "the connection closed",
    "reset": "the connection reset",
    "half": "our side of the connection ended",
}


class Cut(MessageFault):
    """The connection ends in the middle of a message, at a random byte."""

    kind = "cut"
    how: Literal["close", "reset", "half"] = Field(
        default="close",
        description="close: FIN, both ways; reset: RST; half: only our side ends, we still listen",
    )

    @property
    def expects_close(self) -> bool:
        """Whether the client is still there after it to be told the end."""
        return self.how == "half"

    def strike(
        self, items: Iterator[Item], rng: np.random.Generator, n_readouts: int, number: int
    ) -> Iterator[Item]:
        """Damage a stream: see `Fault.strike`."""
        for item, hit, readout in self.hits(items, rng, n_readouts):
            if hit is not None:
                data = wire_bytes(hit)
                n_bytes = int(rng.integers(1, len(data)))
                where = f"{self.name} cut after {n_bytes} of {len(data)} bytes"
                yield Damage(number, readout, f"{where}, {_ENDINGS[self.how]}")
                yield data[:n_bytes]
                yield HangUp(self.how)
                return
            yield item


class Kill(Fault):
    """The client vanishes between two messages, without CLOSE: the connection is reset."""

    kind = "kill"

    @property
    def expects_close(self) -> bool:
        """Whether the client is still there after it to be told the end."""
        return False

    def strike(
        self, items: Iterator[Item], rng: np.random.Generator, n_readouts: int, number: int
    ) -> Iterator[Item]:
        """Damage a stream: see `Fault.strike`."""
        for item, hit, readout in self.hits(items, rng, n_readouts):
            yield item
            if hit is not None:
                yield Damage(number, readout, f"the client gone after it, {_ENDINGS['reset']}")
                yield HangUp("reset")
                return


class Stall(Fault):
    """The client sends nothing for a while, then goes on."""

    kind = "stall"
    seconds: float = Field(default=5.0, gt=0, le=86400, description="how long, in seconds")

    def strike(
        self, items: Iterator[Item], rng: np.random.Generator, n_readouts: int, number: int
    ) -> Iterator[Item]:
        """Damage a stream: see `Fault.strike`."""
        for item, hit, readout in self.hits(items, rng, n_readouts):
            if hit is not None:
                yield Damage(number, readout, f"held back for {self.seconds:g} s")
                yield Pause(self.seconds)
            yield item
