"""What every fault has, and how several of them act on one stream.

A fault is a function of a stream: messages in; messages, bytes, pauses and the end of the
connection out, with a note before everything it damages. It knows no socket and no clock, and all
its chance comes from a generator with a seed: the same seed does the same damage, however the
readouts are divided into runs.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from typing import ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self

from chistream.stream.codec import encode
from chistream.stream.messages import (
    Acquisitions,
    Close,
    ConfigFile,
    ConfigText,
    Header,
    Message,
    Text,
)
from chistream_simulator.replaying.items import Item, ReplayError, split

Hit: TypeAlias = tuple[Item, Message | None, int | None]
"""An item, the same if it is a message to be hit, and its number if that is a readout."""

_PARTS: dict[str, tuple[type[Message], ...]] = {
    "config": (ConfigFile, ConfigText),
    "header": (Header,),
    "text": (Text,),
    "close": (Close,),
}


class Fault(BaseModel, ABC):
    """A fault that has been asked for, with its options as fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str]
    n_behind: ClassVar[int] = 0
    """Readouts that must follow the last one hit."""

    at: int | None = Field(
        default=None, ge=1, description="the readout, counted from 1; by default any"
    )
    seed: int | None = Field(
        default=None, ge=0, description="seed of this fault, instead of that of all"
    )

    @property
    def expects_close(self) -> bool:
        """Whether the client is still there after it to be told the end."""
        return True

    def n_hit(self, n_readouts: int) -> int:  # noqa: ARG002
        """Return how many of so many readouts it hits."""
        return 1

    def n_after(self, n_readouts: int) -> int:
        """Return how many of so many readouts are readouts after it."""
        return n_readouts

    def check(self, n_readouts: int) -> None:
        """Make sure that a scan has the readouts to be hit.

        Raises
        ------
        ReplayError
            If it has too few.
        """
        last = (self.at or 1) - 1 + self.n_hit(n_readouts) + self.n_behind
        if last > n_readouts:
            raise ReplayError(
                f"fault {self.kind}: it takes a scan of at least {last} readouts, not {n_readouts}"
            )

    @abstractmethod
    def strike(
        self, items: Iterator[Item], rng: np.random.Generator, n_readouts: int, number: int
    ) -> Iterator[Item]:
        """Damage a stream.

        Parameters
        ----------
        items
            What would be sent.
        rng
            Where chance comes from.
        n_readouts
            Readouts in the stream.
        number
            Of this fault among those asked for, for its notes.

        Yields
        ------
        Item
            What is sent instead.
        """

    def targets(self, rng: np.random.Generator, n_readouts: int) -> list[int]:
        """Choose the readouts to hit, counted from 1, ascending."""
        n = self.n_hit(n_readouts)
        if self.at is not None:
            return list(range(self.at, self.at + n))
        # Permuted, not drawn with choice(): that is the same for one target and for several.
        chosen = rng.permutation(n_readouts - self.n_behind)[:n]
        return sorted(1 + int(target) for target in chosen)

    def hits(
        self, items: Iterator[Item], rng: np.random.Generator, n_readouts: int
    ) -> Iterator[Hit]:
        """Yield every item, and tell which are to be hit."""
        for item, number in singled_out(items, self.targets(rng, n_readouts)):
            yield item, item if isinstance(item, Acquisitions) and number else None, number


class MessageFault(Fault):
    """A fault of one message, of any kind."""

    message: Literal["readout", "config", "header", "text", "close"] = Field(
        default="readout",
        description="what is hit: a readout, or the config, header, text or close",
    )

    @model_validator(mode="after")
    def _check_place(self) -> Self:
        if self.at is not None and self.message != "readout":
            raise ValueError(f"at=... counts readouts; there is but one {self.message}")
        return self

    @property
    def name(self) -> str:
        """The message that is hit, in words."""
        return {"readout": "readout", "close": "CLOSE"}.get(self.message, f"the {self.message}")

    def n_hit(self, n_readouts: int) -> int:  # noqa: ARG002
        """Return how many of so many readouts it hits."""
        return int(self.message == "readout")

    def hits(
        self, items: Iterator[Item], rng: np.random.Generator, n_readouts: int
    ) -> Iterator[Hit]:
        """Yield every item, and tell which are to be hit."""
        if self.message == "readout":
            yield from super().hits(items, rng, n_readouts)
        else:
            for item in items:
                hit: Message | None = None
                if isinstance(item, _PARTS[self.message]):
                    hit = item
                yield item, hit, None


def strike_all(
    faults: Sequence[Fault], items: Iterator[Item], n_readouts: int, seed: int
) -> Iterator[Item]:
    """Damage a stream with several faults, each on what the one before has left.

    Parameters
    ----------
    faults
        The faults, in their order.
    items
        What would be sent.
    n_readouts
        Readouts in it.
    seed
        Where all chance comes from; two faults of one kind still differ by their place.

    Returns
    -------
    Iterator[Item]
        What is sent.

    Raises
    ------
    ReplayError
        If the scan has not the readouts that a fault is to hit.
    """
    for number, fault in enumerate(faults):
        fault.check(n_readouts)
        rng = np.random.default_rng([seed if fault.seed is None else fault.seed, number])
        items = fault.strike(items, rng, n_readouts, number)
        n_readouts = fault.n_after(n_readouts)
    return items


def wire_bytes(message: Message) -> bytes:
    """Return a message as it would be sent."""
    return b"".join(encode(message))


def singled_out(
    items: Iterator[Item], numbers: Collection[int]
) -> Iterator[tuple[Item, int | None]]:
    """Yield items, with the readouts of these numbers alone.

    Parameters
    ----------
    items
        A stream.
    numbers
        Of readouts, counted from 1.

    Yields
    ------
    Item
        The same stream, its runs cut.
    int or None
        The number, of the readouts asked for.
    """
    wanted: npt.NDArray[np.int64] = np.sort(np.array([*numbers], np.int64))
    first = 1
    for item in items:
        if not isinstance(item, Acquisitions):
            yield item, None
            continue
        low, high = np.searchsorted(wanted, [first, first + len(item)])
        here = (wanted[low:high] - first).tolist()
        at = 0
        for run in split(item, [cut for place in here for cut in (place, place + 1)]):
            yield run, first + at if at in here else None
            at += len(run)
        first += len(item)
