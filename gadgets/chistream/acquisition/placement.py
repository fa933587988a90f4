"""Where the samples of a readout lie in k-space: echo centre, partial echoes, oversampling."""

from dataclasses import dataclass
from functools import lru_cache

from chistream.errors import ReconstructionError


@dataclass(frozen=True, slots=True)
class ReadoutShape:
    """What of a readout decides where its samples belong; see `Readout` for the fields."""

    n_samples: int
    center_sample: int
    discard_pre: int = 0
    discard_post: int = 0
    is_reversed: bool = False


@dataclass(frozen=True, slots=True)
class Placement:
    """Samples ``source`` (of the kept and, if reversed, flipped readout) go to ``target``.

    Parameters
    ----------
    kept
        What the discards leave of the readout, in the order of acquisition.
    step
        -1 flips what is kept, +1 leaves it.
    source, target
        Equal ranges in the kept samples and on the grid; the rest of the grid is zero.
    grid
        Length of the grid; k = 0 lies at ``grid // 2``.
    note
        What a person should know about the choice; empty if there is nothing.
    """

    kept: slice
    step: int
    source: slice
    target: slice
    grid: int
    note: str


@lru_cache(maxsize=256)
def place_readout(shape: ReadoutShape, encoded: int, recon: int) -> Placement:
    """Lay a readout onto a grid so that its centre sample comes to ``grid // 2``.

    Parameters
    ----------
    shape
        Samples, centre, discards and direction of the readout.
    encoded
        Length of the encoded readout, with oversampling.
    recon
        Length that the image's field of view takes of it.

    Returns
    -------
    Placement
        On the encoded grid; on the image's grid if the oversampling has been removed already,
        which is when the readout has no more samples than the image. Partial echoes leave zeros;
        samples beyond the grid are cut.

    Raises
    ------
    ReconstructionError
        If there are more samples than encoded, none is left, or the centre cannot be told.

    Notes
    -----
    A reversed readout of N samples has its centre at ``N - 1 - center_sample``. Where a scanner
    removed the oversampling but did not update ``center_sample``, the centre is scaled by
    ``recon / encoded`` if only that fits. A complete readout whose centre is 0 or beyond its end
    has none stated: its middle is taken. All such choices are in ``note``.
    """
    length = shape.n_samples - shape.discard_pre - shape.discard_post
    grid = recon if shape.n_samples <= recon < encoded else encoded
    if length < 1 or shape.n_samples > grid:
        raise ReconstructionError(
            "acquisition",
            f"a readout of {shape.n_samples} samples, {shape.discard_pre} + {shape.discard_post} "
            f"of them to discard, does not fit an encoded size of {encoded} (image {recon})",
        )
    centre, note = _centre_of(shape, grid, encoded)
    inside = centre - shape.discard_pre
    inside = length - 1 - inside if shape.is_reversed else inside
    start = grid // 2 - inside
    first, last = max(start, 0), min(start + length, grid)
    if first >= last:
        raise ReconstructionError(
            "acquisition", f"centre sample {centre} leaves no sample inside k-space: {shape}"
        )
    # A reversed even readout always loses one sample, the highest frequency.
    if length - (last - first) > 1 and not note:
        note = f"{length - (last - first)} of {length} samples lie beyond k-space and were cut"
    return Placement(
        kept=slice(shape.discard_pre, shape.discard_pre + length),
        step=-1 if shape.is_reversed else 1,
        source=slice(first - start, last - start),
        target=slice(first, last),
        grid=grid,
        note=note,
    )


def _centre_of(shape: ReadoutShape, grid: int, encoded: int) -> tuple[int, str]:
    stated, n = shape.center_sample, shape.n_samples
    if _fits(stated, n, grid):
        return stated, ""
    scaled = stated * grid // encoded
    if grid < encoded and _fits(scaled, n, grid):
        return scaled, (
            f"center_sample {stated} was not updated when the oversampling was removed "
            f"({n} of {encoded} samples): taken as {scaled}"
        )
    if n == grid and (stated == 0 or stated >= n):
        return n // 2, f"center_sample {stated} of {n} samples is no centre: taken as {n // 2}"
    if stated < n:
        return stated, ""
    raise ReconstructionError(
        "acquisition",
        f"center_sample {stated} lies outside a readout of {n} samples (encoded {encoded})",
    )


def _fits(centre: int, n: int, grid: int) -> bool:
    # One sample may stick out: the middle of an even readout that was counted from the other end.
    start = grid // 2 - centre
    return 0 <= centre < n and start >= -1 and start + n <= grid + 1
