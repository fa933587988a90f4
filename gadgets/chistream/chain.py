"""The chains by name, and the order of the stages.

::

    readouts -> k-space -> complex echoes -> field, water, fat -> (local field) -> susceptibility
                                                                                 -> numbers

This module alone knows that order. A chain is a generator: it pulls messages as the scanner sends
them and yields images as soon as they exist. Importing it loads every stage; a server that must
listen at once leaves that to its workers.
"""

import numpy as np

from chistream.background.boundary import remove_background_lbv
from chistream.background.projection import remove_background_pdf
from chistream.config import Settings
from chistream.echoes.combination import combine_coils
from chistream.echoes.sensitivities import estimate_sensitivities
from chistream.failure import Partial, report_failure
from chistream.field.total_field import estimate_field
from chistream.field.water_fat import estimate_water_fat
from chistream.field_maps import estimate_maps
from chistream.job import Chain, Job, Messages
from chistream.mapping import map_susceptibility
from chistream.outputs import (
    field_volumes,
    magnitude_volumes,
    phase_volumes,
    report_page,
    requested_volumes,
)
from chistream.stream.header import ScanHeader
from chistream.susceptibility.total_field import invert_total_field

DEFAULT_CHAIN = "cardiac_qsm"


def resolve_chain(name: str) -> tuple[str, str | None]:
    """Find the chain that a client's name stands for.

    Parameters
    ----------
    name
        What the client sent; OpenRecon always sends ``openrecon``.

    Returns
    -------
    tuple[str, str | None]
        A registered name, and a warning for the client if it sent another; no name is no warning.

    Examples
    --------
    >>> resolve_chain("qsm")
    ('qsm', None)
    >>> resolve_chain("openrecon")[0]
    'cardiac_qsm'
    """
    if name in CHAINS:
        return name, None
    if not name:
        return DEFAULT_CHAIN, None
    return DEFAULT_CHAIN, f"No chain is called {name[:64]!r}; running {DEFAULT_CHAIN}."


def run_chain(name: str, header: ScanHeader, settings: Settings, messages: Messages) -> Messages:
    """Turn the messages of one scan into images, as soon as each is made.

    Parameters
    ----------
    name
        A registered chain.
    header
        The scan's header.
    settings
        The user's settings.
    messages
        Acquisitions, waveforms and images in the order they come; images are passed on.

    Yields
    ------
    Message
        Images, and texts for people.

    Raises
    ------
    ReconstructionError
        If a stage cannot do its work on this scan; what was yielded before stays good.
    ValueError
        If no chain has this name.
    """
    if name not in CHAINS:
        raise ValueError(f"no chain is called {name!r}; there are {', '.join(CHAINS)}")
    chain = CHAINS[name]
    yield from chain.run(Job(chain, header, settings), messages)


def warm_up() -> None:
    """Compile the kernels and load the libraries that the first scan would wait for."""
    rng = np.random.default_rng(1)
    shape = (3, 2, 8, 10, 12)
    coil_images = (1 + 0.01 * rng.standard_normal(shape)).astype(np.complex64)
    echoes = combine_coils(coil_images, estimate_sensitivities(coil_images))
    TE = (0.002, 0.004, 0.006)
    maps = estimate_field(echoes, TE)
    estimate_water_fat(echoes, TE, 64e6, (3.0, 2.0, 2.0))
    field, voxel_size = maps.frequency, (3.0, 2.0, 2.0)
    remove_background_pdf(field, maps.mask, voxel_size, max_iterations=1)
    remove_background_lbv(field, maps.mask, voxel_size)
    invert_total_field(field, maps.mask, voxel_size, magnitude=maps.amplitude, max_sweeps=1)


def _pass_through(_job: Job, messages: Messages) -> Messages:
    yield from messages


def _take_in(_job: Job, messages: Messages) -> Messages:
    for _ in messages:
        pass
    yield from ()


def _echo_series(job: Job, messages: Messages) -> Messages:
    yield from job.receive(messages)
    echoes = job.combine()
    yield from job.images(*magnitude_volumes(job, echoes), *phase_volumes(job, echoes))


def _susceptibility_series(job: Job, messages: Messages) -> Messages:
    made = Partial()
    try:
        yield from _susceptibility_stages(job, messages, made)
    except Exception as error:
        yield from report_failure(job, made, error)
        raise


def _susceptibility_stages(job: Job, messages: Messages, made: Partial) -> Messages:
    yield from job.receive(messages)
    echoes = job.combine()
    magnitudes = magnitude_volumes(job, echoes)
    made.magnitude = magnitudes[0]
    yield from job.images(*magnitudes)
    with job.timed("field"):
        maps, doubts = estimate_maps(job, echoes)
    r2star = job.volume("R2STAR", maps.r2star, maps.mask)
    made.unsent = lambda: (r2star, *field_volumes(job, echoes, maps))
    source, measured, qsm = map_susceptibility(job, maps, doubts)
    made.measured, made.qsm = measured, qsm
    yield from job.images(qsm, results=measured.results)
    yield from job.images(r2star)
    made.unsent = tuple
    yield from job.images(*requested_volumes(job, echoes, maps, source))
    page = report_page(job, magnitudes[0], qsm, measured)
    yield from job.images(page, results=measured.results)


CHAINS: dict[str, Chain] = {
    chain.name: chain
    for chain in (
        Chain(
            "cardiac_qsm",
            "Heart: navigator gating, water and fat, total-field inversion, blood oximetry.",
            _susceptibility_series,
            gated=True,
            inversion="total_field",
            has_fat=True,
        ),
        Chain(
            "qsm", "Brain or phantom: no gating, background removal, MEDI.", _susceptibility_series
        ),
        Chain("echoes", "Complex echoes only: magnitude and phase.", _echo_series),
        Chain("passthrough", "Everything goes back as it came.", _pass_through),
        Chain("null", "Everything is taken in, nothing comes back.", _take_in),
    )
}
"""The chains a client can ask for, by name."""
