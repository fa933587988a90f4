"""What came of a replay, for people and for programs."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chistream_simulator.replaying.faults.base import Fault
from chistream_simulator.replaying.items import Damage
from chistream_simulator.replaying.timeline import BeatCounter
from chistream_simulator.replaying.trace import SessionTrace

_SHOWN = 5
_ERROR_LEVELS = ("ERR", "CRITICAL")


@dataclass
class FaultResult:
    """What one of the faults asked for did.

    Parameters
    ----------
    fault
        As it was asked for.
    seed
        What its chance came from.
    struck
        What was hit, with the time since the connection [s].
    """

    fault: Fault
    seed: int
    struck: list[tuple[float, Damage]] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        """Whether it hit anything."""
        return bool(self.struck)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return {
            "fault": self.fault.kind,
            "options": self.fault.model_dump(exclude={"seed"}),
            "seed": self.seed,
            "done": self.is_done,
            "struck": {
                "at": [round(seconds, 6) for seconds, _ in self.struck],
                "readout": [damage.readout for _, damage in self.struck],
                "what": [damage.what for _, damage in self.struck],
            },
        }

    def summary(self) -> str:
        """Return it as a line for people."""
        shown = [damage for _, damage in self.struck[:_SHOWN]]
        rest = len(self.struck) - len(shown)
        more = f" and {rest} more" if rest else ""
        alike = {damage.what for _, damage in self.struck}
        if len(alike) == 1 and len(shown) > 1:
            numbers = ", ".join(str(damage.readout) for damage in shown)
            words = f"readouts {numbers}{more}: {alike.pop()}"
        else:
            words = "; ".join(map(_damage_in_words, shown)) + more
        told = words or "not done, the scan ended before"
        return f"fault {self.fault.kind} (seed {self.seed}): {told}"


@dataclass
class ScanResult:
    """What came of one session: one file, sent once.

    Parameters
    ----------
    path
        The raw file.
    session, client, repetition
        Which session it was, of all, counted from 1; by which client; for which time this client
        sent this file.
    group
        Group of its images in the output file, if there is one.
    n_total
        Readouts in the file.
    seed
        Where the chance of its faults comes from.
    connected
        Time of the connection on the replay's clock [s], None if there was none.
    n_readouts
        Readouts sent.
    n_images
        Images received.
    texts
        What the server said.
    is_sent
        Whether the whole scan was sent.
    is_closed
        Whether the server ended with CLOSE.
    first_image, last_image
        Time of the first and the last image after the last readout was sent [s]; negative if the
        image came earlier, None without images.
    sending
        Time from the connection to the last readout sent [s].
    total
        Time from the connection to its end [s].
    error
        Why the session broke off, None if it did not.
    faults
        What the faults asked for did.
    beats
        Counts the heartbeats of the readouts sent.
    trace
        The times of everything; None if nobody asked for them.
    """

    path: Path
    session: int = 1
    client: int = 1
    repetition: int = 1
    group: str = "dataset"
    n_total: int = 0
    seed: int = 0
    connected: float | None = None
    n_readouts: int = 0
    n_images: int = 0
    texts: list[str] = field(default_factory=list)
    is_sent: bool = False
    is_closed: bool = False
    first_image: float | None = None
    last_image: float | None = None
    sending: float = 0.0
    total: float = 0.0
    error: str | None = None
    faults: list[FaultResult] = field(default_factory=list)
    beats: BeatCounter = field(default_factory=BeatCounter, repr=False)
    trace: SessionTrace | None = field(default=None, repr=False)

    @property
    def succeeded(self) -> bool:
        """Whether the session went as it should.

        Without faults: the server took the whole scan, reported no error and ended with CLOSE.
        With faults: each of them was done, and the server ended with CLOSE, whatever it made of the
        damage; after a fault that takes the client away, nothing is expected of it.
        """
        if self.error is not None:
            return False
        if self.faults:
            return all(fault.is_done for fault in self.faults) and self.ended_in_order
        return self.is_sent and self.is_closed and not self._errors

    @property
    def ended_in_order(self) -> bool:
        """Whether the server ended with CLOSE, or a fault left it nobody to tell."""
        is_gone = any(f.is_done and not f.fault.expects_close for f in self.faults)
        return self.is_closed or is_gone

    @property
    def readouts_per_second(self) -> float | None:
        """Readouts by the time it took to send them [1/s]; None if none was sent."""
        return self.n_readouts / self.sending if self.sending > 0 else None

    def as_dict(self) -> dict[str, Any]:
        """Return the result as JSON takes it."""
        return {
            "session": self.session,
            "client": self.client,
            "repetition": self.repetition,
            "raw": str(self.path),
            "group": self.group,
            "succeeded": self.succeeded,
            "error": self.error,
            "readouts": self.n_readouts,
            "heartbeats": self.beats.n_beats,
            "images": self.n_images,
            "texts": self.texts,
            "sent": self.is_sent,
            "closed": self.is_closed,
            "seconds_to_first_image": _rounded(self.first_image),
            "seconds_to_last_image": _rounded(self.last_image),
            "seconds": _rounded(self.total),
            "readouts_per_second": _rounded(self.readouts_per_second),
            "faults": [fault.as_dict() for fault in self.faults],
        }

    def as_trace(self, start: float) -> dict[str, Any]:
        """Return the times as JSON takes them; ``start`` is that of the replay on its clock [s]."""
        about = ("session", "client", "repetition", "raw", "group", "succeeded", "error")
        result = self.as_dict()
        return {
            **{name: result[name] for name in about},
            "offset": _rounded(None if self.connected is None else self.connected - start),
            **(self.trace or SessionTrace()).as_dict(),
            "faults": result["faults"],
        }

    def summary(self) -> str:
        """Return the result as lines for people."""
        who = str(self.path) if self.group == "dataset" else f"{self.session} {self.path}"
        beats = f" of {self.beats.n_beats} heartbeats" if self.beats.n_beats else ""
        line = f"{who}: {self.n_readouts} readouts{beats} in {self.total:.2f} s, "
        line += f"{self.n_images} images"
        if self.first_image is not None and self.last_image is not None:
            line += f", the first {self.first_image:.2f} s and the last {self.last_image:.2f} s"
            line += " after the last readout"
        faults = [fault.summary() for fault in self.faults]
        ending = f"; {self.reason}" if self.reason else ""
        return "\n".join([line + ending, *faults, *self.texts])

    @property
    def reason(self) -> str:
        """How the session ended, in words, if that was not with a CLOSE after the whole scan."""
        if self.error is not None:
            return self.error
        if not self.ended_in_order:
            return "the server ended without CLOSE"
        if not self.is_closed:
            return "the client was gone before the end, as asked"
        if not self.is_sent:
            return "the server ended before it had the whole scan"
        return ""

    @property
    def failure(self) -> str:
        """Why it did not succeed, in words; empty if it did."""
        if self.succeeded:
            return ""
        undone = [fault.summary() for fault in self.faults if not fault.is_done]
        return "; ".join([*filter(None, [self.reason]), *undone, *self._errors])

    @property
    def _errors(self) -> list[str]:
        return [text for text in self.texts if text.startswith(_ERROR_LEVELS)]


@dataclass(frozen=True)
class ReplayResult:
    """What came of all sessions: client after client, each in the order it sent them."""

    scans: tuple[ScanResult, ...]

    @property
    def succeeded(self) -> bool:
        """Whether every session succeeded."""
        return all(scan.succeeded for scan in self.scans)

    def failure(self) -> str:
        """Return, for people, how many sessions failed and why the first did; empty if none."""
        failed = [scan for scan in self.scans if not scan.succeeded]
        if not failed:
            return ""
        first = failed[0]
        who = (
            "the replay" if len(self.scans) == 1 else f"{len(failed)} of {len(self.scans)} sessions"
        )
        return f"{who} failed: {first.path}: {first.failure}"

    def as_dict(self) -> dict[str, Any]:
        """Return the result as JSON takes it."""
        return {"succeeded": self.succeeded, "scans": [scan.as_dict() for scan in self.scans]}

    def summary(self) -> str:
        """Return the result as lines for people."""
        return "\n".join(scan.summary() for scan in self.scans)


def _damage_in_words(damage: Damage) -> str:
    return damage.what if damage.readout is None else f"readout {damage.readout}: {damage.what}"


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
