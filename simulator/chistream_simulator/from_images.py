"""Measured images become the raw multi-coil k-space from which they could have come."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from chistream.arrays import ComplexArray, Vector
from chistream.errors import SettingsError
from chistream.physics.constants import GAMMA_BAR, field_strength
from chistream.physics.fourier import to_kspace
from chistream.physics.geometry import Geometry
from chistream.stream.messages import Acquisitions, Header, Message
from chistream_simulator.coils import coil_maps, loops_around
from chistream_simulator.header import ScanDescription, header_xml
from chistream_simulator.image_files import MeasuredImages, PhaseScale, read_images
from chistream_simulator.overrides import apply_overrides, checked
from chistream_simulator.readouts import Flag, HeadWriter, set_lines
from chistream_simulator.receiver import Receiver, coil_covariance, combined_snr
from chistream_simulator.timing.schedule import START_OF_SCAN

PACE = 5e-3
"""Time between the last echo of a line and the next line [s]; the real TR is not known."""

DWELL_TIME = 5e-6
"""Between oversampled samples [s]; the real one is not known."""

OBJECT_THRESHOLD = 0.1
"""Voxels brighter than this part of the brightest count for the signal-to-noise ratio."""


class ImageOptions(BaseModel):
    """What the images do not say; a value given here replaces what they say."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    TE: tuple[float, ...] = Field((), description="Echo times [s].")
    field_strength: float | None = Field(None, gt=0.1, lt=20, description="[T]")
    h1_frequency: float | None = Field(None, gt=1e6, lt=1e9, description="[Hz]")
    voxel_size: Vector | None = Field(None, description="(z, y, x) [mm]")
    position: Vector | None = Field(None, description="Of the grid's origin (L, P, S) [mm].")
    read_dir: Vector | None = Field(None, description="Direction of the readout (L, P, S).")
    phase_dir: Vector | None = Field(None, description="Direction of the lines (L, P, S).")
    slice_dir: Vector | None = Field(None, description="Direction of the slices (L, P, S).")
    phase_scale: PhaseScale = "radians"
    phase_sign: Literal[1, -1] | None = None
    array: str = Field("", description="Name of the images in a .npz file.")
    n_coils: int = Field(8, ge=1, le=128)
    snr: float = Field(
        float("inf"), gt=0, allow_inf_nan=True, description="Noise to add; inf: none."
    )
    noise_readouts: int = Field(32, ge=0)
    noise_correlation: float = Field(0.3, ge=0, lt=1)
    readout_oversampling: int = Field(2, ge=1, le=4)
    seed: int = Field(20250101, ge=0)


def read_scan(
    paths: Sequence[Path],
    *,
    te: str | None = None,
    seed: int | None = None,
    overrides: Mapping[str, str] | None = None,
) -> Iterator[Message]:
    """Read measured images and make raw data of them.

    Parameters
    ----------
    paths
        Magnitude and phase as NIfTI, or one ``.npz`` or ``.mat`` file with complex images.
    te
        Echo times as text [ms], ``"4,8,12"``.
    seed
        Seed of the noise.
    overrides
        Other ImageOptions as text, by name.

    Returns
    -------
    Iterator of Message
        See `simulate_from_images`.

    Raises
    ------
    SettingsError
        If echo times, field strength or voxel size are known from nowhere, or do not fit.
    FileFormatError
        If a file is not what its name promises.
    """
    values = apply_overrides({}, overrides or {})
    if te is not None:
        values["TE"] = _milliseconds(te)
    if seed is not None:
        values["seed"] = seed
    options = checked(ImageOptions, values)
    images = read_images(paths, phase_scale=options.phase_scale, array=options.array)
    times, h1_frequency = _echo_times(images, options), _h1_frequency(images, options)
    return simulate_from_images(
        images.echoes,
        times,
        _geometry(images, options),
        h1_frequency,
        phase_sign=options.phase_sign or images.phase_sign,
        options=options,
    )


def simulate_from_images(
    echoes: ComplexArray,
    TE: Sequence[float],
    geometry: Geometry,
    h1_frequency: float,
    *,
    phase_sign: Literal[1, -1] = 1,
    options: ImageOptions | None = None,
) -> Iterator[Message]:
    """Make raw multi-coil k-space of measured images.

    Parameters
    ----------
    echoes
        Complex images ``(echoes, z, y, x)``, to which coils are added, or
        ``(echoes, coils, z, y, x)``, whose coils are kept.
    TE
        Echo times [s].
    geometry
        Where the images lie.
    h1_frequency
        Proton frequency of the scanner [Hz].
    phase_sign
        -1 if the phase of a positive frequency falls with the echo time. The samples are then
        those of a receiver that turns the other way, its encoding included: whoever conjugates
        them (the setting ``phase_sign=-1`` of the reconstruction) gets the images the right way
        round. Nothing is flipped silently, and the header says so (``PhaseSign``).
    options
        Coils and noise.

    Returns
    -------
    Iterator of Message
        Header, the noise scan if noise is added, and one run of readouts for each partition.

    Raises
    ------
    SettingsError
        If echo times or geometry do not fit the images, or voxels have no finite value.

    Notes
    -----
    There is no finer object behind measured voxels, so k-space holds exactly the images.
    """
    options = options or ImageOptions()
    if echoes.ndim not in {4, 5} or echoes.shape[-3:] != geometry.shape:
        raise SettingsError(f"images {echoes.shape} do not fit the grid {geometry.shape}")
    n_wrong = int(echoes.size - np.isfinite(echoes).sum())
    if n_wrong:
        raise SettingsError(
            f"{n_wrong} of {echoes.size} values of the images are not finite: set them to 0, since "
            "one would spoil all of k-space"
        )
    if len(TE) != len(echoes):
        raise SettingsError(f"te: {len(TE)} echo times {tuple(TE)} s for {len(echoes)} echoes")
    return _messages(echoes, TE, geometry, h1_frequency, phase_sign, options)


def _messages(
    echoes: ComplexArray,
    TE: Sequence[float],
    geometry: Geometry,
    h1_frequency: float,
    phase_sign: int,
    options: ImageOptions,
) -> Iterator[Message]:
    coil_images = _coil_images(echoes, geometry, options, phase_sign)
    n_coils, (nz, ny, nx) = coil_images.shape[1], geometry.shape
    receiver = _receiver(coil_images, options)
    heads = HeadWriter(geometry, n_coils, (nz // 2, ny // 2))
    fov = tuple(n * d for n, d in zip(geometry.shape, geometry.voxel_size, strict=True))
    oversampling = options.readout_oversampling
    yield Header(
        header_xml(
            ScanDescription(
                protocol="from_images",
                h1_frequency=h1_frequency,
                B0=field_strength(h1_frequency),
                n_coils=n_coils,
                noise_bandwidth_ratio=1.0,
                encoded_size=(nz, ny, nx * oversampling),
                recon_size=geometry.shape,
                encoded_fov=(fov[0], fov[1], fov[2] * oversampling),
                recon_fov=(fov[0], fov[1], fov[2]),
                TE=TE,
                user_parameters={"PhaseSign": phase_sign},
            )
        )
    )
    if receiver is not None and options.noise_readouts:
        yield _noise_scan(heads, receiver, options.noise_readouts)
    kspace = _kspace(coil_images, oversampling, phase_sign)
    for partition in range(nz):
        run = _partition(kspace[:, :, partition], partition, heads, TE, receiver)
        if partition == nz - 1:
            run.heads["flags"][-1] = int(Flag.LAST_IN_REPETITION | Flag.LAST_IN_MEASUREMENT)
        yield run


def _coil_images(
    echoes: ComplexArray, geometry: Geometry, options: ImageOptions, phase_sign: int
) -> ComplexArray:
    """Images of every coil ``(echoes, coils, z, y, x)``, their phase as measured."""
    if echoes.ndim == 5:
        return echoes
    extent = np.multiply(geometry.shape, geometry.voxel_size)
    radius = 0.75 * float(np.linalg.norm(extent)) + 20.0
    loops = loops_around(options.n_coils, geometry.position, (radius, radius))
    csm = coil_maps(loops, geometry, geometry.position)
    return echoes[:, None] * (csm if phase_sign > 0 else csm.conj())


def _kspace(coil_images: ComplexArray, oversampling: int, phase_sign: int) -> ComplexArray:
    n = coil_images.shape[-1]
    before = n * oversampling // 2 - n // 2
    after = n * oversampling - n - before
    padded = np.pad(coil_images.astype(np.complex64), [(0, 0)] * 4 + [(before, after)])
    axes = (-3, -2, -1)
    if phase_sign > 0:
        return to_kspace(padded, axes)
    return to_kspace(padded.conj(), axes).conj()


def _receiver(coil_images: ComplexArray, options: ImageOptions) -> Receiver | None:
    if np.isinf(options.snr):
        return None
    rng = np.random.default_rng([options.seed, 2])
    unit = coil_covariance(coil_images.shape[1], options.noise_correlation, rng)
    snr = combined_snr(coil_images[0], unit)
    level = float(np.median(snr[snr > OBJECT_THRESHOLD * snr.max()])) / options.snr
    return Receiver(unit * level**2, DWELL_TIME, 1.0, rng)


def _noise_scan(heads: HeadWriter, receiver: Receiver, n_readouts: int) -> Acquisitions:
    samples = receiver.noise(n_readouts, 256, DWELL_TIME)
    return heads.readouts(
        samples,
        times=START_OF_SCAN - 1 + PACE * np.arange(n_readouts),
        since_trigger=0.0,
        dwell_time=DWELL_TIME,
        centre_sample=128,
        flags=Flag.NOISE_MEASUREMENT,
    )


def _partition(
    kspace: ComplexArray,
    partition: int,
    heads: HeadWriter,
    TE: Sequence[float],
    receiver: Receiver | None,
) -> Acquisitions:
    """Make readouts of one partition ``(echoes, coils, ky, kx)``, echo by echo, line by line."""
    n_echoes, n_coils, n_lines, n_samples = kspace.shape
    samples = np.moveaxis(kspace, 2, 0).reshape(-1, n_coils, n_samples)
    if receiver is not None:
        samples = samples + receiver.noise(len(samples), n_samples, DWELL_TIME)
    starts = (partition * n_lines + np.arange(n_lines)) * (TE[-1] + PACE)
    run = heads.readouts(
        np.ascontiguousarray(samples),
        times=START_OF_SCAN + (starts[:, None] + np.asarray(TE)).ravel(),
        since_trigger=0.0,
        dwell_time=DWELL_TIME,
        centre_sample=n_samples // 2,
    )
    lines = np.stack([np.full(n_lines, partition), np.arange(n_lines)], axis=1)
    set_lines(run.heads, lines, n_echoes)
    return run


def _milliseconds(text: str) -> list[float]:
    try:
        return [1e-3 * float(part) for part in text.replace(";", ",").split(",")]
    except ValueError:
        raise SettingsError(f"te: {text!r} are no echo times in ms, such as 4,8,12") from None


def _echo_times(images: MeasuredImages, options: ImageOptions) -> tuple[float, ...]:
    times = options.TE or images.TE
    if not times:
        raise SettingsError("the images have no echo times: give them with --te 4,8,12 (ms)")
    if list(times) != sorted(set(times)) or not (np.isfinite(times).all() and times[0] > 0):
        raise SettingsError(f"te: echo times must be positive and ascending, got {times} s")
    return times


def _h1_frequency(images: MeasuredImages, options: ImageOptions) -> float:
    if options.h1_frequency is not None:
        return options.h1_frequency
    strength = options.field_strength or images.field_strength
    if not strength:
        raise SettingsError(
            "the images have no field strength: give it with --set field_strength=3.0 (T) or "
            "--set h1_frequency=123.2e6 (Hz)"
        )
    return strength * GAMMA_BAR


def _geometry(images: MeasuredImages, options: ImageOptions) -> Geometry:
    names = ("voxel_size", "position", "read_dir", "phase_dir", "slice_dir")
    given = {n: getattr(options, n) for n in names if getattr(options, n) is not None}
    nz, ny, nx = images.echoes.shape[-3:]
    if images.geometry is None and "voxel_size" not in given:
        raise SettingsError(
            "the images have no voxel size: give it with --set voxel_size=[z, y, x] (mm)"
        )
    try:
        start = images.geometry or Geometry((nz, ny, nx), given["voxel_size"])
        return replace(start, **given)
    except ValueError as refusal:
        raise SettingsError(str(refusal)) from refusal
