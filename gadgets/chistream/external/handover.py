"""What one node of a chain hands to the next: images, and in their attributes the rest.

The first node's images are the complex echoes, the second's the field and what the inversion
needs beside it. The attributes of the first image carry as JSON what the later nodes cannot see:
gating, settings, warnings, timing. Its readout head is that of the scan.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from chistream.acquisition.gating import GatingReport
from chistream.arrays import ComplexArray
from chistream.config import Settings, parse_settings
from chistream.errors import ReconstructionError
from chistream.external.arrays import ImageArray
from chistream.job import Chain, Job
from chistream.physics.geometry import Geometry
from chistream.series.attributes import read_attributes, write_attributes
from chistream.stream.header import ScanHeader
from chistream.stream.messages import IMAGE_HEAD, DataType, Head, Heads, ImageType, new_head

STATE = "ChiStreamState"
PART = "ChiStreamPart"


@dataclass(frozen=True, eq=False)
class Origin:
    """Where echoes come from that another node made.

    Parameters
    ----------
    head
        Record of ACQUISITION_HEAD of a readout of the scan.
    gating
        What gating did.
    reversed_echoes
        Whether each echo was read backwards.
    echo_times
        Of each echo [s].
    warnings
        What a person should know.
    notes
        What was done to the echoes.
    seconds
        Durations by stage so far [s].
    geometry
        Where the echoes lie; None where header and settings tell.
    frequency_drift
        What was removed of it [Hz]; None if it was not looked for.
    """

    head: Head
    gating: GatingReport
    reversed_echoes: tuple[bool, ...]
    echo_times: tuple[float, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] | None = None
    geometry: Geometry | None = None
    frequency_drift: float | None = None


class ContinuedJob(Job):
    """A scan whose echoes another node has made.

    Parameters
    ----------
    chain
        What is run.
    header
        The scan's header.
    settings
        The user's settings.
    origin
        What the other node knows.
    """

    def __init__(
        self, chain: Chain, header: ScanHeader, settings: Settings, origin: Origin
    ) -> None:
        super().__init__(chain, header, settings)
        self._head = origin.head
        self._origin = origin
        self.notes = origin.notes
        self.seconds = dict(origin.seconds or {})
        if origin.geometry is not None:
            self.__dict__["geometry"] = origin.geometry

    @property
    def gating(self) -> GatingReport:
        """What gating did."""
        return self._origin.gating

    @property
    def frequency_drift(self) -> float | None:
        """Drift of the centre frequency that was removed [Hz]."""
        return self._origin.frequency_drift

    @property
    def reversed_echoes(self) -> tuple[bool, ...]:
        """Whether each echo was read backwards."""
        return self._origin.reversed_echoes

    @property
    def echo_times(self) -> tuple[float, ...]:
        """Echo times of the echoes there are [s]."""
        return self._origin.echo_times

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know."""
        return self._origin.warnings


def origin_of(job: Job) -> Origin:
    """Collect what the next node must know of a scan."""
    return Origin(
        job.head,
        job.gating,
        job.reversed_echoes,
        job.echo_times,
        job.warnings,
        job.notes,
        job.seconds,
        frequency_drift=job.frequency_drift,
    )


def pack(
    job: Job, parts: Mapping[str, npt.NDArray[Any]], further: Mapping[str, object] | None = None
) -> ImageArray:
    """Pack volumes for the next node.

    Parameters
    ----------
    job
        The scan.
    parts
        Volumes ``(z, y, x)`` by name: complex64, or real ones that single precision holds.
    further
        What else it must know, as JSON has it.

    Returns
    -------
    ImageArray
        The volumes along n, in their order.
    """
    pixels = np.stack([part.astype(np.complex64) for part in parts.values()])
    geometry = job.geometry
    nz, ny, nx = geometry.shape
    dz, dy, dx = geometry.voxel_size
    head = new_head(
        IMAGE_HEAD,
        data_type=DataType.CXFLOAT,
        image_type=ImageType.COMPLEX,
        channels=1,
        matrix_size=(nx, ny, nz),
        field_of_view=(nx * dx, ny * dy, nz * dz),
        position=geometry.position,
        read_dir=geometry.read_dir,
        phase_dir=geometry.phase_dir,
        slice_dir=geometry.slice_dir,
        measurement_uid=job.head["measurement_uid"],
    )
    heads = np.repeat(np.array([head], IMAGE_HEAD), len(parts))
    heads["contrast"] = heads["image_index"] = np.arange(len(parts))
    state = json.dumps({**_state_of(job), **(further or {})})
    attributes = [write_attributes({PART: name}) for name in parts]
    attributes[0] = write_attributes({PART: next(iter(parts)), STATE: state})
    return ImageArray(
        pixels[None, None, :, None],
        heads[None, None],
        tuple(attributes),
        np.array([job.head], job.head.dtype),
    )


@dataclass(frozen=True, eq=False)
class Handed:
    """What came from our own node before: volumes ``(z, y, x)`` by name, and what it knows."""

    parts: Mapping[str, ComplexArray]
    state: Mapping[str, Any]
    readout_heads: Heads

    def settings(self, own: Settings) -> Settings:
        """Add the settings that an earlier node was given; this node's own take precedence."""
        earlier, _ = parse_settings(self.state["settings"])
        given = {name: getattr(own, name) for name in own.model_fields_set}
        return earlier.model_copy(update=given)

    def origin(self) -> Origin:
        """Return what the earlier node knows of the scan."""
        state = self.state
        return Origin(
            self.readout_heads[0],
            _gating_of(state["gating"]),
            tuple(state["reversed_echoes"]),
            tuple(state["echo_times"]),
            tuple(state["warnings"]),
            tuple(state["notes"]),
            state["seconds"],
            frequency_drift=state["frequency_drift"],
        )


def unpack(images: ImageArray) -> Handed | None:
    """Unpack what our own node before packed.

    Parameters
    ----------
    images
        Any array of images.

    Returns
    -------
    Handed or None
        Its volumes and what it knows; None if Gadgetron itself made the images.

    Raises
    ------
    ReconstructionError
        If the array is ours, but not whole.
    """
    attributes = [read_attributes(text) for text in images.attributes]
    if not attributes or STATE not in attributes[0]:
        return None
    try:
        names = [found[PART][0] for found in attributes]
        volumes = images.pixels[0, 0, :, 0]
        state = json.loads(attributes[0][STATE][0])
        return Handed(dict(zip(names, volumes, strict=True)), state, images.readout_heads)
    except (KeyError, ValueError) as error:
        raise ReconstructionError(
            "gadgetron", f"what ChiStream's node before handed on is damaged: {error}"
        ) from None


def _state_of(job: Job) -> dict[str, Any]:
    origin = origin_of(job)
    return {
        "gating": _plain_gating(origin.gating),
        "frequency_drift": origin.frequency_drift,
        "reversed_echoes": list(map(bool, origin.reversed_echoes)),
        "echo_times": list(origin.echo_times),
        "warnings": list(origin.warnings),
        "notes": list(origin.notes),
        "seconds": dict(job.seconds),
        "settings": job.settings.model_dump(mode="json", include=job.settings.model_fields_set),
    }


def _plain_gating(report: GatingReport) -> dict[str, Any]:
    return {
        name: {"dtype": str(value.dtype), "values": value.tolist()}
        if isinstance(value, np.ndarray)
        else value.item()
        if isinstance(value, np.generic)
        else value
        for name, value in asdict(report).items()
    }


def _gating_of(values: Mapping[str, Any]) -> GatingReport:
    known = {item.name for item in fields(GatingReport)}
    arrays: dict[str, Any] = {
        name: np.array(value["values"], dtype=value["dtype"])
        if isinstance(value, dict) and "dtype" in value
        else value
        for name, value in values.items()
        if name in known
    }
    return GatingReport(**arrays)
