"""What the chain needs of the XML header, from whatever a scanner or a converter writes.

The official schema is stricter than the headers in the field: patient position and waveform
parameters are missing, elements are unknown, numbers are written as ``123.2e6``. None of that
matters here. What does matter is never guessed: without matrix, field of view, echo times and
proton frequency there is no susceptibility, and a wrong one is worse than none.

References
----------
.. [1] ISMRM Raw Data Format, schema of the header.
   https://github.com/ismrmrd/ismrmrd/blob/master/schema/ismrmrd.xsd
"""

from dataclasses import dataclass
from itertools import pairwise

from chistream.arrays import Size, Vector
from chistream.errors import HeaderError
from chistream.physics.constants import field_strength
from chistream.stream.header_tree import Branch, number_in, parse_header

_CONVERTER = "have the converter or the sequence write it"
_LIMITS = (
    "kspace_encoding_step_0",
    "kspace_encoding_step_1",
    "kspace_encoding_step_2",
    "average",
    "slice",
    "contrast",
    "phase",
    "repetition",
    "set",
    "segment",
    *(f"user_{i}" for i in range(8)),
)
_FREQUENCY_RANGE = 1e6, 1.3e9
"""Proton frequencies from 23 mT to 30 T [Hz]: what lies outside is in another unit."""
_ECHO_TIME_RANGE = 0.01, 1000.0
"""Echo times [ms]; what lies outside is in another unit."""
_MAX_MATRIX = 2**16 - 1
_FIELD_TOLERANCE = 0.05
"""A nominal 3 T magnet may stand at 2.89 T (123.2 MHz): 4 %. More is a mistake."""


@dataclass(frozen=True, slots=True)
class Space:
    """A grid: its size ``(z, y, x)`` and its field of view ``(z, y, x)`` [mm]."""

    size: Size
    field_of_view: Vector


@dataclass(frozen=True, slots=True)
class Limit:
    """The range of a counter, both ends included, and the value at the centre of k-space."""

    minimum: int
    maximum: int
    center: int


@dataclass(frozen=True, slots=True)
class Encoding:
    """How one encoding space is sampled.

    Parameters
    ----------
    encoded
        Grid of k-space: with readout oversampling along x, phase and slice oversampling along y, z.
    recon
        Grid of the image.
    limits
        Ranges of the counters by their MRD names (``kspace_encoding_step_1``, ``contrast``, ...);
        only those that the header states soundly.
    trajectory
        ``cartesian``, ``epi``, ``radial``, ... as the header says; None if it does not.
    acceleration
        Undersampling along ``(z, y)``.
    calibration_mode
        ``embedded``, ``interleaved``, ``separate``, ``external``, ``other``; None if not stated.
    """

    encoded: Space
    recon: Space
    limits: dict[str, Limit]
    trajectory: str | None = None
    acceleration: tuple[int, int] = (1, 1)
    calibration_mode: str | None = None


@dataclass(frozen=True, slots=True)
class ScanHeader:
    """What the chain needs of a scan's XML header.

    Parameters
    ----------
    h1_frequency
        H1 resonance frequency [Hz].
    field_strength
        B0 from that frequency [T].
    stated_field_strength
        B0 as the header states it [T]; None if it does not. Only compared, never used.
    echo_times
        TE of each contrast [s], increasing.
    encodings
        In the order in which readouts refer to them.
    n_channels
        Receiver channels; None if not stated.
    noise_bandwidth_ratio
        Noise bandwidth of the receiver relative to the sampling rate; None if not stated.
    patient_position
        ``HFS`` and the like; None if not stated.
    protocol_name, measurement_id
        As stated, else None.
    repetition_times
        TR [s]; empty if not stated.
    flip_angles
        [degrees]; empty if not stated.
    waveform_names
        Names of the physiological signals, in the order of the header.
    user_parameters
        Numbers and texts of the sequence's own, by name.
    warnings
        What is odd about the header, in words for a person.
    xml
        The text it was read from.
    """

    h1_frequency: float
    field_strength: float
    stated_field_strength: float | None
    echo_times: tuple[float, ...]
    encodings: tuple[Encoding, ...]
    n_channels: int | None
    noise_bandwidth_ratio: float | None
    patient_position: str | None
    protocol_name: str | None
    user_parameters: dict[str, float | int | str]
    warnings: tuple[str, ...]
    xml: str
    measurement_id: str | None = None
    repetition_times: tuple[float, ...] = ()
    flip_angles: tuple[float, ...] = ()
    waveform_names: tuple[str, ...] = ()


def read_header(xml: str | bytes) -> ScanHeader:
    """Read what the chain needs of an XML header.

    Parameters
    ----------
    xml
        The header as it came; need not obey the schema.

    Returns
    -------
    ScanHeader
        Lengths stay in mm, angles in degrees; MRD's times in ms have become s.

    Raises
    ------
    HeaderError
        If it is no MRD header, holds entities or a document type, or if matrix, field of view,
        echo times or the proton frequency are missing or make no sense. Says which element, and
        what to do.

    Notes
    -----
    More echo times than the header announces contrasts are kept, with a warning: the readouts
    decide. Fewer are an error, for the echo time of some readouts would be unknown.
    """
    root = parse_header(xml)
    h1_frequency = _h1_frequency(root)
    encodings = _encodings(root)
    system = root.branch_or_empty("acquisitionSystemInformation")
    stated = _optional_positive(system, "systemFieldStrength_T")
    _compare_fields(root, field_strength(h1_frequency), stated)
    n_channels = _optional_positive(system, "receiverChannels")
    return ScanHeader(
        h1_frequency=h1_frequency,
        field_strength=field_strength(h1_frequency),
        stated_field_strength=stated,
        echo_times=_echo_times(root, encodings[0]),
        encodings=encodings,
        n_channels=None if n_channels is None else round(n_channels),
        noise_bandwidth_ratio=_optional_positive(system, "relativeReceiverNoiseBandwidth"),
        patient_position=root.text("measurementInformation", "patientPosition"),
        protocol_name=root.text("measurementInformation", "protocolName"),
        user_parameters=_user_parameters(root),
        measurement_id=root.text("measurementInformation", "measurementID"),
        repetition_times=tuple(value * 1e-3 for value in _sequence_numbers(root, "TR")),
        flip_angles=_sequence_numbers(root, "flipAngle_deg"),
        waveform_names=tuple(
            information.text("waveformName") or "" for information in root.branches(_WAVEFORM)
        ),
        warnings=tuple(root.warnings),
        xml=xml if isinstance(xml, str) else xml.decode(errors="replace"),
    )


_WAVEFORM = "waveformInformation"


def _h1_frequency(root: Branch) -> float:
    remedy = f"B0 is known from it alone; {_CONVERTER}, in Hz"
    conditions = root.needed("experimentalConditions", remedy)
    frequency = conditions.positive("H1resonanceFrequency_Hz", remedy)
    low, high = _FREQUENCY_RANGE
    if not low <= frequency <= high:
        raise HeaderError(
            f"the header's experimentalConditions/H1resonanceFrequency_Hz is {frequency:g}, which "
            f"is no proton frequency of a scanner in Hz: {_CONVERTER}, in Hz"
        )
    return frequency


def _compare_fields(root: Branch, field: float, stated: float | None) -> None:
    if stated is not None and abs(stated - field) > _FIELD_TOLERANCE * field:
        root.warn(
            f"the header states a field of {stated:g} T, but its H1 frequency means {field:.3f} T; "
            "the frequency is used"
        )


def _encodings(root: Branch) -> tuple[Encoding, ...]:
    first, *others = root.branches("encoding") or [root.needed("encoding", _CONVERTER)]
    encodings = [_encoding(first)]
    for other in others:
        encoding = _later_encoding(other)
        if encoding is None:
            # Those behind it would take its number.
            break
        encodings.append(encoding)
    return tuple(encodings)


def _later_encoding(branch: Branch) -> Encoding | None:
    try:
        return _encoding(branch)
    except HeaderError as error:
        branch.warn(f"an encoding space beside the first, and those behind it, ignored: {error}")
        return None


def _encoding(branch: Branch) -> Encoding:
    acceleration = branch.branch_or_empty("parallelImaging", "accelerationFactor")
    return Encoding(
        encoded=_space(branch.needed("encodedSpace", _CONVERTER)),
        recon=_space(branch.needed("reconSpace", _CONVERTER)),
        limits=_limits(branch.branch_or_empty("encodingLimits")),
        trajectory=(branch.text("trajectory") or "").lower()[:20] or None,
        acceleration=(
            round(_optional_positive(acceleration, "kspace_encoding_step_2") or 1),
            round(_optional_positive(acceleration, "kspace_encoding_step_1") or 1),
        ),
        calibration_mode=branch.text("parallelImaging", "calibrationMode"),
    )


def _space(branch: Branch) -> Space:
    matrix = branch.needed("matrixSize", _CONVERTER)
    extent = branch.needed("fieldOfView_mm", f"{_CONVERTER}, in mm")
    z, y, x = (_matrix_size(matrix, axis) for axis in "zyx")
    dz, dy, dx = (extent.positive(axis, f"{_CONVERTER}, in mm") for axis in "zyx")
    return Space((z, y, x), (dz, dy, dx))


def _matrix_size(matrix: Branch, axis: str) -> int:
    size = matrix.positive(axis, _CONVERTER)
    if size != round(size) or size > _MAX_MATRIX:
        raise HeaderError(
            f"the header's {matrix.path_to(axis)} is {size:g}, not a whole number up to "
            f"{_MAX_MATRIX}: {_CONVERTER}"
        )
    return round(size)


def _limits(branch: Branch) -> dict[str, Limit]:
    limits = {}
    for name in _LIMITS:
        found = branch.branch(name)
        limit = _limit(found) if found else None
        if limit:
            limits[name] = limit
        elif found:
            branch.warn(f"{branch.path_to(name)} makes no sense; ignored")
    return limits


def _limit(branch: Branch) -> Limit | None:
    values = [branch.number(name) for name in ("minimum", "maximum", "center")]
    whole = [round(value) for value in values if value is not None]
    if len(whole) < len(values):
        return None
    minimum, maximum, center = whole
    return Limit(minimum, maximum, center) if 0 <= minimum <= center <= maximum else None


def _echo_times(root: Branch, encoding: Encoding) -> tuple[float, ...]:
    path = "sequenceParameters/TE"
    texts = [te.own_text() or "" for te in _sequence_branches(root, "TE")]
    if not texts:
        raise HeaderError(
            f"the header has no {path}: without echo times there is no field; {_CONVERTER}, in ms"
        )
    low, high = _ECHO_TIME_RANGE
    values = [number_in(text) for text in texts]
    sound = [value for value in values if value is not None and low <= value <= high]
    if len(sound) < len(values) or any(after <= before for before, after in pairwise(sound)):
        raise HeaderError(
            f"the header's {path} are {', '.join(texts)}: they must be in ms, between {low:g} and "
            f"{high:g}, and increase; {_CONVERTER} so"
        )
    _compare_counts(root, len(sound), encoding.limits.get("contrast"))
    return tuple(value * 1e-3 for value in sound)


def _compare_counts(root: Branch, n_echo_times: int, contrasts: Limit | None) -> None:
    n_contrasts = contrasts.maximum + 1 if contrasts else n_echo_times
    if n_echo_times < n_contrasts:
        raise HeaderError(
            f"the header has {n_echo_times} sequenceParameters/TE but {n_contrasts} contrasts "
            f"(encodingLimits/contrast): the others' echo times are unknown; {_CONVERTER} for each"
        )
    if n_echo_times > n_contrasts:
        root.warn(
            f"the header has {n_echo_times} echo times but {n_contrasts} contrasts; "
            "the readouts decide"
        )


def _sequence_branches(root: Branch, name: str) -> list[Branch]:
    sequence = root.branch("sequenceParameters")
    return sequence.branches(name) if sequence else []


def _sequence_numbers(root: Branch, name: str) -> tuple[float, ...]:
    values = (number_in(branch.own_text() or "") for branch in _sequence_branches(root, name))
    return tuple(value for value in values if value is not None)


def _optional_positive(branch: Branch, name: str) -> float | None:
    value = branch.number(name)
    if value is not None and value <= 0:
        branch.warn(f"{branch.path_to(name)} is {value:g}; ignored")
        return None
    return value


def _user_parameters(root: Branch) -> dict[str, float | int | str]:
    branch = root.branch_or_empty("userParameters")
    parameters: dict[str, float | int | str] = {}
    for kind in ("userParameterLong", "userParameterDouble", "userParameterString"):
        for parameter in branch.branches(kind):
            name, text = parameter.text("name"), parameter.text("value") or ""
            if name:
                parameters[name] = _value(kind, text)
    return parameters


def _value(kind: str, text: str) -> float | int | str:
    number = None if kind == "userParameterString" else number_in(text)
    if number is None:
        return text
    is_whole = kind == "userParameterLong" and number.is_integer()
    return int(number) if is_whole else number
