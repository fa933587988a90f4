"""One scan on its way through the stages: its chain, its settings, its place, its clock."""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import chistream
from chistream.acquisition.assembly import AcquiredScan, Acquisition
from chistream.acquisition.gating import GatingReport, gating_figures
from chistream.acquisition.plan import EncodingPlan
from chistream.acquisition.readouts import kind_of
from chistream.arrays import ComplexArray, Mask, RealArray
from chistream.biomarkers.results import ChiStreamResults
from chistream.config import Settings
from chistream.corrections import Correction, gradient_nonlinearity
from chistream.echoes.binned import BinnedLines, reconstruct_with_bins
from chistream.echoes.combination import plan_combination
from chistream.echoes.early_weights import EarlyWeights
from chistream.echoes.reconstruction import Sampling
from chistream.errors import ReconstructionError, SettingsError
from chistream.physics.geometry import Geometry
from chistream.physics.nonlinearity import GradientNonlinearity
from chistream.progress import Reporter, announce_stage, remarks
from chistream.scan import (
    acquisition_options,
    echo_options,
    encoding_plan,
    geometry_of,
    grid_of,
    readouts_of,
    respiration_of,
    settings_warnings,
)
from chistream.series.images import encode_images
from chistream.series.volumes import SERIES, Volume
from chistream.stream.header import ScanHeader
from chistream.stream.messages import Acquisitions, Head, Image, Message, Waveform
from chistream.stream.texts import warning_text

Messages: TypeAlias = Iterator[Message]

_SERIES_STEP = 180
"""Where the indices of the table are taken, images derived from others begin here by custom."""


@dataclass(frozen=True)
class Chain:
    """A registered way from messages to series.

    Parameters
    ----------
    name
        What a client sends to ask for it.
    description
        One line for people.
    run
        The generator.
    gated
        Whether heartbeats are gated by their navigators unless the settings say otherwise.
    inversion
        The dipole inversion unless the settings say otherwise.
    has_fat
        Whether water and fat are separated unless the settings or the echo times say otherwise.
    """

    name: str
    description: str
    run: "Callable[[Job, Messages], Messages]"
    gated: bool = False
    inversion: str = "medi"
    has_fat: bool = False


class Job:
    """One scan on its way through the stages: its settings, its place, its clock.

    Parameters
    ----------
    chain
        What is run.
    header
        The scan's header.
    settings
        The user's settings.
    """

    def __init__(self, chain: Chain, header: ScanHeader, settings: Settings) -> None:
        self.chain = chain
        self.header = header
        self.settings = settings
        self.seconds: dict[str, float] = {}
        self._head: Head | None = None
        self._series_passed_on: set[int] = set()
        self._acquired: AcquiredScan | None = None
        self._early = EarlyWeights()
        self._echo_warnings: tuple[str, ...] = ()
        self.notes: tuple[str, ...] = ()
        self.noise: RealArray | None = None

    @cached_property
    def plan(self) -> EncodingPlan:
        """How the scan encodes its volume."""
        return encoding_plan(self.header)

    @cached_property
    def geometry(self) -> Geometry:
        """Where the reconstructed volume lies, in the voxels that the settings ask for."""
        return self._in_voxels_wanted(geometry_of(self.head, self.header))

    @cached_property
    def nonlinearity(self) -> GradientNonlinearity | None:
        """By how much the gradients are not linear, if the settings name a file that says it."""
        return gradient_nonlinearity(self.settings.gradient_coefficients)

    @property
    def bandwidth(self) -> float | None:
        """Bandwidth of the readout per voxel of the volume along x [Hz]; None if unknown."""
        dwell = 1e-6 * float(self.head["sample_time_us"])
        fov = self.plan.encoded_fov
        if not dwell > 0 or fov is None:
            return None
        return self.geometry.voxel_size[2] / (dwell * fov[2])

    @cached_property
    def identity(self) -> str:
        """What tells this reconstruction from every other, but not from its own repetition."""
        settings = self.settings.model_dump_json()
        parts = (self.header.xml, settings, self.chain.name, chistream.__version__)
        digest = hashlib.sha256(self.head.tobytes())
        for part in parts:
            digest.update(part.encode(errors="replace"))
        return digest.hexdigest()

    @property
    def _series_offset(self) -> int:
        """Keep clear of the series that were passed on: theirs are on the console already."""
        own = {series.index for series in SERIES.values()}
        offset = 0
        while own & {index - offset for index in self._series_passed_on}:
            offset += _SERIES_STEP
        return offset

    @property
    def head(self) -> Head:
        """Head of the first imaging readout."""
        if self._head is None:
            raise ReconstructionError("acquisition", "no imaging readout came")
        return self._head

    @property
    def acquired(self) -> AcquiredScan:
        """What `receive` made of the readouts."""
        if self._acquired is None:
            raise ReconstructionError("acquisition", "the scan has not been received yet")
        return self._acquired

    @property
    def gating(self) -> GatingReport:
        """What gating did."""
        return self.acquired.gating

    @property
    def frequency_drift(self) -> float | None:
        """Drift of the centre frequency that was removed [Hz]; None if it was not looked for."""
        return self.acquired.frequency_drift

    @property
    def reversed_echoes(self) -> tuple[bool, ...]:
        """Whether each echo was read backwards."""
        return self.acquired.reversed_echoes

    @property
    def echo_times(self) -> tuple[float, ...]:
        """Echo times of the echoes that were measured [s]."""
        return self.header.echo_times[: len(self.acquired.hybrid)]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What header, settings, readouts, echoes and the service hold that people should know."""
        return (*self._scan_warnings, *remarks())

    @property
    def _scan_warnings(self) -> tuple[str, ...]:
        gating = acquisition_options(self.settings, gated=self.chain.gated).gating
        own = settings_warnings(self.header, self.settings, gating)
        return (*self.header.warnings, *own, *self.acquired.warnings, *self._echo_warnings)

    def receive(self, messages: Messages) -> Messages:
        """Sort readouts while they come, pass images on, and finish k-space."""
        # What cannot be done is told before the scan, not after it.
        _ = self.nonlinearity
        self._in_voxels_wanted(grid_of(self.header))
        options = acquisition_options(self.settings, gated=self.chain.gated)
        acquisition = Acquisition(self.plan, options)
        nz, ny, _ = self.plan.encoded_size
        plan_combination((nz, ny, self.plan.kept_size[2]))  # no one waits for it yet
        reporter = Reporter(lambda: gating_figures(acquisition.progress()))
        for message in messages:
            if isinstance(message, Acquisitions):
                self._feed(acquisition, message)
            elif not isinstance(message, Waveform):
                self._note_series(message)
                yield message
            elif (belt := respiration_of(message)) is not None:
                acquisition.feed_respiration(*belt)
            reporter.tell()
        if self._head is not None and self.settings.tracking != "off":
            acquisition.orient(self.geometry.b0_direction)
        with self.timed("acquisition"):
            self._acquired = acquisition.finish()
        for warning in self._scan_warnings:
            yield warning_text(warning)

    def combine(self) -> ComplexArray:
        """Make complex echoes ``(echoes, z, y, x)`` of the k-space received."""
        acquired = self.acquired
        sampling = Sampling(
            acquired.sampled,
            acquired.region,
            acquired.lattice,
            acquired.readout_support,
            acquired.calibration,
            self.echo_times,
            acquired.reversed_echoes,
            acquired.middle,
        )
        sizes = self.geometry.shape, self.plan.kept_size
        with self.timed("echoes"):
            echoes, warnings, self.noise = reconstruct_with_bins(
                acquired.hybrid,
                sampling,
                *sizes,
                echo_options(self.settings),
                self._early,
                self._binned_lines,
            )
            correction = Correction(
                echoes, self.echo_times, acquired.reversed_echoes, self.bandwidth
            )
            correction.apply(self.header, self.settings, self.geometry, self.nonlinearity)
        self._echo_warnings = (*warnings, *correction.warnings)
        self.notes = (*acquired.notes, *correction.notes)
        return correction.echoes

    @property
    def _binned_lines(self) -> BinnedLines:
        """What heartbeats outside the window measured, if motion bins were asked for."""
        voxel_size = self.plan.voxel_size or self.geometry.voxel_size
        acquired, registration = self.acquired, self.settings.motion_registration
        return BinnedLines(acquired.bins, acquired.line_weights, voxel_size, registration)

    @property
    def inversion(self) -> str:
        """The dipole inversion that chain and settings ask for."""
        asked = self.settings.inversion
        return self.chain.inversion if asked == "auto" else asked

    def volume(
        self, token: str, values: RealArray, mask: Mask | None, echo: int | None = None
    ) -> Volume:
        """Place a map ``(z, y, x)`` in the patient."""
        if echo is None:
            return Volume(token, values, self.geometry, mask)
        echo_time = self.echo_times[echo]
        return Volume(token, values, self.geometry, mask, echo, echo_time)

    def images(self, *volumes: Volume, results: ChiStreamResults | None = None) -> Messages:
        """Make the images of volumes, in the profile of the settings."""
        text = None if results is None else results.to_json()
        for volume in volumes:
            yield from encode_images(
                volume,
                self.settings.profile,
                self.head,
                results=text,
                identity=self.identity,
                on_source_grid=self.settings.voxel_size is None,
                series_offset=self._series_offset,
            )

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Note how long a stage took [s]."""
        announce_stage(stage)
        start = time.perf_counter()
        yield
        announce_stage("series")
        self.seconds[stage] = round(time.perf_counter() - start, 3)

    def _in_voxels_wanted(self, planned: Geometry) -> Geometry:
        wanted = self.settings.voxel_size
        if wanted is None:
            return planned
        try:
            return planned.interpolated(wanted)
        except ValueError as error:
            raise SettingsError(str(error)) from None

    def _feed(self, acquisition: Acquisition, run: Acquisitions) -> None:
        self._note_head(run)
        for readout in readouts_of(run):
            acquisition.feed(readout)
        middle = acquisition.settled_middle()
        if middle is not None:
            self._early.consider(*middle)

    def _note_series(self, message: Message) -> None:
        if isinstance(message, Image):
            self._series_passed_on.add(int(message.head["image_series_index"]))

    def _note_head(self, run: Acquisitions) -> None:
        if self._head is None:
            imaging = [head for head in run.heads if kind_of(int(head["flags"])).is_imaging]
            self._head = imaging[0].copy() if imaging else None
