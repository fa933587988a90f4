"""Chains that do, at a client's word, what reconstructions do at the worst moment."""

import atexit
import os
import signal
import time
from collections.abc import Iterator

import numpy as np

from chistream.config import Settings
from chistream.errors import ReconstructionError
from chistream.progress import announce_stage, remarks
from chistream.stream.header import ScanHeader
from chistream.stream.messages import (
    IMAGE_HEAD,
    Acquisitions,
    DataType,
    Image,
    ImageType,
    Message,
    Text,
    new_head,
)

_WORDS = {
    "boom": "an image, then a bug",
    "count": "the number of readouts as an image's index",
    "eager": "megabytes of images before a single readout is read",
    "endless": "images for ever",
    "greedy": "an image, then all the memory there is",
    "null": "nothing",
    "numb": "computes for ever and heeds no signal",
    "numbers": "an image with numbers",
    "pid": "the worker's process id, then the scan",
    "refuse": "an image, then a reason",
    "remarks": "what the service has to say",
    "settings": "the settings it got",
    "slow": "the number of readouts, and a process that takes its time to end",
    "stuck": "computes for ever",
    "stuck-once": "computes for ever unless the service was started to be patient",
    "stuck-pid": "the worker's process id, then computes for ever",
}

_NOTHING = "<ismrmrdMeta></ismrmrdMeta>"
_NUMBERS = (
    "<ismrmrdMeta><meta><name>ChiStreamResults</name>"
    "<value>{&quot;delta_chi_ppb&quot;: 120}</value></meta></ismrmrdMeta>"
)


def warm_up() -> None:
    """Nothing here takes time to get ready."""


def resolve_chain(name: str) -> tuple[str, str | None]:
    if name in _WORDS:
        return name, None
    return "count", f"There is no chain called {name!r}; count runs instead."


def run_chain(
    name: str, _header: ScanHeader, settings: Settings, messages: Iterator[Message]
) -> Iterator[Message]:
    yield from _begin(name, settings)
    n_readouts = sum(len(message) for message in messages if isinstance(message, Acquisitions))
    if name == "null":
        return
    if name == "slow":
        atexit.register(_dawdle)
    if name == "remarks":
        yield from map(Text, remarks())
    if name == "stuck-once" and "FAKE_PATIENT" not in os.environ:
        _compute_for_ever()
    yield _image(n_readouts, attributes=_NUMBERS if name == "numbers" else _NOTHING)
    _misbehave(name)


def _begin(name: str, settings: Settings) -> Iterator[Message]:
    if name == "settings":
        yield Text(f"strength {settings.strength}")
    if name in ("pid", "stuck-pid"):
        yield Text(f"pid {os.getpid()}")
    if name == "eager":
        yield from (_image(index, size=1024) for index in range(16))
    while name == "endless":
        yield _image(1)


def _dawdle() -> None:
    for _ in range(20):
        time.sleep(0.1)


def _misbehave(name: str) -> None:
    if name == "boom":
        raise RuntimeError("the secret of line 1")
    if name == "refuse":
        raise ReconstructionError("acquisition", "half of k-space is missing: scan again")
    if name == "numb":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    if name in ("stuck", "stuck-pid", "numb"):
        announce_stage("field")
        _compute_for_ever()
    if name == "greedy":
        taken = []
        while True:
            taken.append(np.ones(50_000_000, np.uint8))
            time.sleep(0.05)


def _compute_for_ever() -> None:
    while True:
        time.sleep(0.01)


def _image(index: int, size: int = 4, attributes: str = _NOTHING) -> Image:
    pixels = np.full((1, 1, size, size), index % 4096, np.uint16)
    head = new_head(
        IMAGE_HEAD,
        data_type=DataType.USHORT,
        image_type=ImageType.MAGNITUDE,
        matrix_size=(size, size, 1),
        channels=1,
        image_index=index,
        image_series_index=1,
    )
    return Image(head, attributes, pixels)
