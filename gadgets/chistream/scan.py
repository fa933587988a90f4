"""What the stages need of an MRD scan: encoding plan, geometry and readouts in plain numbers."""

from collections.abc import Iterator

import numpy as np

from chistream.acquisition.compression import CompressionOptions
from chistream.acquisition.gating_options import GatingOptions, Scheme
from chistream.acquisition.plan import AcquisitionOptions, EncodingPlan
from chistream.acquisition.readouts import Readout
from chistream.arrays import RealArray, Vector
from chistream.config import Settings
from chistream.echoes.options import EchoOptions
from chistream.errors import ReconstructionError
from chistream.physics.geometry import Geometry
from chistream.stream.header import Encoding, ScanHeader
from chistream.stream.messages import SECONDS_PER_TICK, Acquisitions, Head, Waveform


def encoding_plan(header: ScanHeader) -> EncodingPlan:
    """Tell the acquisition stage how the scan encodes its volume.

    Parameters
    ----------
    header
        The scan's header.

    Returns
    -------
    EncodingPlan
        Sizes, limits and centre of the first encoding.

    Raises
    ------
    ReconstructionError
        If the trajectory is not Cartesian, or limits and matrix contradict each other.
    """
    encoding = header.encodings[0]
    if encoding.trajectory not in {None, "", "cartesian"}:
        raise ReconstructionError(
            "acquisition",
            f"trajectory {encoding.trajectory!r} cannot be reconstructed, only cartesian",
        )
    try:
        return EncodingPlan(
            encoded_size=encoding.encoded.size,
            recon_size=encoding.recon.size,
            n_echoes=len(header.echo_times),
            encoded_fov=encoding.encoded.field_of_view,
            recon_fov=encoding.recon.field_of_view,
            centre_header=_centre(encoding),
            limits=_limits(encoding),
            acceleration=encoding.acceleration,
            has_embedded_calibration=encoding.calibration_mode == "embedded",
            noise_bandwidth_ratio=header.noise_bandwidth_ratio or 1.0,
            echo_times=header.echo_times,
        )
    except ValueError as error:
        raise ReconstructionError("acquisition", f"the header's {error}") from None


def acquisition_options(settings: Settings, *, gated: bool) -> AcquisitionOptions:
    """Translate the settings for the acquisition stage.

    Parameters
    ----------
    settings
        The user's settings.
    gated
        Whether the chain gates unless the settings say otherwise.

    Returns
    -------
    AcquisitionOptions
        What the stage understands.
    """
    return AcquisitionOptions(
        phase_sign=settings.phase_sign,
        centre_source=settings.centre_source,
        max_missing_fraction=settings.max_missing,
        removes_spikes=settings.spikes == "auto",
        removes_drift=settings.f0_drift == "auto",
        compression=CompressionOptions(settings.coil_compression, settings.coil_energy),
        gating=GatingOptions(
            scheme=_scheme(settings, gated=gated),
            source=settings.navigator_source,
            accepts=settings.accept_source,
            estimator=settings.navigator_estimator,
            window=settings.navigator_window,
            column=settings.navigator_fov,
            unit=settings.navigator_unit,
            rr_tolerance=settings.rr_tolerance,
            tracking=settings.tracking,
            tracking_factor=settings.tracking_factor,
            prospective_tracking=settings.prospective_tracking,
            motion_bins=settings.motion_bins,
        ),
    )


def echo_options(settings: Settings) -> EchoOptions:
    """Translate the settings for the echo stage.

    Parameters
    ----------
    settings
        The user's settings.

    Returns
    -------
    EchoOptions
        What the stage understands.
    """
    return EchoOptions(
        parallel_imaging=settings.parallel_imaging,
        sensitivities=settings.sensitivities,
        partial_fourier=settings.partial_fourier,
        gibbs_filter=settings.gibbs_filter,
        gibbs_width=settings.gibbs_width,
        noise_map="NOISE" in settings.series,
    )


def settings_warnings(
    header: ScanHeader, settings: Settings, gating: GatingOptions
) -> tuple[str, ...]:
    """Compare the settings with what the header says of the scan, and with each other.

    Parameters
    ----------
    header
        The scan's header.
    settings
        The user's settings.
    gating
        What the chain made of them.

    Returns
    -------
    tuple[str, ...]
        Contradictions, in words for a person.
    """
    warnings = []
    stated = header.user_parameters.get("PhaseSign")
    if stated not in {None, settings.phase_sign}:
        warnings.append(
            f"The header says PhaseSign {stated} and the reconstruction took "
            f"{settings.phase_sign}: the sign of the susceptibility may be wrong. "
            f"Set phase_sign to {stated}."
        )
    if gating.motion_bins and not gating.n_outer_bins:
        warnings.append(
            f"motion_bins {gating.motion_bins} had no effect: bins need gating by window, drift or "
            "soft weights here, not by the scanner."
        )
    return tuple(warnings)


def readouts_of(run: Acquisitions) -> Iterator[Readout]:
    """Unpack a run of acquisitions.

    Parameters
    ----------
    run
        Readouts of one shape.

    Yields
    ------
    Readout
        One after the other, samples as views of the run.
    """
    # One conversion of all counters to Python numbers; field by field and readout by readout it
    # would cost more than the Fourier transforms.
    heads, idx = run.heads, run.heads["idx"]
    columns = zip(
        run.samples,
        heads["flags"].tolist(),
        *(idx[name].tolist() for name in _COUNTERS),
        idx["user"].tolist(),
        *(heads[name].tolist() for name in ("center_sample", "discard_pre", "discard_post")),
        (heads["sample_time_us"].astype(float) * 1e-6).tolist(),
        (heads["acquisition_time_stamp"] * SECONDS_PER_TICK).tolist(),
        (heads["physiology_time_stamp"][:, 0] * SECONDS_PER_TICK).tolist(),
        map(tuple, heads["user_int"].tolist()),
        map(tuple, heads["user_float"].tolist()),
        strict=True,
    )
    for values in columns:
        yield Readout(*values)


def geometry_of(head: Head, header: ScanHeader) -> Geometry:
    """Place the reconstructed volume in the patient.

    Parameters
    ----------
    head
        Head of an imaging readout.
    header
        The scan's header.

    Returns
    -------
    Geometry
        The reconstructed grid; the readout's directions made exactly orthonormal.

    Raises
    ------
    ReconstructionError
        If the readout carries no usable directions: the direction of B0 would be a guess.
    """
    directions = np.array([head["read_dir"], head["phase_dir"], head["slice_dir"]], dtype=float)
    if not np.allclose(directions @ directions.T, np.eye(3), atol=0.02):
        raise ReconstructionError(
            "acquisition",
            f"readouts carry read_dir {directions[0].tolist()}, phase_dir "
            f"{directions[1].tolist()}, slice_dir {directions[2].tolist()}, which are no unit "
            "vectors at right angles, so the direction of B0 is unknown: have the sequence or the "
            "converter write them",
        )
    left, _, right = np.linalg.svd(directions)  # the nearest orthonormal set: float32 is not quite
    read, phase, normal = (_vector(direction) for direction in left @ right)
    grid = grid_of(header)
    return Geometry(grid.shape, grid.voxel_size, _vector(head["position"]), read, phase, normal)


def grid_of(header: ScanHeader) -> Geometry:
    """Tell the reconstructed grid before any readout says where it lies.

    Parameters
    ----------
    header
        The scan's header.

    Returns
    -------
    Geometry
        Its voxels, in the middle of the magnet.
    """
    recon = header.encodings[0].recon
    z, y, x = (f / n for f, n in zip(recon.field_of_view, recon.size, strict=True))
    return Geometry(recon.size, (z, y, x))


def respiration_of(waveform: Waveform) -> tuple[float, float, RealArray] | None:
    """Read the belt around the chest from a waveform.

    Parameters
    ----------
    waveform
        Any waveform.

    Returns
    -------
    tuple[float, float, RealArray] | None
        Time of the first sample since midnight [s], time between samples [s], and the samples
        ``(n,)``; None if it is another one (id 2, or 7 while the scanner learns, is the belt).
    """
    head = waveform.head
    if int(head["waveform_id"]) not in _RESPIRATION or not waveform.samples.size:
        return None
    start = float(head["time_stamp"]) * SECONDS_PER_TICK
    return start, 1e-6 * float(head["sample_time_us"]), waveform.samples[0].astype(float)


_BEST_SCHEME: Scheme = "soft"
"""What gates where nobody chose: of all schemes it came nearest to a heart at rest, in simulated
scans with a fixed, a following and a PAWS gate and with none."""

_RESPIRATION = {2, 7}

_COUNTERS = (
    "kspace_encode_step_1",
    "kspace_encode_step_2",
    "average",
    "slice",
    "contrast",
    "phase",
    "repetition",
    "set",
    "segment",
)


def _scheme(settings: Settings, *, gated: bool) -> Scheme:
    match settings.gating:
        case "auto":
            return _BEST_SCHEME if gated else "none"
        case "navigator":
            return _BEST_SCHEME
        case scheme:
            return scheme


def _centre(encoding: Encoding) -> tuple[int, int] | None:
    step_1 = encoding.limits.get("kspace_encoding_step_1")
    step_2 = encoding.limits.get("kspace_encoding_step_2")
    if step_1 is None or step_2 is None:
        return None
    return step_2.center, step_1.center


def _limits(encoding: Encoding) -> tuple[tuple[int, int], tuple[int, int]] | None:
    step_1 = encoding.limits.get("kspace_encoding_step_1")
    step_2 = encoding.limits.get("kspace_encoding_step_2")
    if step_1 is None or step_2 is None:
        return None
    return (step_2.minimum, step_2.maximum), (step_1.minimum, step_1.maximum)


def _vector(values: object) -> Vector:
    x, y, z = np.asarray(values, dtype=float).tolist()
    return x, y, z
