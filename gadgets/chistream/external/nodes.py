"""The chains as nodes of Gadgetron: each whole, or cut into three that hand arrays on.

::

    readouts -> CHAIN_echoes -> echoes -> CHAIN_field -> field -> CHAIN_susceptibility -> images

A whole chain, and the node that begins with echoes, also take what Gadgetron's own gadgets make:
k-space in buffers (RECONDATA), and complex echoes (IMAGE_ARRAY).
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import TypeAlias

import numpy as np

from chistream.arrays import ComplexArray
from chistream.chain import CHAINS, run_chain
from chistream.config import Settings
from chistream.errors import ReconstructionError
from chistream.external.arrays import ImageArray, ReconData
from chistream.external.foreign import echoes_in, readouts_in
from chistream.external.handover import ContinuedJob, Handed, pack, unpack
from chistream.external.reading import Item
from chistream.field.total_field import FieldMaps
from chistream.field_maps import estimate_maps
from chistream.job import Job
from chistream.mapping import map_susceptibility
from chistream.outputs import (
    field_volumes,
    local_field_volumes,
    magnitude_volumes,
    phase_volumes,
    report_page,
    requested_volumes,
)
from chistream.stream.header import ScanHeader
from chistream.stream.messages import Image, Message, Text, Waveform

Items: TypeAlias = Iterator[Item]
Node: TypeAlias = Callable[[str, ScanHeader, Settings, Items], Items]

_HANDED = ("frequency", "frequency_sd", "mask", "structure")
"""Of the field maps, what the inversion needs."""


def run_node(name: str, header: ScanHeader, settings: Settings, items: Items) -> Items:
    """Run a node: a chain by its name, or one of its three parts.

    Parameters
    ----------
    name
        A chain, or ``CHAIN_echoes``, ``CHAIN_field``, ``CHAIN_susceptibility``.
    header
        The scan's header.
    settings
        The settings of this node.
    items
        What Gadgetron sends.

    Yields
    ------
    Item
        Images, arrays for the next node, and texts for people.

    Raises
    ------
    ReconstructionError
        If a stage cannot do its work on this scan; what was yielded before stays good.
    """
    chain, _, part = name.rpartition("_")
    if name in CHAINS or part not in _PARTS:
        return _run_whole(name, header, settings, items)
    return _PARTS[part](chain, header, settings, items)


def _run_whole(name: str, header: ScanHeader, settings: Settings, items: Items) -> Items:
    before, first = _first_data(items)
    if isinstance(first, ImageArray):
        yield from _from_echoes(name, header, settings, [*before, first], items)
        return
    begun = itertools.chain(before, [] if first is None else [first], items)
    yield from run_chain(name, header, settings, _messages(begun))


def _run_echoes(chain: str, header: ScanHeader, settings: Settings, items: Items) -> Items:
    job = Job(CHAINS[chain], header, settings)
    yield from job.receive(_messages(items))
    echoes = job.combine()
    yield from _echo_images(job, echoes)
    if "NOISE" in settings.series and job.noise is not None:
        yield from job.images(job.volume("NOISE", job.noise, None))
    yield pack(job, {f"ECHO{index}": echo for index, echo in enumerate(echoes)})


def _run_field(chain: str, header: ScanHeader, settings: Settings, items: Items) -> Items:
    arrays: list[ImageArray] = []
    yield from _passed_on(items, arrays)
    handed = unpack(arrays[0]) if arrays else None
    job, echoes = _begin(chain, header, settings, arrays, handed)
    if handed is None:
        yield from _echo_images(job, echoes)
    with job.timed("field"):
        maps, doubts = estimate_maps(job, echoes)
    yield from job.images(job.volume("R2STAR", maps.r2star, maps.mask))
    yield from job.images(*field_volumes(job, echoes, maps))
    parts = {name: getattr(maps, name) for name in _HANDED}
    parts["magnitude"] = np.abs(echoes[0])
    yield pack(job, parts, {"doubts": list(doubts)})


def _run_susceptibility(chain: str, header: ScanHeader, settings: Settings, items: Items) -> Items:
    arrays: list[ImageArray] = []
    yield from _passed_on(items, arrays)
    handed = unpack(arrays[0]) if arrays else None
    if handed is None or not {*_HANDED} <= handed.parts.keys():
        raise ReconstructionError(
            "susceptibility", f"no field came: place {chain}_field right before this gadget"
        )
    job = ContinuedJob(CHAINS[chain], header, handed.settings(settings), handed.origin())
    maps = _maps_of(handed)
    source, measured, qsm = map_susceptibility(job, maps, tuple(handed.state["doubts"]))
    yield from job.images(qsm, results=measured.results)
    yield from job.images(*local_field_volumes(job, source))
    magnitudes = magnitude_volumes(job, handed.parts["magnitude"][None])
    page = report_page(job, magnitudes[0], qsm, measured)
    yield from job.images(page, results=measured.results)


_PARTS: dict[str, Node] = {
    "echoes": _run_echoes,
    "field": _run_field,
    "susceptibility": _run_susceptibility,
}


def _from_echoes(
    name: str, header: ScanHeader, settings: Settings, begun: list[Item], items: Items
) -> Items:
    """Run what is left of a chain where another gadget has made the echoes."""
    arrays: list[ImageArray] = []
    yield from _passed_on(itertools.chain(begun, items), arrays)
    if name == "passthrough":
        return
    job, echoes = _begin(name, header, settings, arrays, unpack(arrays[0]))
    magnitudes = magnitude_volumes(job, echoes)
    yield from job.images(*magnitudes)
    if name == "echoes":
        yield from job.images(*phase_volumes(job, echoes))
        return
    with job.timed("field"):
        maps, doubts = estimate_maps(job, echoes)
    source, measured, qsm = map_susceptibility(job, maps, doubts)
    yield from job.images(qsm, results=measured.results)
    yield from job.images(job.volume("R2STAR", maps.r2star, maps.mask))
    yield from job.images(*requested_volumes(job, echoes, maps, source))
    page = report_page(job, magnitudes[0], qsm, measured)
    yield from job.images(page, results=measured.results)


def _echo_images(job: Job, echoes: ComplexArray) -> Iterator[Message]:
    yield from job.images(*magnitude_volumes(job, echoes))
    if "PHASE" in job.settings.series:
        yield from job.images(*phase_volumes(job, echoes))


def _begin(
    chain: str,
    header: ScanHeader,
    settings: Settings,
    arrays: list[ImageArray],
    handed: Handed | None,
) -> tuple[Job, ComplexArray]:
    if handed is None:
        echoes, origin = echoes_in(arrays, header, settings)
    else:
        echoes, origin = np.stack(list(handed.parts.values())), handed.origin()
        settings = handed.settings(settings)
    return ContinuedJob(CHAINS[chain], header, settings, origin), echoes


def _maps_of(handed: Handed) -> FieldMaps:
    parts = {name: part.real for name, part in handed.parts.items()}
    nothing = np.zeros_like(parts["frequency"])
    maps = {item.name: nothing for item in fields(FieldMaps)}
    given = {name: np.ascontiguousarray(parts[name]) for name in _HANDED}
    known = replace(FieldMaps(**{**maps, "noise_sd": 0.0}), **given)  # type: ignore[arg-type]
    return replace(known, mask=known.mask != 0)


def _first_data(items: Items) -> tuple[list[Item], Item | None]:
    """Look for the first item that tells what is sent, keeping those before it."""
    before: list[Item] = []
    for item in items:
        if not isinstance(item, Image | Text | Waveform):
            return before, item
        before.append(item)
    return before, None


def _messages(items: Items) -> Iterator[Message]:
    for item in items:
        match item:
            case ReconData():
                yield from readouts_in(item)
            case ImageArray():
                raise ReconstructionError(
                    "acquisition", "images came among the readouts: place one gadget after another"
                )
            case _:
                yield item


def _passed_on(items: Items, arrays: list[ImageArray]) -> Items:
    """Keep arrays, pass images on; readouts have done their work in the gadgets before."""
    for item in items:
        if isinstance(item, ImageArray):
            arrays.append(item)
        elif isinstance(item, Image | Text):
            yield item
