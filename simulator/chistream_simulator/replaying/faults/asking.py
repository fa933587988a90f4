"""How a person asks for faults: ``KIND[:key=value,...]``."""

from collections.abc import Mapping

from pydantic import ValidationError

from chistream_simulator.replaying.faults.base import Fault
from chistream_simulator.replaying.faults.connection import Cut, Kill, Stall
from chistream_simulator.replaying.faults.readouts import (
    Drop,
    Duplicate,
    Garbage,
    Reorder,
    WrongSize,
)
from chistream_simulator.replaying.items import ReplayError

_KINDS: tuple[type[Fault], ...] = (
    Cut,
    Stall,
    Garbage,
    Duplicate,
    Drop,
    Reorder,
    WrongSize,
    Kill,
)
KINDS: Mapping[str, type[Fault]] = {kind.kind: kind for kind in _KINDS}
"""Every fault by its name."""


def parse_fault(text: str) -> Fault:
    """Read a fault as it is written on a command line.

    Parameters
    ----------
    text
        Name, and options after a colon: ``stall`` or ``stall:at=40,seconds=2``.

    Returns
    -------
    Fault
        The fault.

    Raises
    ------
    ReplayError
        If there is no such fault or option, or a value makes no sense; says what there is.

    Examples
    --------
    >>> parse_fault("stall:at=40,seconds=2")
    Stall(at=40, seed=None, seconds=2.0)
    """
    name, _, rest = text.partition(":")
    kind = KINDS.get(name.strip())
    if kind is None:
        raise ReplayError(f"no fault is called {name!r}; there are {', '.join(KINDS)}")
    values = {}
    for word in filter(None, rest.split(",")):
        key, equals, value = word.partition("=")
        if not equals:
            raise ReplayError(f"fault {text!r}: {word!r} is no option; write key=value")
        values[key.strip()] = value.strip()
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ReplayError(f"fault {text!r}: {_reason(error)}; {_options(kind)}") from None


def describe_faults() -> list[str]:
    """Return lines for people: every fault, and its options."""
    lines = []
    for name, kind in KINDS.items():
        lines.append(f"{name}: {kind.__doc__}")
        for option, field in kind.model_fields.items():
            default = "" if field.default is None else f" (default: {field.default})"
            lines.append(f"    {option}: {field.description}{default}")
    return lines


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    if first["type"] == "extra_forbidden":
        return f"it has no option {first['loc'][0]!r}"
    words = first["msg"].removeprefix("Value error, ")
    return f"{first['loc'][0]}: {words}" if first["loc"] else words


def _options(kind: type[Fault]) -> str:
    return f"{kind.kind} takes {', '.join(kind.model_fields)}"
