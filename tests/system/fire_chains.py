"""Chains for foreign clients: real series in the scanner's profile, made in a moment."""

from collections.abc import Iterator

import numpy as np

from chistream.config import Settings
from chistream.physics.geometry import Geometry
from chistream.series.images import encode_images
from chistream.series.volumes import Volume
from chistream.stream.header import ScanHeader
from chistream.stream.messages import Acquisitions, Image, Message, Text, Waveform

GEOMETRY = Geometry((3, 4, 5), (2.0, 1.5, 1.0))
LARGE = Geometry((16, 1024, 1024), (1.0, 1.0, 1.0))


def warm_up() -> None:
    """Nothing here takes time to get ready."""


def resolve_chain(name: str) -> tuple[str, str | None]:
    if name in {"series", "large", ""}:
        return name or "series", None
    return "series", f"No chain is called {name!r}; running series."


def run_chain(
    name: str, _header: ScanHeader, settings: Settings, messages: Iterator[Message]
) -> Iterator[Message]:
    if name == "large":
        yield from _series("MASK", LARGE)
    counts = {Acquisitions: 0, Waveform: 0}
    for message in messages:
        match message:
            case Acquisitions():
                counts[Acquisitions] += len(message)
            case Waveform():
                counts[Waveform] += 1
            case Image():
                yield message
            case _:
                pass
    yield Text(
        f"INFO     {counts[Acquisitions]} readouts, {counts[Waveform]} waveforms, "
        f"strength {settings.strength}"
    )
    yield from _series("MAGNITUDE", GEOMETRY)
    yield from _series("QSM", GEOMETRY)


def _series(token: str, geometry: Geometry) -> list[Image]:
    values = np.arange(np.prod(geometry.shape)).reshape(geometry.shape) % 1000
    return encode_images(Volume(token, values, geometry, comments="<&>"), "scanner")
