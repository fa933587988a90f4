"""How long a session may take, how much it may hold, and what is kept of it."""

import inspect
import math
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from chistream.service.spool import FsyncPolicy, parse_fsync
from chistream.stream.limits import Limits

GIGABYTE = 10**9


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long one session may wait or work, and how much it may hold.

    Parameters
    ----------
    connect_seconds
        Longest time from the start of a session to the client's configuration [s].
    header_seconds
        Longest time from the configuration to the header [s]: all of it, however slowly it drips.
    idle_seconds
        Longest silence of a client that has not sent its CLOSE [s]. A scan may pause for a breath
        hold or a talk with the patient, so this is long.
    delivery_seconds
        Longest time that a client may leave its returned images untouched [s].
    stage_seconds
        Longest time that a chain may work without a sign of progress: a stage begun or ended, a
        message taken in or made [s]. Waiting for the client does not count.
    hang_seconds
        Longest silence of a worker process, which tells every second that it lives [s]: one that
        is stopped, or stuck outside of Python, does not.
    session_seconds
        Longest time of a whole session [s].
    inbox_bytes
        Received samples that may wait for the chain before TCP holds the client back [bytes].
    memory_bytes
        Memory that a session may take for its data [bytes]; 0 sets no limit of its own.
    readouts
        Readouts of one scan.
    matrix
        Size of the encoded volume along an axis.
    kspace_bytes
        Size of k-space by the header: matrix x channels x echoes x 8 [bytes].
    sizes
        Of single messages: refused before memory is taken for them.

    Raises
    ------
    ValueError
        If a time or a size is not positive.
    """

    connect_seconds: float = 60.0
    header_seconds: float = 60.0
    idle_seconds: float = 900.0
    delivery_seconds: float = 120.0
    stage_seconds: float = 900.0
    hang_seconds: float = 60.0
    session_seconds: float = 4 * 3600.0
    inbox_bytes: int = 2**28
    memory_bytes: int = 0
    readouts: int = 2**24
    matrix: int = 1024
    kspace_bytes: int = 2**36
    sizes: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name in ("sizes", "memory_bytes"):
                continue
            if not value > 0:
                raise ValueError(f"{one.name} must be positive, got {value}")

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "SessionLimits":
        """Make limits of what `as_dict` returned; what is missing takes its default."""
        return cls(**{**values, "sizes": Limits(**values.get("sizes", {}))})


@dataclass(frozen=True, slots=True)
class SpoolOptions:
    """Where the raw data of sessions are kept, and for how long.

    Parameters
    ----------
    folder
        Where: raw data in ``raw/``, results of scans that were run again in ``results/``, and the
        journal. Made if it is not there, for its owner alone.
    fsync
        When the disk is waited for; see `SpoolWriter`.
    fsync_seconds
        Time between two such waits of the policy ``interval`` [s].
    keep_days
        Raw data of a delivered scan are removed after so many days; 0: at once.
    keep_gb
        Beyond so many GB in all, those that ended first are removed first [GB].
    keep_failed
        Whether the raw data of scans that failed are exempt from both: they are what a fault is
        found with. Those of unfinished ones, which nobody has the result of, always are.

    is_needed
        Whether the service is not to start without its folder. If not, scans are reconstructed
        all the same, and their clients told that nothing is kept.

    Raises
    ------
    ValueError
        If a value makes no sense.
    """

    folder: Path
    fsync: FsyncPolicy = "interval"
    fsync_seconds: float = 1.0
    keep_days: float = 7.0
    keep_gb: float = 50.0
    keep_failed: bool = True
    is_needed: bool = True

    def __post_init__(self) -> None:
        parse_fsync(self.fsync)
        if not self.fsync_seconds > 0:
            raise ValueError(f"fsync_seconds must be positive, got {self.fsync_seconds}")
        for name in ("keep_days", "keep_gb"):
            value = getattr(self, name)
            if not value >= 0 or math.isnan(value):
                raise ValueError(f"{name} must not be negative, got {value}")


def default_folder() -> Path:
    """Return where a service keeps its data unless it is told: CHISTREAM_SPOOL, or XDG's place."""
    if asked := os.environ.get("CHISTREAM_SPOOL"):
        return Path(asked)
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "chistream"


def parse_limits(assignments: Iterable[str]) -> SessionLimits:
    """Read limits as a person gives them.

    Parameters
    ----------
    assignments
        ``name=value``: a name of `SessionLimits` or `Limits`, a number.

    Returns
    -------
    SessionLimits
        The default where nothing is given.

    Raises
    ------
    ValueError
        If there is no such limit, or the value is refused.

    Examples
    --------
    >>> parse_limits(["idle_seconds=30", "channels=64"]).sizes.channels
    64
    """
    defaults: dict[str, Any] = SessionLimits().as_dict()
    sizes: dict[str, Any] = defaults.pop("sizes")
    for assignment in assignments:
        name, _, text = (part.strip() for part in assignment.partition("="))
        group = sizes if name in sizes else defaults
        if name not in group:
            raise ValueError(f"no limit is called {name!r}; there are {', '.join(_names())}")
        try:
            group[name] = type(group[name])(float(text))
        except (ValueError, OverflowError):
            raise ValueError(f"{name} must be a number, got {text!r}") from None
        if not group[name] > 0 and name != "memory_bytes":
            raise ValueError(f"{name} must be positive, got {text}")
    return SessionLimits.from_dict({**defaults, "sizes": sizes})


def describe_limits() -> Iterator[tuple[str, str, str]]:
    """Yield each limit: its name, its default, its meaning."""
    values = SessionLimits().as_dict()
    values |= values.pop("sizes")
    text = inspect.getdoc(SessionLimits), inspect.getdoc(Limits)
    for name in _names():
        found = re.search(
            rf"^{name}\n((?: {{4}}.*\n?)+)", "\n".join(filter(None, text)), re.MULTILINE
        )
        meaning = "" if found is None else " ".join(found.group(1).split())
        yield name, f"{values[name]:g}", meaning


def _names() -> list[str]:
    own = [one.name for one in fields(SessionLimits) if one.name != "sizes"]
    return own + [one.name for one in fields(Limits)]
