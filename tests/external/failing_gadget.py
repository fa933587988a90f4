"""A gadget whose chain does what reconstructions do at the worst moment."""

import sys
from collections.abc import Iterator
from types import ModuleType

import numpy as np

from chistream import gadgetron
from chistream.config import Settings
from chistream.errors import ReconstructionError
from chistream.external.serving import Connection
from chistream.stream.header import ScanHeader
from chistream.stream.messages import IMAGE_HEAD, Acquisitions, Image, Message, Text, new_head

_TYPES = {"float32": (5, np.float32), "int16": (2, np.int16), "uint16": (1, np.uint16)}


def run_node(
    _name: str, header: ScanHeader, settings: Settings, messages: Iterator[Message]
) -> Iterator[Message]:
    """Behave as ``strength`` says: 1.5 and 2 a reason, 16 a fatal pixel type, 666 a bug."""
    yield Text("WARNING  this must never reach Gadgetron")
    if settings.strength == 1.5:
        raise ReconstructionError("acquisition", "refused before the first readout")
    yield _image(len(header.echo_times), "uint16")
    n_readouts = sum(len(m) for m in messages if isinstance(m, Acquisitions))
    if settings.strength == 666:
        raise RuntimeError("the secret of line 1")
    if settings.strength == 2:
        raise ReconstructionError("acquisition", "half of k-space is missing")
    yield _image(n_readouts, "int16" if settings.strength == 16 else "float32")


def _image(value: int, dtype: str) -> Image:
    number, kind = _TYPES[dtype]
    head = new_head(IMAGE_HEAD, data_type=number, matrix_size=(4, 3, 2), channels=1)
    return Image(head, "<ismrmrdMeta></ismrmrdMeta>", np.full((1, 2, 3, 4), value, kind))


def sound(connection: Connection) -> None:
    """Put a module with our chain in the place of the chains, and run it."""
    module = ModuleType("chistream.external.nodes")
    vars(module)["run_node"] = run_node
    sys.modules["chistream.external.nodes"] = module
    gadgetron.qsm(connection)
