"""What Gadgetron's own gadgets make of a scan: sorted k-space, and reconstructed echoes."""

from collections.abc import Iterator, Sequence

import numpy as np

from chistream.acquisition.gating import GatingReport
from chistream.acquisition.readouts import kind_of
from chistream.arrays import ComplexArray
from chistream.config import Settings
from chistream.echoes.combination import combine_coils
from chistream.echoes.sensitivities import estimate_sensitivities
from chistream.errors import ReconstructionError
from chistream.external.arrays import ImageArray, ReconBuffer, ReconData
from chistream.external.handover import Origin
from chistream.physics.geometry import Geometry
from chistream.stream.header import ScanHeader
from chistream.stream.messages import ACQUISITION_HEAD, Acquisitions, Head

_NOT_GATED = (
    "Gadgetron had sorted the readouts or made the echoes before: heartbeats could not be gated."
)


def readouts_in(data: ReconData) -> Iterator[Acquisitions]:
    """Take the readouts out of the grids that Gadgetron sorted them into.

    Parameters
    ----------
    data
        Buffers, each with its reference lines or none.

    Yields
    ------
    Acquisitions
        Every line that was measured, once, with its own counters: lines of a buffer, then those
        reference lines that are not among them.
    """
    for buffer, reference in data.bits:
        yield from _lines(buffer, set())
        if reference is not None:
            yield from _lines(reference, set(_measured(buffer)["scan_counter"].tolist()))


def echoes_in(
    arrays: Sequence[ImageArray], header: ScanHeader, settings: Settings
) -> tuple[ComplexArray, Origin]:
    """Take complex echoes out of arrays of images that Gadgetron reconstructed.

    Parameters
    ----------
    arrays
        All arrays of the scan, in any order; echoes are told apart by ``contrast``.
    header
        The scan's header.
    settings
        The user's settings: ``phase_sign``.

    Returns
    -------
    echoes, origin
        Echoes ``(echoes, z, y, x)``, coils combined if Gadgetron had not, and what is known of
        where they come from.

    Raises
    ------
    ReconstructionError
        If these are no echoes of one volume, or have lost their phase.
    """
    found = _by_contrast(arrays)
    contrasts = sorted(found)
    if contrasts and contrasts[-1] >= len(header.echo_times):
        raise ReconstructionError(
            "echoes",
            f"an image has the contrast {contrasts[-1]}, but the header has "
            f"{len(header.echo_times)} echo times",
        )
    echo_times = tuple(header.echo_times[contrast] for contrast in contrasts)
    heads = [found[contrast][0] for contrast in contrasts]
    coil_images = np.stack([found[contrast][1] for contrast in contrasts])
    _check(coil_images)
    if settings.phase_sign < 0:
        coil_images = coil_images.conj()
    echoes = coil_images[:, 0]
    if coil_images.shape[1] > 1:
        echoes = combine_coils(coil_images, estimate_sensitivities(coil_images))
    nz, ny, nx = echoes.shape[1:]
    return np.ascontiguousarray(echoes), Origin(
        _readout_head(heads[0], arrays),
        _ungated(),
        (False,) * len(contrasts),
        echo_times,
        header.warnings,
        ("Echoes made by Gadgetron",),
        geometry=_geometry(heads[0], (nz, ny, nx)),
    )


def _measured(buffer: ReconBuffer) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    heads = buffer.heads.ravel()
    # Places that nothing was measured for hold heads of zeros.
    return heads[heads["number_of_samples"] > 0]


def _lines(buffer: ReconBuffer, known: set[int]) -> Iterator[Acquisitions]:
    n_samples, n_coils = buffer.samples.shape[-1], buffer.samples.shape[3]
    for place in np.ndindex(*buffer.heads.shape[:3]):
        heads, samples = buffer.heads[place], buffer.samples[place]  # (e2, e1), (coils, e2, e1, ro)
        wanted = heads["number_of_samples"] > 0
        if known:
            wanted &= ~np.isin(heads["scan_counter"], list(known))
        chosen = heads[wanted].copy()
        if not len(chosen):
            continue
        chosen["active_channels"], chosen["number_of_samples"] = n_coils, n_samples
        # The grid holds the centre of k-space in the middle, and no samples to throw away.
        chosen["center_sample"] = n_samples // 2
        chosen["discard_pre"] = chosen["discard_post"] = 0
        chosen["trajectory_dimensions"] = 0
        lines = np.ascontiguousarray(samples[:, wanted].swapaxes(0, 1))
        yield Acquisitions(chosen, lines, np.zeros((len(chosen), n_samples, 0), np.float32))


def _by_contrast(arrays: Sequence[ImageArray]) -> dict[int, tuple[Head, ComplexArray]]:
    found: dict[int, tuple[Head, ComplexArray]] = {}
    for images in arrays:
        for place in np.ndindex(*images.heads.shape):
            head: Head = images.heads[place]  # type: ignore[assignment]  # one record
            contrast = int(head["contrast"])
            if contrast in found:
                raise ReconstructionError(
                    "echoes",
                    f"several images are of echo {contrast + 1} (slices, repetitions, averages or "
                    "sets): only one volume can be mapped",
                )
            found[contrast] = head, images.pixels[place]
    if not found:
        raise ReconstructionError("echoes", "no echoes came from the gadget before")
    return found


def _check(coil_images: ComplexArray) -> None:
    if len(coil_images) < 2:
        raise ReconstructionError("echoes", "a field needs two echoes, Gadgetron made one")
    if not coil_images.imag.any():
        raise ReconstructionError(
            "echoes",
            "the images have no phase: place this gadget right behind the reconstruction, before "
            "magnitudes are taken",
        )


def _geometry(head: Head, shape: tuple[int, int, int]) -> Geometry:
    x, y, z = (float(length) for length in head["field_of_view"])
    directions = np.array([head["read_dir"], head["phase_dir"], head["slice_dir"]], dtype=float)
    left, _, right = np.linalg.svd(directions)  # the nearest orthonormal set: float32 is not quite
    read, phase, normal = ((float(a), float(b), float(c)) for a, b, c in left @ right)
    place = tuple(float(value) for value in head["position"])
    try:
        return Geometry(
            shape,
            (z / shape[0], y / shape[1], x / shape[2]),
            (place[0], place[1], place[2]),
            read,
            phase,
            normal,
        )
    except ValueError as error:
        raise ReconstructionError(
            "echoes", f"the images do not say where they lie: {error}"
        ) from None


def _readout_head(image: Head, arrays: Sequence[ImageArray]) -> Head:
    """Find the head of an imaging readout, or make one of an image's."""
    for images in arrays:
        for head in images.readout_heads:
            if head["number_of_samples"] and kind_of(int(head["flags"])).is_imaging:
                found: Head = head.copy()
                return found
    made: Head = np.zeros(1, ACQUISITION_HEAD)[0]
    shared = set(ACQUISITION_HEAD.names or ()) & set(image.dtype.names or ())
    for name in shared - {"flags"}:
        made[name] = image[name]
    return made


def _ungated() -> GatingReport:
    return GatingReport("ungated", _NOT_GATED, 0, 0, None, 0.0, np.zeros(0), None, None, 0)
