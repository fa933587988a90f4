"""What a replay's stream is made of, besides messages."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from chistream.errors import ChiStreamError
from chistream.stream.messages import Acquisitions, Message


class ReplayError(ChiStreamError):
    """The replay cannot be done as asked, or the server did not do its part."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing is sent for some time.

    Parameters
    ----------
    seconds
        How long [s].
    """

    seconds: float


@dataclass(frozen=True, slots=True)
class HangUp:
    """The connection ends here, without CLOSE.

    Parameters
    ----------
    how
        ``close``: in order (FIN), both ways. ``half``: only our side ends, we still listen.
        ``reset``: at once (RST), as when a process dies or a machine restarts.
    """

    how: str


@dataclass(frozen=True, slots=True)
class Damage:
    """A note in the stream: the next thing is a fault that somebody asked for.

    Parameters
    ----------
    fault
        Which of the faults asked for, from 0.
    readout
        The readout that was hit, counted from 1 in the order of the stream; None if it was
        another message.
    what
        What was done to it, in words.
    """

    fault: int
    readout: int | None
    what: str


Item: TypeAlias = Message | bytes | Pause | HangUp | Damage
"""Bytes are sent as they are."""


def part(run: Acquisitions, begin: int, end: int) -> Acquisitions:
    """Return the readouts from ``begin`` to before ``end`` of a run; views, no copies."""
    return Acquisitions(run.heads[begin:end], run.samples[begin:end], run.trajectories[begin:end])


def split(run: Acquisitions, cuts: list[int]) -> Iterator[Acquisitions]:
    """Cut a run into runs that are not empty.

    Parameters
    ----------
    run
        Readouts.
    cuts
        Indices that parts begin at; those outside the run are passed over.

    Yields
    ------
    Acquisitions
        The parts, in order.
    """
    bounds = sorted({0, len(run), *(cut for cut in cuts if 0 < cut < len(run))})
    yield from (part(run, begin, end) for begin, end in pairwise(bounds))
